"""What waits: living lots of a state by how long they have been in it. Reads only, from one index."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, func, or_, select, tuple_

from engine.store.opening import Store
from engine.store.schema.lots import holds, lots

#: Written out, so that SQLite takes the partial index.
_ALIVE = lots.c.closed.is_(None)


class WaitingLot(Struct, frozen=True):
    """A living lot, and since when it has been in its state. Instants are ISO 8601, UTC."""

    id: str
    state: str
    state_since: str
    item: str
    revision: str
    quantity: str
    unit: str
    supplier: str | None
    plant: str | None
    received_at: str


class StandingHold(Struct, frozen=True):
    """An active hold of a lot."""

    lot: str
    hold: str
    reason: str
    owner: str | None
    applied_at: str


_COLUMNS = tuple(lots.c[name] for name in WaitingLot.__struct_fields__)


class Backlog:
    """What waits in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ages(self, states: Sequence[str], edges: Sequence[str]) -> list[int]:
        """How many lots of ``states`` came into theirs after the first of ``edges``, up to it and after the next, …;
        the last number is of those from before all of them. ``edges``: instants, the newest first.
        """
        until = [self._since(states, edge) for edge in edges]
        return [here - before for here, before in zip([self._since(states, None), *until], [*until, 0], strict=True)]

    def _since(self, states: Sequence[str], edge: str | None) -> int:
        query = select(func.count()).select_from(lots).where(_ALIVE, _among(states))
        if edge is not None:
            query = query.where(lots.c.state_since <= edge)
        with self._store.reads.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def oldest(
        self, state: str, *, after: tuple[str, str] | None = None, limit: int = 100
    ) -> list[WaitingLot]:
        """Living lots of ``state``, those that have been in it longest first, after (since, id)."""
        query = select(*_COLUMNS).where(_ALIVE, lots.c.state == state)
        if after is not None:
            query = query.where(
                lots.c.state_since >= after[0], tuple_(lots.c.state_since, lots.c.id) > tuple_(*after)
            )
        with self._store.reads.connect() as connection:
            rows = connection.execute(query.order_by(lots.c.state_since, lots.c.id).limit(limit))
            return [WaitingLot(*row) for row in rows]

    def holds(self, ids: Sequence[str]) -> dict[str, list[StandingHold]]:
        """The active holds of these lots."""
        columns = [holds.c[name] for name in StandingHold.__struct_fields__]
        query = select(*columns).where(holds.c.lot.in_(ids), holds.c.lifted_at.is_(None)).order_by(holds.c.applied_at)
        found: dict[str, list[StandingHold]] = {}
        with self._store.reads.connect() as connection:
            for row in connection.execute(query):
                found.setdefault(row.lot, []).append(StandingHold(*row))
        return found


def _among(states: Sequence[str]) -> ColumnElement[bool]:
    return or_(*(lots.c.state == state for state in states))
