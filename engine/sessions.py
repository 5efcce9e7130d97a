"""Who is signed in at the console: sessions, each made with a key and ending with it. Only hashes are kept.

What may not enter: cookies, HTTP (api/sessions.py). A session opens what its key opens, no more and no longer.
"""

import hashlib
import secrets
from datetime import timedelta

from msgspec import Struct
from sqlalchemy import delete, insert, select, update

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema.access import sessions

#: A shift with its overlap; then somebody signs in again.
LONGEST = timedelta(hours=12)
#: A session in which nobody has done anything for so long is over.
IDLE = timedelta(hours=1)


class Session(Struct, frozen=True):
    """One signing-in that still stands. Instants are ISO 8601, UTC."""

    #: SHA-256, hex, of what the browser holds.
    token_hash: str
    #: SHA-256, hex, of the key that it was opened with.
    key_hash: str
    ends_at: str
    seen_at: str


class Sessions:
    """The sessions of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def begin(self, key_hash: str) -> tuple[str, Session]:
        """A new session, and the token that opens it, the only time it can be read. What is over is swept out."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        session = Session(hash_of(token), key_hash, instant(now + LONGEST), instant(now))
        row = {name: getattr(session, name) for name in Session.__struct_fields__} | {"began_at": instant(now)}
        with self._store.engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends_at < instant(now)))
            connection.execute(insert(sessions).values(**row))
        return token, session

    def standing(self) -> list[Session]:
        """Every session that is neither over nor idle."""
        now = self._clock()
        columns = [sessions.c[name] for name in Session.__struct_fields__]
        alive = (sessions.c.ends_at > instant(now), sessions.c.seen_at > instant(now - IDLE))
        with self._store.reads.connect() as connection:
            return [Session(*row) for row in connection.execute(select(*columns).where(*alive))]

    def seen(self, token_hash: str) -> None:
        """Somebody has just done something."""
        mine = sessions.c.token_hash == token_hash
        with self._store.engine.begin() as connection:
            connection.execute(update(sessions).where(mine).values(seen_at=instant(self._clock())))

    def end(self, token_hash: str) -> None:
        """Sign out."""
        with self._store.engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def hash_of(token: str) -> str:
    """SHA-256 of a token, hex: enough for a secret that nobody chose."""
    return hashlib.sha256(token.encode()).hexdigest()
