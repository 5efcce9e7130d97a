"""Reference data, in SQL. What it means is in engine/reference.py."""

from collections.abc import Sequence
from typing import Any

from msgspec import json
from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update

from engine.store.opening import Store
from engine.store.schema.lots import lots
from engine.store.schema.reference import reference, reference_confirmed, signalled_orders

#: Serializes those who write reference data on PostgreSQL; SQLite has one writer anyhow.
_LOCK = 0x10706A7E
Row = Any
"""A row of SQLAlchemy."""


def begin_writing(connection: Connection) -> None:
    """Nobody else writes reference data until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def read_revisions(connection: Connection, kind: str, key: str) -> list[Row]:
    """Every revision of one record, oldest first."""
    wanted = (reference.c.kind == kind, reference.c.key == key)
    return list(connection.execute(select(reference).where(*wanted).order_by(reference.c.revision)))


def read_newest(connection: Connection, kind: str, keys: Sequence[str], day: str) -> dict[str, Row]:
    """Of each of ``keys`` the revision that began last by ``day``; of several on one day the newest."""
    latest = (reference.c.effective_from.desc(), reference.c.revision.desc())
    place = func.row_number().over(partition_by=reference.c.key, order_by=latest).label("place")
    begun_by = (reference.c.kind == kind, reference.c.key.in_(keys), reference.c.effective_from <= day)
    newest = select(reference.c.position, place).where(*begun_by).subquery()
    mine = select(newest.c.position).where(newest.c.place == 1)
    query = select(reference).where(reference.c.position.in_(mine))
    return {str(row.key): row for row in connection.execute(query)}


def read_confirmed(connection: Connection, kind: str, key: str) -> list[Row]:
    """As :func:`read_revisions`, each row with ``confirmed_at``: when the newest of them was last said again."""
    same = (reference_confirmed.c.kind == reference.c.kind) & (reference_confirmed.c.key == reference.c.key)
    query = select(reference, reference_confirmed.c.confirmed_at).outerjoin(reference_confirmed, same)
    query = query.where(reference.c.kind == kind, reference.c.key == key)
    return list(connection.execute(query.order_by(reference.c.revision)))


def read_about(connection: Connection, kind: str, item: str | None, supplier: str | None) -> list[Row]:
    """Every revision of every record of a kind that is about exactly this item and supplier."""
    wanted = [reference.c.kind == kind]
    for column, value in ((reference.c.item, item), (reference.c.supplier, supplier)):
        wanted.append(column.is_(None) if value is None else column == value)
    return list(connection.execute(select(reference).where(*wanted).order_by(reference.c.key, reference.c.revision)))


def begun(connection: Connection, kind: str, day: str) -> list[Row]:
    """Of every record of a kind that has begun by ``day`` the revision that began last."""
    query = select(reference).where(reference.c.kind == kind, reference.c.effective_from <= day)
    newest: dict[str, Row] = {}
    for row in connection.execute(query.order_by(reference.c.effective_from, reference.c.revision)):
        newest[row.key] = row
    return list(newest.values())


def add(connection: Connection, row: dict[str, Any]) -> None:
    """Keep one more revision."""
    connection.execute(insert(reference).values(**row))


def confirm(connection: Connection, kind: str, key: str, at: str, by: str) -> None:
    """Note that the newest revision was said again."""
    mine = (reference_confirmed.c.kind == kind, reference_confirmed.c.key == key)
    values = {"confirmed_at": at, "confirmed_by": by}
    if not connection.execute(update(reference_confirmed).where(*mine).values(**values)).rowcount:
        connection.execute(insert(reference_confirmed).values(kind=kind, key=key, **values))


def confirmed(connection: Connection, kind: str, keys: Sequence[str]) -> dict[str, str]:
    """When the newest revision of records was last said again, of those of which it was."""
    wanted = (reference_confirmed.c.kind == kind, reference_confirmed.c.key.in_(keys))
    query = select(reference_confirmed.c.key, reference_confirmed.c.confirmed_at).where(*wanted)
    return {str(key): str(at) for key, at in connection.execute(query)}


def page(store: Store, kind: str, item: str | None, after: str, limit: int, begins: str | None = None) -> list[str]:
    """Keys of a kind above ``after``, in order; ``begins``: only those that begin so."""
    query = select(reference.c.key).distinct().where(reference.c.kind == kind, reference.c.key > after)
    if item is not None:
        query = query.where(reference.c.item == item)
    if begins is not None:
        query = query.where(reference.c.key.startswith(begins, autoescape=True))
    with store.reads.connect() as connection:
        return [str(key) for (key,) in connection.execute(query.order_by(reference.c.key).limit(limit))]


def lots_about(
    connection: Connection, item: str | None, supplier: str | None, limit: int, *, undecided: bool
) -> tuple[list[str], int]:
    """The first lots, and how many there are, that are of an item or from a supplier and have not ended."""
    wanted: list[ColumnElement[bool]] = [lots.c.closed.is_(None)]
    if undecided:
        wanted.append(lots.c.state.in_(("received", "quarantined", "inspected")))
    wanted += [column == value for column, value in ((lots.c.item, item), (lots.c.supplier, supplier)) if value]
    found = connection.execute(select(lots.c.id).where(*wanted).order_by(lots.c.id).limit(limit)).scalars()
    number = connection.execute(select(func.count()).select_from(lots).where(*wanted)).scalar_one()
    return [str(lot) for lot in found], int(number)


def plans_about(connection: Connection, item: str) -> list[str]:
    """Keys of inspection plans that are, or were, about an item."""
    wanted = (reference.c.kind == "inspection-plan", reference.c.item == item)
    found = connection.execute(select(reference.c.key).distinct().where(*wanted).order_by(reference.c.key)).scalars()
    return [str(key) for key in found]


def orders_about(connection: Connection, fact: str) -> list[str]:
    """Signalled orders whose answer rests on a fact, ``kind/key``."""
    query = select(signalled_orders.c.order_number, signalled_orders.c.facts).order_by(signalled_orders.c.order_number)
    return [str(order) for order, facts in connection.execute(query) if fact in json.decode(facts)]


def in_work(connection: Connection, item: str, supplier: str | None) -> int:
    """Lots of an item that are not decided yet."""
    query = select(func.count()).select_from(lots).where(
        lots.c.item == item, lots.c.closed.is_(None), lots.c.state.in_(("received", "quarantined", "inspected"))
    )  # fmt: skip
    if supplier is not None:
        query = query.where(lots.c.supplier == supplier)
    return int(connection.execute(query).scalar_one())
