"""Holds on many lots in the browser: looked at beforehand, placed, watched, lifted. What may not enter: the holding."""

import asyncio
from typing import Any, get_args

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.console.forms import read_form, wanted
from api.console.lot import LIFT_ROLES
from api.console.paging import ROW, narrowed, place
from api.console.render import AnyRequest, Pages, part, to
from api.door import path_part
from api.holds import check_lift_role, held_page, wide_page
from api.pages import moment_place
from api.queries import one_of, position_of, read_query
from api.roles import SENDING
from engine import events as ev
from engine.errors import EventInvalid
from engine.hold_reasons import check_reason, declared
from engine.runtime import Front
from engine.wide_holds import HeldIn, LiftMany, OpenHold, Outdated, Preview, WideHolds, WrongRole

_HOME = "/console/holds"
_TEXTS = ("supplier", "item", "revision", "order", "plant", "received_from", "received_until")
_ASKED = (*_TEXTS, "lots", "states", "scope", "lifts")
_ROWS = 100
#: What a list can be narrowed to: of holds that are not over, and of those that are.
STATES = {"standing": ("placing", "placed", "lifting"), "lifted": ("lifted",)}
_HELD_IN: tuple[str, ...] = get_args(HeldIn)


def hold_pages(engine: Front, pages: Pages, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    wides = WideHolds(engine.store, engine.clock)

    @get(_HOME)
    async def overview(request: AnyRequest) -> Response[bytes]:
        """Every hold on many lots, and what a new one, or a lift, would touch."""
        asked = read_query(request.scope, (*_ASKED, "preview", "state", "cursor", ROW), blank=True)
        state = one_of(asked, "state", tuple(STATES))
        after = moment_place(position_of(asked))
        said = {name: value for name, value in asked.items() if name in _ASKED}

        def look() -> dict[str, Any]:
            found, fault = None, None
            if "preview" in asked:
                try:
                    found = wides.preview(_typed({"selection": _selection(said), "lifts": said.get("lifts")}, Preview))
                except EventInvalid as error:
                    fault = error.detail
            reasons = declared(engine.store, engine.today())
            states = STATES.get(state or "", ())
            page = wide_page(wides.lines(states=states, after=after, limit=_ROWS + 1), _ROWS)
            counts = narrowed(wides.counts(), STATES)
            total, query = counts[state or ""], {"state": state}
            return {
                "page": page, "counts": counts, "narrowed": state or "",
                "place": place(_HOME, query, asked, len(page.data), page.next, total, "hold"),
                "look": found, "fault": fault, "said": said, "hold_reasons": reasons,
            }  # fmt: skip

        return pages.page(request, "holds.html", lift_roles=LIFT_ROLES, **await asyncio.to_thread(look))

    @get(_HOME + "/{hold:str}")
    async def one(request: AnyRequest, hold: str) -> Response[bytes]:
        """One of them: how far it is, which lots it is on, what was done to it."""
        asked = read_query(request.scope, ("cursor", ROW), blank=True)
        after = position_of(asked) or ""

        def look() -> dict[str, Any]:
            name = path_part(hold)
            page = held_page(wides.lots(name, after=after, limit=_ROWS + 1), _ROWS)
            view, total, home = wides.view(name), wides.number(name), f"{_HOME}/{part(name)}"
            # A lot that was held several times has as many rows.
            here = place(home, {}, asked, len({lot.id for lot in page.data}), page.next, total, "lot")
            return {"view": view, "lots": page.data, "all_lots": total, "place": here}

        return pages.page(request, "hold.html", **await asyncio.to_thread(look))

    @post(_HOME, status_code=200)
    async def begin(request: AnyRequest) -> Response[None]:
        """Hold, or lift, what was looked at."""
        visit = visit_of(request.scope)
        require(visit, *SENDING)
        form = await read_form(request, patience)
        said: dict[str, Any] = {
            "selection": _selection(form), "reason": _reason(form), "digest": form.get("digest"),
            # The page's own token names it: sent twice, it is the same hold.
            "id": form.get("id") or "W-" + wanted(form, "token", "The token of the page")[:8].strip("-_."),
        }  # fmt: skip
        by = visit.principal.name
        if form.get("lifts"):
            many = _typed(said | {"lifts": form["lifts"], "role": form.get("role") or None}, LiftMany)
            check_lift_role(visit.principal, many.role)
            made, _ = await asyncio.to_thread(_plain, wides.lift_many, many, by)
            return to(f"{_HOME}/{part(made.id)}")
        require(visit, "hold")
        more = {"scope": form.get("scope", "filter"), "owner": form.get("owner"), "lift_role": form.get("lift_role")}
        opened = _typed(said | more, OpenHold)

        def place() -> Any:
            check_reason(engine.store, engine.today(), opened.reason.code)
            return _plain(wides.open, opened, by)

        made, _ = await asyncio.to_thread(place)
        return to(f"{_HOME}/{part(made.id)}")

    @post(_HOME + "/{hold:str}/lift", status_code=200)
    async def lift(request: AnyRequest, hold: str) -> Response[None]:
        """It is over."""
        visit = visit_of(request.scope)
        require(visit, *SENDING)
        form = await read_form(request, patience)
        role: Any = form.get("role") or None
        check_lift_role(visit.principal, role)
        reason = _typed(_reason(form), ev.Reason)
        await asyncio.to_thread(_plain, wides.lift, path_part(hold), reason, visit.principal.name, role)
        return to(f"{_HOME}/{hold}")

    return [overview, one, begin, lift]


def _plain(do: Any, *what: Any) -> Any:
    """As a page says it: what is wrong with a form, whatever the API calls it."""
    try:
        return do(*what)
    except (Outdated, WrongRole) as error:
        raise EventInvalid(error.detail) from None


def _reason(form: dict[str, str]) -> dict[str, str]:
    return {"code": wanted(form, "reason", "The reason"), "text": form.get("text", "")}


def _selection(said: dict[str, str]) -> dict[str, Any]:
    """What a form selects; raises EventInvalid. A day means its beginning in UTC."""
    found: dict[str, Any] = {name: said[name] for name in _TEXTS if said.get(name)}
    for name in ("lots", "states"):
        if said.get(name):
            found[name] = said[name].replace(",", " ").split()
    unknown = [name for name in found.get("states", ()) if name not in _HELD_IN]
    if unknown:
        words = ", ".join(_HELD_IN)
        raise EventInvalid(f"Nothing is held in the state {unknown[0]}: say some of {words}, or none for all.")
    for name in ("received_from", "received_until"):
        if len(found.get(name, "")) == len("2026-11-24"):
            found[name] += "T00:00:00Z"
    return found


def _typed(said: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert({name: value for name, value in said.items() if value not in (None, "")}, kind)
    except msgspec.ValidationError as error:
        raise EventInvalid(str(error)) from None
