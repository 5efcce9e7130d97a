"""Recalls in the browser: looked at beforehand, opened, watched, closed. What may not enter: holding, arithmetic."""

import asyncio
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.console.forms import read_form, wanted
from api.console.paging import ROW, narrowed, place
from api.console.render import AnyRequest, Pages, part, to
from api.door import path_part
from api.pages import moment_place
from api.queries import one_of, position_of, read_query
from api.recalls import lots_page, recall_page, recall_sheet
from api.slowly import slowly
from engine import events as ev
from engine.errors import EventInvalid
from engine.recalls import Extent, RecallId, Recalls, Selection
from engine.runtime import Front

_HOME = "/console/recalls"
_SELECTORS = ("lots", "supplier", "item", "revision", "order", "plant", "received_from", "received_until")
_ROWS = 100
#: What a list can be narrowed to: of recalls that are not over, and of those that are.
STATES = {"open": ("opening", "open", "closing"), "closed": ("closed",)}


class Extents:
    """What recalls touch, as long as none of their lots changes: a page that looks every second does not add it up."""

    #: Recalls that are remembered.
    KEPT = 20

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Any, Extent]] = {}

    def of(self, recalls: Recalls, name: str) -> Extent:
        """What recall ``name`` touches now. Raises NotFound."""
        mark = (recalls.get(name), recalls.mark(name))
        there = self._seen.get(name)
        if there is None or there[0] != mark:
            self._seen.pop(name, None)
            there = self._seen[name] = (mark, recalls.view(name).extent)
            while len(self._seen) > self.KEPT:
                self._seen.pop(next(iter(self._seen)), None)
        return there[1]


def recall_pages(engine: Front, pages: Pages, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    recalls, seen = Recalls(engine.store, engine.clock), Extents()

    @get(_HOME)
    async def overview(request: AnyRequest) -> Response[bytes]:
        """Every recall, and what a new one would touch."""
        asked = read_query(request.scope, (*_SELECTORS, "preview", "state", "cursor", ROW), blank=True)
        state = one_of(asked, "state", tuple(STATES))
        after = moment_place(position_of(asked))
        said = {name: value for name, value in asked.items() if name in _SELECTORS}

        def look() -> dict[str, Any]:
            extent, fault = None, None
            if "preview" in asked:
                try:
                    extent = recalls.preview(_selection(said))
                except EventInvalid as error:
                    fault = error.detail
            states = STATES.get(state or "", ())
            page = recall_page(recalls.lines(states=states, after=after, limit=_ROWS + 1), _ROWS)
            counts = narrowed(recalls.counts(), STATES)
            total, query = counts[state or ""], {"state": state}
            here = place(_HOME, query, asked, len(page.data), page.next, total, "recall")
            return {"page": page, "place": here, "counts": counts, "narrowed": state or "", "extent": extent,
                    "fault": fault, "said": said}  # fmt: skip

        return pages.page(request, "recalls.html", selectors=_SELECTORS, **await slowly(look))

    @get(_HOME + "/{recall:str}")
    async def one(request: AnyRequest, recall: str) -> Response[bytes]:
        """One recall: how far it is, what it touches."""
        asked = read_query(request.scope, ("cursor", ROW), blank=True)
        after = position_of(asked) or ""

        def look() -> dict[str, Any]:
            name = path_part(recall)
            page = lots_page(recalls, name, after, _ROWS)
            extent, home = seen.of(recalls, name), f"{_HOME}/{part(name)}"
            here = place(home, {}, asked, len(page.data), page.next, extent.lots, "lot")
            return {"recall": recalls.get(name), "extent": extent, "lots": page.data, "place": here}

        return pages.page(request, "recall.html", **await slowly(look))

    @get(_HOME + "/{recall:str}/lots.csv")
    async def lots(request: AnyRequest, recall: str) -> Response[Any]:
        """Its lots, for the people who have to find them."""
        name, named = path_part(recall), {"content-disposition": 'attachment; filename="recall.csv"'}
        return await recall_sheet(recalls, name).answer({}, f"{_HOME}/{part(name)}/lots.csv", **named)

    @post(_HOME, status_code=200)
    async def begin(request: AnyRequest) -> Response[None]:
        """Hold the lots and everything that was made of them."""
        visit = visit_of(request.scope)
        require(visit, "admin")
        form = await read_form(request, patience)
        reason = ev.Reason(code=wanted(form, "reason", "The reason")[:64], text=form.get("text", "")[:500])
        # The page's own token names it: sent twice, it is the same recall.
        name = form.get("id") or "R-" + wanted(form, "token", "The token of the page")[:8].strip("-_.")
        selection = _selection({key: form[key] for key in _SELECTORS if key in form})
        recall, _ = await asyncio.to_thread(recalls.open, selection, reason, visit.principal.name, _named(name))
        return to(f"{_HOME}/{part(recall.id)}")

    @post(_HOME + "/{recall:str}/close", status_code=200)
    async def close(request: AnyRequest, recall: str) -> Response[None]:
        """It is over: its holds are lifted."""
        visit = visit_of(request.scope)
        require(visit, "admin")
        form = await read_form(request, patience)
        note = wanted(form, "note", "What was found")[:500]
        await asyncio.to_thread(recalls.close, path_part(recall), visit.principal.name, note)
        return to(f"{_HOME}/{recall}")

    return [overview, one, lots, begin, close]


def _selection(said: dict[str, str]) -> Selection:
    """What a form selects; raises EventInvalid. A day means its beginning in UTC."""
    wanted_: dict[str, Any] = dict(said)
    if "lots" in said:
        wanted_["lots"] = said["lots"].split()
    for name in ("received_from", "received_until"):
        if len(wanted_.get(name, "")) == len("2026-11-24"):
            wanted_[name] += "T00:00:00Z"
    try:
        return msgspec.convert(wanted_, Selection)
    except msgspec.ValidationError as error:
        raise EventInvalid(str(error)) from None


def _named(text: str) -> str:
    try:
        return msgspec.convert(text, RecallId)
    except msgspec.ValidationError:
        words = "The name of a recall is 1 to 40 letters, digits, and . _ - after the first."
        raise EventInvalid(words, "/id") from None
