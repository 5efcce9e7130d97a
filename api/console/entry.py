"""The way into the console: signing in with a key or a provider, signing out, and the guard before every other page.

What may not enter: what keys and sessions are (api/access.py, api/sessions.py), how a provider answers
(api/single_sign_on.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.body import Patience
from api.console.assets import PREFIX as ASSETS
from api.console.forms import read_form
from api.console.render import AnyRequest, Pages, links, to
from api.door import NOBODY
from api.permits import Permits
from api.problems import Refused
from api.queries import read_query
from api.runbook import HELP
from api.sessions import COOKIE, SessionRing, by_https, cookie_of
from api.single_sign_on import BACK, BEGIN, PATIENCE_SECONDS, NotSignedIn, SingleSignOn, cookie, is_answer
from api.single_sign_on import COOKIE as BEGUN

LOGIN, LOGOUT = "/console/login", "/console/logout"
#: A wrong key is answered after this long: nobody tries many.
_WRONG_SECONDS = 0.5


def guard(permits: Permits, sessions: SessionRing) -> Callable[[AnyRequest], Awaitable[Response[Any] | None]]:
    """Looks at every request under /console before its page does: strangers are sent to sign in."""

    async def look(request: AnyRequest) -> Response[Any] | None:
        path, visit = request.scope["raw_path"].decode("ascii", "replace"), visit_of(request.scope)
        if path in (LOGIN, BEGIN, BACK, HELP) or path.startswith((ASSETS, f"{HELP}/")):
            return None
        mode = visit.headers.get(b"sec-fetch-mode", b"")
        if visit.principal is NOBODY:
            return _stranger(request, mode)
        if not visit.principal.may("read"):
            raise Refused("forbidden", f"The key {visit.principal.name} has no role that opens anything.")
        if visit.principal.plants:
            if path == "/console" and not request.scope["query_string"]:
                return to(links("/console", {"plant": min(visit.principal.plants)}))
            await permits.check_request(visit.principal, request.scope)
        if visit.signed_in is not None and (mode == b"navigate" or request.scope["method"] == "POST"):
            # What a page does by itself keeps nobody signed in.
            await sessions.note(visit.signed_in)
        return None

    return look


def _stranger(request: AnyRequest, mode: bytes) -> Response[Any]:
    headers = visit_of(request.scope).headers
    if request.scope["method"] == "GET" and mode == b"navigate":
        if headers.get(b"sec-fetch-site") == b"cross-site":
            # A link in a mail: the browser keeps the cookie back, and sends it when the page itself asks again.
            return Response(
                b'<!doctype html><title>Lotgate</title><meta http-equiv="refresh" content="0"><p>One moment.',
                headers={"content-security-policy": "default-src 'none'"}, media_type="text/html",
            )  # fmt: skip
        query = request.scope["query_string"].decode("ascii", "replace")
        there = request.scope["raw_path"].decode("ascii", "replace") + (f"?{query}" if query else "")
        return to(links(LOGIN, {"next": there if there != "/console" else None}))
    raise Refused("unauthenticated", "You are not signed in, or not any more. Sign in and do it again.")


def entry_routes(
    pages: Pages, sessions: SessionRing, patience: Patience, provider: SingleSignOn | None, browser_url: str
) -> list[HTTPRouteHandler]:
    """The routes, for Litestar; a provider's only where there is one. ``browser_url``: where browsers reach us."""

    def secure(request: AnyRequest) -> bool:
        return by_https(visit_of(request.scope).headers, browser_url)

    def form_page(request: AnyRequest, onward: str, wrong: str = "", status: int = 200) -> Response[bytes]:
        by_provider = None if provider is None else links(BEGIN, {"next": onward})
        return pages.page(request, "login.html", status=status, onward=onward, wrong=wrong, by_provider=by_provider)

    @get(LOGIN)
    async def sign_in_page(request: AnyRequest) -> Response[bytes]:
        """The form."""
        onward = read_query(request.scope, ("next",), blank=True).get("next", "")
        return form_page(request, _onward(onward))

    @post(LOGIN, status_code=200)
    async def sign_in(request: AnyRequest) -> Response[Any]:
        """Begin a session."""
        form = await read_form(request, patience, sealed=False)
        onward = _onward(form.get("next", ""))
        token = await sessions.begin(form.get("key", ""))
        if token is None:
            await asyncio.sleep(_WRONG_SECONDS)
            return form_page(request, onward, "This key opens nothing. It may be mistyped, expired or revoked.", 403)
        answer = to(onward)
        answer.headers["set-cookie"] = _cookie(token, secure=secure(request))
        return answer

    @post(LOGOUT, status_code=200)
    async def sign_out(request: AnyRequest) -> Response[None]:
        """End the session."""
        visit = visit_of(request.scope)
        await read_form(request, patience)
        if visit.signed_in is not None:
            await sessions.end(visit.signed_in)
        answer = to(LOGIN)
        answer.headers["set-cookie"] = _cookie("", secure=secure(request)) + "; Max-Age=0"
        return answer

    if provider is None:
        return [sign_in_page, sign_in, sign_out]
    sso = provider

    @get(BEGIN)
    async def to_provider(request: AnyRequest) -> Response[Any]:
        """Send the browser to the provider."""
        onward = _onward(read_query(request.scope, ("next",), blank=True).get("next", ""))
        try:
            there, kept = await sso.begin(onward)
        except NotSignedIn as error:
            return form_page(request, onward, str(error), 503)
        answer = to(there)
        answer.headers["set-cookie"] = cookie(kept, PATIENCE_SECONDS, secure=secure(request))
        return answer

    @get(BACK)
    async def from_provider(request: AnyRequest) -> Response[Any]:
        """Begin a session for whom the provider sends back."""
        scope = request.scope
        said = dict(parse_qsl(scope["query_string"].decode("ascii", "replace")))
        kept = cookie_of(visit_of(scope).headers.get(b"cookie", b""), BEGUN.encode())
        try:
            token, onward = await sso.finish(kept, said)
        except NotSignedIn as error:
            answer: Response[Any] = form_page(request, "/console", str(error), 403)
            if is_answer(kept, said):
                # Somebody else's link ends nothing: the person may be at the provider just now.
                answer.headers["set-cookie"] = cookie("", 0, secure=secure(request))
            return answer
        answer = to(_onward(onward))
        # What was begun is not taken away by a second cookie: its state and code are used up at the provider.
        answer.headers["set-cookie"] = _cookie(token, secure=secure(request))
        return answer

    return [sign_in_page, sign_in, sign_out, to_provider, from_provider]


def _cookie(token: str, *, secure: bool) -> str:
    words = f"{COOKIE.decode()}={token}; Path=/console; HttpOnly; SameSite=Strict"
    return words + ("; Secure" if secure else "")


def _onward(path: str) -> str:
    """Where to go after signing in: a page of the console, never elsewhere."""
    inside = path == "/console" or path.startswith(("/console/", "/console?"))
    return path if inside and path.isprintable() and "\\" not in path and ".." not in path else "/console"
