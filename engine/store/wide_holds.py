"""Holds on many lots, in SQL. What they mean is in engine/wide_holds.py."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.store.opening import Store
from engine.store.recalls import counted, held, listed, select_lots
from engine.store.schema.lots import holds, journal, lots
from engine.store.schema.quality import scope_changes, wide_hold_steps, wide_holds

#: Lots that a look takes at once.
CHUNK = 5_000
_THERE = lots.c.closed.is_(None)


def lines(
    store: Store, states: Sequence[str] = (), after: tuple[str, str] | None = None, limit: int | None = None
) -> list[Any]:
    """Those in ``states``, or all; the newest first, from ``after`` (opened at, id) on."""
    return listed(store, wide_holds, states, after, limit)


def counts(store: Store) -> dict[str, int]:
    """How many there are in each state."""
    return counted(store, wide_holds)


def line(store: Store, identity: str) -> Any:
    """One, or None."""
    with store.reads.connect() as connection:
        return connection.execute(select(wide_holds).where(wide_holds.c.id == identity)).first()


def add(store: Store, row: dict[str, Any], step: dict[str, Any]) -> bool:
    """Keep a new one with its first step; False when there is one of its id."""
    try:
        with store.engine.begin() as connection:
            if row["stands"]:
                # First, for its lock: whoever commits lots that come in waits for this, or was committed before it.
                connection.execute(update(scope_changes).values(number=scope_changes.c.number + 1))
            connection.execute(insert(wide_holds).values(**row))
            connection.execute(insert(wide_hold_steps).values(**step))
    except IntegrityError:
        return False
    return True


def move(store: Store, identity: str, state: str, values: dict[str, Any], step: dict[str, Any] | None = None) -> bool:
    """Change one that is in ``state``, and say so where ``step`` is given; False when it is in that state no more."""
    with store.engine.begin() as connection:
        if values.get("stands") == 0:
            connection.execute(update(scope_changes).values(number=scope_changes.c.number + 1))
        mine = (wide_holds.c.id == identity, wide_holds.c.state == state)
        moved = connection.execute(update(wide_holds).where(*mine).values(**values)).rowcount == 1
        if moved and step is not None:
            connection.execute(insert(wide_hold_steps).values(**step))
    return moved


def note(store: Store, step: dict[str, Any]) -> None:
    """Keep one step."""
    with store.engine.begin() as connection:
        connection.execute(insert(wide_hold_steps).values(**step))


def steps(store: Store, identity: str) -> list[Any]:
    """What was done to it: step, at, by, detail, oldest first."""
    table = wide_hold_steps.c
    query = select(table.step, table.at, table.by, table.detail).where(table.hold == identity).order_by(table.id)
    with store.reads.connect() as connection:
        return list(connection.execute(query))


def to_hold(store: Store, wanted: dict[str, Any], hold: str, after: str, limit: int) -> list[str]:
    """Lots that fit, are still there, and never had a hold of this name, above ``after``."""
    had = exists().where(holds.c.lot == lots.c.id, holds.c.hold == hold)
    return select_lots(store, wanted, after, limit, (_THERE, ~had))


def to_lift(store: Store, wanted: dict[str, Any], hold: str, after: str, limit: int) -> list[str]:
    """Lots that fit and on which a hold of this name stands, above ``after``."""
    return select_lots(store, wanted, after, limit, (_stands(hold),))


def _stands(hold: str) -> ColumnElement[bool]:
    return exists().where(holds.c.lot == lots.c.id, holds.c.hold == hold, holds.c.lifted_at.is_(None))


def look(store: Store, wanted: dict[str, Any], hold: str | None) -> Iterator[tuple[str, str, str]]:
    """(lot, state, item) of every lot that would be held, or from which ``hold`` would be lifted, in order."""
    after = ""
    while True:
        more = (_THERE,) if hold is None else (_stands(hold),)
        found = select_lots(store, wanted, after, CHUNK, more)
        with store.reads.connect() as connection:
            for start in range(0, len(found), 500):
                mine = lots.c.id.in_(found[start : start + 500])
                query = select(lots.c.id, lots.c.state, lots.c.item).where(mine).order_by(lots.c.id)
                yield from (tuple(row) for row in connection.execute(query))
        if len(found) < CHUNK:
            return
        after = found[-1]


def standing_on(store: Store, hold: str, after: str, limit: int) -> list[str]:
    """Lots on which a hold of this name stands, above ``after``."""
    wanted = (holds.c.hold == hold, holds.c.lifted_at.is_(None), holds.c.lot > after)
    with store.reads.connect() as connection:
        query = select(holds.c.lot).distinct().where(*wanted).order_by(holds.c.lot).limit(limit)
        return [str(lot) for (lot,) in connection.execute(query)]


def number_held(store: Store, hold: str) -> int:
    """How many lots a hold of this name was ever placed on."""
    with store.reads.connect() as connection:
        query = select(func.count(holds.c.lot.distinct())).where(holds.c.hold == hold)
        return int(connection.execute(query).scalar_one())


def number_lifted(store: Store, hold: str, source: str, prefix: str) -> int:
    """From how many lots events of ``source``, whose ids begin with ``prefix``, lifted it."""
    ended = (journal.c.lot == holds.c.lot) & (journal.c.version == holds.c.lifted_version)
    mine = (holds.c.hold == hold, journal.c.source == source, journal.c.event_id.startswith(prefix, autoescape=True))
    query = select(func.count()).select_from(holds.join(journal, ended)).where(*mine)
    with store.reads.connect() as connection:
        return int(connection.execute(query).scalar_one())


def lots_of(store: Store, hold: str, after: str = "", limit: int | None = None) -> list[Any]:
    """Lots that carry a hold of this name, or carried it, as engine.wide_holds.HeldLot has them.

    ``limit``: so many lots from ``after`` on, each with every time that it was held.
    """
    columns = (lots.c.id, lots.c.state, lots.c.closed, lots.c.item, lots.c.quantity, lots.c.unit, lots.c.supplier,
               lots.c.plant, holds.c.applied_at, holds.c.lifted_at)  # fmt: skip
    query = select(*columns).join(lots, lots.c.id == holds.c.lot).where(holds.c.hold == hold)
    if limit is not None:
        query = query.where(holds.c.lot.in_(held(store, hold, after, limit)))
    with store.reads.connect() as connection:
        return list(connection.execute(query.order_by(lots.c.id, holds.c.applied_version)))
