"""What a delivery is part of goes on to its target: the W3C ``traceparent`` of the event with every call.

Where traces are collected, a delivery is a span and each of its calls another one; where they are not, what came with
the event is passed on as it was. Source of names: https://opentelemetry.io/docs/specs/semconv/http/http-spans/. What
may not enter: calling, retrying.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

from msgspec import Struct

from engine.ledger import Delivery
from engine.spans import Spans, proper, text_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

#: How a call went is told with these words where it went well.
GOOD = ("applied", "duplicate", "superseded")


class CallSpan:
    """One call to a target; without a span where nothing is traced."""

    def __init__(self, traceparent: str | None, spans: Spans | None = None, span: "Span | None" = None) -> None:
        self.traceparent = traceparent
        self._spans, self._span = spans, span

    def answered(self, status: int) -> None:
        """The target answered."""
        if self._spans is not None and self._span is not None:
            self._span.set_attribute("http.response.status_code", status)
            if status >= 400:
                self._spans.fail(self._span, str(status))

    def failed(self, kind: str, words: str) -> None:
        """No answer came."""
        if self._spans is not None and self._span is not None:
            self._spans.fail(self._span, kind, words)


class Onward(Struct):
    """What calls of this thread are part of."""

    spans: Spans | None
    #: Of the first delivery, and of those that are told in the same call.
    traceparent: str | None
    beside: tuple[str, ...] = ()


_NOW: ContextVar[Onward | None] = ContextVar("onward", default=None)
_NOTHING = CallSpan(None)


@contextlib.contextmanager
def calling(method: str, host: str, port: int | None, path: str) -> Iterator[CallSpan]:
    """One call: says which ``traceparent`` it carries, and is told how it ended."""
    now = _NOW.get()
    if now is None:
        yield _NOTHING
        return
    if now.spans is None:
        yield CallSpan(now.traceparent)
        return
    about: dict[str, str | int] = {
        "http.request.method": method, "server.address": host, "url.path": path.partition("?")[0],
    }  # fmt: skip
    if port is not None:
        about["server.port"] = port
    span = now.spans.begin(method, "CLIENT", now.traceparent, about, links=now.beside)
    try:
        yield CallSpan(text_of(span), now.spans, span)
    finally:
        span.end()


class _Told:
    """The spans of deliveries that are told together."""

    def __init__(self, spans: Spans | None, target: str, unit: Sequence[Delivery]) -> None:
        given = [proper(one.traceparent) for one in unit]
        self._spans = spans
        self._made: list[Span] = []
        if spans is None:
            # Told in one call that can name one trace: what is part of different ones is part of none.
            alike = set(given)
            self.onward = Onward(None, given[0] if len(alike) == 1 else None)
            return
        for delivery, parent in zip(unit, given, strict=True):
            about: dict[str, str | int] = {
                "lotgate.target": target, "lotgate.lot": delivery.lot, "lotgate.lot.version": delivery.version,
                "lotgate.delivery.key": delivery.key, "lotgate.delivery.attempt": delivery.attempts,
            }  # fmt: skip
            self._made.append(spans.begin(f"deliver {target}", "INTERNAL", parent, about))
        first, *others = [text_of(span) for span in self._made]
        self.onward = Onward(spans, first, tuple(others))

    def told(self, outcomes: Sequence[tuple[str, str]]) -> None:
        """Outcome and words for each delivery."""
        if self._spans is None:
            return
        for span, (outcome, words) in zip(self._made, outcomes, strict=True):
            span.set_attribute("lotgate.outcome", outcome)
            if outcome not in GOOD:
                self._spans.fail(span, outcome, words)

    def end(self) -> None:
        for span in self._made:
            span.end()


@contextlib.contextmanager
def delivering(spans: Spans | None, target: str, unit: Sequence[Delivery]) -> Iterator[_Told]:
    """Everything that this thread calls meanwhile is part of ``unit``."""
    told = _Told(spans, target, unit)
    token = _NOW.set(told.onward if spans is not None or told.onward.traceparent else None)
    try:
        yield told
    finally:
        _NOW.reset(token)
        told.end()
