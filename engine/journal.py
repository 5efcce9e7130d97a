"""The journal of a lot: entries, their canonical bytes, the hash chain, and its verification.

Canonical bytes of an entry (docs/journal.md), so that others can verify it without Lotgate: one JSON array, UTF-8,
no white space, of exactly these members in this order::

    ["lotgate.entry.v1", lot, version, kind, trigger, type, source, event_id, time, recorded_at, principal,
     correlation_id, causation_id, traceparent, state_before, state_after, rule_set, data, evidence, prev_hash]

``version`` is a number, the rest are strings or null; ``data`` and ``evidence`` are the stored JSON texts, taken as
strings. Strings are escaped as RFC 8785 asks. ``hash`` is the lower-case hex SHA-256 of those bytes, ``prev_hash``
the hash of the lot's previous entry, and 64 zeros for the first.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any

import msgspec
from msgspec import Struct

from engine.consequences import decode_data
from engine.errors import ArchiveUnavailable
from engine.evolution import Step, evolve
from engine.lifecycle import ABSENT, TRIGGERS, Situation, follow
from engine.lot import Lot

FORMAT = "lotgate.entry.v1"
#: ``prev_hash`` of a lot's first entry.
GENESIS = "0" * 64


class Entry(Struct, frozen=True):
    """One line of a lot's journal."""

    lot: str
    #: 1, 2, 3 … without gaps.
    version: int
    #: event (submitted and applied), consequence (Lotgate's own), refusal (submitted, changed nothing)
    kind: str
    trigger: str
    #: CloudEvents type.
    type: str
    source: str
    event_id: str
    #: When it happened, as the source said, in UTC; None when it did not say.
    time: str | None
    recorded_at: str
    principal: str
    correlation_id: str | None
    #: Id of the event that caused a consequence.
    causation_id: str | None
    traceparent: str | None
    state_before: str
    state_after: str
    #: Digest of the rule set that was in force.
    rule_set: str
    #: The event's data block, JSON.
    data: str
    #: What the decision rested on, JSON: gate, engines, verdicts, facts.
    evidence: str
    prev_hash: str
    hash: str = ""


_encode = msgspec.json.Encoder().encode


def canonical(entry: Entry) -> bytes:
    """The bytes that ``entry.hash`` is the SHA-256 of."""
    return _encode(
        (
            FORMAT,
            entry.lot,
            entry.version,
            entry.kind,
            entry.trigger,
            entry.type,
            entry.source,
            entry.event_id,
            entry.time,
            entry.recorded_at,
            entry.principal,
            entry.correlation_id,
            entry.causation_id,
            entry.traceparent,
            entry.state_before,
            entry.state_after,
            entry.rule_set,
            entry.data,
            entry.evidence,
            entry.prev_hash,
        )
    )


def entry_hash(entry: Entry) -> str:
    """SHA-256 of the canonical bytes, lower-case hex."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def step_of(entry: Entry, data: Any, sequence: str | None = None) -> Step:
    """What ``entry`` does to its lot; ``data`` is its decoded data block."""
    return Step(
        entry.lot,
        entry.version,
        entry.trigger,
        entry.type,
        entry.state_after,
        entry.recorded_at,
        entry.source,
        data,
        entry.hash,
        sequence,
        entry.kind == "refusal",
    )


class Break(Struct, frozen=True):
    """The first thing that is wrong with a lot's journal."""

    lot: str
    version: int
    problem: str


class VerifyReport(Struct, frozen=True):
    """What verification found: empty ``breaks`` means every chain holds and every fold equals its lot."""

    lots: int
    entries: int
    breaks: tuple[Break, ...]

    @property
    def intact(self) -> bool:
        """True when nothing is wrong."""
        return not self.breaks


def folds(entries: Iterable[Entry], lot: Lot | None = None) -> Iterator[tuple[Entry, Lot | None]]:
    """The lot after each of ``entries``, from ``lot`` on; nothing is verified."""
    for entry in entries:
        lot = evolve(lot, step_of(entry, decode_data(entry.type, entry.data), _sequence(entry)))
        yield entry, lot


def fold(entries: Iterable[Entry], lot: Lot | None = None) -> Lot | None:
    """The lot after ``entries``, from ``lot`` on; nothing is verified."""
    after = lot
    for _, after in folds(entries, lot):  # noqa: B007  # the last one counts
        pass
    return after


def verify_lot(
    lot: str, entries: Iterable[Entry], stored: Lot | None, begins: Lot | None = None
) -> tuple[int, Break | None]:
    """Check one journal: versions, chain, lifecycle and fold. Returns entries read and the first break, if any.

    ``begins``: the lot before the first of ``entries``, where these are the later part of a journal.
    """
    previous, state, folded, count = GENESIS, ABSENT, begins, 0
    if begins is not None:
        previous, state = begins.head, begins.state
    before = 0 if begins is None else begins.version
    for entry in entries:
        count += 1
        problem = _entry_problem(entry, before + count, previous, state)
        if problem is not None:
            return count, Break(lot, entry.version, problem)
        try:
            folded = evolve(folded, step_of(entry, decode_data(entry.type, entry.data), _sequence(entry)))
        except (KeyError, msgspec.MsgspecError) as error:
            return count, Break(lot, entry.version, f"its data block cannot be read: {error}")
        previous, state = entry.hash, entry.state_after
    return count, _fold_break(lot, before + count, folded, stored)


def _sequence(entry: Entry) -> str | None:
    if entry.kind == "refusal":
        return None
    evidence = msgspec.json.decode(entry.evidence)
    sequence = evidence.get("sequence")
    return None if sequence is None else str(sequence)


def _entry_problem(entry: Entry, expected: int, previous: str, state: str) -> str | None:
    if entry.version != expected:
        return f"version {expected} is missing (found {entry.version})"
    if entry.prev_hash != previous:
        return "it does not follow the entry before it (prev_hash differs)"
    if entry_hash(entry) != entry.hash:
        return "its content was changed (hash differs)"
    if entry.state_before != state:
        return f"it starts from {entry.state_before!r}, but the lot was {state!r}"
    if not _lawful(entry):
        return f"{entry.trigger!r} does not lead from {entry.state_before!r} to {entry.state_after!r}"
    return None


#: Every situation that a lot can be in.
_SITUATIONS = tuple(Situation(*one) for one in product((False, True), repeat=len(Situation.__struct_fields__)))


def _lawful(entry: Entry) -> bool:
    if entry.kind == "refusal":
        return entry.state_after == entry.state_before
    if entry.trigger == "split_off":
        return entry.state_before == ABSENT
    if entry.trigger not in TRIGGERS:
        return False
    return any(follow(entry.state_before, entry.trigger, one) == entry.state_after for one in _SITUATIONS)


def _fold_break(lot: str, count: int, folded: Lot | None, stored: Lot | None) -> Break | None:
    if stored is None:
        return Break(lot, count, "the journal has no lot beside it") if folded is not None else None
    if folded is None:
        return Break(lot, count, "the lot has no journal")
    if folded != stored:
        return Break(lot, count, "folding the journal does not give the stored state")
    return None


def verify(
    journals: Iterator[tuple[str, Iterable[Entry], Lot | None]], progress: Callable[[int], None] | None = None
) -> VerifyReport:
    """Check every journal that ``journals`` yields as (lot, entries in order, stored lot)."""
    lots = entries = 0
    breaks: list[Break] = []
    for lot, lines, stored in journals:
        try:
            count, broken = verify_lot(lot, lines, stored)
        except ArchiveUnavailable as error:
            count, broken = 0, Break(lot, 1, error.detail)
        lots, entries = lots + 1, entries + count
        if broken is not None:
            breaks.append(broken)
        if progress is not None:
            progress(lots)
    return VerifyReport(lots, entries, tuple(breaks))
