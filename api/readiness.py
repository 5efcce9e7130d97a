"""Shipment readiness over HTTP: may this leave now?"""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.pages import json_answer
from api.problems import Refused
from engine.errors import EventInvalid
from engine.readiness import Question, Readinesses
from engine.runtime import Front

_decode = msgspec.json.Decoder(Question).decode


def readiness_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    readinesses = Readinesses(engine.store, engine.clock)

    @post("/v1/shipments/readiness", status_code=200)
    async def shipment_readiness(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Ready, not ready or unknown, with every reason. Nothing is changed."""
        visit = visit_of(request.scope)
        require(visit, "read")
        body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
        if mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        try:
            question = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            require_json(body)
            raise EventInvalid(str(error)) from None
        rulebook = await asyncio.to_thread(engine.rules.book)
        name = visit.principal.name
        return json_answer(await asyncio.to_thread(readinesses.of, question, rulebook, name, engine.today()))

    return [shipment_readiness]
