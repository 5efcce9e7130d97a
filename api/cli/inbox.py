"""``lotgate inbox``: files that were dropped, taken by hand. Rows go to the running service with the caller's key.

What may not enter: what a row becomes (actors/inbound).
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from actors.inbound.drop import Dropped, Outcome, Wrong, go_through, read_file
from actors.inbound.folder import Folder, FolderBusy, FolderUnfit, Settling, lying, opened, shown
from actors.inbound.format import Inbound, load
from actors.inbound.rows import RecordRow, same_in_force
from actors.inbound.sink import Result, Sink
from actors.inbound.tables import FileRefused
from api.cli.client import Client, body_of
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from api.cli.submit import until_answered
from engine.events import Event, encode_event
from engine.reference import Record
from engine.settings import Settings

#: Records that go in one call.
_TOGETHER = 500


def inbox(options: argparse.Namespace, settings: Settings) -> int:
    """Take a file, or what lies in a folder; 1 when rows were not taken."""
    inbound = load(Path(options.mapping), settings)
    if inbound.kind != "drop" or inbound.drop is None:
        raise Failure(f"{options.mapping} is a {inbound.kind}: files need one of kind: drop", WRONG)
    sink = ServiceSink(options, settings)
    path = Path(options.what)
    timezone = ZoneInfo(settings.timezone)
    try:
        if path.is_dir() and not options.dry_run:
            outcomes = _from_folder(inbound, path, sink, timezone)
        elif path.is_dir():
            names = lying(path, inbound.drop.files)
            outcomes = [_one(inbound, path / name, sink, timezone) for name in names]
        else:
            outcomes = [_one(inbound, path, sink, timezone)]
    except (FolderUnfit, FolderBusy) as error:
        raise Failure(str(error), WRONG) from None
    return _say(outcomes, options.json)


def _from_folder(inbound: Inbound, path: Path, sink: Sink, timezone: ZoneInfo) -> list[Outcome]:
    drop = inbound.drop
    settle_seconds = 0.0 if drop is None else drop.settle_s
    folder = Folder(path)
    try:
        for name in folder.refused(drop.files if drop is not None else "*"):
            print(f"{shown(name)} is no plain file (a link, a pipe); it is not taken", file=sys.stderr)
        dropped = Dropped(inbound, sink, timezone, Settling(settle_seconds))
        if settle_seconds and drop is not None:
            # Looked at twice: what still grows is left for the next time.
            dropped.settling.settled(folder.dropped(drop.files), time.monotonic())
            time.sleep(settle_seconds)
        return dropped.round(folder, time.monotonic())
    finally:
        folder.close()


def _one(inbound: Inbound, path: Path, sink: Sink, timezone: ZoneInfo) -> Outcome:
    """A file where it lies; it stays there."""
    outcome = Outcome(shown(path.name))
    with opened(str(path)) as file:
        try:
            content = read_file(inbound, shown(path.name), file)
        except FileRefused as error:
            outcome.problem = str(error)
            outcome.wrong = [Wrong(0, "", outcome.problem)]
            return outcome
    counts, wrong = go_through(inbound, content.rows, sink, timezone)
    outcome.rows, outcome.counts, outcome.wrong = len(content.rows), dict(counts), [one for _, one in wrong]
    return outcome


def _say(outcomes: list[Outcome], as_json: bool) -> int:
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            for one in outcome.wrong if not outcome.problem else ():
                where = f"{one.column}: " if one.column else ""
                print(f"{outcome.name}:{one.row}: {where}{one.detail}", file=sys.stderr)
            print(outcome.words())
        if not outcomes:
            print("nothing to take")
    return FOUND if any(outcome.wrong or outcome.problem for outcome in outcomes) else DONE


class _Outcomes(msgspec.Struct):
    """What an import answers for each line."""

    lines: list[Result]


class ServiceSink:
    """Hands rows to the running service."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._trial = bool(options.dry_run)
        self._made: Client | None = None

    @property
    def _client(self) -> Client:
        # Late: to look at a file nobody needs a service.
        if self._made is None:
            self._made = Client(self._options, self._settings)
        return self._made

    def events(self, events: Sequence[Event]) -> list[Result]:
        if self._trial:
            return [Result("checked") for _ in events]
        return [self._event(event) for event in events]

    def _event(self, event: Event) -> Result:
        answer = until_answered(self._client, encode_event(event))
        if answer.status_code in (401, 403):
            self._client.json(answer)
        if answer.status_code in (429, 503):
            raise Failure(f"Lotgate takes no more just now ({answer.status_code}); try again, nothing is done twice")
        body = body_of(answer)
        if answer.status_code >= 400:
            return Result("refused", str(body.get("detail", "")), decided=answer.status_code == 409)
        known = answer.headers.get("Idempotency-Replayed") == "true" or body.get("outcome") == "duplicate"
        return Result("known" if known else str(body.get("outcome", "applied")))

    def records(self, records: Sequence[RecordRow]) -> list[Result]:
        today = datetime.now(ZoneInfo(self._settings.timezone)).date()
        found: list[Result | None] = [None] * len(records)
        lines: list[tuple[int, dict[str, Any]]] = []
        for index, one in enumerate(records):
            if one.effective_from is None and self._says_so(one, today.isoformat()):
                found[index] = Result("unchanged")
                continue
            line: dict[str, Any] = {"key": one.key, "effective_from": one.effective_from or today,
                                    "content": one.content}  # fmt: skip
            if one.effective_until is not None:
                line["effective_until"] = one.effective_until
            lines.append((index, line))
        for start in range(0, len(lines), _TOGETHER):
            some = lines[start : start + _TOGETHER]
            results = self._import(records[some[0][0]].kind, [line for _, line in some])
            for (index, _), result in zip(some, results, strict=True):
                found[index] = result
        return [result for result in found if result is not None]

    def _import(self, kind: str, lines: list[dict[str, Any]]) -> list[Result]:
        answer = self._client.call(
            "POST", f"/v1/reference/{quote(kind, safe='')}/import", params={"dry_run": "yes"} if self._trial else {},
            content=b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
            headers={"Content-Type": "application/x-ndjson"},
        )  # fmt: skip
        return msgspec.convert(self._client.json(answer), _Outcomes).lines

    def _says_so(self, one: RecordRow, day: str) -> bool:
        path = f"/v1/reference/{quote(one.kind, safe='')}/{quote(one.key, safe='')}"
        answer = self._client.call("GET", path)
        if answer.status_code == 404:
            return False
        self._client.json(answer)
        revisions = msgspec.json.decode(answer.content, type=_Revisions).data
        return same_in_force(revisions, one.content, one.kind, day)


class _Revisions(msgspec.Struct):
    """Every revision of a record."""

    data: list[Record]
