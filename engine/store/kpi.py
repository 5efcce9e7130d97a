"""What business numbers are counted from, in SQL. What they mean is in engine/kpi.py.

Questions about lots and the journal read one index, or a bounded number of the newest rows: the size of the history
costs nothing. Costs are looked for among the facts of the items that are blocked.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from engine.store.archived import Archived
from engine.store.genealogy import read_among
from engine.store.opening import Store

Row = Any
"""A row of SQLAlchemy."""
#: Written as the index has it, so that both databases take it.
_KEPT = "\"trigger\" IN ('inspect', 'dock_to_stock', 'release', 'use_as_is', 'ship')"
_WAITING = (
    "SELECT state, {age} AS age, count(*) AS lots, min(state_since) AS oldest FROM lots"
    " WHERE closed IS NULL AND state IN ('received', 'quarantined', 'inspected', 'blocked') GROUP BY 1, 2"
)
_BLOCKED = (
    "SELECT item, unit, quantity, {age} AS age, count(*) AS lots FROM lots"
    " WHERE closed IS NULL AND state = 'blocked' GROUP BY item, unit, quantity, age"
)
#: Not IS NULL: SQLite would read every lot of our own production instead of those that wait.
_ORDERS = (
    "SELECT count(DISTINCT order_number), count(*), min(received_at) FROM lots"
    " WHERE closed IS NULL AND state IN ('received', 'quarantined', 'inspected', 'blocked')"
    " AND coalesce(order_number, '') <> '' AND coalesce(supplier, '') = ''"
)
_COSTS = (
    "SELECT kind, key, revision, effective_from, effective_until, content FROM reference WHERE kind = 'fact'"
    " AND key IN (SELECT key FROM reference WHERE kind = 'fact' AND {among} AND content LIKE '%\"standard_cost\"%')"
)
_RELEASED = (
    f"SELECT lot, recorded_at FROM journal WHERE {_KEPT} AND \"trigger\" IN ('release', 'use_as_is')"
    " AND kind <> 'refusal' AND recorded_at >= :since ORDER BY recorded_at DESC LIMIT :limit"
)
_INSPECTED = (
    f"SELECT lot, recorded_at FROM journal WHERE {_KEPT} AND \"trigger\" IN ('inspect', 'dock_to_stock')"
    " AND kind <> 'refusal' AND recorded_at >= :since ORDER BY recorded_at DESC LIMIT :limit"
)
_INSPECTED_OF = (
    "SELECT lot, recorded_at FROM journal WHERE {among} AND \"trigger\" IN ('inspect', 'dock_to_stock')"
    " AND kind <> 'refusal'"
)
_REFUSED = (
    f"SELECT lot, recorded_at, state_before, type, data, evidence FROM journal WHERE {_KEPT} AND \"trigger\" = 'ship'"
    " AND kind = 'refusal' AND recorded_at >= :since ORDER BY recorded_at DESC LIMIT :limit"
)
_SHIPPED = (
    "SELECT lot, max(recorded_at) FROM journal WHERE {among} AND \"trigger\" = 'ship'"
    " AND kind <> 'refusal' GROUP BY lot"
)


def read_waiting(connection: Connection, edges: Sequence[str]) -> list[Row]:
    """Living lots that wait, by state and age: state, age (which edge), lots, oldest. ``edges``: the newest first."""
    return list(connection.execute(text(_WAITING.format(age=_age(edges))), _named(edges)))


def read_blocked(connection: Connection, edges: Sequence[str]) -> list[Row]:
    """Blocked lots, alike ones as one row: item, unit, quantity, age, lots."""
    return list(connection.execute(text(_BLOCKED.format(age=_age(edges))), _named(edges)))


def read_orders(connection: Connection) -> tuple[int, int, str | None]:
    """Production orders with lots that are not released: orders, lots, and when the oldest of them was reported."""
    orders, lots, oldest = connection.execute(text(_ORDERS)).one()
    return int(orders), int(lots), oldest


def read_costs(connection: Connection, items: Sequence[str]) -> list[Row]:
    """Every revision of every record that ever was a standard cost of one of ``items``."""
    # A record may have been of several of them: once is enough.
    return list({(row.key, row.revision): row for row in read_among(connection, _COSTS, "item", items)}.values())


def read_releases(
    store: Store, connection: Connection, since: str, limit: int
) -> tuple[list[Row], list[Row], dict[str, str]]:
    """The newest releases (lot, at), when lots were inspected (lot, at), and when each was received.

    Nothing of the window is archived; when a lot was inspected before it may be. Of one whose segment cannot be read
    that is not known: it counts in the whole lead time, and not in its steps, which say of how many lots they are.
    """
    released = list(connection.execute(text(_RELEASED), {"since": since, "limit": limit}))
    lots = sorted({str(row.lot) for row in released})
    inspected: list[Row] = list(connection.execute(text(_INSPECTED), {"since": since, "limit": 2 * limit}))
    first: dict[str, str] = {row.lot: row.recorded_at for row in released}  # the newest come first
    seen = {row.lot for row in inspected if row.lot in first and row.recorded_at <= first[row.lot]}
    rest = [lot for lot in lots if lot not in seen]
    inspected += read_among(connection, _INSPECTED_OF, "lot", rest)
    archived, _ = Archived(store).readable(connection, rest)
    entries = (p.entry for stretches in archived.values() for stretch in stretches for p in stretch.entries)
    inspected += [e for e in entries if e.trigger in ("inspect", "dock_to_stock") and e.kind != "refusal"]
    received = read_among(connection, "SELECT id, received_at FROM lots WHERE {among}", "id", lots)
    return released, inspected, {str(row.id): str(row.received_at) for row in received}


def read_refused_shipments(connection: Connection, since: str, limit: int) -> tuple[list[Row], dict[str, str]]:
    """The newest refused shipments (lot, recorded_at, state_before, type, data, evidence), and when lots left.

    What left after it was refused in the window is not archived yet.
    """
    refused = list(connection.execute(text(_REFUSED), {"since": since, "limit": limit}))
    lots = sorted({str(row.lot) for row in refused})
    return refused, {str(lot): str(at) for lot, at in read_among(connection, _SHIPPED, "lot", lots)}


def _age(edges: Sequence[str]) -> str:
    whens = " ".join(f"WHEN state_since > :edge{number} THEN {number}" for number in range(len(edges)))
    return f"CASE {whens} ELSE {len(edges)} END"


def _named(edges: Sequence[str]) -> dict[str, str]:
    return {f"edge{number}": edge for number, edge in enumerate(edges)}
