"""Suppliers' scorecards and control charts in the browser. What may not enter: statistics, SQL."""

import asyncio
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.console.charts import drawn
from api.console.render import AnyRequest, Pages, links
from api.pages import page_of
from api.problems import Refused
from api.queries import position_of, read_query
from engine.runtime import Front
from engine.scorecards import Scorecards

_HOME = "/console/quality"
#: Cards and charts of one page: there are as many as items, suppliers and characteristics.
_CARDS, _CHARTS = 100, 10
_decode = msgspec.json.Decoder(list[str]).decode


def quality_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    scorecards = Scorecards(engine.store, engine.clock)

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """How items from suppliers have done; with an item, its control charts."""
        asked = read_query(request.scope, ("item", "supplier", "characteristic", "cursor", "charts"), blank=True)
        said = {name: asked.get(name) for name in ("item", "supplier", "characteristic")}
        after, behind = _place(asked, "cursor", 2), _place(asked, "charts", 3)

        def look() -> dict[str, Any]:
            cards = page_of(
                scorecards.lines(said["item"], said["supplier"], after=after, limit=_CARDS + 1), _CARDS,
                lambda card: _text(card.item, card.supplier),
            )  # fmt: skip
            found = [] if said["item"] is None else scorecards.charts(**said, after=behind, limit=_CHARTS + 1)
            charts = page_of(found, _CHARTS, lambda line: _text(line.item, line.supplier, line.characteristic))
            return {
                "cards": cards.data, "asked": {name: value for name, value in said.items() if value},
                "onward": cards.next and links(_HOME, said | {"cursor": cards.next}),
                "charts": [drawn(line) for line in charts.data],
                "more_charts": charts.next and links(_HOME, said | {"charts": charts.next}),
                "first": links(_HOME, said) if after or behind else None,
            }  # fmt: skip

        return pages.page(request, "quality.html", **await asyncio.to_thread(look))

    return [show]


def _text(*names: str) -> str:
    """A place in a list by several names."""
    return msgspec.json.encode(names).decode()


def _place(asked: dict[str, str], name: str, length: int) -> Any:
    """The names of a place, as :func:`_text` wrote them; None: the beginning. Raises Refused for anything else."""
    position = position_of({"cursor": asked[name]} if name in asked else {})
    if position is None:
        return None
    try:
        found = tuple(_decode(position))
    except msgspec.DecodeError:
        found = ()
    if len(found) != length:
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", name)
    return found
