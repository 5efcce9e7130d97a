"""`lotgate demo`: a supplier-receipt story on measured data against a running service, over HTTP.

Goods arrive, results come in, lots within specification are released, the others blocked; ERP and WMS follow.
Ends with tables and one line that says on how many lots the three agree.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TextIO, TypeVar

from demo.agreement import Shown
from demo.calls import AT_ONCE, Answered, Calls, StoryFailed
from demo.measured import measured_lots
from demo.progress import Done, Teller
from demo.report import Held, Refused, Report, Seconds, write_json, write_tables
from demo.script import Author, Scene

#: How long ERP and WMS may take to agree after the last event.
_PATIENCE_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.2

A = TypeVar("A")
B = TypeVar("B")


def run_story(
    *,
    base_url: str,
    api_key: str,
    erp_url: str,
    wms_url: str,
    lots: int | None,
    as_json: bool,
    out: TextIO,
    run: str | None = None,
) -> int:
    """Tell the story once and return the exit code: 0 only when ERP and WMS agree with Lotgate on every lot.

    `lots` limits the measured lots (None: all 114); `run` begins every lot id and must be new (None: now).
    Errors are one sentence on stderr; exit code 1, or 2 for arguments that make no sense.
    """
    now = datetime.now(UTC)
    if lots is not None and lots < 1:
        print("The demo stopped: it needs at least 1 lot.", file=sys.stderr)
        return 2
    author = Author(run or now.strftime("%y%m%d-%H%M%S"), now)
    story = _Story(author, author.scenes(measured_lots()[:lots]), Teller(out, silent=as_json))
    try:
        report = asyncio.run(_tell(story, Calls(base_url, api_key, erp_url, wms_url)))
    except StoryFailed as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    (write_json if as_json else write_tables)(report, out)
    return 0 if report.lots_that_agree == report.lots > 0 else 1


class _Story:
    """What has happened so far: every event sent, with its answer, in the order of the answers."""

    def __init__(self, author: Author, scenes: list[Scene], teller: Teller) -> None:
        self.author = author
        self.scenes = scenes
        self.teller = teller
        self.told: list[tuple[dict[str, Any], Answered]] = []


async def _tell(story: _Story, calls: Calls) -> Report:
    async with calls:
        await calls.check()
        await _chapter(story, calls, "Goods in", [(scene.lot, scene.goods_in) for scene in story.scenes])
        await _chapter(
            story, calls, "Inspection results", [(scene.lot, scene.results) for scene in story.scenes]
        )
        await _chapter(story, calls, "Decisions by hand", await _decisions(story, calls))
        lots = await _lots(story, calls)
        shown = await _wait_for_agreement(story, calls, lots)
        return await _report(story, calls, shown)


async def _chapter(
    story: _Story, calls: Calls, title: str, rows: Sequence[tuple[str, Sequence[dict[str, Any]]]]
) -> None:
    """Send each lot's row of events in order, the lots side by side."""
    steps = sum(len(events) for _, events in rows)
    before = len(story.told)
    with story.teller.chapter(title, steps) as done:

        async def play(row: tuple[str, Sequence[dict[str, Any]]]) -> None:
            for event in row[1]:
                story.told.append((event, await calls.submit(event)))
                done(len(story.told) - before)

        await _side_by_side(play, rows)


async def _decisions(story: _Story, calls: Calls) -> list[tuple[str, Sequence[dict[str, Any]]]]:
    """What people decide then: what is planned, a hold on a released lot, a release of a blocked one."""
    rows: list[tuple[str, Sequence[dict[str, Any]]]] = [
        (s.lot, s.decisions) for s in story.scenes if s.decisions
    ]
    states = {lot["id"]: lot["state"] for lot in await _lots(story, calls) if lot["id"] not in dict(rows)}
    released = [lot for lot, state in states.items() if state == "released"]
    blocked = [lot for lot, state in states.items() if state == "blocked"]
    rows += [(lot, (story.author.hold(lot), story.author.release(lot, "held"))) for lot in released[:1]]
    rows += [(lot, (story.author.release(lot, "rejected"),)) for lot in blocked[:1]]
    return rows


async def _lots(story: _Story, calls: Calls) -> list[dict[str, Any]]:
    """The run's lots as Lotgate has them; a lot whose receipt was refused is none."""
    found = await _side_by_side(calls.lot, [scene.lot for scene in story.scenes])
    return [lot for lot in found if lot is not None]


async def _wait_for_agreement(story: _Story, calls: Calls, lots: list[dict[str, Any]]) -> list[Shown]:
    with story.teller.chapter("ERP and WMS agree", len(lots)) as done:
        return await _until_agreed(story, calls, lots, done)


async def _until_agreed(story: _Story, calls: Calls, lots: list[dict[str, Any]], done: Done) -> list[Shown]:
    """Look at both targets until they agree, or patience ends."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        prefix = f"{story.author.run}-"
        erp, wms = await asyncio.gather(calls.stock("ERP", prefix), calls.stock("WMS", prefix))
        shown = [Shown(lot, erp.get(lot["id"]), wms.get(lot["id"])) for lot in lots]
        agreed = sum(one.agree() for one in shown)
        done(agreed)
        if agreed == len(lots) or time.monotonic() > deadline:
            return shown
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _report(story: _Story, calls: Calls, shown: list[Shown]) -> Report:
    names = [one.lotgate["id"] for one in shown]
    journals = await _side_by_side(lambda lot: calls.records(lot, "journal"), names)
    deliveries: dict[str, Counter[str]] = {}
    ledgers = await _side_by_side(lambda lot: calls.records(lot, "deliveries"), names)
    for delivery in chain.from_iterable(ledgers):
        deliveries.setdefault(delivery["target"], Counter())[delivery["state"]] += 1
    seconds = [one.seconds(journal) for one, journal in zip(shown, journals, strict=True) if one.agree()]
    return Report(
        run=story.author.run,
        events=len(story.told),
        answers=dict(Counter(_outcome(answer) for _, answer in story.told).most_common()),
        lots_by_state=dict(Counter(str(one.lotgate["state"]) for one in shown).most_common()),
        refused=[_refused(event, answer) for event, answer in story.told if answer.status >= 400],
        held=[
            Held(one.lotgate["id"], _reasons(story, one))
            for one in shown
            if one.lotgate["state"] == "blocked"
        ],
        deliveries={target: dict(sorted(states.items())) for target, states in deliveries.items()},
        seconds_to_agreement=Seconds.of([value for value in seconds if value is not None]),
        lots=len(shown),
        lots_that_agree=sum(one.agree() for one in shown),
        disagreeing=[one.lotgate["id"] for one in shown if not one.agree()],
    )


def _outcome(answer: Answered) -> str:
    if answer.replayed:
        return "replayed: sent again, first answer given again"
    if answer.status >= 400:
        return f"refused: {answer.body.get('code', answer.status)}"
    return str(answer.body["outcome"])


def _refused(event: dict[str, Any], answer: Answered) -> Refused:
    problem = answer.body
    rules = [
        f"{line['rule']}: {line.get('message', '')}"
        for line in problem.get("rules", [])
        if line["verdict"] in ("fail", "unknown") and line["severity"] in ("block", "hold")
    ]
    code = str(problem.get("code", answer.status))
    return Refused(
        event["subject"], event["type"], code, problem.get("gate"), rules, str(problem.get("detail", ""))
    )


def _reasons(story: _Story, one: Shown) -> list[str]:
    """Why a lot is blocked: its holds, and the rules that failed when it was rejected."""
    holds = [f"hold {hold['hold']}: {hold['reason']}" for hold in one.lotgate.get("holds", [])]
    failed = {
        f"rule {line['rule']}"
        for event, answer in story.told
        if event["subject"] == one.lotgate["id"]
        for line in answer.body.get("verdicts", [])
        if line["verdict"] == "fail"
    }
    return [*holds, *sorted(failed)] or ["rejected"]


async def _side_by_side(work: Callable[[A], Coroutine[Any, Any, B]], things: Sequence[A]) -> list[B]:
    """Do the work for all things, AT_ONCE at a time; results in the order of the things."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(thing: A) -> B:
        async with free:
            return await work(thing)

    return list(await asyncio.gather(*(one(thing) for thing in things)))
