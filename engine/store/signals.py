"""Signalled orders, in SQL. What they mean is in engine/signals.py."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from engine.store.archived import Archived
from engine.store.genealogy import read_among
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries
from engine.store.schema.lots import journal
from engine.store.schema.reference import signalled_orders
from engine.upcasts import current

_VERSIONS = "SELECT id, version FROM lots WHERE {among}"
_REVISIONS = "SELECT kind, key, max(revision) AS revision FROM reference WHERE {among} GROUP BY kind, key"


def watched(store: Store) -> list[Any]:
    """Every order that was signalled and has not left."""
    with store.reads.connect() as connection:
        return list(connection.execute(select(signalled_orders).order_by(signalled_orders.c.order_number)))


def versions(store: Store, lots: Iterable[str]) -> dict[str, int]:
    """The versions of lots that exist."""
    with store.reads.connect() as connection:
        return {str(row.id): int(row.version) for row in read_among(connection, _VERSIONS, "id", sorted(lots))}


def revisions(store: Store, facts: Iterable[str]) -> dict[str, int]:
    """The newest revisions of records that exist, by ``kind/key``."""
    keys = sorted({fact.partition("/")[2] for fact in facts})
    with store.reads.connect() as connection:
        return {f"{row.kind}/{row.key}": int(row.revision) for row in read_among(connection, _REVISIONS, "key", keys)}


def signal(store: Store, order: str, owed: list[dict[str, Any]], seen: dict[str, Any]) -> bool:
    """Owe the deliveries that are not owed yet, and note what was seen; False: all were."""
    mine = signalled_orders.c.order_number == order
    with store.engine.begin() as connection:
        if not connection.execute(update(signalled_orders).where(mine).values(**seen)).rowcount:
            connection.execute(insert(signalled_orders).values(order_number=order, **seen))
        there = _told(connection, owed)
        new = [row for row in owed if row["target"] not in there]
        if new:
            connection.execute(insert(deliveries), new)
    return bool(new)


def _told(connection: Connection, owed: list[dict[str, Any]]) -> set[str]:
    """Targets that are owed this number already, or a newer one."""
    wanted = (deliveries.c.lot == owed[0]["lot"], deliveries.c.version >= owed[0]["version"])
    return {str(target) for target in connection.execute(select(deliveries.c.target).where(*wanted)).scalars()}


def forget(store: Store, order: str) -> None:
    """The order has left."""
    with store.engine.begin() as connection:
        connection.execute(delete(signalled_orders).where(signalled_orders.c.order_number == order))


def shipments(store: Store, connection: Connection, lots: Iterable[str]) -> dict[str, str]:
    """What was said when lots were shipped last: the data block of the newest shipment of each.

    Raises ArchiveUnavailable.
    """
    names = list(lots)
    wanted = (journal.c.lot.in_(names), journal.c.trigger == "ship", journal.c.kind != "refusal")
    columns = (journal.c.lot, journal.c.type, journal.c.data)
    query = select(*columns).where(*wanted).order_by(journal.c.lot, journal.c.version)
    here = [(str(lot), type_, data) for lot, type_, data in connection.execute(query)]
    rest = sorted(set(names) - {lot for lot, _, _ in here})
    there = [
        (e.lot, e.type, e.data) for e in Archived(store).of(connection, rest)
        if e.trigger == "ship" and e.kind != "refusal"
    ] if rest else []  # fmt: skip
    return {lot: current(type_, data.encode())[1].decode() for lot, type_, data in (*there, *here)}
