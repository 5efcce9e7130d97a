"""The evidence of a lot over HTTP: one archive.

What may not enter: what is in it (engine/audit.py).
"""

import asyncio
from typing import Any
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.door import path_part
from api.pages import json_answer
from api.slowly import slowly
from engine.audit import Audits
from engine.checkpoints import signer_of
from engine.runtime import Front


def audit_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    audits = Audits(engine.store, engine.clock, engine.rules.sets, signer_of(engine.settings))

    @get("/v1/lots/{lot:str}/audit")
    async def export_lot(request: Request[Any, Any, Any], lot: str) -> Response[bytes]:
        """Everything there is about a lot, to be verified offline."""
        name = path_part(lot)
        archive = await slowly(audits.export, name, visit_of(request.scope).principal.name)
        disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}.zip"
        return Response(archive, media_type="application/zip", headers={"content-disposition": disposition})

    @get("/v1/lots/{lot:str}/checkpoint")
    async def sign_checkpoint(lot: str) -> Response[bytes]:
        """The head of the lot's journal, signed: small enough to be kept elsewhere."""
        return json_answer(await asyncio.to_thread(audits.checkpoint, path_part(lot)))

    @get("/v1/checkpoints/key")
    async def public_key() -> Response[bytes]:
        """The public key of this installation."""
        return json_answer(audits.key)

    return [export_lot, sign_checkpoint, public_key]
