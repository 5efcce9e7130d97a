"""Scorecards and control charts over HTTP, and limits that people set.

What may not enter: statistics (engine/quality/), SQL.
"""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.body import Patience
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import limit_of, one_of, position_of, read_query
from api.said import said
from api.views import Page
from engine.quality_lists import RecordLine, records
from engine.records import KINDS, STATUSES
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

    @get("/v1/quality/records")
    async def list_quality_records(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Nonconformances, deviations and corrective actions."""
        query = read_query(request.scope, ("kind", "status", "lot", "cursor", "limit"))
        asked = {"kind": one_of(query, "kind", KINDS), "status": one_of(query, "status", STATUSES)}
        limit, place = limit_of(query), position_of(query)
        after = None if place is None else place_of(place)
        rows = await asyncio.to_thread(
            records, engine.store, engine.today(), **asked, lot=query.get("lot"), after=after, limit=limit + 1
        )
        return json_answer(page_of(rows, limit, record_place))

    return [list_scorecards, list_charts, set_limits, order_sampling, list_quality_records]


def record_place(line: RecordLine) -> str:
    """Where the page after ``line`` begins: JSON, not escaped, for a cursor has a largest size."""
    return msgspec.json.encode((line.record.opened_at, line.lot, line.record.record)).decode()


def place_of(text: str) -> tuple[str, str, str]:
    """Where a page of records begins; raises Refused for a cursor not made here."""
    try:
        place = msgspec.json.decode(text, type=tuple[str, str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        place = ("\0", "", "")
    if "\0" in "".join(place):  # no database takes it
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", "cursor")
    return place
