"""The schema of each event type, and AsyncAPI 3 of what goes in and out, from the structs themselves.

``/schema/events/{type}`` is JSON Schema 2020-12 of one type, ``/schema/asyncapi.json`` the document that names all.
Both have an entity tag and are answered 304 to whoever has them. What may not enter: handlers of events.
"""

from functools import cache
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.conditional import conditional
from api.door import path_part
from api.openapi import VERSION, foreign, widen
from api.problems import Refused
from api.queries import read_query
from engine.events import TYPES
from engine.feed import Change

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FORMAT = "application/schema+json;version=draft-2020-12"
_COMPONENT = "#/components/schemas/{name}"


def event_schema(kind: str) -> dict[str, Any]:
    """JSON Schema of one event type, complete in itself; KeyError for a type that there is not."""
    (schema,), parts = msgspec.json.schema_components(
        [TYPES[kind]], schema_hook=foreign, ref_template="#/$defs/{name}"
    )
    found: dict[str, Any] = widen({**parts.pop(schema["$ref"].rpartition("/")[2])})
    return {"$schema": _DRAFT, "$id": f"/schema/events/{kind}", **found, "$defs": widen(parts)}


def document() -> dict[str, Any]:
    """The AsyncAPI document: events that are taken, changes that are told."""
    kinds = [*TYPES.values(), Change]
    schemas, parts = msgspec.json.schema_components(kinds, schema_hook=foreign, ref_template=_COMPONENT)
    messages = {
        name: {"name": name, "contentType": media, "payload": {"schemaFormat": _FORMAT, "schema": schema}}
        for (name, media), schema in zip(
            [*((kind, "application/cloudevents+json") for kind in TYPES), ("change", "application/json")],
            schemas,
            strict=True,
        )
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Lotgate", "version": VERSION, "description": "CloudEvents 1.0 in, changes of lots out."},
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "/v1/events",
                "description": "One event a request, answered with the committed decision.",
                "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in TYPES},
            },
            "changes": {
                "address": "/v1/feed",
                "description": "Every journal entry, as server-sent events.",
                "messages": {"change": {"$ref": "#/components/messages/change"}},
            },
        },
        "operations": {
            "takeEvent": {"action": "receive", "channel": {"$ref": "#/channels/events"}},
            "tellChange": {"action": "send", "channel": {"$ref": "#/channels/changes"}},
        },
        "components": {
            "messages": messages,
            "schemas": widen(parts),
        },
    }


@cache
def _encoded(kind: str) -> bytes:
    return msgspec.json.encode(document() if not kind else event_schema(kind))


def schema_routes() -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get("/schema/asyncapi.json")
    async def asyncapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The document, for tools."""
        return conditional(_encoded(""), "application/vnd.aai.asyncapi+json", request)

    @get("/schema/events/{kind:str}")
    async def show_event_schema(request: Request[Any, Any, Any], kind: str) -> Response[bytes]:
        """One event type."""
        read_query(request.scope, ())
        name = path_part(kind)
        if name not in TYPES:
            raise Refused("not-found", f"There is no event type {name}. There are {', '.join(TYPES)}.")
        return conditional(_encoded(name), "application/schema+json", request)

    return [asyncapi_document, show_event_schema]
