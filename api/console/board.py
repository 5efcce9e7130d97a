"""The lot board: every lot by state, filtered, searched, in pages. What may not enter: SQL, single lots."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import visit_of
from api.console.paging import ROW, place
from api.console.render import AnyRequest, Pages, links, lot_path, to
from api.pages import page_of
from api.queries import one_of, position_of, read_query
from api.views import Page
from engine.lifecycle import State
from engine.runtime import Front
from engine.store.reading import LotLine

_STATES = tuple(state.value for state in State)
_FILTERS = ("state", "item", "supplier", "order", "plant")
#: Rows of a page: what a person looks through, and 60 kB.
ROWS = 100


class Tab(Struct, frozen=True):
    """One state, how many lots are in it, and where they are listed; ``state`` empty: all."""

    state: str
    number: int
    address: str
    chosen: bool


def board_routes(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    reading = engine.reading

    @get("/console")
    async def board(request: AnyRequest) -> Response[Any]:
        """Lots by state; for a key that is limited to plants, those of one of them."""
        asked = read_query(request.scope, (*_FILTERS, "q", "cursor", ROW), blank=True)
        state = one_of(asked, "state", _STATES)
        after, text = position_of(asked) or "", asked.get("q")
        mine = sorted(visit_of(request.scope).principal.plants)
        if mine:
            text = None
        wanted = {name: asked.get(name) for name in _FILTERS}

        def look() -> tuple[dict[str, int], list[LotLine], int | None]:
            # How many lots there are in other plants is none of a limited key's business.
            counts = {} if mine else reading.counts()
            if text is not None:
                return counts, reading.search(text, after=after, limit=ROWS + 1), None
            # Lots of the states are counted already.
            filtered = any(value for name, value in wanted.items() if name != "state")
            known = sum(counts.values()) if state is None else counts.get(state, 0)
            total = reading.number(**wanted) if filtered or mine else known
            return counts, reading.lots(**wanted, after=after, limit=ROWS + 1), total

        counts, rows, total = await asyncio.to_thread(look)
        page = page_of(rows, ROWS, lambda row: row.id)
        shown = _shown(page, counts, asked, wanted, state)
        here = place("/console", {**wanted, "q": text}, asked, len(page.data), page.next, total, "lot")
        return pages.page(request, "board.html", plants=mine, **shown | {"text": text, "place": here})

    @get("/console/find")
    async def find(request: AnyRequest) -> Response[None]:
        """Go to the lot that was scanned or typed; to the board with what fits when it is none."""
        text = read_query(request.scope, ("q",), blank=True).get("q", "").strip()
        if not text:
            return to("/console")
        if visit_of(request.scope).principal.plants:
            return to(lot_path(text))  # which says whether the key may see it
        known = await asyncio.to_thread(reading.plants, [text])
        if text in known:
            return to(lot_path(text))
        found = await asyncio.to_thread(reading.search, text, limit=2)
        if len(found) == 1:
            return to(lot_path(found[0].id))
        return to(links("/console", {"q": text}))

    return [board, find]


def _shown(
    page: Page[LotLine], counts: dict[str, int], asked: dict[str, str], wanted: dict[str, str | None], state: str | None
) -> dict[str, Any]:
    kept = {name: value for name, value in wanted.items() if name != "state"}
    tabs = [Tab("", sum(counts.values()), links("/console", kept), state is None)]
    tabs += [Tab(s, counts.get(s, 0), links("/console", {**kept, "state": s}), s == state) for s in _STATES]
    return {
        "tabs": tabs,
        "page": page,
        "wanted": wanted,
        "text": asked.get("q"),
        "filtered": any(kept.values()),
    }
