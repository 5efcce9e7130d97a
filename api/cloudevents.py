"""CloudEvents 1.0 over HTTP: which mode a request is in, and binary mode turned into structured mode.

Source: CloudEvents HTTP Protocol Binding 1.0.2, sections 3.1 (binary), 3.1.3.2 (header values), 3.2
(structured), 3.3 (batched). What may not enter: lots, and what an event means; that is engine/events.py.
"""

import enum
import re

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from api.problems import Refused
from engine.decoding import decode_event
from engine.errors import EventInvalid
from engine.events import Event
from engine.spans import proper


class Mode(enum.Enum):
    """How the events of a request are written."""

    STRUCTURED = enum.auto()
    BINARY = enum.auto()
    BATCH = enum.auto()
    LINES = enum.auto()


_NAMED = {
    b"application/cloudevents+json": Mode.STRUCTURED,
    b"application/cloudevents-batch+json": Mode.BATCH,
    b"application/x-ndjson": Mode.LINES,
}
_JSON = re.compile(rb"(application|text)/([a-z0-9.!#$&^_-]+\+)?json\Z")
_PARAMETERS = re.compile(rb"\s*(;\s*charset=\"?utf-8\"?\s*)?\Z", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]{1,64}\Z")
_TOKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
#: Required attributes; any of them as a header means binary mode.
_REQUIRED = (b"ce-id", b"ce-source", b"ce-specversion", b"ce-type")


def mode_of(headers: dict[bytes, bytes]) -> Mode:
    """The mode that ``Content-Type`` chooses; raises Refused (415) when Lotgate does not read that."""
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise Refused(
            "unsupported-content-encoding", "The body must be sent as it is, without Content-Encoding."
        )
    sent = headers.get(b"content-type", b"")
    mode = _NAMED.get(sent)
    return mode if mode is not None else _read(sent, headers)


def _read(sent: bytes, headers: dict[bytes, bytes]) -> Mode:
    media_type, semicolon, parameters = sent.partition(b";")
    media_type = media_type.strip().lower()
    if not _PARAMETERS.match(semicolon + parameters):
        raise Refused(
            "unsupported-media-type", "Only UTF-8 is read; leave out other parameters of Content-Type."
        )
    named = _NAMED.get(media_type)
    if named is not None:
        return named
    binary = any(name in headers for name in _REQUIRED)
    if binary and (not media_type or _JSON.match(media_type)):
        return Mode.BINARY
    if media_type == b"application/json":
        return Mode.STRUCTURED
    shown = media_type.decode("latin-1") or "missing"
    raise Refused(
        "unsupported-media-type",
        f"Content-Type is {shown}; send application/cloudevents+json, or JSON with ce-* headers.",
    )


def read_event(body: bytes) -> Event:
    """The event in ``body``. What is not JSON is ``malformed`` (400), wherever its first fault stands."""
    try:
        return decode_event(body)
    except EventInvalid as error:
        # The decoder stops at what it meets first: a wrong type may stand before the broken text.
        if not error.malformed:
            require_json(body, error.pointer)
        raise


def carrying(event: Event, headers: dict[bytes, bytes]) -> Event:
    """``event`` as part of the trace of its request, where it names none itself."""
    given = proper(headers.get(b"traceparent", b"").decode("latin-1"))
    return event if given is None or event.traceparent is not None else replace(event, traceparent=given)


def require_json(body: bytes, pointer: str = "") -> Raw:
    """``body`` as one JSON value; raises EventInvalid (malformed) when it is none."""
    try:
        body.decode("utf-8")
        return msgspec.json.decode(body, type=Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventInvalid(f"The body is not JSON: {error}", pointer, malformed=True) from None


def structured(headers: dict[bytes, bytes], body: bytes) -> bytes:
    """A binary-mode event as structured JSON, byte for byte what the sender could have sent in that mode."""
    event: dict[str, object] = {}
    for raw_name, value in headers.items():
        if raw_name.startswith(b"ce-"):
            name = raw_name[3:].decode("latin-1")
            if not _NAME.match(name) or name in ("data", "datacontenttype"):
                raise EventInvalid(f"The header ce-{name} is not a CloudEvents attribute.", malformed=True)
            event[name] = attribute(name, value)
    if b"content-type" in headers:
        event["datacontenttype"] = headers[b"content-type"].decode("latin-1")
    if body:
        # Checked to be one JSON value: otherwise a body could write attributes of the envelope.
        event["data"] = require_json(body, "/data")
    return msgspec.json.encode(event)


def attribute(name: str, value: bytes) -> str:
    """The text of a header value: double quotes undone, then percent-decoded, then strict UTF-8."""
    value = value.strip()
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    if _TOKEN.search(value):
        raise EventInvalid(
            f"ce-{name}: % must be followed by two hexadecimal digits.", f"/{name}", malformed=True
        )
    decoded = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), value)
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise EventInvalid(
            f"ce-{name} is not UTF-8 when percent-decoded.", f"/{name}", malformed=True
        ) from None
