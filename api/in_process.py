"""The in-process gate over HTTP: which operations a lot went through, and whether the next may start.

What may not enter: deciding (engine/in_process.py).
"""

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.door import path_part
from api.pages import json_answer, page_of
from api.queries import MAX_VERSION, limit_of, number_position_of, read_query
from api.views import Page
from engine.clock import instant
from engine.operation_gate import gate_of_lot, gate_of_order, operations_of
from engine.runtime import Front


def in_process_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    async def asked() -> tuple[Any, ...]:
        return (engine.store, await asyncio.to_thread(engine.rules.book), engine.clock)

    @get("/v1/lots/{lot:str}/operations")
    async def list_operations(request: Request[Any, Any, Any], lot: str) -> Response[bytes]:
        """The operations of a lot."""
        read_query(request.scope, ())
        found = await asyncio.to_thread(engine.reading.lot, path_part(lot))
        return json_answer(Page(operations_of(found, instant(engine.clock())), None))

    @get("/v1/lots/{lot:str}/operations/{operation:str}/gate")
    async def ask_lot(request: Request[Any, Any, Any], lot: str, operation: str) -> Response[bytes]:
        """May this operation of the lot start?"""
        read_query(request.scope, ())
        today = engine.today().toordinal()
        what = (*await asked(), path_part(lot), path_part(operation), today)
        return json_answer(await asyncio.to_thread(gate_of_lot, *what))

    @get("/v1/lots/{lot:str}/operations/{operation:str}/results")
    async def list_results(request: Request[Any, Any, Any], lot: str, operation: str) -> Response[bytes]:
        """Results in process of one operation."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), number_position_of(query, MAX_VERSION) or 0
        found = await asyncio.to_thread(engine.reading.lot, path_part(lot))
        what = (found.id, path_part(operation))
        rows = await asyncio.to_thread(engine.reading.operation_results, *what, after=after, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: row.version))

    @get("/v1/production-orders/{order:str}/operations/{operation:str}/gate")
    async def ask_order(request: Request[Any, Any, Any], order: str, operation: str) -> Response[bytes]:
        """May this operation of the order start?"""
        read_query(request.scope, ())
        today = engine.today().toordinal()
        what = (*await asked(), path_part(order), path_part(operation), today)
        return json_answer(await asyncio.to_thread(gate_of_order, *what))

    return [list_operations, ask_lot, list_results, ask_order]
