"""How a target knows who calls: keys, users and passwords, logins, OAuth 2.0 client credentials, CSRF tokens.

Tokens are fetched once, kept until they end or are refused, and fetched by one caller for all: systems slow logins
down, and a login a delivery would lock us out. What may not enter: what is called, and what answers mean.
"""

import base64
import contextlib
import http.cookies
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote_plus, urlencode, urlsplit

from msgspec import Meta, Struct, json

from actors.connectors.answers import NAMES, Outcome, by_http, retry_after_seconds, seen
from actors.connectors.client import Answer, Client, NoAnswer
from actors.connectors.expressions import ExpressionFailed, compiled, shown
from actors.connectors.masks import Masks
from actors.connectors.template import fill

#: A token is fetched again this long before it ends.
MARGIN_SECONDS = 30.0
#: An access token whose end nobody said is taken to last this long.
LASTS_SECONDS = 600.0
#: Whoever waited longer for a token asks again whether the call may be made.
FRESH_SECONDS = 0.5
#: Cookies of one answer that are kept.
MOST_COOKIES = 20
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
    """No token was to be had, and nothing was called; ``outcome`` is what that means for what was to be called."""

    def __init__(self, outcome: Outcome, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome
        self.detail = detail
        #: Seconds that we were asked to wait.
        self.retry_after = retry_after


class _Refused(Exception):
    """The token is not accepted where a ticket is fetched."""


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
        self._patience = timeout_seconds
        self._lock = threading.Lock()
        #: When somebody failed to fetch a token, and how: those who waited for it share that.
        self._failure: tuple[float, LoginFailed] | None = None
        self._held: _Held | None = None
        self._ticket: str | None = None
        #: Those of the last login, and of the last ticket. Others read them meanwhile: exchanged, never changed.
        self._cookies: dict[str, str] = {}
        self._ticket_cookies: dict[str, str] = {}
        self._tokens = client
        if isinstance(auth, OAuth2) and not auth.token_url.startswith("/"):
            self._tokens = Client("://".join(urlsplit(auth.token_url)[:2]), timeout_seconds)
        for user, password in self._users():
            masks.add(_basic(user, password).removeprefix("Basic "))

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

    def call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None,
        may_call: Callable[[], bool] = lambda: True,
    ) -> Answer:  # fmt: skip
        """One call; a token that is refused is fetched anew, once. Raises NoAnswer and LoginFailed.

        ``may_call`` is asked again before the call when a login took its time.
        """
        leave = _Leave(may_call)
        answer, ticket = self._with_token(method, path, headers, body, leave)
        if self._csrf is None or method in _READS or not self._is_stale(answer):
            return answer
        # The write was refused before anything happened.
        with self._alone():
            if self._ticket == ticket:
                self._ticket = None
        return self._with_token(method, path, headers, body, leave)[0]

    def token(self) -> str:
        """The token of ``login``, for templates. Raises LoginFailed."""
        return self._token() if self.renews else ""

    def forget(self) -> None:
        """The target does not accept the token any more, in its own words."""
        # Whoever holds the lock is fetching one.
        if self._lock.acquire(blocking=False):
            self._held, self._ticket = None, None
            self._lock.release()

    def _with_token(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, leave: "_Leave"
    ) -> tuple[Answer, str | None]:
        """What came back, and the ticket that was sent."""
        token = self.token()
        with contextlib.suppress(_Refused):
            answer, ticket = self._once(method, path, headers, body, token, leave)
            if answer.status != 401 or not self.renews:
                return answer, ticket
        with self._alone():
            if self._held is not None and self._held.token == token:
                self._held = None
        try:
            return self._once(method, path, headers, body, self.token(), leave)
        except _Refused:
            raise LoginFailed("auth", "the token is not accepted where its csrf token is fetched") from None

    def _once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, token: str, leave: "_Leave"
    ) -> tuple[Answer, str | None]:
        carried = self._headers(method, headers, token)
        leave.ask()
        answer = self._client.call(method, path, carried, body)
        return answer, None if self._csrf is None else carried.get(self._csrf.header)

    # -- what a call carries ---------------------------------------------------------------------------------------

    def _headers(self, method: str, headers: Mapping[str, str], token: str) -> dict[str, str]:
        known = {**headers, **self._key(token)}
        if self._csrf is not None and method not in _READS:
            known[self._csrf.header] = self._csrf_token(self._csrf, known, token)
        return _with_cookies(known, {**self._cookies, **self._ticket_cookies})

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

    def _csrf_token(self, csrf: Csrf, headers: Mapping[str, str], token: str) -> str:
        with self._alone():
            if self._ticket is None:
                key = self._key(token)
                carried = {name: value for name, value in headers.items() if name.lower() == "authorization"}
                asked = _with_cookies({**carried, **key, csrf.header: "Fetch"}, self._cookies)
                answer = self._fetched(self._client, csrf.method, self._prefix + csrf.path, asked, None)
                if answer.status == 401 and self.renews:
                    raise _Refused
                ticket = answer.headers.get(csrf.header.lower())
                if not _is_success(answer) or not ticket:
                    words = f"no {csrf.header} came from {csrf.path}: {answer.status}"
                    raise LoginFailed(_meant(answer.status), words, retry_after_seconds(answer, time.time()))
                self._masks.fetched(ticket)
                self._ticket_cookies = self._cookies_of(answer)
                self._ticket = ticket
            return self._ticket

    def _is_stale(self, answer: Answer) -> bool:
        header = self._csrf.header.lower() if self._csrf is not None else ""
        return answer.status == 403 and answer.headers.get(header, "").lower() == "required"

    def _cookies_of(self, answer: Answer) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in answer.cookies[:MOST_COOKIES]:
            jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
            try:
                jar.load(line)
            except http.cookies.CookieError:
                continue
            for name, morsel in jar.items():
                found[name] = morsel.coded_value
                self._masks.fetched(morsel.coded_value)
        return found

    # -- where tokens come from ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time, and none waits longer than one call may take. Raises LoginFailed."""
        asked = time.monotonic()
        if not self._lock.acquire(timeout=self._patience):
            raise LoginFailed("retry", f"a login has been under way for {self._patience:g} s")
        try:
            if self._failure is not None and self._failure[0] >= asked:
                failed = self._failure[1]
                raise LoginFailed(failed.outcome, failed.detail, failed.retry_after)
            try:
                yield
            except LoginFailed as failed:
                self._failure = (time.monotonic(), failed)
                raise
        finally:
            self._lock.release()

    def _fetched(
        self, client: Client, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """One call for a token: whatever becomes of it, what it is for was not called. Raises LoginFailed."""
        try:
            return client.call(method, path, headers, body)
        except NoAnswer as none:
            outcome: Outcome = "auth" if none.failure in ("unsendable", "refused") else "retry"
            raise LoginFailed(outcome, none.detail) from None

    def _token(self) -> str:
        held = self._held
        if held is not None and time.monotonic() < held.until:
            return held.token
        with self._alone():
            if self._held is None or time.monotonic() >= self._held.until:
                self._held = self._fetch()
                self._masks.fetched(self._held.token)
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
        answer = self._fetched(self._client, login.method, self._prefix + login.path, headers, body)
        self._cookies = self._cookies_of(answer)
        try:
            token = None if not _is_success(answer) else compiled(login.token)(seen(answer).names())
        except ExpressionFailed:
            token = None
        if token is None or token is False or token == "":
            raise self._failed("login", answer)
        lasts = float("inf") if login.lasts_s is None else _less_margin(login.lasts_s)
        return _Held(shown(token).strip(), time.monotonic() + lasts)

    def _granted(self, auth: OAuth2) -> _Held:
        client, secret = self._filled(auth.client_id, auth.client_secret)
        form = {"grant_type": "client_credentials", **{n: str(fill(v, self._secrets)) for n, v in auth.fields.items()}}
        if auth.scope is not None:
            form["scope"] = str(fill(auth.scope, self._secrets))
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.client == "basic":
            # Form-encoded first, so that a colon in the id stays one (RFC 6749, 2.3.1).
            headers["Authorization"] = _basic(quote_plus(client), quote_plus(secret))
        else:
            form |= {"client_id": client, "client_secret": secret}
        parts = urlsplit(auth.token_url)
        before = self._prefix if self._tokens is self._client else ""
        path = f"{before}{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        answer = self._fetched(self._tokens, "POST", path, headers, urlencode(form).encode())
        body = seen(answer).body
        token = body.get("access_token") if isinstance(body, dict) and answer.status == 200 else None
        if not isinstance(token, str) or not token:
            raise self._failed("the token endpoint", answer)
        said = str(body.get("expires_in"))
        lasts = float(said) if said.isascii() and said.isdigit() else LASTS_SECONDS
        return _Held(token.strip(), time.monotonic() + _less_margin(lasts))

    def _failed(self, what: str, answer: Answer) -> LoginFailed:
        words = f"{what} answered {answer.status} and gave no token: "
        if _is_success(answer):
            # It may well have given one, and not where the file says.
            body = seen(answer).body
            has = ", ".join(sorted(body)[:20])[:300] if isinstance(body, dict) else ""
            words += f"its answer has {has}" if has else "its answer is no JSON object with something in it"
        else:
            words += self._masks.text(answer.body.decode("utf-8", "replace"))[:300]
        return LoginFailed(_meant(answer.status), words, retry_after_seconds(answer, time.time()))

    def _filled(self, *texts: str) -> tuple[str, ...]:
        return tuple(str(fill(text, self._secrets)) for text in texts)

    def _users(self) -> Iterator[tuple[str, ...]]:
        basic = self._auth.basic if isinstance(self._auth, Login) else self._auth
        if isinstance(basic, Basic):
            yield self._filled(basic.user, basic.password)
        if isinstance(self._auth, OAuth2):
            yield tuple(quote_plus(text) for text in self._filled(self._auth.client_id, self._auth.client_secret))


class _Leave:
    """Whether a call may be made; asked again where that was long ago."""

    def __init__(self, may_call: Callable[[], bool]) -> None:
        self._may_call = may_call
        self._asked_at = time.monotonic()

    def ask(self) -> None:
        """Raises LoginFailed."""
        now = time.monotonic()
        if now - self._asked_at < FRESH_SECONDS:
            return
        if not self._may_call():
            raise LoginFailed("retry", "the lease ended while it was logged in")
        self._asked_at = now


def _with_cookies(headers: dict[str, str], cookies: Mapping[str, str]) -> dict[str, str]:
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return headers


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _less_margin(seconds: float) -> float:
    """How long a token is used that lasts ``seconds``; one that never lasts long is not fetched for every call."""
    return max(seconds - MARGIN_SECONDS, seconds / 2)


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
