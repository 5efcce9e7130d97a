"""Journal entries in the order in which they became visible, in SQL. What they mean is in engine/feed.py.

What was archived is read out of the archive, between what was not. SQLite has one writer: positions are given in the
order of the commits. On PostgreSQL positions are drawn before the commit, so the order is (number of the transaction,
or of the newest that had ended when it wrote; position), and only entries with numbers before every transaction that is
still under way are shown: nothing can come before them any more.
"""

from typing import Any

from sqlalchemy import text

from engine.segments import Placed
from engine.store.archived import Archived
from engine.store.genealogy import read_among
from engine.store.opening import Store

#: Columns of a change, in the order of engine.feed.Change after its id.
_COLUMNS = (
    'j.lot, j.version, j.kind, j.type, j."trigger", j.state_before, j.state_after, l.item, l.plant, j.source,'
    " j.event_id, j.time, j.recorded_at, j.principal, j.correlation_id, j.causation_id, j.data"
)
#: A condition on ``commit_order``: nothing can come before such entries any more.
SETTLED = (
    "commit_order < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + raised FROM commit_offset)"
)
_AFTER = {
    "sqlite": f"""
        SELECT 0, j.position, {_COLUMNS}
        FROM (SELECT * FROM journal WHERE position > :position ORDER BY position LIMIT :limit) j
        LEFT JOIN lots l ON l.id = j.lot ORDER BY j.position""",
    "postgresql": f"""
        SELECT j.commit_order, j.position, {_COLUMNS}
        FROM (SELECT * FROM journal WHERE (commit_order, position) > (:order, :position) AND {SETTLED}
              ORDER BY commit_order, position LIMIT :limit) j
        LEFT JOIN lots l ON l.id = j.lot ORDER BY j.commit_order, j.position""",
}
_LOTS = "SELECT id, item, plant FROM lots WHERE {among}"
_NEWEST = {
    "sqlite": "SELECT 0, max(position) FROM journal",
    "postgresql": f"SELECT commit_order, position FROM journal WHERE {SETTLED}"
    " ORDER BY commit_order DESC, position DESC LIMIT 1",
}


def read_after(store: Store, after: tuple[int, int], limit: int) -> list[Any]:
    """Up to ``limit`` rows after (order, position): order, position, then the columns of a change.

    Raises ArchiveUnavailable.
    """
    values = {"position": after[1], "limit": limit} | ({"order": after[0]} if store.dialect == "postgresql" else {})
    with store.moments.connect() as connection:
        rows = {(int(row[0]), int(row[1])): row for row in connection.execute(text(_AFTER[store.dialect]), values)}
        old = [p for p in Archived(store).after(connection, after, limit) if (p.order, p.position) not in rows]
        if not old:
            return list(rows.values())
        lots = read_among(connection, _LOTS, "id", sorted({p.entry.lot for p in old}))
        of = {row.id: (row.item, row.plant) for row in lots}
    both = rows | {(p.order, p.position): _row(p, of) for p in old}
    return [row for _, row in sorted(both.items())][:limit]


def _row(placed: Placed, of: dict[str, tuple[str, str | None]]) -> tuple[Any, ...]:
    e = placed.entry
    return (
        placed.order, placed.position, e.lot, e.version, e.kind, e.type, e.trigger, e.state_before, e.state_after,
        *of.get(e.lot, (None, None)), e.source, e.event_id, e.time, e.recorded_at, e.principal, e.correlation_id,
        e.causation_id, e.data,
    )  # fmt: skip


def read_newest(store: Store) -> tuple[int, int]:
    """(order, position) of the newest entry that can be shown; (0, 0) when there is none."""
    with store.moments.connect() as connection:
        row = connection.execute(text(_NEWEST[store.dialect])).first()
        here = (0, 0) if row is None or row[1] is None else (int(row[0]), int(row[1]))
        return max(here, Archived(store).newest(connection))


def settle_order(store: Store) -> None:
    """Let what will be written come after what is written: a restored database may be ahead of its cluster."""
    if store.dialect != "postgresql":
        return
    with store.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE commit_offset SET raised = raised + ahead.by"
                " FROM (SELECT greatest((SELECT max(commit_order) FROM journal),"
                " (SELECT max(last_order) FROM archive_segments))"
                " - (SELECT pg_current_xact_id()::text::bigint + raised FROM commit_offset) + 1 AS by) ahead"
                " WHERE ahead.by > 0"
            )
        )
