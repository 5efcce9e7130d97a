"""Calls that will go away: said where the call is declared, and told to every caller by the answers themselves.

``Deprecation`` (RFC 9745) says since when, ``Sunset`` (RFC 8594) from when on it will not answer any more, ``Link``
where to read what to do instead. Nothing else about the call changes. What may not enter: the calls
(api/operations.py).
"""

import re
from collections.abc import Iterable
from email.utils import format_datetime
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.parameters import Deprecated, Operation
from api.problems import Headers


def headers_of(told: Deprecated) -> Headers:
    """The header fields of every answer of a deprecated call."""
    fields = [(b"deprecation", b"@%d" % int(told.since.timestamp()))]
    fields.append((b"link", f'<{told.page}>; rel="deprecation"; type="text/html"'.encode()))
    if told.sunset is not None:
        fields.append((b"sunset", format_datetime(told.sunset, usegmt=True).encode()))
    return fields


def words_of(told: Deprecated) -> str:
    """The same in a sentence or two, for the OpenAPI document and the docs."""
    end = "" if told.sunset is None else f" It will not answer any more from {told.sunset:%Y-%m-%d} on."
    return f"Deprecated since {told.since:%Y-%m-%d}: {told.instead}.{end}"


def table_of(operations: Iterable[Operation]) -> list[str]:
    """The lines that ``docs/http.md`` has about calls that will go away."""
    going = [o for o in operations if o.deprecated is not None]
    lines = [f"- `{o.method.upper()} {o.path}`: {words_of(o.deprecated)}" for o in going if o.deprecated is not None]
    return lines or ["- No call is deprecated now."]


class _Going:
    """An application in which some calls will go away."""

    def __init__(self, app: ASGIApp, going: list[tuple[str, re.Pattern[bytes], Headers]]) -> None:
        self._app = app
        self._going = going

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        if request["type"] == "http":
            for method, path, fields in self._going:
                if request["method"] == method and path.fullmatch(request["raw_path"]):
                    send = _telling(send, fields)
                    break
        await self._app(scope, receive, send)


def _telling(send: Send, fields: Headers) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *fields]
        await send(message)

    return told


def telling_deprecation(app: ASGIApp, operations: Iterable[Operation]) -> ASGIApp:
    """``app``, with the header fields on answers of calls that will go away; ``app`` itself when there are none.

    For GET, answers to HEAD have them too.
    """
    going = []
    for operation in operations:
        if operation.deprecated is not None:
            path = re.compile(re.sub(rb"\\{[a-z_]+\\}", b"[^/]+", re.escape(operation.path.encode())))
            methods = ("GET", "HEAD") if operation.method == "get" else (operation.method.upper(),)
            going += [(method, path, headers_of(operation.deprecated)) for method in methods]
    return _Going(app, going) if going else app
