"""The console put together: every page under /console, problems as pages. What may not enter: what a page shows."""

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Request, Response, Router

from api.access import KeyRing
from api.body import Patience
from api.console.acts import act_routes
from api.console.assets import asset_routes
from api.console.audit import audit_pages
from api.console.backlog import backlog_routes
from api.console.board import board_routes
from api.console.deliveries import delivery_routes
from api.console.entry import entry_routes, guard
from api.console.help import help_pages
from api.console.holds import hold_pages
from api.console.jobs import Jobs
from api.console.live import live_routes
from api.console.lot import LotPages, lot_routes
from api.console.numbers import number_pages
from api.console.quality import quality_pages
from api.console.readiness import readiness_pages
from api.console.recalls import recall_pages
from api.console.records import record_pages
from api.console.reference import reference_pages
from api.console.render import Pages
from api.console.rules import rule_pages
from api.console.system import system_routes
from api.console.tasks import task_pages
from api.feed import Tail
from api.health import Health
from api.permits import Permits
from api.problems import Refused, answer_exception
from api.sessions import SessionRing
from api.single_sign_on import SingleSignOn
from engine.jobs import Jobs as Rows
from engine.runtime import Front


def console(
    engine: Front,
    patience: Patience,
    permits: Permits,
    keys: KeyRing,
    sessions: SessionRing,
    provider: SingleSignOn | None,
    tail: Tail,
    health: Health,
    ring: Callable[[Sequence[str]], None],
    check_hold: Callable[[str], None],
    process: str,
) -> Router:
    """The routes, for Litestar; ``process``: the id under which this one says that it is alive."""
    pages = Pages(engine)
    lots, jobs = LotPages(engine, pages), Jobs(Rows(engine.store, engine.clock, process))

    def problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        return pages.problem(request, error)

    return Router(
        "/",
        route_handlers=[
            *asset_routes(),
            *entry_routes(pages, sessions, patience, provider, engine.settings.browser_url),
            *board_routes(engine, pages),
            *lot_routes(engine, lots),
            *act_routes(engine.committer, patience, permits, keys, lots, check_hold),
            *hold_pages(engine, pages, patience),
            *live_routes(tail),
            *backlog_routes(engine, pages),
            *delivery_routes(engine, pages, patience, ring),
            *task_pages(engine, pages, patience),
            *number_pages(engine, pages),
            *quality_pages(engine, pages),
            *record_pages(engine, pages),
            *readiness_pages(engine, pages),
            *recall_pages(engine, pages, patience),
            *rule_pages(engine, pages, patience, jobs),
            *reference_pages(engine, pages),
            *audit_pages(engine, pages, patience, jobs),
            *system_routes(engine, health, pages),
            *help_pages(engine, pages),
        ],
        before_request=guard(permits, sessions),
        exception_handlers={Exception: problem},
    )


def unknown_addresses(engine: Front) -> Callable[[Request[Any, Any, Any], Exception], Response[bytes]]:
    """Answers an address that no route takes: a browser in the console with a page, whoever else as everywhere."""
    pages = Pages(engine)

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        path = request.scope["path"]
        if not path.startswith("/console/") or "text/html" not in request.headers.get("accept", ""):
            return answer_exception(request, error)
        # What only takes forms is no page either: somebody looks for one where a form was sent to.
        if request.method == "GET":
            error = Refused("not-found", f"The console has no page {path}.")
        return pages.problem(request, error)

    return answer
