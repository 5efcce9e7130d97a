"""The target systems: which are paused by an operator, and which are given a rest because they do not answer.

A pause is kept in the database: no worker of any host claims a delivery of a paused target until it is resumed, and
nothing is lost meanwhile. What may not enter: deliveries themselves (engine/ledger.py).
"""

from contextlib import suppress
from typing import Any

from msgspec import Struct
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema.delivery import targets


class TargetState(Struct, frozen=True):
    """One target as operators see it. Instants are ISO 8601, UTC; null: never or not now."""

    name: str
    paused_at: str | None = None
    paused_by: str | None = None
    #: Why it is paused.
    reason: str | None = None
    #: closed (it answers), open (it is given a rest), half-open (one call tries): as the last worker saw it.
    breaker: str = "closed"
    breaker_since: str | None = None
    #: What it last failed with.
    breaker_detail: str | None = None


_COLUMNS = tuple(targets.c[name] for name in TargetState.__struct_fields__)


class Targets:
    """The targets of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def pause(self, name: str, by: str, reason: str) -> TargetState:
        """Claim nothing more for ``name`` until :meth:`resume`; a pause that is on stays as it is."""
        now = instant(self._clock())
        self._write(name, targets.c.paused_at.is_(None), paused_at=now, paused_by=by, reason=reason)
        return self.state(name)

    def resume(self, name: str) -> TargetState:
        """Claim again."""
        self._write(name, targets.c.paused_at.is_not(None), paused_at=None, paused_by=None, reason=None)
        return self.state(name)

    def report(self, name: str, breaker: str, detail: str | None) -> None:
        """A worker's circuit breaker changed its state."""
        now = instant(self._clock())
        self._write(name, None, breaker=breaker, breaker_since=now, breaker_detail=detail)

    def state(self, name: str) -> TargetState:
        """One target as it stands; one that nobody touched is neither paused nor resting."""
        with self._store.reads.connect() as connection:
            row = connection.execute(select(*_COLUMNS).where(targets.c.name == name)).first()
        return TargetState(name) if row is None else TargetState(*row)

    def _write(self, name: str, only_if: Any, **values: Any) -> None:
        mine = targets.c.name == name
        with self._store.engine.begin() as connection:
            there = connection.execute(select(targets.c.name).where(mine)).first()
            if there is None:
                # Another process may make the row meanwhile: it is there, which is all that is wanted.
                with suppress(IntegrityError), connection.begin_nested():
                    connection.execute(insert(targets).values(name=name))
            wanted = mine if only_if is None else mine & only_if
            connection.execute(update(targets).where(wanted).values(**values))
