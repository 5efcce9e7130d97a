"""Shipment readiness over HTTP: may this leave now?"""

import asyncio
from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from api.body import Patience
from api.pages import json_answer
from api.said import said
from engine.readiness import Question, Readinesses
from engine.runtime import Front


def readiness_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    readinesses = Readinesses(engine.store, engine.clock)

    @post("/v1/shipments/readiness", status_code=200)
    async def shipment_readiness(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Ready, not ready or unknown, with every reason. Nothing is changed."""
        visit, question = await said(request, patience, Question, "read")
        rulebook = await asyncio.to_thread(engine.rules.book)
        name = visit.principal.name
        return json_answer(await asyncio.to_thread(readinesses.of, question, rulebook, name, engine.today()))

    return [shipment_readiness]
