"""What a rule set would have decided: the journal judged again by it, asked for in the browser, with progress.

What may not enter: judging (engine/backtesting.py).
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec.structs import replace

from api.answers import require, visit_of
from api.body import Patience
from api.console.forms import read_form
from api.console.jobs import Jobs, Work
from api.console.render import AnyRequest, part, to
from api.door import path_part
from api.queries import one_of
from engine.backtesting import backtest
from engine.clock import instant
from engine.history import extent
from engine.runtime import Front
from rules.backtest import Report

KIND = "backtest"
#: How far back, in days; all: everything there is.
SPANS = ("7", "30", "90", "365", "all")
#: Lines of each table that the page shows, and examples.
TALLIES, EXAMPLES = 20, 50


def backtest_pages(engine: Front, patience: Patience, jobs: Jobs) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    sets = engine.rules.sets

    @post("/console/rules/{digest:str}/backtest", status_code=200)
    async def begin(request: AnyRequest, digest: str) -> Response[None]:
        """Judge past decisions again."""
        visit = visit_of(request.scope)
        require(visit, "edit-rules", "approve-rules")
        form = await read_form(request, patience)
        days = one_of(form, "days", SPANS) or "30"
        since = None if days == "all" else instant(engine.clock() - timedelta(days=int(days)))
        whole = await asyncio.to_thread(sets.find, path_part(digest))
        total, work = await asyncio.to_thread(prepared, whole, since)
        await asyncio.to_thread(jobs.start, KIND, whole, visit.principal.name, total, work)
        return to(f"/console/rules/{part(path_part(digest))}#backtest")

    def prepared(digest: str, since: str | None) -> tuple[int, Work]:
        """Places of the journal to go through, and the work."""
        book, (first, last) = sets.book(digest), extent(engine.store, since)

        def work(progress: Callable[[int], None]) -> Report:
            found = backtest(
                engine.store, engine.timezone, book, engine.today(), since=since,
                progress=lambda at: progress(at - first),
            )  # fmt: skip
            # As much as the page shows: it is kept.
            return replace(
                found, by_rule=found.by_rule[:TALLIES], by_item=found.by_item[:TALLIES], by_supplier=(),
                examples=found.examples[:EXAMPLES],
            )  # fmt: skip

        return max(1, last - first), work

    return [begin]
