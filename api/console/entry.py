"""The way into the console: signing in with a key, signing out, and the guard in front of every other page.

What may not enter: what keys and sessions are (api/access.py, api/sessions.py).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

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
from api.sessions import COOKIE, SessionRing

LOGIN, LOGOUT = "/console/login", "/console/logout"
#: A wrong key is answered after this long: nobody tries many.
_WRONG_SECONDS = 0.5


def guard(permits: Permits, sessions: SessionRing) -> Callable[[AnyRequest], Awaitable[Response[Any] | None]]:
    """Looks at every request under /console before its page does: strangers are sent to sign in."""

    async def look(request: AnyRequest) -> Response[Any] | None:
        path, visit = request.scope["raw_path"].decode("ascii", "replace"), visit_of(request.scope)
        if path == LOGIN or path.startswith(ASSETS):
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


def entry_routes(pages: Pages, sessions: SessionRing, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get(LOGIN)
    async def sign_in_page(request: AnyRequest) -> Response[bytes]:
        """The form."""
        onward = read_query(request.scope, ("next",), blank=True).get("next", "")
        return pages.page(request, "login.html", onward=_onward(onward), wrong=False)

    @post(LOGIN, status_code=200)
    async def sign_in(request: AnyRequest) -> Response[Any]:
        """Begin a session."""
        form = await read_form(request, patience, sealed=False)
        onward = _onward(form.get("next", ""))
        token = await sessions.begin(form.get("key", ""))
        if token is None:
            await asyncio.sleep(_WRONG_SECONDS)
            return pages.page(request, "login.html", status=403, onward=onward, wrong=True)
        answer = to(onward)
        secure = visit_of(request.scope).headers.get(b"x-forwarded-proto") == b"https"
        answer.headers["set-cookie"] = _cookie(token, secure=secure)
        return answer

    @post(LOGOUT, status_code=200)
    async def sign_out(request: AnyRequest) -> Response[None]:
        """End the session."""
        visit = visit_of(request.scope)
        await read_form(request, patience)
        if visit.signed_in is not None:
            await sessions.end(visit.signed_in)
        answer = to(LOGIN)
        answer.headers["set-cookie"] = _cookie("", secure=False) + "; Max-Age=0"
        return answer

    return [sign_in_page, sign_in, sign_out]


def _cookie(token: str, *, secure: bool) -> str:
    words = f"{COOKIE.decode()}={token}; Path=/console; HttpOnly; SameSite=Strict"
    return words + ("; Secure" if secure else "")


def _onward(path: str) -> str:
    """Where to go after signing in: a page of the console, never elsewhere."""
    inside = path == "/console" or path.startswith(("/console/", "/console?"))
    return path if inside and path.isprintable() and "\\" not in path and ".." not in path else "/console"
