"""A hold is decided and written before what was decided earlier is written; nothing else changes by that."""

import itertools
import queue
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.answer import Answer
from engine.clock import Clock
from engine.errors import LotgateError
from engine.events import Event
from engine.inbox import Waiting
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store.opening import Overtaken, Store
from engine.store.reading import Reading
from engine.submission import submission
from engine.urgency import UrgentFirst
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.test_concessions import rejected, use

RECEIVED = {"item": "RING-74", "revision": "A", "quantity": {"value": "9", "unit": "ea"}, "supplier": "ACME"}


class Arriving:
    """An inbox into which events come while the committer works: each some looks after the one before."""

    def __init__(self, coming: Sequence[tuple[int, Event]]) -> None:
        self._ready: UrgentFirst[Waiting] = UrgentFirst()
        self._looks, due = 0, 0
        self._coming: list[tuple[int, Event]] = []
        for after, event in coming:
            due += after
            self._coming.append((due, event))
        #: Subjects and types, in the order of their answers.
        self.answered: list[tuple[str, str]] = []
        self.outcomes: list[str] = []

    def _look(self) -> None:
        self._looks += 1
        while self._coming and self._coming[0][0] <= self._looks:
            _, event = self._coming.pop(0)
            self._ready.put(Waiting(submission(event, "tester"), None))

    def take(self, wait: bool) -> Waiting | None:
        self._look()
        if not len(self._ready):
            if not self._coming:
                return None
            if not wait:
                raise queue.Empty
            self._looks = self._coming[0][0]
            self._look()
        return self._ready.take()

    def is_urgent(self) -> bool:
        self._look()
        return self._ready.is_urgent

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        for waiting, answer in answers:
            assert isinstance(answer, Answer), answer
            event = waiting.submission.event
            self.answered.append((event.subject, str(event.__struct_config__.tag)))
            self.outcomes.append(answer.outcome)


@pytest.fixture
def committer(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> Pipeline:
    return Pipeline(store, judge, rulebook, clock)


def receipt(plant: Any, lot: str) -> Event:
    return plant.event("lot.received.v1", lot, RECEIVED | {"receipt": f"GR-{lot}"})  # type: ignore[no-any-return]


def hold(plant: Any, lot: str, name: str = "H") -> Event:
    return plant.event("hold.applied.v1", lot, {"hold": name, "reason": {"code": "R"}})  # type: ignore[no-any-return]


def test_a_hold_overtakes_what_is_decided_and_not_written(plant: Any, store: Store, committer: Pipeline) -> None:
    plant.receive("HELD")
    # The first batch is decided, the second under way, when the hold comes: at the look behind its taking off.
    inbox = Arriving([(1, receipt(plant, "A")), (2, receipt(plant, "B")), (2, hold(plant, "HELD"))])
    committer.run(inbox)
    assert inbox.answered[0] == ("HELD", "hold.applied.v1")
    assert [lot for lot, _ in inbox.answered] == ["HELD", "A", "B"]
    assert [Reading(store).lot(lot).version for lot in ("A", "B")] == [2, 2]
    assert Reading(store).lot("HELD").state == "blocked"
    assert verify(Reading(store).journals()).intact


def test_a_hold_of_a_lot_that_is_decided_and_not_written_comes_behind_it(
    plant: Any, store: Store, committer: Pipeline
) -> None:
    inbox = Arriving([(1, receipt(plant, "A")), (2, hold(plant, "A")), (0, receipt(plant, "B"))])
    committer.run(inbox)
    assert [one for one in inbox.answered if one[0] == "A"] == [("A", "lot.received.v1"), ("A", "hold.applied.v1")]
    assert inbox.outcomes == ["applied"] * 3
    assert Reading(store).lot("A").state == "blocked"


def test_a_hold_that_goes_first_and_does_not_land_loses_nobody(
    plant: Any, store: Store, committer: Pipeline, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock
) -> None:
    """Its companion uses a concession that is used elsewhere before it lands: all that is under way is decided again."""
    plant.receive("HELD")
    for lot in ("X", "Y"):
        rejected(plant, lot, "40")
    other = Pipeline(store, judge, rulebook, clock)
    land, first = committer._land, [True]

    def land_late(flying: Any) -> bool:
        if first.pop() if first else False:
            assert other.process([submission(disposition(plant, "Y"), "tester")])[0].outcome == "applied"
        return land(flying)

    committer._land = land_late  # type: ignore[method-assign]
    coming = [
        (1, receipt(plant, "A")),
        (2, receipt(plant, "B")),
        (2, hold(plant, "HELD")),
        (0, disposition(plant, "X")),
    ]
    inbox = Arriving(coming)
    committer.run(inbox)
    other.stop()
    assert not first
    assert inbox.answered == [
        ("HELD", "hold.applied.v1"), ("X", "lot.dispositioned.v1"), ("A", "lot.received.v1"), ("B", "lot.received.v1"),
    ]  # fmt: skip
    assert inbox.outcomes == ["applied"] * 4
    assert Reading(store).lot("HELD").state == "blocked"
    assert [Reading(store).lot(lot).version for lot in ("A", "B")] == [2, 2]
    assert verify(Reading(store).journals()).intact


def test_a_hold_that_cannot_be_decided_beside_others_is_decided_behind_them(
    plant: Any, store: Store, committer: Pipeline
) -> None:
    """On PostgreSQL another process may have its lot at that moment."""
    plant.receive("HELD")
    take_off = committer._take_off

    def take_off_in_vain(batch: list[Waiting], flying: Any) -> Any:
        taken = take_off(batch, flying)
        if taken is not None and taken.is_urgent and flying:
            taken.failed = Overtaken("another process has the lot")
        return taken

    committer._take_off = take_off_in_vain  # type: ignore[method-assign]
    inbox = Arriving([(1, receipt(plant, "A")), (2, receipt(plant, "B")), (2, hold(plant, "HELD"))])
    committer.run(inbox)
    assert [lot for lot, _ in inbox.answered] == ["A", "B", "HELD"]
    assert inbox.outcomes == ["applied"] * 3
    assert verify(Reading(store).journals()).intact


def disposition(plant: Any, lot: str) -> Event:
    return plant.event("lot.dispositioned.v1", lot, use())  # type: ignore[no-any-return]


def said(plant: Any, kind: str, lot: str, name: str) -> Event:
    reason, part = {"reason": {"code": "R"}}, {"lot": name, "quantity": {"value": "1", "unit": "ea"}}
    type_, data = {
        "hold": ("hold.applied.v1", {"hold": name} | reason),
        "lift": ("hold.lifted.v1", {"hold": name} | reason),
        "open": ("quality_record.opened.v1", {"record": name, "kind": "deviation", "severity": "minor", "text": "."}),
        "split": ("lot.split.v1", {"children": [part]}),
    }[kind]
    return plant.event(type_, lot, data)  # type: ignore[no-any-return]


def test_however_many_holds_come_what_they_overtake_is_written_soon(
    plant: Any, store: Store, committer: Pipeline
) -> None:
    lots = [f"HELD-{number}" for number in range(60)]
    for lot in lots:
        plant.receive(lot)
    ordinary = [(1, receipt(plant, "A")), (2, receipt(plant, "B"))]
    committer._most = 8  # events of a batch; below MIN_BATCH that stays so
    inbox = Arriving([*ordinary, *((1, hold(plant, lot)) for lot in lots)])
    committer.run(inbox)
    assert len(inbox.answered) == 62
    assert max(inbox.answered.index((lot, "lot.received.v1")) for lot in "AB") < 2 * committer._most


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, str, str, str]]:
    """(looks after the one before, what, lot, hold or record or child); ``P`` and ``Q`` are there.

    ``again``: the event before of the lot is sent once more, as scanners do.
    """
    lots, standing, history = ["P", "Q"], dict[str, list[str]](), list[tuple[int, str, str, str]]()
    for number in range(draw(st.integers(3, 20))):
        kind, lot = (
            draw(st.sampled_from(["hold", "hold", "lift", "open", "split", "again"])),
            draw(st.sampled_from(lots)),
        )
        name = f"{lot}{number}"
        if kind == "lift" and standing.get(lot):
            name = standing[lot].pop()
        elif kind in ("lift", "hold"):
            kind = "hold"
            standing.setdefault(lot, []).append(name)
        elif kind == "split":
            lots.append(name)
            standing[name] = list(standing.get(lot, []))
        history.append((draw(st.integers(0, 4)), kind, lot, name))
    return history


@pytest.fixture
def runs() -> Iterator[int]:
    """Numbers of examples: each has lots of its own."""
    return itertools.count()


@given(histories())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_lot_is_where_it_would_be_one_event_after_the_other(
    plant: Any, store: Store, committer: Pipeline, runs: Iterator[int], history: list[tuple[int, str, str, str]]
) -> None:
    run = next(runs)

    def told(prefix: str) -> list[tuple[int, Event]]:
        sent: list[tuple[int, Event]] = []
        newest: dict[str, Event] = {}
        for after, kind, lot, name in history:
            if kind != "again" or lot not in newest:
                newest[lot] = said(plant, "open" if kind == "again" else kind, prefix + lot, prefix + name)
            sent.append((after, newest[lot]))
        return sent

    apart, together = f"S{run}-", f"T{run}-"
    committer.process([submission(receipt(plant, way + lot), "tester") for way in (apart, together) for lot in "PQ"])
    for _, event in told(apart):
        committer.process([submission(event, "tester")])
    inbox = Arriving(told(together))
    committer.run(inbox)
    assert len(inbox.answered) == len(history)
    for name in {lot for _, _, lot, _ in history}:
        assert triggers(store, apart + name) == triggers(store, together + name), name


def triggers(store: Store, lot: str) -> list[tuple[str, str]]:
    return [(entry.trigger, entry.state_after) for entry in Reading(store).journal(lot)]
