"""The delivery ledger: what each target has still to be told. The truth about deliveries; Redis is only its doorbell.

    pending ──claim──▶ sending ──complete──▶ delivered
       ▲                  │ ├──retry──▶ pending (later)
       │                  │ └──dead───▶ dead ──replay──▶ pending
       └──lease ran out───┘        a newer version of the lot is waiting: superseded

Per (lot, target) one delivery is in flight at a time, and versions go only upwards: a row is claimed when no other row
of its (lot, target) is under a live lease and none newer waits. A lease carries a fence number: a worker whose lease
was taken over writes nothing any more. Works with any number of workers on any number of hosts. Looking for work costs
the same however much was ever delivered: only what is owed is in the indexes that are used.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select, update

from engine.clock import Clock, instant
from engine.compensation import Refused, want
from engine.delivery_lines import DEAD, OPEN, DeliveryLines, filters, status_of
from engine.effects import StockStatus
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries, targets
from engine.store.schema.lots import journal
from engine.subscriptions import Subscriptions, is_subscription
from engine.targets import Targets
from engine.tasks import Tasks, open_once, opened

_decode = msgspec.json.Decoder(StockStatus).decode

#: Nothing waits longer than this, and no lease lasts as long: a later time was written by a clock that went wrong.
LONGEST_WAIT_SECONDS = 900.0


class Delivery(Struct, frozen=True):
    """One status to tell one target, under a lease."""

    id: int
    lot: str
    version: int
    target: str
    status: StockStatus
    #: Attempts made, this one included: starts at 1.
    attempts: int
    #: Number of the lease; only its holder may settle the delivery.
    fence: int
    #: Instant of the commit that made it.
    created_at: str
    #: W3C traceparent that came with the event; what every call is part of.
    traceparent: str | None = None

    @property
    def key(self) -> str:
        """Idempotency key, printable ASCII: the same for every attempt."""
        return key_of(self.target, self.lot, self.version)


def key_of(target: str, lot: str, version: int) -> str:
    """The idempotency key under which ``target`` is told that version of ``lot``."""
    return f"lotgate:{target}:{_ascii(lot)}:{version}"


def _ascii(lot: str) -> str:
    """The lot's id in a form that fits a header: percent-encoded, or its hash where that gets long."""
    encoded = quote(lot, safe="")
    return encoded if len(encoded) <= 128 else hashlib.sha256(lot.encode()).hexdigest()


#: The trace of the entry that made the delivery.
_TRACE = (
    select(journal.c.traceparent)
    .where(journal.c.lot == deliveries.c.lot, journal.c.version == deliveries.c.version)
    .scalar_subquery()
    .label("traceparent")
)
_CLAIMED = (
    *(deliveries.c[name] for name in ("id", "lot", "version", "payload", "attempts", "fence", "created_at")), _TRACE
)  # fmt: skip
_NOT_PAUSED = (
    ~select(targets.c.name).where(targets.c.name == deliveries.c.target, targets.c.paused_at.is_not(None)).exists()
)


def _windows(now: float) -> tuple[ColumnElement[bool], ...]:
    """Due: the time has come; or it is further away than anything may be, so a clock was set back."""
    return (deliveries.c.due_at <= now, deliveries.c.due_at > now + LONGEST_WAIT_SECONDS)


def _over(row: Any, now: float) -> ColumnElement[bool]:
    """The lease has ended, or ends later than any lease can, so a clock was set back."""
    return or_(row.c.lease_until < now, row.c.lease_until > now + LONGEST_WAIT_SECONDS)


def _free(row: Any, now: float) -> ColumnElement[bool]:
    return or_(row.c.state == "pending", _over(row, now))


#: The row of a delivery, as long as nobody else was given it; executed with :func:`_leases`.
_HELD = and_(
    deliveries.c.id == bindparam("held_id"),
    deliveries.c.fence == bindparam("held_fence"),
    deliveries.c.state == "sending",
)


def _leases(claimed: Iterable[Delivery]) -> list[dict[str, int]]:
    return [{"held_id": d.id, "held_fence": d.fence} for d in claimed]


class Ledger(DeliveryLines):
    """The ledger of one store. Every method is one short transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store)
        self._clock = self.now = clock
        #: Which targets are paused or resting.
        self.targets = Targets(store, clock)
        self.tasks = Tasks(store, clock)
        self.subscriptions = Subscriptions(store, clock)

    # -- for workers -------------------------------------------------------------------------------------------

    def claim(self, target: str, worker: str, limit: int, lease_seconds: float) -> list[Delivery]:
        """Take up to ``limit`` due deliveries of ``target`` under a lease, oldest first, the newest of each lot.

        Nothing is claimed for a paused target.
        """
        now = self._clock().timestamp()
        if not self._is_due(target, now):
            return []  # looked up without the write lock, which the committer needs more
        with self._store.engine.begin() as connection:
            if self._store.dialect == "postgresql":
                # One claim at a time per target: two that look at once could both find the same lot free.
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("lotgate:claim:" + target))))
            rows: list[Any] = []
            for window in _windows(now):
                if len(rows) < limit:
                    wanted = self._wanted(target, now, window, limit - len(rows))
                    rows += connection.execute(wanted).all()
            if not rows:
                return []
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_([row.id for row in rows]))
                .values(
                    state="sending", lease_owner=worker, lease_until=now + lease_seconds,
                    fence=deliveries.c.fence + 1, attempts=deliveries.c.attempts + 1,
                )
            )  # fmt: skip
            if not is_subscription(target):
                self._supersede(connection, target, {row.lot: row.version for row in rows})
        return [
            Delivery(
                r.id, r.lot, r.version, target, status_of(r), r.attempts + 1, r.fence + 1, r.created_at, r.traceparent
            )
            for r in rows
        ]

    def _wanted(self, target: str, now: float, window: ColumnElement[bool], limit: int) -> Select[Any]:
        mine, other = deliveries, deliveries.alias("other")
        in_flight = and_(other.c.state == "sending", ~_over(other, now))
        # A status target is told the newest status; a subscription every entry, the oldest first.
        later = other.c.version < mine.c.version if is_subscription(target) else other.c.version > mine.c.version
        newer = and_(other.c.state.in_(("pending", "sending")), later)
        same = and_(other.c.lot == mine.c.lot, other.c.target == target, other.c.id != mine.c.id)
        query = (
            select(*_CLAIMED)
            .where(mine.c.target == target, OPEN, window, _free(mine, now), _NOT_PAUSED)
            .where(~select(other.c.id).where(same, or_(in_flight, newer)).exists())
            .order_by(mine.c.due_at, mine.c.id)
            .limit(limit)
        )
        if self._store.dialect == "postgresql":
            query = query.with_for_update(skip_locked=True, of=mine)
        return query

    def _supersede(self, connection: Any, target: str, newest: dict[str, int]) -> None:
        """Older rows of the claimed lots are owed no more."""
        older = (
            select(deliveries.c.id, deliveries.c.lot, deliveries.c.version)
            .where(deliveries.c.target == target, deliveries.c.lot.in_(newest))
            .where(deliveries.c.state.in_(("pending", "sending", "dead")))
        )
        ids = [i for i, lot, version in connection.execute(older) if version < newest[lot]]
        if ids:
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(ids))
                .values(state="superseded", fence=deliveries.c.fence + 1, lease_owner=None, lease_until=None)
            )

    def renew(self, claimed: Iterable[Delivery], lease_seconds: float) -> set[int]:
        """Hold on to ``claimed`` for ``lease_seconds`` from now; gives the ids whose lease still held."""
        until = self._clock().timestamp() + lease_seconds
        rows = _leases(claimed)
        if not rows:
            return set()
        mine = deliveries.c.id.in_([row["held_id"] for row in rows])
        with self._store.engine.begin() as connection:
            connection.execute(update(deliveries).where(_HELD).values(lease_until=until), rows)
            now = select(deliveries.c.id, deliveries.c.fence).where(mine, deliveries.c.lease_until == until)
            found = {(int(identity), int(fence)) for identity, fence in connection.execute(now)}
        return {row["held_id"] for row in rows if (row["held_id"], row["held_fence"]) in found}

    def complete(self, delivery: Delivery, exchange: str | None = None) -> bool:
        """The target agrees. False: the lease was lost, and nothing was written."""
        return self.complete_many([delivery], exchange) == 1

    def complete_many(self, done: Sequence[Delivery], exchange: str | None = None) -> int:
        """As :meth:`complete` for several, in one transaction; gives how many leases still held."""
        now = instant(self._clock())
        return self._settle(done, state="delivered", delivered_at=now, last_error=None, exchange=exchange)

    def retry(self, delivery: Delivery, error: str, after_seconds: float, exchange: str | None = None) -> bool:
        """Try again after a while. False: the lease was lost."""
        due = self._clock().timestamp() + min(after_seconds, LONGEST_WAIT_SECONDS)
        return self._settle([delivery], state="pending", due_at=due, last_error=error, exchange=exchange) == 1

    def dead(
        self,
        delivery: Delivery,
        error: str,
        exchange: str | None = None,
        *,
        failure: str = "permanent",
        undo: Mapping[str, str] | None = None,
    ) -> bool:
        """Give up until somebody replays it, and open a task. False: the lease was lost.

        ``undo``: what other targets are to be told instead until this one agrees (engine/compensation.py).
        """
        now = instant(self._clock())
        words = f"{delivery.target} does not take version {delivery.version} of lot {delivery.lot}: {error}"
        if undo:
            words += f" ({', '.join(f'{target} is told {stock}' for target, stock in sorted(undo.items()))} meanwhile)"
        task = opened("delivery-dead", delivery.lot, words, now, delivery.target)
        refused = Refused(delivery.lot, delivery.target, delivery.version, failure, error, dict(undo or {}))

        def follow(connection: Connection) -> None:
            open_once(connection, task)
            if undo:
                want(connection, refused, now)

        return self._settle([delivery], follow, state="dead", last_error=error, exchange=exchange) == 1

    def outdated(self, delivery: Delivery, error: str, exchange: str | None = None) -> bool:
        """The target says that it knows a newer version. Superseded if there is one; else somebody has to look.

        True: superseded. False: the lease was lost, or Lotgate never made a newer version, and the delivery is dead.
        """
        newer = and_(
            deliveries.c.lot == delivery.lot,
            deliveries.c.target == delivery.target,
            deliveries.c.version > delivery.version,
        )
        with self._store.reads.connect() as connection:
            known = connection.execute(select(deliveries.c.id).where(newer).limit(1)).first()
        if known is not None:
            return self._settle([delivery], state="superseded", last_error=None, exchange=exchange) == 1
        self.dead(delivery, f"it claims to know a newer version than was ever decided here: {error}", exchange)
        return False

    def superseded(self, delivery: Delivery) -> bool:
        """Others are owed it instead. False: the lease was lost."""
        return self._settle([delivery], state="superseded", last_error=None) == 1

    def release(self, claimed: Sequence[Delivery]) -> int:
        """Give back what was claimed and not attempted (a worker that stops): due at once, attempt not counted."""
        return self._settle(claimed, state="pending", attempts=deliveries.c.attempts - 1)

    def _settle(
        self, settled: Sequence[Delivery], follow: Callable[[Connection], None] | None = None, **values: Any
    ) -> int:
        """Write ``values`` to the rows whose lease the caller still holds, and what follows; gives how many."""
        if not settled:
            return 0
        change = update(deliveries).where(_HELD).values(lease_owner=None, lease_until=None, **values)
        with self._store.engine.begin() as connection:
            held = connection.execute(change, _leases(settled)).rowcount
            if held and follow is not None:
                follow(connection)
        return held

    # -- for the sweeper and health ----------------------------------------------------------------------------

    def due(self) -> list[str]:
        """Targets for which a worker could claim something now; cheap, however much waits."""
        now = self._clock().timestamp()
        return [target for target in self._open_targets() if self._is_due(target, now)]

    def _is_due(self, target: str, now: float) -> bool:
        with self._store.reads.connect() as connection:
            for window in _windows(now):
                mine = (deliveries.c.target == target, OPEN, window, _free(deliveries, now), _NOT_PAUSED)
                if connection.execute(select(deliveries.c.id).where(*mine).limit(1)).first() is not None:
                    return True
        return False

    def _open_targets(self) -> list[str]:
        """Targets that are owed something, from one index look-up each."""
        found: list[str] = []
        with self._store.reads.connect() as connection:
            while True:
                after = found[-1] if found else ""
                query = select(func.min(deliveries.c.target)).where(OPEN, deliveries.c.target > after)
                name = connection.execute(query).scalar()
                if name is None:
                    return found
                found.append(str(name))

    def escalate_once(self, kind: str, subject: str, detail: str, target: str | None = None) -> bool:
        """Open a task, unless one of this kind about the same is not closed yet."""
        return self.tasks.open_once(kind, subject, detail, target)

    # -- for people --------------------------------------------------------------------------------------------

    def replay(
        self,
        *,
        identity: int | None = None,
        target: str | None = None,
        lot: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Make dead deliveries due again, by id or by filter; gives how many. ``dry_run`` only counts."""
        chosen = [DEAD, *filters(None, target, lot)]
        if identity is not None:
            self.get(identity)
            chosen.append(deliveries.c.id == identity)
        if dry_run:
            with self._store.reads.connect() as connection:
                return int(connection.execute(select(func.count()).where(*chosen)).scalar_one())
        now = self._clock().timestamp()
        with self._store.engine.begin() as connection:
            return connection.execute(
                update(deliveries).where(*chosen).values(state="pending", due_at=now, attempts=0)
            ).rowcount

