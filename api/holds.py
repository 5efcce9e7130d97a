"""Holds on many lots over HTTP: looked at beforehand, placed, watched, lifted; and the reasons that a plant declares.

What may not enter: SQL, and the holding itself (engine/wide_holds.py).
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from litestar import Request, Response, get, post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.access import Principal
from api.body import Patience
from api.door import path_part
from api.pages import json_answer, moment_place, moment_position, page_of
from api.problems import Refused
from api.queries import cursor_after, one_of, paged_of, position_of, read_query
from api.roles import SENDING
from api.said import said
from api.sheets import Sheet
from api.views import Page
from engine import events as ev
from engine.hold_reasons import check_reason
from engine.runtime import Front
from engine.wide_holds import HeldLot, LiftMany, OpenHold, Preview, WideHold, WideHolds

AnyRequest = Request[Any, Any, Any]
_FORMATS = ("json", "csv")
_NAMES = HeldLot.__struct_fields__


class LiftHold(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is over, and in which role that is said."""

    reason: ev.Reason
    #: Left out: hold.
    role: ev.LiftRole | None = None


class HeldLots(Struct, frozen=True):
    """Lots that carry a hold, or carried it: all, or a page of them. Held several times, a lot is there as often."""

    data: list[HeldLot]
    #: Send it as ``cursor`` to get the next page; null on the last, and where all were asked for.
    next: str | None = None


def check_lift_role(principal: Principal, role: str | None) -> None:
    """Refuse a lift that is said in a role that the principal does not have."""
    wanted = role or "hold"
    if not principal.may(wanted):
        detail = f"Lifting in the role {wanted} needs it, and the key {principal.name} lacks it."
        raise Refused("forbidden", detail, "/role")


def hold_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    wides = WideHolds(engine.store, engine.clock)

    def _open(wanted: OpenHold, by: str) -> tuple[WideHold, bool]:
        check_reason(engine.store, engine.today(), wanted.reason.code)
        return wides.open(wanted, by)

    @get("/v1/holds")
    async def list_holds(request: AnyRequest) -> Response[bytes]:
        """Holds on many lots, the newest first."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = paged_of(query), moment_place(position_of(query))
        if limit is None:
            return json_answer(Page(await asyncio.to_thread(wides.lines), None))
        return json_answer(wide_page(await asyncio.to_thread(wides.lines, after=after, limit=limit + 1), limit))

    @post("/v1/holds", status_code=201)
    async def open_hold(request: AnyRequest) -> Response[bytes]:
        """Hold what a scope or a filter names."""
        visit, wanted = await said(request, patience, OpenHold, "hold")
        return _made(*await asyncio.to_thread(_open, wanted, visit.principal.name))

    @post("/v1/holds/preview", status_code=200)
    async def preview_hold(request: AnyRequest) -> Response[bytes]:
        """Which lots would be held, or lifted. Nothing is changed."""
        _, wanted = await said(request, patience, Preview, "read")
        return json_answer(await asyncio.to_thread(wides.preview, wanted))

    @post("/v1/holds/lift", status_code=201)
    async def lift_many(request: AnyRequest) -> Response[bytes]:
        """Lift one named hold from the lots that a filter finds."""
        visit, wanted = await said(request, patience, LiftMany, *SENDING)
        check_lift_role(visit.principal, wanted.role)
        return _made(*await asyncio.to_thread(wides.lift_many, wanted, visit.principal.name))

    @get("/v1/holds/{hold:str}")
    async def show_hold(hold: str) -> Response[bytes]:
        """One of them: how far it is, and what was done to it."""
        return json_answer(await asyncio.to_thread(wides.view, path_part(hold)))

    @get("/v1/holds/{hold:str}/lots")
    async def held_lots(request: AnyRequest, hold: str) -> Response[Any]:
        """Its lots."""
        query, name = read_query(request.scope, ("format", "cursor", "limit")), path_part(hold)

        def take(after: str, limit: int) -> Page[HeldLot]:
            return held_page(wides.lots(name, after=after, limit=limit + 1), limit)

        if one_of(query, "format", _FORMATS) == "csv":
            sheet = Sheet(("lot", *_NAMES[1:]), lambda lot: [getattr(lot, field) for field in _NAMES], take)
            return await sheet.answer(query, f"/v1/holds/{quote(name, safe='')}/lots")
        limit, after = paged_of(query), position_of(query) or ""
        if limit is None:
            return json_answer(HeldLots(await asyncio.to_thread(wides.lots, name)))
        page = await asyncio.to_thread(take, after, limit)
        return json_answer(HeldLots(page.data, page.next))

    @post("/v1/holds/{hold:str}/lift", status_code=200)
    async def lift_hold(request: AnyRequest, hold: str) -> Response[bytes]:
        """It is over: on its scope at once, then on its lots."""
        visit, wanted = await said(request, patience, LiftHold, *SENDING)
        check_lift_role(visit.principal, wanted.role)
        by = visit.principal.name
        return json_answer(await asyncio.to_thread(wides.lift, path_part(hold), wanted.reason, by, wanted.role))

    @route("/v1/holds", http_method="OPTIONS", status_code=204)
    async def all_options() -> Response[None]:
        """What the list takes: Litestar's own answer knows only the first handler of an address."""
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})

    return [all_options, list_holds, open_hold, preview_hold, lift_many, show_hold, held_lots, lift_hold]


def wide_page(rows: Sequence[WideHold], limit: int) -> Page[WideHold]:
    """A page from up to ``limit`` + 1 holds."""
    return page_of(rows, limit, lambda one: moment_position(one.opened_at, one.id))


def held_page(rows: Sequence[HeldLot], limit: int) -> Page[HeldLot]:
    """A page of ``limit`` lots, each as often as it was held, from the rows of up to ``limit`` + 1 lots."""
    lots = list(dict.fromkeys(row.id for row in rows))
    if len(lots) <= limit:
        return Page(list(rows), None)
    shown = set(lots[:limit])
    return Page([row for row in rows if row.id in shown], cursor_after(lots[limit - 1]))


def _made(wide: WideHold, new: bool) -> Response[bytes]:
    answer = json_answer(wide)
    answer.status_code = 201 if new else 200
    return answer
