"""Notices: messages that tell people of open tasks, kept in the database until they are sent.

A task that nobody has acknowledged is due again and again. Whatever is due at one time goes into one message a channel,
and a message that could not be sent yet takes up what becomes due meanwhile: a night of failures is a few messages, not
a thousand. A message is sent under a lease and may, after a crash, be sent twice; never not at all. What may not enter:
how a message is sent (actors/notify.py).
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, json
from sqlalchemy import and_, func, insert, select, update

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema.delivery import escalations, notices

#: After a message, what becomes due waits this long, so that it goes into one.
TOGETHER_SECONDS = 30.0
#: Tasks that one message can be about.
MOST_TASKS = 10_000
#: A failed message is tried again after this long, doubled each time up to the second.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 600.0

_WAITING = notices.c.state == "waiting"


class Notice(Struct, frozen=True):
    """One message to send, under a lease."""

    id: int
    channel: str
    tasks: list[int]
    #: This one included: starts at 1.
    attempts: int
    created_at: str


class Notices:
    """The messages of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def plan(self, channels: Sequence[str], repeat_seconds: float) -> int:
        """Make messages, one a channel, of the tasks that are due; gives how many tasks. Nothing without a channel."""
        now = self._clock()
        seconds = now.timestamp()
        unseen = and_(escalations.c.closed_at.is_(None), escalations.c.acknowledged_at.is_(None))
        # Further away than any repetition: the clock was set back.
        due = (escalations.c.next_notice_at <= seconds) | (escalations.c.next_notice_at > seconds + repeat_seconds)
        query = select(escalations.c.id).where(unseen, due).order_by(escalations.c.id).limit(MOST_TASKS)
        if not channels or not self._any(query) or self._too_soon(seconds):
            return 0
        with self._store.engine.begin() as connection:
            if self._store.dialect == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("lotgate:notices"))))
            ids = [int(row.id) for row in connection.execute(query)]
            if not ids:
                return 0
            for channel in channels:
                self._add(connection, channel, ids, seconds, instant(now))
            connection.execute(
                update(escalations)
                .where(escalations.c.id.in_(ids))
                .values(notices=escalations.c.notices + 1, next_notice_at=seconds + repeat_seconds)
            )
        return len(ids)

    def _any(self, query: Any) -> bool:
        with self._store.reads.connect() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def _too_soon(self, seconds: float) -> bool:
        """Was a message sent a moment ago?"""
        recent = select(func.max(notices.c.due_at)).where(notices.c.state == "sent")
        with self._store.reads.connect() as connection:
            last = connection.execute(recent).scalar()
        return last is not None and 0 <= seconds - float(last) < TOGETHER_SECONDS

    def _add(self, connection: Any, channel: str, ids: list[int], seconds: float, now: str) -> None:
        """Put ``ids`` into the message of ``channel`` that waits, or into a new one."""
        free = (notices.c.channel == channel, _WAITING, notices.c.lease_until < seconds)
        query = select(notices.c.id, notices.c.tasks).where(*free).limit(1)
        if self._store.dialect == "postgresql":
            query = query.with_for_update()
        there = connection.execute(query).first()
        if there is not None:
            together = sorted({*json.decode(there.tasks, type=list[int]), *ids})
            change = update(notices).where(notices.c.id == there.id).values(tasks=json.encode(together).decode())
            connection.execute(change)
            return
        row = {"channel": channel, "tasks": json.encode(ids).decode(), "due_at": seconds, "created_at": now}
        connection.execute(insert(notices).values(**row))

    def take(self, channels: Sequence[str], lease_seconds: float) -> Notice | None:
        """The message that is due longest, under a lease; None when there is none."""
        now = self._clock().timestamp()
        due = (notices.c.due_at <= now) | (notices.c.due_at > now + LONGEST_WAIT_SECONDS)
        over = (notices.c.lease_until <= now) | (notices.c.lease_until > now + LONGEST_WAIT_SECONDS)
        mine = and_(_WAITING, due, over, notices.c.channel.in_(channels))
        columns = (notices.c.id, notices.c.channel, notices.c.tasks, notices.c.attempts, notices.c.created_at)
        query = select(*columns).where(mine).order_by(notices.c.due_at).limit(1)
        if not self._any(query):
            return None
        with self._store.engine.begin() as connection:
            if self._store.dialect == "postgresql":
                query = query.with_for_update(skip_locked=True)
            row = connection.execute(query).first()
            if row is None:
                return None
            attempts = row.attempts + 1
            change = {"lease_until": now + lease_seconds, "attempts": attempts}
            connection.execute(update(notices).where(notices.c.id == row.id).values(**change))
        return Notice(row.id, row.channel, json.decode(row.tasks, type=list[int]), attempts, row.created_at)

    def sent(self, notice: Notice) -> None:
        """It was sent."""
        now = self._clock()
        self._settle(notice, state="sent", sent_at=instant(now), due_at=now.timestamp(), last_error=None)

    def dropped(self, notice: Notice) -> None:
        """It need not be sent any more."""
        self._settle(notice, state="dropped")

    def failed(self, notice: Notice, error: str) -> float:
        """It could not be sent; gives the seconds after which it is tried again."""
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(notice.attempts - 1, 20))
        self._settle(notice, due_at=self._clock().timestamp() + wait, last_error=error)
        return wait

    def _settle(self, notice: Notice, **values: Any) -> None:
        with self._store.engine.begin() as connection:
            mine = and_(notices.c.id == notice.id, notices.c.attempts == notice.attempts, _WAITING)
            connection.execute(update(notices).where(mine).values(lease_until=0.0, **values))

    def waiting(self) -> dict[str, tuple[int, str | None]]:
        """Messages that wait to be sent by channel, with what the newest attempt said."""
        query = select(notices.c.channel, func.count(), func.max(notices.c.last_error)).where(_WAITING)
        with self._store.reads.connect() as connection:
            rows = connection.execute(query.group_by(notices.c.channel))
            return {str(channel): (int(number), error) for channel, number, error in rows}
