"""Is the record whole: every chain and every checkpoint verified with progress, and the evidence of a lot to take away.

What may not enter: what verification looks at (engine/journal.py, engine/checkpoint_verification.py), what an archive
holds (engine/audit.py).
"""

import asyncio
from typing import Any
from urllib.parse import quote

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from api.answers import visit_of
from api.body import Patience
from api.console.forms import read_form
from api.console.jobs import Jobs
from api.console.render import AnyRequest, Pages, to
from api.queries import read_query
from api.slowly import slowly
from engine.audit import Audits
from engine.checkpoint_verification import CheckpointReport, verify_checkpoints
from engine.checkpoints import known_keys, signer_of
from engine.installation_checkpoints import read_all, read_page
from engine.journal import Break, verify
from engine.readiness_record import ReadinessRecords
from engine.runtime import Front

HOME = "/console/audit"
_KIND, _SIGNED = "verify", "checkpoints"
#: Checkpoints that the page names.
_NEWEST = 5
#: Breaks that a page names.
_SHOWN = 200


class Verified(Struct, frozen=True):
    """What was found."""

    lots: int
    entries: int
    breaks: list[Break]
    breaks_number: int
    #: What is wrong with rule sets and records of readiness, in sentences.
    others: list[str]

    @property
    def intact(self) -> bool:
        """Nothing is wrong."""
        return not self.breaks_number and not self.others


def audit_pages(engine: Front, pages: Pages, patience: Patience, jobs: Jobs) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    audits = Audits(engine.store, engine.clock, engine.rules.sets, signer_of(engine.settings))

    def whole(progress: Any) -> Verified:
        report = verify(engine.reading.journals(), progress)
        others = [*engine.rules.sets.verify(), *ReadinessRecords(engine.store, engine.clock).breaks()]
        breaks = list(report.breaks)
        return Verified(report.lots, report.entries, breaks[:_SHOWN], len(breaks), others)

    def as_signed(progress: Any) -> CheckpointReport:
        report = verify_checkpoints(engine.store, known_keys(engine.settings), progress=progress)
        return replace(report, problems=report.problems[:_SHOWN])

    @get(HOME)
    async def audit(request: AnyRequest) -> Response[bytes]:
        """What the last verification found, and the two forms."""
        read_query(request.scope, ())

        def look() -> dict[str, Any]:
            return {
                "job": jobs.of(_KIND, found=Verified), "signed": jobs.of(_SIGNED, found=CheckpointReport),
                "checkpoints": read_page(engine.store, limit=_NEWEST),
            }  # fmt: skip

        return pages.page(request, "audit.html", wrong="", lot="", **await asyncio.to_thread(look))

    @post(HOME + "/verify", status_code=200)
    async def begin(request: AnyRequest) -> Response[None]:
        """Verify everything."""
        await read_form(request, patience)
        total = sum((await asyncio.to_thread(engine.reading.counts)).values())
        await asyncio.to_thread(jobs.start, _KIND, "", visit_of(request.scope).principal.name, total, whole)
        return to(HOME)

    @post(HOME + "/checkpoints", status_code=200)
    async def begin_signed(request: AnyRequest) -> Response[None]:
        """Hold every checkpoint against the journal."""
        await read_form(request, patience)
        who = visit_of(request.scope).principal.name

        def start() -> None:
            total = sum(one.entries for one in read_all(engine.store))
            jobs.start(_SIGNED, "", who, total, as_signed)

        await asyncio.to_thread(start)
        return to(HOME)

    @get(HOME + "/export")
    async def export(request: AnyRequest) -> Response[bytes]:
        """The archive of one lot."""
        lot = read_query(request.scope, ("lot",), blank=True).get("lot", "").strip()
        archive = await slowly(audits.export, lot, visit_of(request.scope).principal.name)
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(lot, safe='')}.zip"}
        return Response(archive, media_type="application/zip", headers=headers)

    return [audit, begin, begin_signed, export]
