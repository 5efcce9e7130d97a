"""HTTP for a sandbox server: a plain ASGI application between uvicorn and a system's `answer` method.

Here: reading bounded bodies, decoding paths, faults, the request log, the calls under `/_`. Not here:
anything about lots. An ERP or a WMS is handed a `Request` and returns a `Reply`.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from demo.sandbox.book import Invariants
from demo.sandbox.faults import Fault, FaultSwitch, RequestLog

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

_MAX_BODY_BYTES = 4 * 1024 * 1024  # a full batch of 1000 items fits four times over
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HANG_UP = "lotgate.sandbox.hang_up"


class Request(msgspec.Struct, frozen=True):
    """A request as a system sees it: path segments and query decoded, body complete."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    key: str | None
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    retry_after: int | None = None


class Refusal(msgspec.Struct, omit_defaults=True):
    """The body of every error: a stable code, a sentence, and the version the system has if that matters."""

    error: str
    detail: str = ""
    current: int | None = None


class System(Protocol):
    """An ERP or a WMS."""

    #: Name of the header (lower case) that carries the idempotency key.
    key_header: bytes

    def answer(self, request: Request) -> Reply: ...
    def invariants(self) -> Invariants: ...


def reply(status: int, body: object) -> Reply:
    return Reply(status, msgspec.json.encode(body))


def refuse(status: int, error: str, detail: str = "", current: int | None = None) -> Reply:
    return reply(status, Refusal(error, detail, current))


class BadRequest(Exception):
    """The request cannot be read; carries the refusal to answer with."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refuse(status, error, detail)


class HangUpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that lets the application close the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_HANG_UP: {"abort": self.transport.abort}}


class SandboxApp:
    """The ASGI application: one per process."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._faults = FaultSwitch()
        self._log = RequestLog()

    async def __call__(
        self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable"
    ) -> None:
        http = cast("HTTPScope", scope)  # lifespan and websockets are switched off in serve.py
        path = http["path"]
        if path == "/healthz" or path.startswith("/_"):
            await _send(send, self._ask(self._operate, await self._read(http, receive)))
            return
        fault = self._faults.strike(path)
        if fault is not None and fault.mode == "slow":
            await asyncio.sleep(fault.seconds)
        request = await self._read(http, receive)
        answer: Reply | None
        if fault is not None and fault.mode in ("status", "drop"):
            answer = _faulty(fault)
        else:
            answer = self._ask(self._system.answer, request)
        if fault is not None and fault.mode == "lost_answer":
            answer = None
        self._log.add(
            _now(), http["method"], path, None if isinstance(request, Reply) else request.key,
            0 if answer is None else answer.status, None if fault is None else fault.mode,
        )  # fmt: skip
        if answer is None:
            await _hang_up(http, receive)
        else:
            await _send(send, answer)

    async def _read(self, scope: "HTTPScope", receive: "ASGIReceiveCallable") -> Request | Reply:
        """The request, or the refusal it deserves."""
        try:
            return await _read(scope, receive, self._system.key_header)
        except BadRequest as error:
            return error.refusal

    def _ask(self, answer: Callable[[Request], Reply], request: Request | Reply) -> Reply:
        if isinstance(request, Reply):
            return request
        try:
            return answer(request)
        except BadRequest as error:
            return error.refusal

    def _operate(self, request: Request) -> Reply:
        """The calls that belong to the sandbox and not to the system it plays."""
        match request.method, request.path:
            case "GET", ("healthz",):
                return reply(200, {"status": "ok"})
            case "GET", ("_invariants",):
                return reply(200, self._system.invariants())
            case "GET", ("_faults",):
                return reply(200, self._faults.active)
            case "POST", ("_faults",):
                self._faults.set(_fault(request.body))
                return reply(200, self._faults.active)
            case "GET", ("_log",):
                after, limit = bounded(request.query, "after", 0), bounded(request.query, "limit", 100)
                return reply(200, {"entries": self._log.page(after, min(limit, 1000))})
        return no_such_call(request)


def _fault(body: bytes) -> Fault:
    try:
        return msgspec.json.decode(body, type=Fault)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(422, "invalid", str(error)) from None


def no_such_call(request: Request) -> Reply:
    return refuse(404, "no-such-call", f"There is no {request.method} /{'/'.join(request.path)} here.")


def bounded(query: dict[str, str], name: str, default: int) -> int:
    """A whole number of at most nine digits from the query, or the default; BadRequest for anything else."""
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadRequest(400, "bad-query", f"{name} must be a whole number of at most nine digits.")
    return int(text)


async def _read(scope: "HTTPScope", receive: "ASGIReceiveCallable", key_header: bytes) -> Request:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest(400, "gone", "The caller went away before the body was complete.")
        chunks.append(message["body"])
        size += len(message["body"])
        if size > _MAX_BODY_BYTES:
            raise BadRequest(413, "body-too-large", f"A body may have {_MAX_BODY_BYTES} bytes.")
        more = message["more_body"]
    key = next((value for name, value in scope["headers"] if name == key_header), None)
    return Request(
        scope["method"],
        _segments(scope["raw_path"]),
        dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        None if key is None else key.decode("latin-1"),
        chunks[0] if len(chunks) == 1 else b"".join(chunks),
    )


def _segments(raw_path: bytes) -> tuple[str, ...]:
    """Split first, decode second: `%2F` inside a lot id is part of the id."""
    text = raw_path.decode("ascii")
    if "%" not in text:
        return tuple(text[1:].split("/"))
    if _BAD_PERCENT.search(text):
        raise BadRequest(
            400, "bad-path", "A percent sign in the path must be followed by two hexadecimal digits."
        )
    try:
        return tuple(unquote_to_bytes(part).decode() for part in text[1:].split("/"))
    except UnicodeDecodeError:
        raise BadRequest(400, "bad-path", "The percent-encoded path is not UTF-8.") from None


def _faulty(fault: Fault) -> Reply | None:
    if fault.mode == "drop":
        return None
    body = msgspec.json.encode(Refusal("fault", f"The fault switch answers {fault.status}."))
    return Reply(fault.status, body, fault.retry_after)


async def _send(send: "ASGISendCallable", answer: Reply) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
    if answer.retry_after is not None:
        headers.append((b"retry-after", b"%d" % answer.retry_after))
    if answer.status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False}
    )
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _hang_up(scope: "HTTPScope", receive: "ASGIReceiveCallable") -> None:
    """Close without an answer, and stay until uvicorn has noticed: it would otherwise answer 500 for us."""
    extensions = scope["extensions"] or {}
    cast("Callable[[], None]", extensions[_HANG_UP]["abort"])()
    while (await receive())["type"] != "http.disconnect":
        continue


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
