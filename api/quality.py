"""Scorecards and control charts over HTTP, and limits that people set.

What may not enter: statistics (engine/quality/), SQL.
"""

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.body import Patience
from api.pages import json_answer
from api.problems import Refused
from api.queries import read_query
from api.said import said
from api.views import Page
from engine.runtime import Front
from engine.scorecards import OrderSampling, Scorecards, SetLimits


def quality_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    scorecards = Scorecards(engine.store, engine.clock)

    @get("/v1/quality/scorecards")
    async def list_scorecards(request: Request[Any, Any, Any]) -> Response[bytes]:
        """How items from suppliers have done."""
        query = read_query(request.scope, ("item", "supplier"))
        lines = await asyncio.to_thread(scorecards.lines, query.get("item"), query.get("supplier"))
        return json_answer(Page(lines, None))

    @get("/v1/quality/charts")
    async def list_charts(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Control charts of an item."""
        query = read_query(request.scope, ("item", "supplier", "characteristic"))
        if "item" not in query:
            raise Refused("parameter-invalid", "Say of which item: ?item=.", "item")
        names = (query["item"], query.get("supplier"), query.get("characteristic"))
        return json_answer(Page(await asyncio.to_thread(scorecards.charts, *names), None))

    @post("/v1/quality/limits", status_code=200)
    async def set_limits(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Hold new lots against limits that are set."""
        visit, wanted = await said(request, patience, SetLimits, "edit-rules")
        return json_answer(await asyncio.to_thread(scorecards.set_limits, wanted, visit.principal.name))

    @post("/v1/quality/sampling", status_code=202)
    async def order_sampling(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Say how hard lots of an item from a supplier are inspected from now on."""
        visit, wanted = await said(request, patience, OrderSampling, "approve-rules")
        return json_answer(await asyncio.to_thread(scorecards.order_sampling, wanted, visit.principal.name))

    return [list_scorecards, list_charts, set_limits, order_sampling]
