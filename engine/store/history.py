"""Past decisions and the results they rested on, in SQL and in the archive. What they mean: engine/history.py."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, and_, case, null, select

from engine.segments import Placed
from engine.store.archived import Archived
from engine.store.opening import Store
from engine.store.schema.lots import journal, results

#: How the evidence of a decision that rules had a part in begins (engine/evidence.py).
_JUDGED = '{"gate":'
#: Entries that may be out of order by the time of their recording.
_MARGIN = 1_000


class DecisionRow(Struct, frozen=True):
    """A journal entry that a gate was judged for."""

    position: int
    lot: str
    version: int
    kind: str
    trigger: str
    state_before: str
    state_after: str
    rule_set: str
    recorded_at: str
    evidence: str
    #: Data block of a refused inspection record, whose results are kept nowhere else.
    refused_data: str | None
    #: The type that the block is of.
    refused_type: str | None


_REFUSED = and_(journal.c.kind == "refusal", journal.c.trigger == "record_inspection")
_COLUMNS = (
    journal.c.position, journal.c.lot, journal.c.version, journal.c.kind, journal.c.trigger, journal.c.state_before,
    journal.c.state_after, journal.c.rule_set, journal.c.recorded_at, journal.c.evidence,
    case((_REFUSED, journal.c.data), else_=null()), case((_REFUSED, journal.c.type), else_=null()),
)  # fmt: skip


def read_decisions(
    store: Store, connection: Connection, after: int, limit: int, since: str | None, until: str | None
) -> tuple[list[DecisionRow], int | None]:
    """Judged entries in the order they were written, from position ``after`` on; instants are bounds, both included.

    Gives the position to go on from, too; None: there is nothing behind. Raises ArchiveUnavailable. ``connection``: one
    of ``store.moments``.
    """
    query = select(*_COLUMNS).where(journal.c.position > after, journal.c.evidence.startswith(_JUDGED))
    if since is not None:
        query = query.where(journal.c.recorded_at >= since)
    if until is not None:
        query = query.where(journal.c.recorded_at <= until)
    rows = {r.position: r for r in map(_decision, connection.execute(query.order_by(journal.c.position).limit(limit)))}
    old = Archived(store).after(connection, (0, after), limit, by_position=True)
    # Up to where both are complete: behind it, the other may have more.
    ends = [max(rows)] if len(rows) == limit else []
    ends += [old[-1].position] if len(old) == limit else []
    found = rows | {p.position: _archived(p) for p in old if _is_wanted(p, since, until)}
    last = min(ends, default=None)
    decisions = [row for position, row in sorted(found.items()) if last is None or position <= last]
    return decisions, last


def read_decisions_of(store: Store, connection: Connection, lot: str) -> list[DecisionRow]:
    """Judged entries of one lot, in order. Raises ArchiveUnavailable."""
    query = select(*_COLUMNS).where(journal.c.lot == lot, journal.c.evidence.startswith(_JUDGED))
    rows = [_decision(row) for row in connection.execute(query.order_by(journal.c.version))]
    old = [
        _archived(placed) for stretch in Archived(store).stretches(connection, [lot]).get(lot, ())
        for placed in stretch.entries if _is_wanted(placed, None, None)
    ]  # fmt: skip
    return old + rows


def _decision(row: Any) -> DecisionRow:
    return DecisionRow(*tuple(row))


def _is_wanted(placed: Placed, since: str | None, until: str | None) -> bool:
    entry = placed.entry
    early, late = since is not None and entry.recorded_at < since, until is not None and entry.recorded_at > until
    return entry.evidence.startswith(_JUDGED) and not early and not late


def _archived(placed: Placed) -> DecisionRow:
    e = placed.entry
    refused = e.kind == "refusal" and e.trigger == "record_inspection"
    return DecisionRow(
        placed.position, e.lot, e.version, e.kind, e.trigger, e.state_before, e.state_after, e.rule_set, e.recorded_at,
        e.evidence, e.data if refused else None, e.type if refused else None,
    )  # fmt: skip


def read_records(connection: Connection, lots: Iterable[str]) -> list[tuple[str, int, str, str]]:
    """(lot, version, inspection, measurements JSON) of every inspection record of ``lots``, in order."""
    columns = (results.c.lot, results.c.version, results.c.inspection, results.c.measurements)
    query = select(*columns).where(results.c.lot.in_(list(lots))).order_by(results.c.lot, results.c.version)
    return [(lot, version, inspection, text) for lot, version, inspection, text in connection.execute(query)]


def last_position(connection: Connection) -> int:
    """The position of the newest journal entry; 0 for an empty journal."""
    row = connection.execute(select(journal.c.position).order_by(journal.c.position.desc()).limit(1)).first()
    return 0 if row is None else int(row[0])


def first_position(connection: Connection, since: str) -> int:
    """A position before the first entry that was recorded at ``since`` or later, found by halving.

    Two processes may write entries a moment out of order: it is a little too early rather than too late.
    """
    low, high = 0, last_position(connection)
    while low < high:
        middle = (low + high) // 2
        query = select(journal.c.recorded_at).where(journal.c.position > middle).order_by(journal.c.position).limit(1)
        row = connection.execute(query).first()
        if row is None or row[0] >= since:
            high = middle
        else:
            low = middle + 1
    return max(0, low - _MARGIN)
