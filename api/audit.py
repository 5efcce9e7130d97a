"""The evidence of a lot over HTTP: one archive; and signed checkpoints, of one lot and of everything.

What may not enter: what is in them (engine/audit.py, engine/checkpoints.py, engine/installation_checkpoints.py).
"""

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import require, visit_of
from api.door import path_part
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import MAX_VERSION, limit_of, number_of, number_position_of, position_of, read_query
from api.slowly import slowly
from api.views import Page
from engine.audit import Audits
from engine.checkpoints import signer_of
from engine.errors import NotFound
from engine.feed import id_of, place_of
from engine.installation_checkpoints import InstallationCheckpoints
from engine.runtime import Front

log = logging.getLogger("lotgate.api")

#: Whoever asks for a checkpoint waits so long; the first one over a long history is made in the background.
WAIT_SECONDS = 5.0


class SignedLine(Struct, frozen=True):
    """One entry of the journal as a checkpoint is over it."""

    position: int
    lot: str
    version: int
    #: Hash of the entry.
    hash: str


class UnderWay(Struct, frozen=True):
    """A checkpoint is being made, and will be there: ask again, or look into the list."""

    detail: str


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

    return [export_lot, sign_checkpoint, public_key, *_whole(engine)]


def _whole(engine: Front) -> list[HTTPRouteHandler]:
    """Those of everything."""
    checkpoints = InstallationCheckpoints(engine.store, signer_of(engine.settings), engine.clock)
    #: Held, for the event loop does not hold its tasks.
    under_way: set[asyncio.Task[Any]] = set()

    def ended(task: asyncio.Task[Any]) -> None:
        under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a checkpoint could not be made: %s", error)

    @post("/v1/checkpoints")
    async def make(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Sign what is new. 200: nothing was, and this is the newest; 202: it takes longer."""
        require(visit_of(request.scope), "sign")
        read_query(request.scope, ())
        task = asyncio.create_task(slowly(checkpoints.make))
        under_way.add(task)
        task.add_done_callback(ended)
        done, _ = await asyncio.wait({task}, timeout=WAIT_SECONDS)
        if not done:
            words = "A checkpoint over a long history is being made; ask again, or see GET /v1/checkpoints?limit=1."
            return _answer(202, UnderWay(words), **{"retry-after": str(int(WAIT_SECONDS))})
        made = task.result()
        if made is None:
            raise NotFound("There is no entry in the journal yet: nothing can be signed.")
        place = {"location": f"/v1/checkpoints/{made.checkpoint.number}"}
        return _answer(201 if made.new else 200, made.checkpoint, **place)

    @get("/v1/checkpoints")
    async def some(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Newest first."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, before = limit_of(query), number_position_of(query, MAX_VERSION)
        rows = await asyncio.to_thread(checkpoints.page, before=before, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda one: one.number))

    @route("/v1/checkpoints", http_method="OPTIONS", status_code=204)
    async def all_options() -> Response[None]:
        """What the list takes: Litestar's own answer knows only the first handler of an address."""
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})

    @get("/v1/checkpoints/{number:str}")
    async def one(number: str) -> Response[bytes]:
        """One of them."""
        which = number_of(path_part(number), "number", MAX_VERSION)
        return json_answer(await asyncio.to_thread(checkpoints.get, which))

    @get("/v1/checkpoints/{number:str}/lines")
    async def lines(request: Request[Any, Any, Any], number: str) -> Response[bytes]:
        """What it is over, in order: whoever hashes it has its root."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, cursor = limit_of(query), position_of(query)
        after = None if cursor is None else place_of(cursor)
        if cursor is not None and after is None:
            raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", "cursor")
        which = number_of(path_part(number), "number", MAX_VERSION)
        rows = await asyncio.to_thread(checkpoints.lines, which, after=after, limit=limit + 1)
        page = page_of(rows, limit, lambda line: id_of(line.place))
        shown = [SignedLine(one.position, one.lot, one.version, one.hash) for one in page.data]
        return json_answer(Page(shown, page.next))

    return [all_options, make, some, one, lines]


def _answer(status: int, body: Any, **headers: str) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)
