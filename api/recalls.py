"""Recalls over HTTP: looked at beforehand, opened, watched, closed.

What may not enter: SQL, and the holding itself (engine/recalls.py).
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.body import Patience
from api.door import path_part
from api.genealogy import COLUMNS, cells_of
from api.pages import json_answer, moment_place, moment_position, page_of
from api.queries import one_of, paged_of, position_of, read_query
from api.said import said
from api.sheets import Sheet
from api.slowly import slowly
from api.views import Page
from engine import events as ev
from engine.recalls import Recall, RecallId, Recalls, Selection
from engine.runtime import Front
from engine.tracing import Node

AnyRequest = Request[Any, Any, Any]
_FORMATS = ("json", "csv")


class OpenRecall(Struct, frozen=True, forbid_unknown_fields=True):
    """Which lots are bad, and why."""

    selection: Selection
    reason: ev.Reason
    #: Chosen by the caller, so that the same call again is the same recall; else one is made up.
    id: RecallId | None = None


class CloseRecall(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is over."""

    note: Annotated[str, Meta(min_length=1, max_length=500)]


class RecalledLots(Struct, frozen=True):
    """Lots that carry a recall's hold, or carried it: all, or a page of them."""

    data: list[Node]
    #: Send it as ``cursor`` to get the next page; null on the last, and where all were asked for.
    next: str | None = None


def recall_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    recalls = Recalls(engine.store, engine.clock)

    @get("/v1/recalls")
    async def list_recalls(request: AnyRequest) -> Response[bytes]:
        """Recalls, the newest first."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = paged_of(query), moment_place(position_of(query))
        if limit is None:
            return json_answer(Page(await asyncio.to_thread(recalls.lines), None))
        return json_answer(recall_page(await asyncio.to_thread(recalls.lines, after=after, limit=limit + 1), limit))

    @post("/v1/recalls", status_code=201)
    async def open_recall(request: AnyRequest) -> Response[bytes]:
        """Hold the lots that the selection names, and everything that was made of them."""
        visit, wanted = await said(request, patience, OpenRecall, "admin")
        by = visit.principal.name
        recall, new = await asyncio.to_thread(recalls.open, wanted.selection, wanted.reason, by, wanted.id)
        answer = json_answer(recall)
        answer.status_code = 201 if new else 200
        return answer

    @post("/v1/recalls/preview", status_code=200)
    async def preview_recall(request: AnyRequest) -> Response[bytes]:
        """What a recall would touch. Nothing is changed."""
        _, selection = await said(request, patience, Selection, "read")
        return json_answer(await slowly(recalls.preview, selection))

    @get("/v1/recalls/{recall:str}")
    async def show_recall(recall: str) -> Response[bytes]:
        """One recall: how far it is, and what it touches."""
        return json_answer(await slowly(recalls.view, path_part(recall)))

    @get("/v1/recalls/{recall:str}/lots")
    async def recalled_lots(request: AnyRequest, recall: str) -> Response[Any]:
        """Its lots, for the people who have to find them."""
        query, name = read_query(request.scope, ("format", "cursor", "limit")), path_part(recall)
        if one_of(query, "format", _FORMATS) == "csv":
            return await recall_sheet(recalls, name).answer(query, f"/v1/recalls/{quote(name, safe='')}/lots")
        limit, after = paged_of(query), position_of(query) or ""
        if limit is None:
            return json_answer(RecalledLots(await slowly(recalls.lots, name)))
        page = await asyncio.to_thread(lots_page, recalls, name, after, limit)
        return json_answer(RecalledLots(page.data, page.next))

    @post("/v1/recalls/{recall:str}/close", status_code=200)
    async def close_recall(request: AnyRequest, recall: str) -> Response[bytes]:
        """It is over: its holds are lifted."""
        visit, wanted = await said(request, patience, CloseRecall, "admin")
        by = visit.principal.name
        return json_answer(await asyncio.to_thread(recalls.close, path_part(recall), by, wanted.note))

    @route("/v1/recalls", http_method="OPTIONS", status_code=204)
    async def all_options() -> Response[None]:
        """What the list takes: Litestar's own answer knows only the first handler of an address."""
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})

    return [all_options, list_recalls, open_recall, preview_recall, show_recall, recalled_lots, close_recall]



def recall_page(rows: Sequence[Recall], limit: int) -> Page[Recall]:
    """A page from up to ``limit`` + 1 recalls."""
    return page_of(rows, limit, lambda one: moment_position(one.opened_at, one.id))


def lots_page(recalls: Recalls, recall: str, after: str, limit: int) -> Page[Node]:
    """``limit`` lots of a recall behind ``after``. Raises NotFound."""
    return page_of(recalls.lots(recall, after=after, limit=limit + 1), limit, lambda lot: lot.id)


def recall_sheet(recalls: Recalls, recall: str) -> Sheet[Node]:
    """Lots of a recall as a table, for the people who have to find them."""
    return Sheet(COLUMNS, cells_of, partial(lots_page, recalls, recall))
