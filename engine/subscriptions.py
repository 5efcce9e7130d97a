"""Subscriptions: who is told every journal entry by webhook, in order per lot. Each is a target of the ledger.

The committer owes every entry to every subscription that is on, in the transaction that makes the entry: a subscription
misses nothing from the answer that made it. Signing secrets are derived from one key that never touches the database,
so a copy of the database signs nothing. What may not enter: sending (actors/webhooks.py).
"""

import hashlib
import hmac
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import and_, func, insert, literal, select, update

from engine.clock import Clock, instant
from engine.errors import HistoryArchived, NotFound, SettingInvalid
from engine.journal import Entry
from engine.settings import Settings
from engine.store.archive import horizon
from engine.store.archived import Archived
from engine.store.history import first_position
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries, subscriptions
from engine.store.schema.lots import journal

#: Every subscription's name in the ledger begins so, and no other target's does.
PREFIX = "hook-"
#: File in LOTGATE_HOME with the key that secrets are derived from, where no setting has it.
KEY_FILE = "webhook.key"
#: No batch is under way for longer.
UNDER_WAY_SECONDS = 120.0
#: Who disables a subscription that fails for too long.
OURSELVES = "lotgate"


def is_subscription(target: str) -> bool:
    """Is ``target`` a subscription, and not a system that has to agree?"""
    return target.startswith(PREFIX)


class Subscription(Struct, frozen=True):
    """Somebody who is told. Instants are ISO 8601, UTC; null: not now."""

    id: str
    url: str
    name: str
    #: Event types that it is told; empty: every one.
    types: tuple[str, ...]
    #: Number of its secret: grows with every rotation.
    generation: int
    #: Until then messages are signed with the secret before, too.
    previous_until: str | None
    created_at: str
    created_by: str
    #: Since when no message was taken.
    failing_since: str | None
    disabled_at: str | None
    disabled_why: str | None


_COLUMNS = tuple(subscriptions.c[name] for name in Subscription.__struct_fields__)
_ENTRY = tuple(journal.c[name] for name in Entry.__struct_fields__)
_ON = and_(subscriptions.c.disabled_at.is_(None), subscriptions.c.removed_at.is_(None))


class Subscriptions:
    """The subscriptions of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def add(self, url: str, name: str, types: tuple[str, ...], by: str) -> Subscription:
        """From now on ``url`` is told; the address was judged before."""
        identity = PREFIX + secrets.token_hex(4)
        row = {
            "id": identity, "url": url, "name": name, "types": msgspec.json.encode(types).decode(),
            "created_at": instant(self._clock()), "created_by": by,
        }  # fmt: skip
        with self._store.engine.begin() as connection:
            connection.execute(insert(subscriptions).values(**row))
        return self.get(identity)

    def lines(self) -> list[Subscription]:
        """Every subscription that was not removed, oldest first."""
        return self._lines(subscriptions.c.removed_at.is_(None))

    def on(self) -> list[Subscription]:
        """Those that are told."""
        return self._lines(_ON)

    def get(self, identity: str) -> Subscription:
        """One subscription; raises NotFound."""
        found = self._lines(and_(subscriptions.c.id == identity, subscriptions.c.removed_at.is_(None)))
        if not found:
            raise NotFound(f"There is no subscription {identity}.")
        return found[0]

    def _lines(self, wanted: Any) -> list[Subscription]:
        query = select(*_COLUMNS).where(wanted).order_by(subscriptions.c.created_at, subscriptions.c.id)
        with self._store.reads.connect() as connection:
            return [_line(row) for row in connection.execute(query)]

    def rotate(self, identity: str, overlap_seconds: float) -> Subscription:
        """A new secret; messages are signed with the old one, too, for ``overlap_seconds``."""
        self.get(identity)
        until = instant(self._clock() + timedelta(seconds=overlap_seconds))
        self._write(identity, generation=subscriptions.c.generation + 1, previous_until=until)
        return self.get(identity)

    def disable(self, identity: str, why: str) -> bool:
        """Tell it nothing; what comes meanwhile is made up for by :meth:`enable`. False: it is off already."""
        now = instant(self._clock())
        return self._write(identity, _ON, disabled_at=now, disabled_why=why)

    def enable(self, identity: str) -> Subscription:
        """Tell it again, from where it was disabled."""
        line = self.get(identity)
        if line.disabled_at is not None:
            self._write(identity, disabled_at=None, disabled_why=None, failing_since=None)
            # After it is on: an entry that is committed in between is owed once, by whoever comes first.
            self._owe(line, line.disabled_at)
        return self.get(identity)

    def remove(self, identity: str) -> Subscription:
        """It is over; what was still owed is owed no more."""
        line = self.get(identity)
        self._write(identity, removed_at=instant(self._clock()))
        mine = and_(deliveries.c.target == identity, deliveries.c.state.in_(("pending", "sending", "dead")))
        with self._store.engine.begin() as connection:
            connection.execute(
                update(deliveries).where(mine)
                .values(state="superseded", fence=deliveries.c.fence + 1, lease_owner=None, lease_until=None)
            )  # fmt: skip
        return line

    def recover(self, identity: str, since: str, *, dry_run: bool) -> int:
        """Tell it everything again that was recorded since an instant, under the same ids; gives how many.

        Raises HistoryArchived where some of that has left the journal.
        """
        line = self.get(identity)
        with self._store.reads.connect() as connection:
            archived = horizon(connection)
        if archived is not None and since <= archived:
            raise HistoryArchived(
                f"Entries up to {archived} are in the archive, and are not sent again: ask for what was recorded after"
                " it, or read what was before from /v1/changes, which reads the archive, too."
            )
        mine = and_(
            deliveries.c.target == identity,
            deliveries.c.created_at >= since,
            deliveries.c.state.in_(("delivered", "dead", "superseded")),
        )
        missing = self._missing(line, since)
        if dry_run:
            with self._store.reads.connect() as connection:
                again = connection.execute(select(func.count()).where(mine)).scalar_one()
                return int(again) + int(connection.execute(select(func.count()).select_from(missing)).scalar_one())
        now = self._clock().timestamp()
        with self._store.engine.begin() as connection:
            change = update(deliveries).where(mine).values(state="pending", due_at=now, attempts=0, delivered_at=None)
            again = connection.execute(change).rowcount
        return int(again) + self._owe(line, since)

    def _owe(self, line: Subscription, since: str) -> int:
        """Owe it the entries since an instant that it was never owed."""
        columns = ["lot", "version", "target", "payload", "due_at", "created_at"]
        missing = self._missing(line, since)
        owing = insert(deliveries).from_select(columns, missing.select()).execution_options(preserve_rowcount=True)
        with self._store.engine.begin() as connection:
            return connection.execute(owing).rowcount

    def _missing(self, line: Subscription, since: str) -> Any:
        owed = and_(
            deliveries.c.lot == journal.c.lot,
            deliveries.c.version == journal.c.version,
            deliveries.c.target == line.id,
        )
        with self._store.reads.connect() as connection:
            first = first_position(connection, since)
        query = (
            select(
                journal.c.lot, journal.c.version, literal(line.id).label("target"), literal("{}").label("payload"),
                literal(self._clock().timestamp()).label("due_at"), journal.c.recorded_at,
            )
            .where(journal.c.position > first, journal.c.recorded_at >= since)
            .where(~select(deliveries.c.id).where(owed).correlate(journal).exists())
            .order_by(journal.c.position)
        )  # fmt: skip
        if line.types:
            query = query.where(journal.c.type.in_(line.types))
        return query.subquery()

    def make_up(self) -> int:
        """Owe what a batch left out that was under way when a subscription was made or enabled; gives how many."""
        since = instant(self._clock() - timedelta(seconds=UNDER_WAY_SECONDS))
        return sum(self._owe(line, max(since, line.created_at)) for line in self.on())

    def failing(self, identity: str) -> datetime:
        """A message was not taken; gives since when that has been so."""
        now = instant(self._clock())
        self._write(identity, subscriptions.c.failing_since.is_(None), failing_since=now)
        return datetime.fromisoformat(self.get(identity).failing_since or now)

    def working(self, identity: str) -> None:
        """A message was taken."""
        self._write(identity, subscriptions.c.failing_since.is_not(None), failing_since=None)

    def entry(self, lot: str, version: int) -> Entry | None:
        """What a message is about. Raises ArchiveUnavailable."""
        query = select(*_ENTRY).where(journal.c.lot == lot, journal.c.version == version)
        with self._store.moments.connect() as connection:
            row = connection.execute(query).first()
            if row is not None:
                return Entry(*row)
            return Archived(self._store).at(connection, [(lot, version)]).get((lot, version))

    def _write(self, identity: str, only_if: Any = None, **values: Any) -> bool:
        mine = subscriptions.c.id == identity
        with self._store.engine.begin() as connection:
            change = update(subscriptions).where(mine if only_if is None else and_(mine, only_if)).values(**values)
            return connection.execute(change).rowcount == 1


def _line(row: Any) -> Subscription:
    identity, url, name, types, *rest = row
    return Subscription(identity, url, name, msgspec.json.decode(types, type=tuple[str, ...]), *rest)


def derived(key: bytes, identity: str, generation: int) -> bytes:
    """The signing secret of one generation of a subscription: 32 bytes."""
    return hmac.new(key, f"lotgate-webhook/{identity}/{generation}".encode(), hashlib.sha256).digest()


def signing_secrets(key: bytes, line: Subscription, now: datetime) -> list[bytes]:
    """Every secret that signs for ``line`` now, the newest first."""
    found = [derived(key, line.id, line.generation)]
    if line.generation > 1 and line.previous_until is not None and instant(now) < line.previous_until:
        found.append(derived(key, line.id, line.generation - 1))
    return found


def signing_key(settings: Settings) -> bytes:
    """The key that secrets are derived from: the setting, or a file in the home directory, made when there is none.

    Raises SettingInvalid with PostgreSQL and no setting: several hosts would each make a key of their own.
    """
    if settings.webhook_key:
        return hashlib.sha256(settings.webhook_key.encode()).digest()
    if settings.database_url:
        raise SettingInvalid(
            "With PostgreSQL the key that signs webhooks must be the same on every host: set LOTGATE_WEBHOOK_KEY "
            "or LOTGATE_WEBHOOK_KEY_FILE, for example to the output of `openssl rand -hex 32`."
        )
    path = settings.home / KEY_FILE
    if not path.exists():
        _make(path)
    return hashlib.sha256(path.read_bytes().strip()).digest()


def _make(path: Path) -> None:
    """Whole or not at all, and never over another process's: written beside, then linked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
