"""Typed commands: ``POST /v1/lots/{lot}/{command}`` with the data block of an event as its body.

A command is sugar: it becomes the same event on the same pipeline, with source ``api/<principal>`` and the
``Idempotency-Key`` as its id, so that a retry never acts twice. What may not enter: deciding anything.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, version_of, visit_of, wants_minimal
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.door import Visit, path_part
from api.permits import Permits
from api.problems import MEDIA_TYPE, Refused
from api.roles import SENDERS, SENDING
from engine.answer import Answer
from engine.committer import Committer
from engine.decoding import decode_event
from engine.errors import EventInvalid
from engine.events import Event, HoldApplied
from engine.spans import proper

#: Name in the path -> CloudEvents type of the event that the command becomes.
COMMANDS: dict[str, str] = {
    "receive": "lot.received.v1",
    "produce": "lot.produced.v1",
    "start-production": "production.started.v1",
    "report-operation": "operation.reported.v1",
    "inspect": "inspection.recorded.v1",
    "hold": "hold.applied.v1",
    "lift-hold": "hold.lifted.v1",
    "release": "lot.released.v1",
    "dispose": "lot.dispositioned.v1",
    "decide-usage": "usage_decision.made.v1",
    "reinspect": "reinspection.requested.v1",
    "consume": "lot.consumed.v1",
    "split": "lot.split.v1",
    "merge": "lot.merged.v1",
    "repack": "lot.repacked.v1",
    "ship": "lot.shipped.v1",
    "void-shipment": "shipment.voided.v1",
    "return": "lot.returned.v1",
    "state-fact": "fact.stated.v1",
    "open": "lot.opened.v1",
    "record-certificate": "certificate.recorded.v1",
    "change-shelf-life": "shelf_life.changed.v1",
    "change-plan": "inspection_plan.changed.v1",
    "open-record": "quality_record.opened.v1",
    "change-record": "quality_record.changed.v1",
}
#: RFC 8941 string, or the bare form that everybody sends.
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')
_MAX_KEY = 255


def commands(
    committer: Committer, patience: Patience, permits: Permits, check_hold: Callable[[str], None]
) -> HTTPRouteHandler:
    """The route, for Litestar. ``check_hold``: raises EventInvalid for a reason that the plant does not declare."""

    @post("/v1/lots/{lot:str}/{command:str}")
    async def do_command(request: Request[Any, Any, Any], lot: str, command: str) -> Response[bytes]:
        """Act on a lot."""
        visit = visit_of(request.scope)
        # A hold may be lifted in the role that it names: the event says in which one that is.
        require(visit, *(SENDING if command == "lift-hold" else SENDERS.get(COMMANDS.get(command, ""), SENDING)))
        body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
        event = event_of(visit, path_part(lot), command, body)
        await permits.check(visit.principal, event)
        if isinstance(event, HoldApplied):
            await asyncio.to_thread(check_hold, event.data.reason.code)
        expected = version_of(visit.headers.get(b"if-match"))
        decided = await committer.submit(event, visit.principal.name, expected)
        if decided.status == 409 and b'"/problems/event-id-reused"' in decided.body:
            raise Refused(
                "idempotency-key-reused",
                f"The key {event.id} was sent before with another command, lot or body; what it did then stands.",
                "Idempotency-Key",
            )
        return answered(decided, minimal=wants_minimal(visit))

    return do_command


def event_of(visit: Visit, lot: str, command: str, body: bytes) -> Event:
    """The event that a command stands for; raises Refused or EventInvalid with pointers into the body."""
    tag = COMMANDS.get(command)
    if tag is None:
        raise Refused("not-found", f"There is no command {command}. Commands: {', '.join(COMMANDS)}.")
    key = idempotency_key(visit.headers.get(b"idempotency-key"))
    if body and mode_of(visit.headers) is not Mode.STRUCTURED:
        raise Refused("unsupported-media-type", "The body of a command is application/json.")
    trace = proper(visit.headers.get(b"traceparent", b"").decode("latin-1"))
    more = {} if trace is None else {"traceparent": trace}
    return stated_event(visit.principal.name, key, tag, lot, require_json(body) if body else {}, **more)


def stated_event(principal: str, key: str, tag: str, lot: str, data: object, **more: str) -> Event:
    """The event of type ``tag`` by which ``principal`` says ``data`` of ``lot``, told apart from others by ``key``.

    Raises EventInvalid with pointers into ``data``.
    """
    event = {
        "specversion": "1.0",
        "id": key,
        "source": f"api/{principal}",
        "type": tag,
        "subject": lot,
        **more,
        "data": data,
    }
    try:
        return decode_event(msgspec.json.encode(event))
    except EventInvalid as error:
        # The caller sent the data block alone.
        pointer = error.pointer.removeprefix("/data")
        raise EventInvalid(error.detail, pointer, malformed=error.malformed) from None


def idempotency_key(header: bytes | None) -> str:
    """The key of a command, quoted or not; raises Refused when it is missing, too long or unreadable."""
    if not header:
        raise Refused(
            "idempotency-key-required",
            "Send Idempotency-Key: a new value for each intention, the same for each retry of it.",
            "Idempotency-Key",
        )
    text = header.decode("latin-1")
    quoted = _QUOTED.match(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not quoted and text[0] == '"':
        key = ""
    if not key or len(key) > _MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refused(
            "header-invalid",
            f"Idempotency-Key must be 1 to {_MAX_KEY} printable ASCII characters.",
            "Idempotency-Key",
        )
    return key


def answered(decided: Answer, *, minimal: bool = False) -> Response[bytes]:
    """A decision as the answer to a command."""
    headers: dict[str, str] = {}
    if decided.status < 400:
        headers["location"] = f"/v1/events/{decided.key}"
        if decided.version is not None:
            headers["etag"] = f'"{decided.version}"'
    if decided.replayed:
        headers["idempotency-replayed"] = "true"
    if minimal and decided.status < 400:
        headers["preference-applied"] = "return=minimal"
        return Response(b"", status_code=decided.status, headers=headers)
    media_type = "application/json" if decided.status < 400 else MEDIA_TYPE
    return Response(decided.body, status_code=decided.status, headers=headers, media_type=media_type)
