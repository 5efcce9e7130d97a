"""Tasks: what somebody has to look at. Open until acknowledged, acknowledged until closed, never deleted.

Opened by decisions (reactions of rules), by workers (a delivery is dead), by the clock (a target is late) and by
reading targets back. People acknowledge and close; what ended by itself is closed by Lotgate. What may not enter: how
people are told (engine/notices.py).
"""

import enum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from engine.clock import Clock, instant
from engine.errors import NotFound
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries, escalations, targets

#: Who closes what ended by itself.
OURSELVES = "lotgate"


class TaskState(enum.Enum):
    """Where a task stands: nobody has seen it, somebody has, it is done."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class TaskLine(Struct, frozen=True):
    """A task as people see it. Instants are ISO 8601, UTC; null: not yet."""

    id: int
    #: open, acknowledged, closed
    state: str
    kind: str
    #: The lot, or the target.
    subject: str
    target: str | None
    detail: str
    opened_at: str
    acknowledged_at: str | None
    acknowledged_by: str | None
    #: What they said when they acknowledged it.
    note: str | None
    closed_at: str | None
    closed_by: str | None
    closing_note: str | None
    #: How often people were told of it.
    notices: int


_COLUMNS = tuple(escalations.c[name] for name in TaskLine.__struct_fields__ if name != "state")
_NOT_CLOSED = escalations.c.closed_at.is_(None)
_STATES: dict[TaskState, ColumnElement[bool]] = {
    TaskState.OPEN: and_(_NOT_CLOSED, escalations.c.acknowledged_at.is_(None)),
    TaskState.ACKNOWLEDGED: and_(_NOT_CLOSED, escalations.c.acknowledged_at.is_not(None)),
    TaskState.CLOSED: escalations.c.closed_at.is_not(None),
}


def opened(kind: str, subject: str, detail: str, now: str, target: str | None = None) -> dict[str, Any]:
    """The row of a new task."""
    return {"kind": kind, "subject": subject, "target": target, "detail": detail, "opened_at": now}


def open_once(connection: Connection, row: dict[str, Any]) -> bool:
    """Open a task unless one of its kind, subject and target is not closed yet, inside the caller's transaction."""
    same = (
        escalations.c.kind == row["kind"],
        escalations.c.subject == row["subject"],
        escalations.c.target.is_(None) if row["target"] is None else escalations.c.target == row["target"],
    )
    if connection.execute(select(escalations.c.id).where(*same, _NOT_CLOSED).limit(1)).first() is not None:
        return False
    connection.execute(insert(escalations).values(**row))
    return True


class Tasks:
    """The tasks of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def open_once(self, kind: str, subject: str, detail: str, target: str | None = None) -> bool:
        """Open a task, unless one of this kind about the same is not closed yet."""
        with self._store.engine.begin() as connection:
            return open_once(connection, opened(kind, subject, detail, instant(self._clock()), target))

    def lines(
        self,
        *,
        state: TaskState | None = None,
        kind: str | None = None,
        subject: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[TaskLine]:
        """Tasks in order of their id, from ``after`` on; without a ``state`` those that are not closed."""
        wanted = [escalations.c.id > after, _NOT_CLOSED if state is None else _STATES[state]]
        if kind is not None:
            wanted.append(escalations.c.kind == kind)
        if subject is not None:
            wanted.append(escalations.c.subject == subject)
        return self._lines(*wanted, limit=limit)

    def some(self, ids: list[int], state: TaskState) -> list[TaskLine]:
        """Those of ``ids`` that are in ``state``."""
        return self._lines(escalations.c.id.in_(ids), _STATES[state], limit=len(ids))

    def _lines(self, *wanted: ColumnElement[bool], limit: int) -> list[TaskLine]:
        query = select(*_COLUMNS).where(*wanted).order_by(escalations.c.id).limit(limit)
        with self._store.reads.connect() as connection:
            return [_line(row) for row in connection.execute(query)]

    def get(self, identity: int) -> TaskLine:
        """One task; raises NotFound."""
        found = self._lines(escalations.c.id == identity, limit=1)
        if not found:
            raise NotFound(f"There is no task {identity}.")
        return found[0]

    def acknowledge(self, identity: int, by: str, note: str | None = None) -> TaskLine:
        """Somebody has seen it: nobody is told again. The first one counts. Raises NotFound."""
        now = instant(self._clock())
        self._write(identity, _STATES[TaskState.OPEN], acknowledged_at=now, acknowledged_by=by, note=note)
        return self.get(identity)

    def close(self, identity: int, by: str, note: str | None = None) -> TaskLine:
        """It is done; the first one counts. Raises NotFound."""
        now = instant(self._clock())
        self._write(identity, _NOT_CLOSED, closed_at=now, closed_by=by, closing_note=note)
        return self.get(identity)

    def close_about(self, kind: str, note: str, *, subject: str | None = None, target: str | None = None) -> int:
        """Close what ended by itself; gives how many."""
        about = [escalations.c.kind == kind]
        if subject is not None:
            about.append(escalations.c.subject == subject)
        if target is not None:
            about.append(escalations.c.target == target)
        return self._write(None, and_(_NOT_CLOSED, *about), **self._by_itself(note))

    def settle(self) -> int:
        """Close the tasks whose reason has gone: what was dead is settled, who refused our key answers again."""
        owed = and_(
            deliveries.c.lot == escalations.c.subject,
            deliveries.c.target == escalations.c.target,
            deliveries.c.state.in_(("pending", "sending", "dead")),
        )
        dead = and_(escalations.c.kind.in_(("delivery-dead", "delivery-refused")), escalations.c.target.is_not(None))
        settled = self._write(
            None, and_(_NOT_CLOSED, dead, ~select(deliveries.c.id).where(owed).exists()),
            **self._by_itself("nothing is owed any more: the target agrees, or a newer decision took its place"),
        )  # fmt: skip
        answers = and_(
            targets.c.name == escalations.c.subject,
            targets.c.breaker == "closed",
            targets.c.breaker_since > escalations.c.opened_at,
        )
        auth = escalations.c.kind == "target-auth"
        return settled + self._write(
            None, and_(_NOT_CLOSED, auth, select(targets.c.name).where(answers).exists()),
            **self._by_itself("the target answers again"),
        )  # fmt: skip

    def counts(self) -> dict[tuple[str, str], int]:
        """Tasks that are not closed, by kind and state."""
        seen = escalations.c.acknowledged_at.is_not(None)
        query = select(escalations.c.kind, seen, func.count()).where(_NOT_CLOSED).group_by(escalations.c.kind, seen)
        words = {False: TaskState.OPEN.value, True: TaskState.ACKNOWLEDGED.value}
        with self._store.reads.connect() as connection:
            return {(str(kind), words[bool(done)]): int(n) for kind, done, n in connection.execute(query)}

    def _by_itself(self, note: str) -> dict[str, str]:
        return {"closed_at": instant(self._clock()), "closed_by": OURSELVES, "closing_note": note}

    def _write(self, identity: int | None, only_if: ColumnElement[bool], **values: Any) -> int:
        """Most calls change nothing, so they are looked up without the write lock, which the committer needs more."""
        mine = only_if if identity is None else and_(escalations.c.id == identity, only_if)
        with self._store.reads.connect() as connection:
            if connection.execute(select(escalations.c.id).where(mine).limit(1)).first() is None:
                return 0
        with self._store.engine.begin() as connection:
            return connection.execute(update(escalations).where(mine).values(**values)).rowcount


def _line(row: Any) -> TaskLine:
    seen = TaskState.OPEN if row.acknowledged_at is None else TaskState.ACKNOWLEDGED
    state = seen if row.closed_at is None else TaskState.CLOSED
    return TaskLine(row.id, state.value, *row[1:])
