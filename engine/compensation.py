"""Compensation: what one target refused for good, others are told back, until it agrees again.

A connector file declares what undoes what (actors/connectors/policy.py). What is wanted is written together with the
dead letter, in one transaction; the clock takes it up as an event about the lot (engine/upkeep.py), so that it is
journaled with its cause, and what others are told instead are ordinary deliveries under a new version of the lot. It
ends when the target that refused has agreed to the newest it was told. What may not enter: deciding, and telling.
"""

from msgspec import Struct, json
from sqlalchemy import Connection, and_, func, insert, select, update

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema.delivery import compensations, deliveries
from engine.store.schema.lots import journal

#: Compensations that one round takes up; the next round takes the rest.
ROUND = 200


class Refused(Struct, frozen=True):
    """A delivery that was given up, and what follows. ``undo``: target -> stock that it is told instead."""

    lot: str
    target: str
    version: int
    #: permanent, exhausted, late
    failure: str
    detail: str
    undo: dict[str, str]


class Compensation(Struct, frozen=True):
    """One compensation on its way."""

    id: int
    refused: Refused
    opened_at: str
    #: Id of the event that made the version that was refused.
    cause: str | None
    #: The newest version that the target that refused has agreed to since; None: it does not agree.
    agreed: int | None


def want(connection: Connection, refused: Refused, now: str) -> None:
    """Have ``refused`` compensated, inside the caller's transaction."""
    mine = and_(
        compensations.c.lot == refused.lot,
        compensations.c.target == refused.target,
        compensations.c.version == refused.version,
    )
    values = {
        "failure": refused.failure, "detail": refused.detail, "undo": json.encode(refused.undo).decode(),
        "state": "wanted", "opened_at": now, "ended_at": None,
    }  # fmt: skip
    there = connection.execute(select(compensations.c.state).where(mine)).scalar()
    if there is None:
        key = {"lot": refused.lot, "target": refused.target, "version": refused.version}
        connection.execute(insert(compensations).values(**key, **values))
    elif there == "ended":
        # It was replayed, agreed to or not, and is refused once more.
        connection.execute(update(compensations).where(mine).values(**values))


class Compensations:
    """The compensations of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def in_state(self, state: str) -> list[Compensation]:
        """Those that are ``wanted``, or ``journaled`` and agreed to since; oldest first."""
        mine = compensations.c
        other = deliveries.alias("other")
        newer = and_(
            other.c.lot == deliveries.c.lot,
            other.c.target == deliveries.c.target,
            other.c.version > deliveries.c.version,
        )
        agreed = (
            select(deliveries.c.version)
            .where(deliveries.c.lot == mine.lot, deliveries.c.target == mine.target)
            .where(deliveries.c.version >= mine.version, deliveries.c.state == "delivered")
            .where(~select(other.c.id).where(newer).correlate(deliveries).exists())
            .correlate(compensations)
        ).scalar_subquery()
        cause = (
            select(journal.c.event_id)
            .where(journal.c.lot == mine.lot, journal.c.version == mine.version)
            .correlate(compensations)
        ).scalar_subquery()
        query = (
            select(mine.id, mine.lot, mine.target, mine.version, mine.failure, mine.detail, mine.undo, mine.opened_at,
                   cause, agreed)
            .where(mine.state == state)
            .where(mine.state != "ended")  # the words of the partial index
            .order_by(mine.id)
        )  # fmt: skip
        if state == "journaled":
            # Most of them go on standing: only those that have ended are of interest.
            query = query.where(agreed.is_not(None))
        query = query.limit(ROUND)
        with self._store.reads.connect() as connection:
            return [
                Compensation(
                    identity, Refused(lot, target, version, failure, detail, json.decode(undo, type=dict[str, str])),
                    opened_at, cause, agreed,
                )
                for identity, lot, target, version, failure, detail, undo, opened_at, cause, agreed
                in connection.execute(query)
            ]  # fmt: skip

    def mark(self, ids: list[int], state: str) -> None:
        """They are ``journaled``, or ``ended``."""
        if not ids:
            return
        ended = instant(self._clock()) if state == "ended" else None
        with self._store.engine.begin() as connection:
            change = update(compensations).where(compensations.c.id.in_(ids)).values(state=state, ended_at=ended)
            connection.execute(change)

    def counts(self) -> dict[str, int]:
        """Compensations that stand, by the target that refused."""
        query = select(compensations.c.target, func.count()).where(compensations.c.state != "ended")
        with self._store.reads.connect() as connection:
            rows = connection.execute(query.group_by(compensations.c.target))
            return {str(target): int(number) for target, number in rows}
