"""Suppliers' scorecards and control charts in the browser. What may not enter: statistics, SQL."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.console.charts import drawn
from api.console.render import AnyRequest, Pages
from api.queries import read_query
from engine.runtime import Front
from engine.scorecards import Scorecards

_HOME = "/console/quality"
#: Charts and cards of one page: there are as many as items, suppliers and characteristics.
_MAX_CHARTS, _MAX_CARDS = 20, 500


def quality_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    scorecards = Scorecards(engine.store, engine.clock)

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """How items from suppliers have done; with an item, its control charts."""
        asked = read_query(request.scope, ("item", "supplier", "characteristic"), blank=True)

        def look() -> dict[str, Any]:
            item, supplier = asked.get("item"), asked.get("supplier")
            cards = scorecards.lines(item, supplier)
            charts = [] if item is None else scorecards.charts(item, supplier, asked.get("characteristic"))
            return {
                "cards": cards[:_MAX_CARDS], "all_cards": len(cards), "asked": asked,
                "charts": [drawn(line) for line in charts[:_MAX_CHARTS]], "all_charts": len(charts),
            }  # fmt: skip

        return pages.page(request, "quality.html", **await asyncio.to_thread(look))

    return [show]
