"""Concessions over HTTP: what is used by all lots together, and what is left. What may not enter: counting, SQL."""

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.door import path_part
from api.pages import json_answer, names_place, names_position, page_of
from api.queries import limit_of, position_of, read_query
from engine.concession_lists import ConcessionView, concession_lines, uses_of
from engine.runtime import Front

_BEGINNING = ("", "")


def concession_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get("/v1/concessions")
    async def list_concessions(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Concessions that were used."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), names_place(position_of(query), 2) or _BEGINNING
        rows = await asyncio.to_thread(concession_lines, engine.store, after=after, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: names_position(row.number, row.unit)))

    @get("/v1/concessions/{number:str}")
    async def show_concession(request: Request[Any, Any, Any], number: str) -> Response[bytes]:
        """One of them, with the lots that count under it."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), names_place(position_of(query), 2) or _BEGINNING
        name = path_part(number)
        totals, uses = await asyncio.to_thread(uses_of, engine.store, name, after=after, limit=limit + 1)
        page = page_of(uses, limit, lambda use: names_position(use.lot, use.unit))
        return json_answer(ConcessionView(name, totals, page.data, page.next))

    return [list_concessions, show_concession]
