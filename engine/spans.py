"""Traces in OpenTelemetry: what one event took, where, from the request to the targets' answers. Off unless configured.

A trace crosses processes as W3C ``traceparent`` texts (https://www.w3.org/TR/trace-context/): with a request, over the
socket to the committer, in the journal to the workers, with a call to a target. Spans are handed to a thread that sends
them by OTLP over HTTP; what a collector that is away cannot take is dropped, never waited for. Names and attributes are
those of https://opentelemetry.io/docs/specs/semconv/ where they have one. What may not enter: what is measured.
"""

import importlib.metadata
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from engine.errors import SettingInvalid
from engine.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger("lotgate.spans")

#: Spans that wait to be sent, and how many go together; the SDK drops what is beyond.
MAX_WAITING_SPANS, TOGETHER = 4096, 512
#: A process that stops gives spans that wait this long.
CLOSE_SECONDS = 1.0
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Attributes = Mapping[str, str | int | float | bool]


class Serving(Protocol):
    """A request that is being answered, and traced."""

    def parent_of(self, given: str | None) -> str:
        """The trace for an event of this request that came with the trace ``given``."""
        ...


#: The traced request that this task answers.
SERVING: ContextVar[Serving | None] = ContextVar("serving", default=None)


def proper(text: str | None) -> str | None:
    """``text`` if it is a W3C traceparent; what is none is as good as not sent."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def trace_of(traceparent: str) -> str:
    """The id of the trace: 32 hex digits."""
    return traceparent[3:35]


class Spans:
    """The spans of one process."""

    def __init__(self, endpoint: str, process: str) -> None:
        """``endpoint``: the full address that traces are posted to. Raises SettingInvalid without OpenTelemetry."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise SettingInvalid(
                f"LOTGATE_OTLP_ENDPOINT is set, and {error.name} is not installed: pip install 'lotgate[traces]'."
            ) from None
        # It says the same of every batch that is not taken; once is enough.
        logging.getLogger("opentelemetry.exporter").addFilter(_Once())
        about: dict[str, str | int] = {
            "service.name": "lotgate", "service.version": importlib.metadata.version("lotgate"),
            "process.pid": os.getpid(), "lotgate.process": process,
        }  # fmt: skip
        named = os.environ.get("OTEL_SERVICE_NAME")
        resource = Resource.create({**about, **({"service.name": named} if named else {})})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint=endpoint), max_queue_size=MAX_WAITING_SPANS, max_export_batch_size=TOGETHER
            )
        )
        self._tracer = self._provider.get_tracer("lotgate", str(about["service.version"]))
        self._trace = trace

    def begin(
        self,
        name: str,
        kind: str,
        parent: "str | Span | None" = None,
        attributes: Attributes | None = None,
        *,
        start_ns: int | None = None,
        links: Sequence[str] = (),
    ) -> "Span":
        """A span that has begun: ``kind`` is SERVER, CLIENT, CONSUMER or INTERNAL; times are since 1970."""
        trace = self._trace
        span = self._remote(parent) if isinstance(parent, str) else parent
        context = None if span is None else trace.set_span_in_context(span)
        begun: Span = self._tracer.start_span(
            name, context=context or trace.set_span_in_context(trace.INVALID_SPAN), kind=trace.SpanKind[kind],
            attributes=attributes, start_time=start_ns,
            links=[trace.Link(self._remote(one).get_span_context()) for one in links],
        )  # fmt: skip
        return begun

    def _remote(self, traceparent: str) -> "Span":
        trace = self._trace
        flags = trace.TraceFlags(int(traceparent[53:55], 16))
        made = trace.SpanContext(int(traceparent[3:35], 16), int(traceparent[36:52], 16), True, flags)
        remote: Span = trace.NonRecordingSpan(made)
        return remote

    def fail(self, span: "Span", kind: str, words: str = "") -> None:
        """Mark ``span`` as failed; ``kind`` is what went wrong, of a small set."""
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, words or None))

    def close(self) -> None:
        """Send what waits, if it is taken at once."""
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)


def text_of(span: "Span") -> str:
    """The traceparent of what happens within ``span``."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def open_spans(settings: Settings, process: str) -> Spans | None:
    """The spans of this process; None where nobody wants any. Raises SettingInvalid."""
    return Spans(settings.otlp_endpoint, process) if settings.otlp_endpoint else None


class _Once(logging.Filter):
    """Lets the first record through, and then one a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._next:
            return False
        self._next = record.created + 60.0
        return True

