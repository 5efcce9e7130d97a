"""The archive over HTTP, for administrators: what is in it, and archiving now.

What may not enter: what is archived (engine/archive.py), SQL.
"""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.answers import require, visit_of
from api.body import Patience
from api.pages import json_answer
from api.queries import read_query
from api.said import said
from api.slowly import slowly
from engine.archive import LEAST_DAYS, Archiver, check_age
from engine.checkpoints import signer_of
from engine.clock import parse_instant
from engine.errors import EventInvalid, StoreUnavailable
from engine.runtime import Front

AnyRequest = Request[Any, Any, Any]
#: One call archives no more: it would not be answered in time.
MOST = 10_000


class RunArchive(Struct, frozen=True, forbid_unknown_fields=True):
    """Which lots are archived: those that are closed, and to which nothing happened since."""

    #: An instant such as 2026-01-31T00:00:00Z; or in days:
    closed_before: str | None = None
    older_than_days: Annotated[int, Meta(ge=LEAST_DAYS, le=36_500)] | None = None
    #: Lots at the most.
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 1_000
    #: Say what would go and why others stay; change nothing.
    dry_run: bool = False


def archive_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    archiver = Archiver(engine.store, engine.clock, signer_of(engine.settings))

    def before(wanted: RunArchive) -> str:
        if (wanted.closed_before is None) == (wanted.older_than_days is None):
            raise EventInvalid("Say closed_before or older_than_days, one of them.", "/closed_before")
        now = engine.clock()
        if wanted.older_than_days is not None:
            return check_age(now - timedelta(days=wanted.older_than_days), now)
        try:
            return check_age(parse_instant(wanted.closed_before or ""), now)
        except ValueError as error:
            raise EventInvalid(str(error), "/closed_before") from None

    @get("/v1/archive")
    async def show_archive(request: AnyRequest) -> Response[bytes]:
        """Every segment, and whether its file is there."""
        require(visit_of(request.scope), "admin")
        read_query(request.scope, ())
        return json_answer(await asyncio.to_thread(archiver.state))

    @post("/v1/archive/run", status_code=200)
    async def run_archive(request: AnyRequest) -> Response[bytes]:
        """Archive lots now, or say what would go."""
        visit, wanted = await said(request, patience, RunArchive, "admin")
        until, by = before(wanted), visit.principal.name
        try:
            report = await slowly(archiver.run, until, by, limit=wanted.limit, dry_run=wanted.dry_run)
        except OSError as error:
            words = f"The archive cannot be written: {error.strerror}. Nothing is lost: its lots are in the journal."
            raise StoreUnavailable(words, 60) from None
        return json_answer(report)

    return [show_archive, run_archive]
