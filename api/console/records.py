"""Nonconformances, deviations and corrective actions of all lots. What may not enter: SQL, their steps."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.console.paging import ROW, place
from api.console.render import AnyRequest, Pages
from api.pages import names_place, page_of
from api.quality import record_position
from api.queries import one_of, position_of, read_query
from engine.quality_lists import records, records_number
from engine.records import KINDS, STATUSES
from engine.runtime import Front

_ROWS = 100
_HOME = "/console/records"


def record_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """Records, oldest first; without a status those under way."""
        asked = read_query(request.scope, ("kind", "status", "lot", "cursor", ROW), blank=True)
        wanted = {"kind": one_of(asked, "kind", KINDS), "status": one_of(asked, "status", STATUSES)}
        after = names_place(position_of(asked), 3)

        def look() -> dict[str, Any]:
            rows = records(engine.store, engine.today(), **wanted, lot=asked.get("lot"), after=after, limit=_ROWS + 1)
            page = page_of(rows, _ROWS, record_position)
            more = wanted | {"lot": asked.get("lot")}
            total = records_number(engine.store, **wanted, lot=asked.get("lot"))
            here = place(_HOME, more, asked, len(page.data), page.next, total, "record")
            return {"page": page, "place": here, "asked": more, "kinds": KINDS, "statuses": STATUSES}

        return pages.page(request, "records.html", **await asyncio.to_thread(look))

    return [show]
