"""Where rows go that became something: the pipeline and the reference data of this process. Safe to repeat.

What may not enter: where rows come from.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Protocol

import msgspec
from msgspec import Struct

from actors.inbound.rows import RecordRow, same_in_force
from engine.answer import Answer
from engine.errors import LotgateError, NotFound, Overloaded, StoreUnavailable
from engine.events import Event
from engine.pipeline import Pipeline
from engine.reference import ReferenceConflict, References, Wanted
from engine.submission import submission

#: Events that are decided in one transaction.
TOGETHER = 100


class Result(Struct, frozen=True):
    """What became of one row."""

    #: applied, known (it was there before), parked (it waits for its lot), stale, created, unchanged, checked, refused
    outcome: str
    detail: str = ""
    #: A refusal that stands in the journal: the same row gets the same answer for ever.
    decided: bool = False


class Sink(Protocol):
    """Takes what rows became. Raises Overloaded or StoreUnavailable when it has to come again."""

    def events(self, events: Sequence[Event]) -> list[Result]:
        """One result for each, in order."""
        ...

    def records(self, records: Sequence[RecordRow]) -> list[Result]:
        """One result for each, in order."""
        ...


class TooMany(Exception):
    """More is missing from a list than anybody believes; nothing was withdrawn."""


class Said(Struct):
    """What Lotgate's web process says of an event, whatever it says."""

    detail: str = ""


class OwnSink:
    """Decides and keeps in this process."""

    def __init__(
        self, pipeline: Pipeline, references: References, deciding: threading.Lock, by: str, today: Callable[[], date]
    ) -> None:
        self._pipeline = pipeline
        self._references = references
        self._deciding = deciding
        self._by = by
        self._today = today

    def events(self, events: Sequence[Event]) -> list[Result]:
        found: list[Result] = []
        for start in range(0, len(events), TOGETHER):
            told = [submission(event, self._by) for event in events[start : start + TOGETHER]]
            with self._deciding:
                found += [result_of(answer) for answer in self._pipeline.process(told)]
        return found

    def records(self, records: Sequence[RecordRow]) -> list[Result]:
        return [self._record(one) for one in records]

    def _record(self, one: RecordRow) -> Result:
        try:
            today = self._today()
            if one.effective_from is None:
                if self.says_so(one, today):
                    return Result("unchanged")
                one = msgspec.structs.replace(one, effective_from=today)
            wanted = Wanted(one.effective_from or today, one.content, one.effective_until)
            return Result(self._references.put(one.kind, one.key, wanted, self._by).outcome)
        except (Overloaded, StoreUnavailable):
            raise
        except LotgateError as error:
            return Result("refused", error.detail)

    def withdraw(self, kind: str, listed: set[str], at_most: int) -> int:
        """Withdraw, from today on, the records that this inbound file gave and that ``listed`` does not have any more.

        Gives how many. Raises TooMany before anything is withdrawn.
        """
        today = self._today()
        gone, after = list[str](), ""
        while True:
            page, following = self._references.page(kind, today.isoformat(), None, after, TOGETHER)
            gone += [one.key for one in page if one.recorded_by == self._by and one.key not in listed]
            if following is None:
                break
            after = following
        if len(gone) > at_most or (gone and not listed):
            raise TooMany(f"{len(gone)} records would be withdrawn, such as {gone[0]}, and at most {at_most} may be")
        for key in gone:
            try:
                self._withdraw(kind, key, today)
            except ReferenceConflict:
                # It was first seen, or changed, today: two revisions of a record never begin on one day.
                self._withdraw(kind, key, today + timedelta(days=1))
        return len(gone)

    def _withdraw(self, kind: str, key: str, day: date) -> None:
        self._references.put(kind, key, Wanted(day, msgspec.Raw(b"null")), self._by)

    def says_so(self, one: RecordRow, today: date) -> bool:
        """Does the record in force say the same already?"""
        try:
            return same_in_force(
                self._references.revisions(one.kind, one.key), one.content, one.kind, today.isoformat()
            )
        except NotFound:
            return False


def result_of(answer: Answer) -> Result:
    """What an answer of the pipeline means for a row."""
    if answer.status >= 400:
        detail = msgspec.json.decode(answer.body, type=Said).detail
        return Result("refused", detail, decided=answer.outcome == "refused")
    known = answer.replayed or answer.outcome == "duplicate"
    return Result("known" if known else answer.outcome)
