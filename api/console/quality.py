"""Suppliers' scorecards and control charts in the browser. What may not enter: statistics, SQL."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec.structs import replace

from api.console.charts import drawn
from api.console.paging import ROW, place
from api.console.render import AnyRequest, Pages, links
from api.pages import names_place, page_of
from api.quality import card_position, chart_position
from api.queries import position_of, read_query
from engine.runtime import Front
from engine.scorecards import Scorecards

_HOME = "/console/quality"
#: Cards and charts of one page: there are as many as items, suppliers and characteristics.
_CARDS, _CHARTS = 100, 10


def quality_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    scorecards = Scorecards(engine.store, engine.clock)

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """How items from suppliers have done; with an item, its control charts."""
        asked = read_query(request.scope, ("item", "supplier", "characteristic", "cursor", ROW, "charts"), blank=True)
        said = {name: asked.get(name) for name in ("item", "supplier", "characteristic")}
        after = names_place(position_of(asked), 2)
        behind = names_place(position_of({"cursor": asked["charts"]} if "charts" in asked else {}), 3, "charts")

        def look() -> dict[str, Any]:
            lines = scorecards.lines(said["item"], said["supplier"], after=after, limit=_CARDS + 1)
            cards = page_of(lines, _CARDS, card_position)
            found = [] if said["item"] is None else scorecards.charts(**said, after=behind, limit=_CHARTS + 1)
            charts = page_of(found, _CHARTS, chart_position)
            total = scorecards.number(said["item"], said["supplier"])
            here = place(_HOME, said, asked, len(cards.data), cards.next, total, "scorecard")
            return {
                "cards": cards.data, "asked": {name: value for name, value in said.items() if value},
                "place": here if here.first or not behind else replace(here, first=links(_HOME, said)),
                "charts": [drawn(line) for line in charts.data],
                "more_charts": charts.next and links(_HOME, said | {"charts": charts.next}),
                "number_of_charts": 0 if said["item"] is None else scorecards.charts_number(**said),
            }  # fmt: skip

        return pages.page(request, "quality.html", **await asyncio.to_thread(look))

    return [show]
