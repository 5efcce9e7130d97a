"""The evidence of a lot over HTTP: one archive.

What may not enter: what is in it (engine/audit.py).
"""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.door import path_part
from api.slowly import slowly
from engine.audit import Audits
from engine.runtime import Front


def audit_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    audits = Audits(engine.store, engine.clock, engine.rules.sets)

    @get("/v1/lots/{lot:str}/audit")
    async def export_lot(request: Request[Any, Any, Any], lot: str) -> Response[bytes]:
        """Everything there is about a lot, to be verified offline."""
        name = path_part(lot)
        archive = await slowly(audits.export, name, visit_of(request.scope).principal.name)
        disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}.zip"
        return Response(archive, media_type="application/zip", headers={"content-disposition": disposition})

    return [export_lot]
