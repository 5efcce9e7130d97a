"""Deliveries as people, metrics and other rooms see them: reads only, of the ledger and of what was archived of it.

What may not enter: leases, attempts, anything that changes a delivery (engine/ledger.py).
"""

import enum
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, and_, func, literal_column, select

from engine.effects import StockStatus
from engine.errors import NotFound
from engine.routing import is_unrouted
from engine.store.archive import totals
from engine.store.archived import Archived
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries
from engine.subscriptions import is_subscription

_decode = msgspec.json.Decoder(StockStatus).decode


class DeliveryState(enum.Enum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    SUPERSEDED = "superseded"
    DEAD = "dead"
    COMPENSATED = "compensated"


#: What a delivery to a subscription has for a status.
NO_STATUS = StockStatus("", 0, "", "", "", "none", False, "0", "", None, None, [], [])


class DeliveryLine(Struct, frozen=True):
    """A delivery as people see it."""

    id: int
    lot: str
    version: int
    target: str
    state: str
    attempts: int
    due_at: float
    created_at: str
    delivered_at: str | None
    last_error: str | None
    status: msgspec.Raw
    exchange: str | None


class Acknowledged(Struct, frozen=True):
    """What one target was sent of a lot, and what it agreed to."""

    target: str
    sent_version: int | None
    sent_state: str | None
    acknowledged_version: int | None
    acknowledged_state: str | None


#: Written out, not as parameters: SQLite takes a partial index only where the text of its condition is the same.
OPEN = deliveries.c.state.in_([literal_column("'pending'"), literal_column("'sending'")])
UNSETTLED = deliveries.c.state != literal_column("'delivered'")
DEAD = and_(deliveries.c.state == literal_column("'dead'"), UNSETTLED)
OWED = and_(deliveries.c.state.in_([literal_column(f"'{s}'") for s in ("pending", "sending", "dead")]), UNSETTLED)
#: Not the column itself: SQLite would go through every delivery in its order to find the first few.
_IN_ORDER = deliveries.c.id + 0
_LINE = (
    deliveries.c.id, deliveries.c.lot, deliveries.c.version, deliveries.c.target, deliveries.c.state,
    deliveries.c.attempts, deliveries.c.due_at, deliveries.c.created_at, deliveries.c.delivered_at,
    deliveries.c.last_error, deliveries.c.payload, deliveries.c.exchange,
)  # fmt: skip


class DeliveryLines:
    """The deliveries of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._archived = Archived(store)

    def lines(
        self,
        *,
        state: str | None = None,
        target: str | None = None,
        lot: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[DeliveryLine]:
        """Deliveries in order of their id, from ``after`` on.

        With ``lot``, those that were archived too; without, they are left out (:meth:`archived` counts their lots).
        Raises ArchiveUnavailable.
        """
        wanted = filters(state, target, lot)
        query = select(*_LINE).where(deliveries.c.id > after, *wanted).limit(limit)
        unsettled = state not in (None, DeliveryState.DELIVERED.value)
        if lot is not None or unsettled:
            wanted += [UNSETTLED] if unsettled else []
            # Looked for by index first, whole rows read afterwards.
            ids = select(deliveries.c.id).where(after < _IN_ORDER, *wanted).order_by(_IN_ORDER).limit(limit)
            query = select(*_LINE).where(deliveries.c.id.in_(ids))
        with self._store.moments.connect() as connection:
            rows = [_line(row) for row in connection.execute(query.order_by(deliveries.c.id)).all()]
            old = [] if lot is None else self._archived.deliveries(connection, lot, after)
        rows += [_line(told) for told in old if state in (None, told.state) and target in (None, told.target)]
        return sorted(rows, key=lambda line: line.id)[:limit]

    def archived(self) -> int:
        """Lots of which deliveries that are over may be in the archive."""
        with self._store.reads.connect() as connection:
            return totals(connection)[2]

    def newest(self, lot: str, limit: int) -> tuple[list[DeliveryLine], int]:
        """The newest deliveries of a lot, the newest first, and how many there are. Raises ArchiveUnavailable."""
        ids = select(deliveries.c.id).where(deliveries.c.lot == lot).order_by(_IN_ORDER.desc()).limit(limit)
        query = select(*_LINE).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id.desc())
        count = select(func.count()).select_from(deliveries).where(deliveries.c.lot == lot)
        with self._store.moments.connect() as connection:
            rows = [_line(row) for row in connection.execute(query)]
            here = int(connection.execute(count).scalar_one())
            old = self._archived.deliveries(connection, lot)
        rows += [_line(told) for told in old]
        return sorted(rows, key=lambda line: -line.id)[:limit], here + len(old)

    def get(self, identity: int) -> DeliveryLine:
        """One delivery; raises NotFound."""
        with self._store.reads.connect() as connection:
            row = connection.execute(select(*_LINE).where(deliveries.c.id == identity)).first()
        if row is None:
            more = " Of a lot that was archived, they are listed with the lot." if self.archived() else ""
            raise NotFound(f"There is no delivery {identity}.{more}")
        return _line(row)

    def acknowledged(self, lot: str) -> list[Acknowledged]:
        """Per target, the newest status sent and the newest it agreed to: both stay when a lot is archived."""
        table = deliveries.c
        newest = select(table.target, table.state, func.max(table.version).label("version")).where(table.lot == lot)
        newest = newest.group_by(table.target, table.state)
        with self._store.reads.connect() as connection:
            rows = [row for row in connection.execute(newest) if not is_subscription(row.target)]
            # What nobody took and somebody takes now is past.
            rows = [row for row in rows if not is_unrouted(row.target) or row.state != "superseded"]
            whole = select(table.target, table.version, table.payload).where(table.lot == lot)
            whole = whole.where(table.version.in_({row.version for row in rows}))
            told = {(row.target, row.version): status_of(row).state for row in connection.execute(whole)}
        found = []
        for target in sorted({row.target for row in rows}):
            sent = max(row.version for row in rows if row.target == target)
            taken = [row.version for row in rows if (row.target, row.state) == (target, "delivered")]
            agreed = max(taken, default=None)
            state = None if agreed is None else told[target, agreed]
            found.append(Acknowledged(target, sent, told[target, sent], agreed, state))
        return found

    def dead_targets(self) -> list[str]:
        """Targets that have dead letters."""
        with self._store.reads.connect() as connection:
            return [str(t) for t in connection.execute(select(deliveries.c.target).where(DEAD).distinct()).scalars()]

    def given_up_for(self, target: str | None, lot: str | None, limit: int) -> list[tuple[str, int]]:
        """What was said most often of deliveries that were given up, and how often."""
        number = func.count()
        wanted = filters(DeliveryState.DEAD.value, target, lot)
        query = select(deliveries.c.last_error, number).where(*wanted).group_by(deliveries.c.last_error)
        with self._store.reads.connect() as connection:
            rows = connection.execute(query.order_by(number.desc(), deliveries.c.last_error).limit(limit))
            return [(str(error or ""), int(often)) for error, often in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        """Deliveries by target and state, of those that are owed: pending, sending, dead. Settled ones are history."""
        found: dict[str, dict[str, int]] = {}
        by = (deliveries.c.state, deliveries.c.target)
        with self._store.reads.connect() as connection:
            for state, target, number in connection.execute(select(*by, func.count()).where(OWED).group_by(*by)):
                found.setdefault(str(target), {})[str(state)] = int(number)
        return found

    def oldest_open(self) -> dict[str, str]:
        """Instant of the oldest commit that each target has not agreed to yet."""
        query = (
            select(deliveries.c.target, func.min(deliveries.c.created_at)).where(OPEN).group_by(deliveries.c.target)
        )
        with self._store.reads.connect() as connection:
            return {str(target): str(oldest) for target, oldest in connection.execute(query)}


def status_of(row: Any) -> StockStatus:
    """What a delivery tells; a subscription is told journal entries, so its deliveries have no status."""
    return NO_STATUS if row.payload == "{}" else _decode(row.payload)


def filters(state: str | None, target: str | None, lot: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    for column, value in ((deliveries.c.state, state), (deliveries.c.target, target), (deliveries.c.lot, lot)):
        if value is not None:
            wanted.append(column == value)
    return wanted


def _line(row: Any) -> DeliveryLine:
    return DeliveryLine(
        row.id, row.lot, row.version, row.target, row.state, row.attempts, row.due_at, row.created_at,
        row.delivered_at, row.last_error, msgspec.Raw(row.payload.encode()), row.exchange,
    )  # fmt: skip
