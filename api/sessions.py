"""Sessions of browsers: the cookie, and which sessions stand, in memory. The cookie opens the console and nothing else.

What may not enter: routes and forms (api/console/entry.py), SQL (engine/sessions.py). A session is looked up by the
hash of its cookie, as keys are; it ends within a second of its key, whichever process ended either.
"""

import asyncio
import hashlib
import hmac
import logging

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from api.access import RELOAD_SECONDS, KeyRing, Principal
from engine.sessions import Session, Sessions, hash_of

log = logging.getLogger("lotgate.api")

COOKIE = b"lotgate_session"
#: Where the cookie is sent and looked at.
PREFIX = b"/console"
#: What somebody does is written down at most so often.
NOTED_SECONDS = 60.0


class SignedIn(Struct, frozen=True):
    """Somebody at a browser, and what every form of theirs carries."""

    principal: Principal
    token_hash: str
    csrf: str


class SessionRing:
    """The sessions that stand, for this process."""

    def __init__(self, sessions: Sessions, keys: KeyRing) -> None:
        self._sessions = sessions
        self._keys = keys
        self._standing: dict[str, Session] = {}
        #: When each was last written down as seen; loop time.
        self._noted: dict[str, float] = {}

    def load(self) -> None:
        """Read the sessions that stand."""
        self._standing = {session.token_hash: session for session in self._sessions.standing()}

    async def keep_fresh(self) -> None:
        """Read them again and again, off the event loop, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except SQLAlchemyError as error:
                log.warning("the sessions could not be read again: %s", type(error).__name__)
            self._noted = {name: at for name, at in self._noted.items() if name in self._standing}

    def of(self, headers: dict[bytes, bytes]) -> SignedIn | None:
        """Who the browser's cookie stands for."""
        token = cookie_of(headers.get(b"cookie", b""), COOKIE)
        if not token:
            return None
        found = self._standing.get(hash_of(token))
        principal = None if found is None else self._keys.holder(bytes.fromhex(found.key_hash))
        if found is None or principal is None:
            return None
        return SignedIn(principal, found.token_hash, csrf_of(token))

    async def begin(self, key: str) -> str | None:
        """Sign in with a key: gives the token for the cookie; None for a key that opens nothing."""
        principal = self._keys.find(key.encode())
        if principal is None or not principal.may("read"):
            return None
        token, session = await asyncio.to_thread(self._sessions.begin, hashlib.sha256(key.encode()).hexdigest())
        self._standing = {**self._standing, session.token_hash: session}
        return token

    async def note(self, signed_in: SignedIn) -> None:
        """Somebody has just done something: the session is not idle."""
        name, now = signed_in.token_hash, asyncio.get_running_loop().time()
        if now - self._noted.get(name, float("-inf")) > NOTED_SECONDS:
            self._noted[name] = now
            await asyncio.to_thread(self._sessions.seen, name)

    async def end(self, signed_in: SignedIn) -> None:
        """Sign out."""
        await asyncio.to_thread(self._sessions.end, signed_in.token_hash)
        self._standing = {name: one for name, one in self._standing.items() if name != signed_in.token_hash}


def by_https(headers: dict[bytes, bytes], browser_url: str) -> bool:
    """Does this browser come by https? So says the address at which browsers reach us, or the proxy before us.

    Whoever lies about it hurts only himself: his own cookies are for https then, or are not.
    """
    return browser_url.startswith("https:") or headers.get(b"x-forwarded-proto") == b"https"


def csrf_of(token: str) -> str:
    """What forms of a session carry: only who holds the cookie, or reads the page, can know it."""
    return hmac.new(token.encode(), b"lotgate form", hashlib.sha256).hexdigest()[:32]


def cookie_of(header: bytes, wanted: bytes) -> str:
    """The value of a cookie; empty when there is none, or more than one."""
    pairs = [part.strip().partition(b"=") for part in header.split(b";")]
    found = [value for name, _, value in pairs if name == wanted]
    return found[0].decode("ascii", "replace") if len(found) == 1 else ""
