"""Business numbers over HTTP. What may not enter: counting (engine/kpi.py), SQL."""

from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.pages import json_answer
from api.queries import read_query
from api.slowly import slowly
from engine.business import Business
from engine.runtime import Front


def kpi_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The route, for Litestar."""
    business = Business(engine.store, engine.clock)

    @get("/v1/kpi")
    async def show_kpi(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Backlog, blocked stock, orders, yield, lead times, suppliers, delays."""
        read_query(request.scope, ())
        return json_answer(await slowly(business.numbers, engine.today()))

    return [show_kpi]
