"""A span for every request, put before the door only where somebody collects traces.

Source of names and attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/. What may not enter:
bodies, keys, query strings.
"""

import time
from typing import TYPE_CHECKING, Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from engine.spans import SERVING, Spans, proper, text_of, trace_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

#: Asked all the time, and part of nothing.
_UNTRACED = ("/healthz", "/readyz", "/metrics", "/v1/feed", "/console/live", "/console/static/")
#: Many events, each of which may be part of a trace of its own.
_MANY = (b"batch", b"ndjson")


class Traced:
    """ASGI application in front of the door."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar's types tell scopes apart by an enum; servers send the text.
        request: Any = scope
        if request["type"] != "http" or request["path"].startswith(_UNTRACED):
            await self._app(scope, receive, send)
            return
        serving = _Request(self._spans, request)

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                serving.status = message["status"]
            await send(message)

        token = SERVING.set(serving)
        try:
            await self._app(scope, receive, seen)
        finally:
            SERVING.reset(token)
            serving.end(request)


class _Request:
    """One request. Its span begins when it is known of which trace it is part: by its header, or by its event."""

    def __init__(self, spans: Spans, scope: Any) -> None:
        headers = dict(scope["headers"])
        self.status = 0
        self._spans = spans
        self._start_ns = time.time_ns()
        self._given = proper(headers.get(b"traceparent", b"").decode("latin-1"))
        kind = headers.get(b"content-type", b"")
        self._many = any(word in kind for word in _MANY) or scope["path"].startswith("/v1/epcis")
        self._method = scope["method"]
        self._about = {
            "http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"],
            "network.protocol.version": scope.get("http_version", "1.1"),
            "user_agent.original": headers.get(b"user-agent", b"").decode("latin-1"),
        }  # fmt: skip
        for name, end in (("server", scope.get("server")), ("client", scope.get("client"))):
            if end:
                self._about |= {f"{name}.address": end[0], f"{name}.port": end[1] or 0}
        self._span: Span | None = None

    def parent_of(self, given: str | None) -> str:
        given = proper(given)
        here = text_of(self._begun(None if self._many else given))
        # An event that is part of another trace than its request stays part of its own.
        return here if given is None or trace_of(given) == trace_of(here) else given

    def _begun(self, event: str | None = None) -> "Span":
        if self._span is None:
            parent = self._given or event
            self._span = self._spans.begin(self._method, "SERVER", parent, self._about, start_ns=self._start_ns)
        return self._span

    def end(self, scope: Any) -> None:
        """The request is answered, or its caller has gone."""
        span = self._begun()
        route = scope.get("path_template") or (scope["path"] if self.status not in (401, 404) else "")
        if route:
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
        if self.status:
            span.set_attribute("http.response.status_code", self.status)
        if self.status >= 500:
            self._spans.fail(span, str(self.status))
        span.end()
