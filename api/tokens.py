"""Bearer tokens of an OpenID Connect provider: signed by it, for us, not over; found again in memory.

The provider's addresses and signing keys are read by discovery (OpenID Connect Discovery 1.0, RFC 7517), at start,
every few minutes, and when a token names a key that is not known; never more often than the floor says. A token that
was verified is kept by its SHA-256 until it ends or the signing keys change, so that the hot path only looks it up.
What may not enter: who may do what (api/grants.py), signing in at the console (api/single_sign_on.py).
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec
from msgspec import Struct

from api.access import Principal
from api.grants import Grants, read_grants
from engine.errors import SettingInvalid
from engine.settings import Settings

log = logging.getLogger("lotgate.api")

T = TypeVar("T")

#: Signatures with public keys only: never ``none``, never a shared secret (RFC 8725, 3.1 and 3.2).
ALGORITHMS = ("RS256", "ES256")
#: RFC 7518, 3.3: an RSA key of this size or larger must be used with RS256.
_MIN_RSA_BITS = 2048
#: A signing key that the provider withdrew opens nothing after this long.
REFRESH_SECONDS = 300.0
#: Whoever sends tokens with invented key names makes us ask the provider at most so often.
FLOOR_SECONDS = 10.0
#: Clocks of two machines differ by this at most.
LEEWAY_SECONDS = 30.0
#: One document of the provider takes no longer, whole: whoever sends a new key name waits for two.
PATIENCE_SECONDS = 5.0
_MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_TOKEN_BYTES = 16 * 1024
#: Verified tokens in memory; more make it forget all and verify again.
_MAX_KEPT = 10_000
#: Callers that wait for new signing keys at a time; more are strangers at once.
MOST_WAITING = 100
_REQUIRED = ("iss", "aud", "exp", "sub")


class Provider(Struct, frozen=True):
    """What discovery says of the provider."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""


class _KeySet(Struct, frozen=True):
    keys: list[dict[str, Any]]


class ProviderAway(Exception):
    """The provider did not answer, or not as a provider does; the sentence says what came."""


class Tokens:
    """The tokens of one provider. ``wall`` is seconds since 1970, ``clock`` seconds that never go back."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        grants: Grants,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self.provider: Provider | None = None
        self._audience = audience
        self._grants = grants
        self._patience_seconds = patience_seconds
        self._wall = wall
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._documents: list[dict[str, Any]] = []
        self._kept: dict[bytes, tuple[float, Principal]] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._waiting = 0

    # -- the hot path --------------------------------------------------------------------------------------------

    def find(self, token: bytes) -> Principal | None:
        """Whose token this is, or None. Verifies it the first time it is seen."""
        digest = hashlib.sha256(token).digest()
        kept = self._kept.get(digest)
        if kept is not None:
            if kept[0] > self._wall():
                return kept[1]
            del self._kept[digest]
            return None
        if not self._audience:
            return None
        claims = self.claims(token, self._audience)
        # What a sign-in gives says who is at the browser, and is no key to anything (OpenID Connect Core 1.0, 2).
        if claims is not None and "nonce" in claims:
            return None
        principal = None if claims is None else self._grants.principal(claims)
        if claims is None or principal is None:
            return None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[digest] = (float(claims["exp"]) + LEEWAY_SECONDS, principal)
        return principal

    def claims(self, token: bytes, audience: str) -> dict[str, Any] | None:
        """What a token says, when the provider signed it for ``audience`` and it is not over; else None."""
        try:
            key = self._key_of(token)
            if key is None:
                return None
            return jwt.decode(
                token.decode("ascii"), key, algorithms=list(ALGORITHMS), audience=audience, issuer=self.issuer,
                leeway=LEEWAY_SECONDS, options={"require": list(_REQUIRED)},
            )  # fmt: skip
        except (jwt.PyJWTError, UnicodeDecodeError, RecursionError):
            return None

    def principal(self, claims: Mapping[str, object]) -> Principal | None:
        """Whom claims that were verified speak of."""
        return self._grants.principal(claims)

    # -- the signing keys ----------------------------------------------------------------------------------------

    def _key_of(self, token: bytes) -> jwt.PyJWK | None:
        """The key that a token names; where it names none, the only one (OpenID Connect Core 1.0, 10.1)."""
        kid = _kid(token)
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def may_be_new(self, token: bytes) -> bool:
        """May a token that opens nothing be signed with a key that is not known yet, so that asking may help?"""
        try:
            kid = _kid(token)
        except jwt.PyJWTError:
            return False
        return kid is None or kid not in self._keys

    async def refresh(self) -> None:
        """Read the signing keys again, unless that was done or tried a moment ago. The last known ones stay."""
        if self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        try:
            async with self._asking:
                if self._clock() - self._asked_at >= FLOOR_SECONDS:
                    await self._ask()
        finally:
            self._waiting -= 1

    async def _ask(self) -> None:
        try:
            self.provider, documents = await _discover(self.issuer, self._patience_seconds)
        except ProviderAway as away:
            log.warning("the signing keys of %s could not be read: %s", self.issuer, away)
        else:
            self.take(documents)
        finally:
            # From its end on: those who waited for it do not begin again.
            self._asked_at = self._clock()

    def take(self, documents: list[dict[str, Any]]) -> None:
        """From now on these keys sign; what was verified with others is forgotten."""
        if documents == self._documents:
            return
        usable = [key for key in map(_usable, documents) if key is not None]
        self._documents, self._keys = documents, {key.key_id: key for key in usable}
        self._kept.clear()
        log.info("%s signs with %d keys", self.issuer, len(self._keys))

    async def keep_fresh(self) -> None:
        """Read the keys again and again until cancelled; soon again while there are none."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if self._keys else FLOOR_SECONDS)


def tokens_of(settings: Settings) -> Tokens | None:
    """The tokens that the settings ask for; None without a provider. Raises SettingInvalid."""
    grants = read_grants(settings.oidc_grants, settings.oidc_claim, settings.oidc_name)
    issuer = settings.oidc_issuer
    if not issuer:
        return None
    if not _is_private(issuer) or "?" in issuer or "#" in issuer:
        raise SettingInvalid(f"LOTGATE_OIDC_ISSUER is {issuer!r}; expected https://…, or http:// on this machine.")
    if not grants.grants:
        raise SettingInvalid("LOTGATE_OIDC_GRANTS is not set: with it, LOTGATE_OIDC_ISSUER says who may what.")
    return Tokens(issuer, settings.oidc_audience, grants)


def _is_private(address: str) -> bool:
    """Can nobody on the way read or change what goes to this address?"""
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
    here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return named and (parts.scheme == "https" or (parts.scheme == "http" and here))


def _kid(token: bytes) -> str | None:
    """The name of the key that a token says it was signed with, if it names one. Raises PyJWTError for no token."""
    if len(token) > _MAX_TOKEN_BYTES or token.count(b".") != 2:
        raise jwt.DecodeError("not a token")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except RecursionError:
        raise jwt.DecodeError("nested too deep") from None
    return kid if isinstance(kid, str) else None


def _usable(document: dict[str, Any]) -> jwt.PyJWK | None:
    """A key that may sign for us; None for keys that encrypt, are shared or weak, or that nobody can read."""
    if document.get("use", "sig") != "sig" or not isinstance(document.get("kid", ""), str):
        return None
    try:
        key = jwt.PyJWK(document)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    return None if key.algorithm_name == "RS256" and key.key.key_size < _MIN_RSA_BITS else key


async def _discover(issuer: str, patience_seconds: float) -> tuple[Provider, list[dict[str, Any]]]:
    async with httpx.AsyncClient(timeout=patience_seconds, follow_redirects=False, trust_env=False) as client:
        address = issuer.rstrip("/") + "/.well-known/openid-configuration"
        provider = await ask(client, "GET", address, Provider)
        if provider.issuer != issuer:
            raise ProviderAway(f"it calls itself {provider.issuer[:200]!r}")
        for found in (provider.jwks_uri, provider.authorization_endpoint, provider.token_endpoint):
            if found and not _is_private(found):
                raise ProviderAway(f"it names {found[:200]!r}, which is not https")
        return provider, (await ask(client, "GET", provider.jwks_uri, _KeySet)).keys


async def ask(client: httpx.AsyncClient, method: str, address: str, wanted: type[T], **more: Any) -> T:
    """One small JSON document of the provider, whole within the client's time-out. Raises ProviderAway."""
    try:
        # The client's own limit is for each piece: an answer that drips would never end.
        async with asyncio.timeout(client.timeout.read), client.stream(method, address, **more) as answer:
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MAX_DOCUMENT_BYTES:
                    raise ProviderAway(f"{address} answered with more than {_MAX_DOCUMENT_BYTES} bytes")
            if answer.status_code != 200:
                raise ProviderAway(f"{address} answered {answer.status_code}")
            return msgspec.json.decode(body, type=wanted)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise ProviderAway(f"{address}: {type(error).__name__}") from None
    except msgspec.DecodeError:
        raise ProviderAway(f"{address} answered something else than its JSON") from None
