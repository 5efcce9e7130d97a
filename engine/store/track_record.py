"""Series and scorecards, in SQL. What they mean is in engine/track_record.py."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, text, tuple_, update

from engine.store.counting import up_to
from engine.store.feed import SETTLED
from engine.store.genealogy import read_among
from engine.store.opening import Store
from engine.store.schema.quality import sampling_orders, scorecards, series, track_position

_COLUMNS = (
    'j.lot, j.version, j."trigger", j.recorded_at, l.item, l.supplier,'
    " CASE WHEN j.\"trigger\" IN ('inspect', 'change_sampling', 'report_operation', 'dock_to_stock')"
    " AND j.kind <> 'refusal' THEN j.data END, j.type"
)
_PAGE = {
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
_RESULTS = "SELECT lot, version, measurements FROM results WHERE {among} ORDER BY lot, version"
_TURNS = (
    'SELECT lot, version, "trigger" FROM journal WHERE {among} AND kind <> \'refusal\' AND "trigger" IN'
    " ('reject', 'rework', 'reinspect', 'retest_due', 'return')"
)
_KEEP = {
    "scorecards": "INSERT INTO scorecards (pair, item, supplier, content, changed_at)"
    " VALUES (:pair, :item, :supplier, :content, :at)"
    " ON CONFLICT (pair) DO UPDATE SET content = excluded.content, changed_at = excluded.changed_at",
    "series": "INSERT INTO series (pair, characteristic, item, supplier, content, changed_at)"
    " VALUES (:pair, :characteristic, :item, :supplier, :content, :at)"
    " ON CONFLICT (pair, characteristic) DO UPDATE SET content = excluded.content, changed_at = excluded.changed_at",
}


Row = Any
"""A row of SQLAlchemy."""


def read_position(connection: Connection) -> tuple[int, int]:
    """(order, position) of the last journal entry that was counted."""
    order, position = connection.execute(select(track_position.c.commit_order, track_position.c.position)).one()
    return int(order), int(position)


def move_position(connection: Connection, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Count on from ``after``; False when another process has counted meanwhile."""
    here = (track_position.c.commit_order == before[0], track_position.c.position == before[1])
    moved = update(track_position).where(*here).values(commit_order=after[0], position=after[1])
    return connection.execute(moved).rowcount == 1


def read_page(connection: Connection, after: tuple[int, int], limit: int) -> list[Any]:
    """Journal entries after ``after``: order, position, lot, version, trigger, recorded_at, item, supplier, data."""
    postgres = connection.dialect.name == "postgresql"
    values = {"position": after[1], "limit": limit} | ({"order": after[0]} if postgres else {})
    return list(connection.execute(text(_PAGE[connection.dialect.name]), values))


def read_results(connection: Connection, lots: Sequence[str]) -> list[Any]:
    """Every result record of ``lots``: lot, version, measurements."""
    return read_among(connection, _RESULTS, "lot", lots)


def read_turns(connection: Connection, lots: Sequence[str]) -> list[Any]:
    """Where inspections of ``lots`` began anew or ended in a rejection: lot, version, trigger."""
    return read_among(connection, _TURNS, "lot", lots)


def read_kept(connection: Connection, pairs: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Scorecards (pair, content) and series (pair, characteristic, content) of ``pairs``."""
    cards = read_among(connection, "SELECT pair, content FROM scorecards WHERE {among}", "pair", pairs)
    lines = read_among(connection, "SELECT pair, characteristic, content FROM series WHERE {among}", "pair", pairs)
    return cards, lines


def keep(connection: Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of ``scorecards`` or ``series``."""
    lines = list(rows)
    if lines:
        connection.execute(text(_KEEP[table]), lines)


def list_scorecards(
    store: Store, item: str | None, supplier: str | None, after: tuple[str, str] | None = None, limit: int | None = None
) -> list[Any]:
    """Scorecards by item and supplier, from ``after`` on: item, supplier, content, changed_at."""
    query = select(scorecards.c.item, scorecards.c.supplier, scorecards.c.content, scorecards.c.changed_at).limit(limit)
    if after is not None:
        query = query.where(
            scorecards.c.item >= after[0], tuple_(scorecards.c.item, scorecards.c.supplier) > tuple_(*after)
        )
    return _listed(store, query.order_by(scorecards.c.item, scorecards.c.supplier), scorecards, item, supplier)


def list_series(
    store: Store, item: str | None, supplier: str | None, characteristic: str | None,
    after: tuple[str, str, str] | None = None, limit: int | None = None,
) -> list[Any]:  # fmt: skip
    """Series by item, supplier and characteristic, from ``after`` on: these, content, limits, changed_at."""
    query = select(
        series.c.item, series.c.supplier, series.c.characteristic, series.c.content, series.c.limits,
        series.c.changed_at,
    ).order_by(series.c.item, series.c.supplier, series.c.characteristic).limit(limit)  # fmt: skip
    if after is not None:
        names = tuple_(series.c.item, series.c.supplier, series.c.characteristic)
        query = query.where(series.c.item >= after[0], names > tuple_(*after))
    if characteristic is not None:
        query = query.where(series.c.characteristic == characteristic)
    return _listed(store, query, series, item, supplier)


def number_of_scorecards(store: Store, item: str | None, supplier: str | None) -> int:
    """How many scorecards are like that; above MOST only that there are more."""
    return up_to(store, _of(select(scorecards.c.item), scorecards, item, supplier))


def number_of_series(store: Store, item: str | None, supplier: str | None, characteristic: str | None) -> int:
    """How many series are like that; above MOST only that there are more."""
    query = _of(select(series.c.item), series, item, supplier)
    return up_to(store, query if characteristic is None else query.where(series.c.characteristic == characteristic))


def _listed(store: Store, query: Any, table: Any, item: str | None, supplier: str | None) -> list[Any]:
    with store.reads.connect() as connection:
        return list(connection.execute(_of(query, table, item, supplier)))


def _of(query: Any, table: Any, item: str | None, supplier: str | None) -> Any:
    if item is not None:
        query = query.where(table.c.item == item)
    return query if supplier is None else query.where(table.c.supplier == supplier)


def read_orders(connection: Connection) -> list[Row]:
    """Orders to change sampling that nobody has done yet, oldest first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT 1 FROM track_position FOR UPDATE"))
    return list(
        connection.execute(select(sampling_orders).where(sampling_orders.c.done_at.is_(None)).order_by(sampling_orders.c.id))
    )


def finish_orders(connection: Connection, ids: Sequence[int], now: str) -> None:
    """They were done."""
    if ids:
        connection.execute(update(sampling_orders).where(sampling_orders.c.id.in_(ids)).values(done_at=now))


def add_order(store: Store, row: dict[str, Any]) -> None:
    """Keep an order to change sampling."""
    with store.engine.begin() as connection:
        connection.execute(insert(sampling_orders).values(**row))


def set_limits(store: Store, pair: str, characteristic: str, limits: str | None) -> bool:
    """Keep limits of a series, or none; False when there is no such series."""
    changed = update(series).where(series.c.pair == pair, series.c.characteristic == characteristic)
    with store.engine.begin() as connection:
        return connection.execute(changed.values(limits=limits)).rowcount == 1
