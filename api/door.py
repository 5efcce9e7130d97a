"""The front door: every request passes it before Litestar routes it.

It reads the headers once, bounds them, finds out who is calling, refuses strangers and whoever may not even
read (deny by default; routes that ask for more say so), and hands on the path as it was sent, so that a lot
id with ``%2F`` stays one path part. HEAD goes the way of GET. A browser that was given the host alone is led to the
console. What may not enter: bodies, routes, anything
that waits (but for keys that are limited to plants: where a lot is, the database knows; and for a token whose signing
key is not known yet).
"""

import itertools
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import Struct
from structlog.contextvars import bind_contextvars

from api.access import KeyRing, Principal
from api.permits import Permits
from api.problems import Headers, Refused, encode
from api.rates import Rates
from api.sessions import PREFIX as CONSOLE
from api.sessions import SessionRing, SignedIn
from api.telemetry import REFUSED
from engine.slow import SlowLog

#: All header names and values together.
MAX_HEADER_BYTES = 32 * 1024

#: Open without a key; ``/problems/<code>`` too.
PUBLIC = frozenset((b"/healthz", b"/readyz", b"/problems"))
_PUBLIC_PREFIX = b"/problems/"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_BOUNDARY_HEADERS = (b"authorization", b"x-api-key", b"cookie", b"content-type", b"if-match", b"idempotency-key")

#: These count their events themselves: what is a hold is known when it is read.
_COUNTED_LATER = frozenset((b"/v1/events", b"/v1/events/batch", b"/v1/epcis/capture"))

#: These wait on purpose.
_WAITING = (b"/console/live", b"/v1/feed")

NOBODY = Principal("", frozenset())


class Visit(Struct):
    """What the door found out about a request; ``scope["lotgate"]``."""

    principal: Principal
    #: Lower-case names; none that Lotgate acts on occurs twice.
    headers: dict[bytes, bytes]
    request_id: bytes
    #: A browser's session; None where a key was sent.
    signed_in: SignedIn | None = None


class Door:
    """ASGI application in front of Litestar."""

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        sessions: SessionRing,
        direct: Mapping[bytes, ASGIApp],
        permits: Permits,
        rates: Rates,
        slow: SlowLog,
    ) -> None:
        self._app = app
        self._slow = slow
        #: Paths that need no routing: the hot path, which writes all of its headers itself.
        self._direct = direct
        self._keys = keys
        self._sessions = sessions
        self._permits = permits
        self._rates = rates
        # Unique across processes and restarts without asking the kernel for randomness each time.
        self._prefix = secrets.token_hex(6).encode() + b"-"
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar's types tell HTTP and web socket scopes apart by an enum; servers send the text.
        request: Any = scope
        if request["type"] != "http":
            # Life span; web sockets find no route.
            await self._app(scope, receive, send)
            return
        visit, refusal = self._receive(request)
        if refusal is not None and refusal[0] == "unauthenticated" and await self._keys.learned(visit.headers):
            visit, refusal = self._receive(request)
        request["lotgate"] = visit
        raw_path = request["raw_path"]
        if raw_path == b"/" and request["method"] == "GET" and b"text/html" in visit.headers.get(b"accept", b""):
            await _to_console(visit.request_id, send)
            return
        if refusal is not None:
            await _refuse(refusal[0], refusal[1], raw_path, visit.request_id, send)
            return
        principal = visit.principal
        limited = self._rates.on and principal is not NOBODY and not _is_public(raw_path)
        if limited:
            send = self._rates.telling(send, principal.name)
        if principal.plants or limited:
            try:
                if limited and raw_path not in _COUNTED_LATER and not raw_path.endswith(b"/hold"):
                    self._rates.charge(principal.name)
                if principal.plants and not _is_console(raw_path):
                    await self._permits.check_request(principal, request)
            except Refused as refused:
                await _refuse(refused.code, refused.detail, raw_path, visit.request_id, send, refused.headers)
                return
        direct = self._direct.get(raw_path)
        if direct is not None:
            await direct(scope, receive, send)
            return
        if b"%" in raw_path:
            request["path"] = raw_path.decode("ascii", "replace")
        if request["method"] == "HEAD":
            # A copy: the server looks at its own scope to leave the body out.
            request = {**request, "method": "GET"}
        began = time.perf_counter_ns()
        bind_contextvars(correlation_id=visit.request_id.decode(), principal=principal.name)
        await self._app(request, receive, _signing(send, visit.request_id))
        spent = time.perf_counter_ns() - began
        if self._slow.is_slow(spent) and request["method"] == "GET" and not raw_path.startswith(_WAITING):
            self._say_slow(request, visit, spent)

    def _say_slow(self, request: Any, visit: Visit, spent_ns: int) -> None:
        self._slow.say(
            "slow read", spent_ns, route=request.get("path_template"), path=request["path"],
            principal=visit.principal.name, correlation_id=visit.request_id.decode(),
        )  # fmt: skip

    def _receive(self, scope: HTTPScope) -> tuple[Visit, tuple[str, str] | None]:
        raw = cast(list[tuple[bytes, bytes]], scope["headers"])
        headers: dict[bytes, bytes] = dict(raw)
        request_id = headers.get(b"x-request-id")
        if request_id is None or _REQUEST_ID.match(request_id) is None:
            request_id = self._prefix + b"%x" % next(self._count)
        total = 0
        for name, value in raw:
            total += len(name) + len(value)
        principal, signed_in = self._keys.authenticate(headers), None
        console = _is_console(scope["raw_path"])
        if console and principal is None:
            signed_in = self._sessions.of(headers)
            principal = None if signed_in is None else signed_in.principal
        visit = Visit(principal or NOBODY, headers, request_id, signed_in)
        if total > MAX_HEADER_BYTES:
            return visit, (
                "headers-too-large",
                f"The headers have {total} bytes; {MAX_HEADER_BYTES} are accepted.",
            )
        # The console has a guard of its own, which says the same in pages (api/console/entry.py).
        public = console or _is_public(scope["raw_path"])
        if principal is None and not public:
            return visit, (
                "unauthenticated",
                "Send a valid key or token: Authorization: Bearer <key>, or X-API-Key: <key>.",
            )
        if principal is not None and not principal.may("read") and not public:
            return visit, ("forbidden", f"The key {principal.name} has no role that opens anything.")
        if len(headers) != len(raw):
            repeated = _repeated([name for name, _ in raw])
            if repeated is not None:
                return visit, (
                    "header-invalid",
                    f"The header {repeated.decode('latin-1')} was sent more than once.",
                )
        return visit, None


def _is_public(raw_path: bytes) -> bool:
    return raw_path in PUBLIC or raw_path.startswith(_PUBLIC_PREFIX)


def _is_console(raw_path: bytes) -> bool:
    return raw_path.startswith(CONSOLE) and raw_path[len(CONSOLE) : len(CONSOLE) + 1] in (b"", b"/")


def _repeated(names: list[bytes]) -> bytes | None:
    """The first header that Lotgate acts on and that occurs twice: which one counts would be a guess."""
    for name in names:
        if (name in _BOUNDARY_HEADERS or name.startswith(b"ce-")) and names.count(name) > 1:
            return name
    return None


async def _refuse(
    code: str, detail: str, raw_path: bytes, request_id: bytes, send: Send, more: Mapping[str, str] | None = None
) -> None:
    REFUSED.labels(code).inc()
    status, body = encode(code, detail, raw_path.decode("ascii", "replace"), request_id.decode())
    headers: Headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id),
        *((name.encode(), value.encode()) for name, value in (more or {}).items()),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="lotgate"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _to_console(request_id: bytes, send: Send) -> None:
    headers: Headers = [(b"location", CONSOLE), (b"content-length", b"0"), (b"x-request-id", request_id)]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _signing(send: Send, request_id: bytes) -> Send:
    """``send`` that puts the request id and the security headers on the answer."""

    async def signed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", request_id),
                # What a caller may see can change with any commit and with its key.
                (b"cache-control", b"no-cache"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await send(message)

    return signed


def path_part(text: str) -> str:
    """A path part as it was meant; Litestar hands it on as it was sent."""
    return unquote(text, errors="strict")
