"""Who is calling: API keys, principals, their roles and limits. Deny by default.

What may not enter: routes and what they do; what a role may is in api/roles.py. A key is looked up by its SHA-256 in a
dictionary that is read anew from the ``api_keys`` table at most a second after any change; the key itself is nowhere
kept, so the database opens nothing, and how long a look-up takes says nothing about any key.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from api.roles import ROLES, opens, sent_by
from engine.people import Key

log = logging.getLogger("lotgate.api")

#: A revoked key works at most this long.
RELOAD_SECONDS = 1.0


class Principal(Struct, frozen=True):
    """Somebody or something that holds a key; ``name`` goes into every event it sends."""

    name: str
    roles: frozenset[str]
    #: Sources that its events may come from, ``*`` at the end for any end; none: all.
    sources: tuple[str, ...] = ()
    #: Plants whose lots it may see and change; none: all.
    plants: frozenset[str] = frozenset()
    #: Worked out once a key: the hot path only looks it up.
    _sends: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "_sends", sent_by(self.roles))

    def may(self, *roles: str) -> bool:
        """Does the principal have one of ``roles``? An administrator has all; whoever has any role may read."""
        return opens(self.roles, roles)

    def sends(self, kind: str) -> bool:
        """May the principal send events of this type?"""
        return kind in self._sends or "admin" in self.roles


def _principal(key: Key) -> Principal:
    known = frozenset(key.roles) & ROLES.keys()
    return Principal(key.name, known, key.sources, frozenset(key.plants))


#: Reads the keys that are neither revoked nor expired; may block.
ReadKeys = Callable[[], Iterable[Key]]


class Bearers(Protocol):
    """Tokens that somebody else gave out (api/tokens.py)."""

    def find(self, token: bytes) -> Principal | None:
        """Whose token this is, or None."""

    def may_be_new(self, token: bytes) -> bool:
        """May refreshing make a token known that opens nothing?"""

    async def refresh(self) -> None:
        """Learn what changed at whoever gives the tokens out."""


class KeyRing:
    """The keys that open this service, in memory; beside them the tokens of a provider, where there is one."""

    def __init__(self, read_keys: ReadKeys, tokens: Bearers | None = None) -> None:
        self._read_keys = read_keys
        self._tokens = tokens
        self._holders: dict[bytes, tuple[bytes, Principal]] = {}

    def load(self) -> None:
        """Read all valid keys; what was there before is replaced in one step."""
        fresh: dict[bytes, tuple[bytes, Principal]] = {}
        for row in self._read_keys():
            digest = bytes.fromhex(row.secret_hash)
            fresh[digest] = (digest, _principal(row))
        self._holders = fresh

    async def keep_fresh(self) -> None:
        """Read the keys again and again, off the event loop, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except SQLAlchemyError as error:
                # The last known keys stay: a database that is away for a moment locks nobody out.
                log.warning("the API keys could not be read again: %s", type(error).__name__)

    def find(self, key: bytes) -> Principal | None:
        """Whose key this is, or None."""
        return self.holder(hashlib.sha256(key).digest())

    def holder(self, digest: bytes) -> Principal | None:
        """Whose key has this SHA-256, or None."""
        held = self._holders.get(digest)
        if held is None or not hmac.compare_digest(held[0], digest):
            return None
        return held[1]

    def authenticate(self, headers: dict[bytes, bytes]) -> Principal | None:
        """The principal of a request: ``Authorization: Bearer`` or ``X-API-Key``; never a cookie."""
        sent = headers.get(b"authorization")
        if sent is None:
            sent = headers.get(b"x-api-key")
            return None if sent is None else self.find(sent)
        if sent[:7].lower() != b"bearer ":
            return None
        bearer = sent[7:]
        found = self.find(bearer)
        return self._tokens.find(bearer) if found is None and self._tokens is not None else found

    async def learned(self, headers: dict[bytes, bytes]) -> bool:
        """Is it worth looking again at a token that opened nothing? Asks its giver first, where that may help."""
        sent = headers.get(b"authorization", b"")
        if self._tokens is None or sent[:7].lower() != b"bearer " or not self._tokens.may_be_new(sent[7:]):
            return False
        await self._tokens.refresh()
        return True
