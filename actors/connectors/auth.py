"""How a target knows who calls: keys, users and passwords, logins, OAuth 2.0 client credentials, CSRF tokens.

Tokens are fetched once, kept until they end or are refused, and fetched by one caller for all: systems slow logins
down, and a login a delivery would lock us out. What may not enter: what is called, and what answers mean.
"""

import base64
import http.cookies
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

from msgspec import Meta, Struct, json

from actors.connectors.answers import NAMES, Outcome, by_http, seen
from actors.connectors.client import Answer, Client
from actors.connectors.expressions import ExpressionFailed, compiled, shown
from actors.connectors.masks import Masks
from actors.connectors.template import fill

#: A token is fetched again this long before it ends.
MARGIN_SECONDS = 30.0
#: An access token whose end nobody said is taken to last this long.
LASTS_SECONDS = 600.0
_READS = ("GET", "HEAD")


class Key(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="key"):
    """A header that is always sent."""

    value: str
    header: str = "Authorization"


class Basic(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="basic"):
    """A user and a password (RFC 7617)."""

    user: str
    password: str


class Login(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="login"):
    """A call that gives a token."""

    path: Annotated[str, Meta(pattern="^/")]
    #: Where in its answer the token stands: an expression over status, headers, body, text.
    token: str
    method: Literal["GET", "POST"] = "POST"
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    basic: Basic | None = None
    #: The header that carries it, with ``${token}`` in its value; empty: none, it is ``${login}`` of the templates.
    header: str = "Authorization"
    value: str = "Bearer ${token}"
    #: Seconds that it lasts; none: until it is refused.
    lasts_s: Annotated[float, Meta(gt=0)] | None = None


class OAuth2(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="oauth2"):
    """OAuth 2.0 client credentials (RFC 6749, 4.4)."""

    #: Path of the target, or an address of its own.
    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    #: Further fields of the form, such as audience or resource.
    fields: dict[str, str] = {}
    #: Where the client says who it is: in a Basic header, or in the form.
    client: Literal["basic", "form"] = "basic"


class Csrf(Struct, frozen=True, forbid_unknown_fields=True):
    """A token that every write has to carry, with the cookies that came with it."""

    path: Annotated[str, Meta(pattern="^/")]
    header: str = "x-csrf-token"
    method: Literal["GET", "HEAD"] = "GET"


Auth = Key | Basic | Login | OAuth2


class LoginFailed(Exception):
    """No token was to be had; ``outcome`` is what that means for whatever was to be called."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome
        self.detail = detail


def templates(auth: Auth | None) -> Iterator[tuple[str, str]]:
    """Every text of it that may name secrets: where, what."""
    for name in () if auth is None else ("value", "user", "password", "client_id", "client_secret", "scope"):
        value = getattr(auth, name, None)
        if isinstance(value, str):
            yield f"auth.{name}", value
    if isinstance(auth, OAuth2):
        yield from ((f"auth.fields.{name}", value) for name, value in auth.fields.items())
    if isinstance(auth, Login):
        yield from ((f"auth.headers.{name}", value) for name, value in auth.headers.items())
        yield from _leaves("auth.json", auth.json)
        if auth.basic is not None:
            yield from (("auth.basic.user", auth.basic.user), ("auth.basic.password", auth.basic.password))


def wrong(auth: Auth | None) -> Iterator[tuple[str, str]]:
    """Every other mistake that the types do not see: where, and what."""
    if isinstance(auth, Login):
        try:
            yield from (("auth.token", words) for words in compiled(auth.token).unknown(frozenset(NAMES)))
        except ValueError as error:
            yield "auth.token", str(error)
        if auth.header and "${token}" not in auth.value:
            yield "auth.value", "it has no ${token} in it"
    if isinstance(auth, OAuth2) and not auth.token_url.startswith("/"):
        url = urlsplit(auth.token_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            yield "auth.token_url", f"{auth.token_url!r} is neither a path nor an http or https address"


class _Held(Struct, frozen=True):
    token: str
    #: Monotonic seconds.
    until: float


class Session:
    """Calls to one target, with what it wants to know of the caller; thread-safe."""

    def __init__(
        self, client: Client, auth: Auth | None, csrf: Csrf | None, secrets: Mapping[str, str], masks: Masks,
        timeout_seconds: float = 10.0, prefix: str = "",
    ) -> None:  # fmt: skip
        """``prefix``: what stands before the paths of its own calls, where ``client`` does not put it there."""
        self._client = client
        self._prefix = prefix
        self._auth = auth
        self._csrf = csrf
        self._secrets = secrets
        self._masks = masks
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._ticket: str | None = None
        self._cookies: dict[str, str] = {}
        self._tokens = client
        if isinstance(auth, OAuth2) and not auth.token_url.startswith("/"):
            self._tokens = Client("://".join(urlsplit(auth.token_url)[:2]), timeout_seconds)
        for user, password in self._users():
            masks.add(_basic(user, password))

    @property
    def renews(self) -> bool:
        """Are tokens fetched, so that a refused one may be fetched again?"""
        return isinstance(self._auth, Login | OAuth2)

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        self._client.stop()
        self._tokens.stop()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.close()
        self._tokens.close()

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One call; a token that is refused is fetched anew, once. Raises NoAnswer and LoginFailed."""
        answer = self._with_token(method, path, headers, body)
        if self._csrf is None or method in _READS or not self._is_stale(answer):
            return answer
        # The write was refused before anything happened.
        with self._lock:
            self._ticket = None
        return self._with_token(method, path, headers, body)

    def token(self) -> str:
        """The token of ``login``, for templates. Raises LoginFailed, NoAnswer."""
        return self._token() if self.renews else ""

    def forget(self) -> None:
        """The target does not accept the token any more, in its own words."""
        with self._lock:
            self._held, self._ticket = None, None

    def _with_token(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        token = self.token()
        answer = self._client.call(method, path, self._headers(method, headers, token), body)
        if answer.status != 401 or not self.renews:
            return answer
        with self._lock:
            if self._held is not None and self._held.token == token:
                self._held = None
        return self._client.call(method, path, self._headers(method, headers, self.token()), body)

    # -- what a call carries ---------------------------------------------------------------------------------------

    def _headers(self, method: str, headers: Mapping[str, str], token: str) -> dict[str, str]:
        known = {**headers, **self._key(token)}
        if self._csrf is not None and method not in _READS:
            known[self._csrf.header] = self._csrf_token(self._csrf, known)
        if self._cookies:
            known["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return known

    def _key(self, token: str) -> dict[str, str]:
        match self._auth:
            case Key(value=value, header=header):
                return {header: str(fill(value, self._secrets))}
            case Basic(user=user, password=password):
                return {"Authorization": _basic(*self._filled(user, password))}
            case Login(header=header, value=value) if header:
                return {header: str(fill(value, {**self._secrets, "token": token}))}
            case OAuth2():
                return {"Authorization": f"Bearer {token}"}
            case _:
                return {}

    def _csrf_token(self, csrf: Csrf, headers: Mapping[str, str]) -> str:
        with self._lock:
            if self._ticket is None:
                carried = {name: value for name, value in headers.items() if name.lower() == "authorization"}
                asked = {**carried, csrf.header: "Fetch"}
                answer = self._client.call(csrf.method, self._prefix + csrf.path, asked, None)
                if answer.status >= 400 or csrf.header.lower() not in answer.headers:
                    raise LoginFailed(_meant(answer.status), f"no {csrf.header} came from {csrf.path}: {answer.status}")
                self._ticket = answer.headers[csrf.header.lower()]
                self._masks.add(self._ticket)
                self._keep_cookies(answer)
            return self._ticket

    def _is_stale(self, answer: Answer) -> bool:
        header = self._csrf.header.lower() if self._csrf is not None else ""
        return answer.status == 403 and answer.headers.get(header, "").lower() == "required"

    def _keep_cookies(self, answer: Answer) -> None:
        for line in answer.cookies:
            jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
            try:
                jar.load(line)
            except http.cookies.CookieError:
                continue
            for name, morsel in jar.items():
                self._cookies[name] = morsel.coded_value
                self._masks.add(morsel.coded_value)

    # -- where tokens come from ------------------------------------------------------------------------------------

    def _token(self) -> str:
        with self._lock:
            if self._held is None or time.monotonic() >= self._held.until:
                self._held = self._fetch()
                self._masks.add(self._held.token)
            return self._held.token

    def _fetch(self) -> _Held:
        if isinstance(self._auth, OAuth2):
            return self._granted(self._auth)
        assert isinstance(self._auth, Login)
        login = self._auth
        headers = {name: str(fill(value, self._secrets)) for name, value in login.headers.items()}
        if login.basic is not None:
            headers["Authorization"] = _basic(*self._filled(login.basic.user, login.basic.password))
        body = None if login.json is None else json.encode(fill(login.json, self._secrets))
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        answer = self._client.call(login.method, self._prefix + login.path, headers, body)
        self._keep_cookies(answer)
        try:
            token = None if answer.status >= 400 else compiled(login.token)(seen(answer).names())
        except ExpressionFailed:
            token = None
        if token is None or token is False or token == "":
            raise self._failed("login", answer)
        lasts = float("inf") if login.lasts_s is None else max(0.0, login.lasts_s - MARGIN_SECONDS)
        return _Held(shown(token), time.monotonic() + lasts)

    def _granted(self, auth: OAuth2) -> _Held:
        client, secret = self._filled(auth.client_id, auth.client_secret)
        form = {"grant_type": "client_credentials", **{n: str(fill(v, self._secrets)) for n, v in auth.fields.items()}}
        if auth.scope is not None:
            form["scope"] = str(fill(auth.scope, self._secrets))
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.client == "basic":
            headers["Authorization"] = _basic(client, secret)
        else:
            form |= {"client_id": client, "client_secret": secret}
        parts = urlsplit(auth.token_url)
        before = self._prefix if self._tokens is self._client else ""
        path = f"{before}{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        answer = self._tokens.call("POST", path, headers, urlencode(form).encode())
        body = seen(answer).body
        token = body.get("access_token") if isinstance(body, dict) and answer.status == 200 else None
        if not isinstance(token, str) or not token:
            raise self._failed("the token endpoint", answer)
        said = body.get("expires_in")
        lasts = float(said) if isinstance(said, int | float | str) and str(said).isdigit() else LASTS_SECONDS
        return _Held(token, time.monotonic() + max(0.0, lasts - MARGIN_SECONDS))

    def _failed(self, what: str, answer: Answer) -> LoginFailed:
        shown_text = self._masks.text(answer.body[:1200].decode("utf-8", "replace"))[:300]
        return LoginFailed(_meant(answer.status), f"{what} answered {answer.status} and gave no token: {shown_text}")

    def _filled(self, *texts: str) -> tuple[str, ...]:
        return tuple(str(fill(text, self._secrets)) for text in texts)

    def _users(self) -> Iterator[tuple[str, ...]]:
        basic = self._auth.basic if isinstance(self._auth, Login) else self._auth
        if isinstance(basic, Basic):
            yield self._filled(basic.user, basic.password)
        if isinstance(self._auth, OAuth2):
            yield self._filled(self._auth.client_id, self._auth.client_secret)


def _meant(status: int) -> Outcome:
    """A login that is refused is refused for its key, whatever the status; one that fails is tried again."""
    outcome = by_http(status)
    return outcome if outcome in ("retry", "throttle") else "auth"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _leaves(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every string of a JSON value, with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(f"{where}[{index}]", inner)
    elif isinstance(value, str):
        yield where, value
