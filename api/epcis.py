"""GS1 EPCIS 2.0 over HTTP: documents come in and become our events, our journal goes out as theirs.

What may not enter: what an event means (engine/epcis_in.py, engine/epcis_out.py).
"""

import asyncio
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import require, visit_of
from api.batch import BatchPath, Result
from api.body import MAX_BATCH_BYTES, Patience, whole
from api.door import Visit
from api.problems import Refused
from api.queries import limit_of, one_of, read_query
from api.roles import SENDING
from api.slowly import slowly
from engine import epcis
from engine.clock import instant, parse_instant
from engine.epcis_in import Captured, read_document
from engine.epcis_out import document, events_of
from engine.feed import START, Feed, Place, id_of, place_of
from engine.runtime import Front

_MEDIA_TYPES = ("application/json", "application/ld+json")
_PARAMETERS = ("eventType", "EQ_bizStep", "MATCH_anyEPCClass", "GE_recordTime", "nextPageToken", "limit")
_EVENT_TYPES = ("ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent")
#: Journal entries looked at in one go, and at most for one page: a page may be empty and yet not the last.
_PIECE, _MOST = 500, 10_000


class CapturedLine(Struct, omit_defaults=True, rename={"event_id": "eventID"}):
    """What became of one EPCIS event."""

    #: From 0.
    index: int
    event_id: str | None
    type: str | None
    #: understood: see ``results``. refused: it says nothing that Lotgate acts on; ``detail`` says why.
    outcome: str
    detail: str = ""
    pointer: str = ""
    #: What became of the events that it stands for, as in a batch.
    results: list[Result] = []


class Capture(Struct):
    """What became of every event of a document, in order. One that is refused spoils only itself."""

    understood: int
    refused: int
    events: list[CapturedLine]


def epcis_routes(engine: Front, patience: Patience, batch: BatchPath) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    feed = Feed(engine.store)

    async def line(number: int, found: Captured, visit: Visit, path: str) -> CapturedLine:
        if found.problem is not None:
            return CapturedLine(
                number, found.event_id, found.type, "refused", found.problem.detail, found.problem.pointer
            )
        # One after the other: an output needs what became of its inputs.
        results = [await batch.decide(event, at, visit, path) for at, event in enumerate(found.events)]
        return CapturedLine(number, found.event_id, found.type, "understood", results=results)

    @post("/v1/epcis/capture", status_code=200)
    async def capture(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Take a document: each of its events is decided at once."""
        visit = visit_of(request.scope)
        require(visit, *SENDING)
        if visit.headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1") not in _MEDIA_TYPES:
            raise Refused("unsupported-media-type", f"The body is {' or '.join(_MEDIA_TYPES)}.")
        body = await patience.wait(whole(request.receive, MAX_BATCH_BYTES, visit.headers.get(b"content-length")))
        found = await asyncio.to_thread(read_document, body)
        lines = [await line(number, one, visit, request.scope["path"]) for number, one in enumerate(found)]
        refused = sum(one.outcome == "refused" for one in lines)
        return _json(Capture(len(lines) - refused, refused, lines))

    @get("/v1/epcis/events")
    async def query_events(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Our journal as EPCIS events, oldest first."""
        query = read_query(request.scope, _PARAMETERS)
        limit, kind = limit_of(query), one_of(query, "eventType", _EVENT_TYPES)
        step = epcis.word_of(query["EQ_bizStep"]) if "EQ_bizStep" in query else None
        named, since = query.get("MATCH_anyEPCClass"), _since(query)
        place, given = _page(query)

        def look() -> tuple[list[dict[str, Any]], str | None]:
            at, looked, skip, events = place, 0, given, list[dict[str, Any]]()
            while looked < _MOST:
                changes = feed.after(at, _PIECE)
                looked += len(changes)
                for following, change in changes:
                    for number, made in enumerate(events_of(change, change.id)):
                        if number < skip or kind not in (None, made["type"]) or step not in (None, made.get("bizStep")):
                            continue
                        if made["recordTime"] < since or (named is not None and named not in _classes(made)):
                            continue
                        if len(events) == limit:
                            return events, f"{id_of(at)}~{number}"
                        events.append(made)
                    at, skip = following, 0
                if len(changes) < _PIECE:
                    return events, None
            return events, id_of(at)

        events, following = await slowly(look)
        answer = _json(document(events, instant(engine.clock()), "SimpleEventQuery"))
        answer.headers["GS1-EPCIS-Version"] = "2.0.0"
        if following is not None:
            onward = urlencode(query | {"nextPageToken": following})
            answer.headers["Link"] = f'</v1/epcis/events?{onward}>; rel="next"'
        return answer

    return [capture, query_events]


def _page(query: dict[str, str]) -> tuple[Place, int]:
    """After which entry a page begins, and how many events of the next one were given before it."""
    token, _, given = query.get("nextPageToken", id_of(START)).partition("~")
    place = place_of(token)
    if place is None or not (given or "0").isascii() or not (given or "0").isdecimal() or len(given) > 6:
        raise Refused("parameter-invalid", "nextPageToken is not one that an earlier page gave.", "nextPageToken")
    return place, int(given or "0")


def _since(query: dict[str, str]) -> str:
    """From when on, as the journal writes it; empty: from the beginning."""
    text = query.get("GE_recordTime")
    if text is None:
        return ""
    try:
        return instant(parse_instant(text))
    except (ValueError, OverflowError):
        said = "GE_recordTime must be an instant with its zone, for example 2026-11-23T08:00:00Z."
        raise Refused("parameter-invalid", said, "GE_recordTime") from None


def _classes(event: dict[str, Any]) -> set[str]:
    lists = ("quantityList", "inputQuantityList", "outputQuantityList", "childQuantityList")
    return {part["epcClass"] for name in lists for part in event.get(name, ())}


def _json(value: Any) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type="application/json")
