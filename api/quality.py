"""Scorecards and control charts over HTTP, and limits that people set.

What may not enter: statistics (engine/quality/), SQL.
"""

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.body import Patience
from api.pages import json_answer, names_place, names_position, page_of
from api.problems import Refused
from api.queries import limit_of, one_of, paged_of, position_of, read_query
from api.said import said
from api.views import Page
from engine.quality_lists import RecordLine, records
from engine.records import KINDS, STATUSES
from engine.runtime import Front
from engine.scorecards import ChartLine, OrderSampling, ScorecardLine, Scorecards, SetLimits


def quality_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    scorecards = Scorecards(engine.store, engine.clock)

    @get("/v1/quality/scorecards")
    async def list_scorecards(request: Request[Any, Any, Any]) -> Response[bytes]:
        """How items from suppliers have done."""
        query = read_query(request.scope, ("item", "supplier", "cursor", "limit"), empty=("supplier",))
        names, limit = (query.get("item"), query.get("supplier")), paged_of(query)
        if limit is None:
            return json_answer(Page(await asyncio.to_thread(scorecards.lines, *names), None))
        after = names_place(position_of(query), 2)
        lines = await asyncio.to_thread(scorecards.lines, *names, after=after, limit=limit + 1)
        return json_answer(page_of(lines, limit, card_position))

    @get("/v1/quality/charts")
    async def list_charts(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Control charts of an item."""
        known = ("item", "supplier", "characteristic", "cursor", "limit")
        query = read_query(request.scope, known, empty=("supplier",))
        if "item" not in query:
            raise Refused("parameter-invalid", "Say of which item: ?item=.", "item")
        names, limit = (query["item"], query.get("supplier"), query.get("characteristic")), paged_of(query)
        if limit is None:
            return json_answer(Page(await asyncio.to_thread(scorecards.charts, *names), None))
        after = names_place(position_of(query), 3)
        lines = await asyncio.to_thread(scorecards.charts, *names, after=after, limit=limit + 1)
        return json_answer(page_of(lines, limit, chart_position))

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

    @get("/v1/quality/records")
    async def list_quality_records(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Nonconformances, deviations and corrective actions."""
        query = read_query(request.scope, ("kind", "status", "lot", "cursor", "limit"))
        asked = {"kind": one_of(query, "kind", KINDS), "status": one_of(query, "status", STATUSES)}
        limit, after = limit_of(query), names_place(position_of(query), 3)
        rows = await asyncio.to_thread(
            records, engine.store, engine.today(), **asked, lot=query.get("lot"), after=after, limit=limit + 1
        )
        return json_answer(page_of(rows, limit, record_position))

    return [list_scorecards, list_charts, set_limits, order_sampling, list_quality_records]


def card_position(line: ScorecardLine) -> str:
    """Where the page after a scorecard begins."""
    return names_position(line.item, line.supplier)


def chart_position(line: ChartLine) -> str:
    """Where the page after a chart begins."""
    return names_position(line.item, line.supplier, line.characteristic)


def record_position(line: RecordLine) -> str:
    """Where the page after a record begins."""
    return names_position(line.record.opened_at, line.lot, line.record.record)
