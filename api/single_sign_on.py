"""Signing in at the console with an OpenID Connect provider: authorization code with PKCE, state and nonce.

OpenID Connect Core 1.0, section 3.1, as RFC 9700 asks. Between the two halves the browser alone keeps what was begun,
in a cookie that only the console's sign-in gets; the answer counts only together with it. Whoever comes back gets a
key that nobody has ever seen and that ends with the longest session, so that administrators see, list and revoke who
is signed in like everybody else. What may not enter: verifying tokens (api/tokens.py), roles (api/grants.py), pages.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from urllib.parse import quote, urlencode

import httpx
import msgspec
from msgspec import Struct

from api.access import KeyRing, Principal
from api.sessions import SessionRing
from api.tokens import Provider, ProviderAway, Tokens, ask
from engine.clock import Clock, instant
from engine.people import create_key, identity_of, revoke_key
from engine.sessions import LONGEST
from engine.settings import Settings
from engine.store.opening import Store

log = logging.getLogger("lotgate.api")

BEGIN, BACK = "/console/login/sso", "/console/login/sso/back"
COOKIE = "lotgate_sso"
#: So long somebody may take at the provider: a password, a second factor.
PATIENCE_SECONDS = 600
_TIMEOUT_SECONDS = 10.0


class Begun(Struct, frozen=True):
    """What the browser keeps while somebody is at the provider."""

    state: str
    nonce: str
    verifier: str
    #: Page of the console to go to.
    onward: str


class _Given(Struct, frozen=True):
    """What the provider gives for a code; the rest of it is nothing to us."""

    id_token: str


class NotSignedIn(Exception):
    """The provider's answer opens nothing; the sentence says why, to the person at the browser."""


class SingleSignOn:
    """The way in by the provider."""

    def __init__(
        self, settings: Settings, tokens: Tokens, keys: KeyRing, sessions: SessionRing, store: Store, clock: Clock
    ) -> None:
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        self._back = settings.browser_url + BACK
        self._tokens = tokens
        self._keys = keys
        self._sessions = sessions
        self._store = store
        self._clock = clock

    async def begin(self, onward: str) -> tuple[str, str]:
        """Where to send the browser, and what it must keep and bring back."""
        provider = await self._provider()
        begun = Begun(_chance(), _chance(), _chance(), onward)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": self._back,
            "scope": "openid profile email", "state": begun.state, "nonce": begun.nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        there = provider.authorization_endpoint
        kept = base64.urlsafe_b64encode(msgspec.json.encode(begun)).rstrip(b"=").decode()
        return f"{there}{'&' if '?' in there else '?'}{urlencode(asked)}", kept

    async def finish(self, kept: str, answer: dict[str, str]) -> tuple[str, str]:
        """The token of a new session and the page to go to. Raises NotSignedIn."""
        begun = _answered(kept, answer)
        if begun is None:
            raise NotSignedIn("This sign-in was not begun here, or too long ago. Begin again.")
        if answer.get("iss", self._tokens.issuer) != self._tokens.issuer:
            raise NotSignedIn("The answer came from another provider than the one that was asked. Begin again.")
        if "code" not in answer:
            raise NotSignedIn("The provider did not sign you in. Begin again, or ask whoever runs it.")
        principal = await self._whom(begun, answer["code"])
        key = await asyncio.to_thread(self._key, principal)
        token = await self._sessions.begin(key)
        if token is None:
            await asyncio.to_thread(self._take_back, key)
            raise NotSignedIn("The sign-in could not be completed. Begin again.")
        log.info("%s signed in", principal.name)
        return token, begun.onward

    async def _provider(self) -> Provider:
        if self._tokens.provider is None:
            await self._tokens.refresh()
        if self._tokens.provider is None:
            raise NotSignedIn("The identity provider does not answer. Try again in a while, or sign in with a key.")
        return self._tokens.provider

    async def _whom(self, begun: Begun, code: str) -> Principal:
        sent = await self._exchange(begun, code)
        claims = self._tokens.claims(sent, self._client_id)
        if claims is None and self._tokens.may_be_new(sent):
            await self._tokens.refresh()
            claims = self._tokens.claims(sent, self._client_id)
        # OpenID Connect Core, 3.1.3.7: made for this client, and for this sign-in.
        if claims is None or claims.get("azp", self._client_id) != self._client_id:
            raise NotSignedIn("The provider's answer is not signed for this console. Tell whoever runs it.")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), begun.nonce.encode()):
            raise NotSignedIn("The provider's answer belongs to another sign-in. Begin again.")
        principal = self._tokens.principal(claims)
        if principal is None:
            raise NotSignedIn("The provider knows you, but nothing was granted to you here. Ask an administrator.")
        return principal

    async def _exchange(self, begun: Begun, code: str) -> bytes:
        """The ID token for a code."""
        provider = await self._provider()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._back,
            "code_verifier": begun.verifier,
        }  # fmt: skip
        auth = None
        if self._secret:
            # RFC 6749, 2.3.1: both are form-encoded before they become user name and password.
            auth = httpx.BasicAuth(quote(self._client_id, safe=""), quote(self._secret, safe=""))
        else:
            form["client_id"] = self._client_id
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client:
            try:
                given = await ask(client, "POST", provider.token_endpoint, _Given, data=form, auth=auth)
            except ProviderAway as away:
                log.warning("a sign-in could not be completed: %s", away)
                raise NotSignedIn("The provider did not confirm the sign-in. Begin again.") from None
        return given.id_token.encode()

    def _key(self, principal: Principal) -> str:
        """A key for the session to stand on."""
        now = self._clock()
        with self._store.engine.begin() as connection:
            key = create_key(
                connection, principal.name, tuple(sorted(principal.roles)), instant(now), instant(now + LONGEST),
                plants=tuple(sorted(principal.plants)),
            )  # fmt: skip
        self._keys.load()
        return key

    def _take_back(self, key: str) -> None:
        """No session stands on this key: nobody has it, and nobody will."""
        with self._store.engine.begin() as connection:
            revoke_key(connection, identity_of(key), instant(self._clock()))
        self._keys.load()


def cookie(value: str, seconds: int, *, secure: bool) -> str:
    """The cookie between the two halves. Lax: the way back comes from another site."""
    words = f"{COOKIE}={value}; Path={BEGIN}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    return words + ("; Secure" if secure else "")


def is_answer(kept: str, answer: dict[str, str]) -> bool:
    """Is this the provider's answer to what the browser keeps? A link that anybody can make is none."""
    return _answered(kept, answer) is not None


def _chance() -> str:
    """256 bits that nobody can guess."""
    return secrets.token_urlsafe(32)


def _answered(kept: str, answer: dict[str, str]) -> Begun | None:
    begun = _begun(kept)
    if begun is None or not hmac.compare_digest(begun.state.encode(), answer.get("state", "").encode()):
        return None
    return begun


def _begun(kept: str) -> Begun | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)), type=Begun)
    except (ValueError, msgspec.DecodeError):
        return None
