"""Where a lot is in everybody else's books, asked when somebody asks.

What may not enter: the asking (actors/lookup.py).
"""

import asyncio

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from actors.lookup import Elsewhere, Lookup
from api.door import path_part
from api.pages import json_answer


def elsewhere_routes(lookup: Lookup) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get("/v1/lots/{lot:str}/systems")
    async def ask_systems(lot: str) -> Response[bytes]:
        """What ERP, WMS and the others say of a lot now."""
        found: Elsewhere = await asyncio.wrap_future(lookup.of(path_part(lot)))
        return json_answer(found)

    return [ask_systems]
