"""How Lotgate itself does: its processes, queue, database, rules, clock and settings. What may not enter: lots."""

import asyncio
import importlib.metadata
import platform
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import visit_of
from api.console.render import AnyRequest, Pages
from api.health import Health
from api.queries import read_query
from engine.clock import instant
from engine.processes import Process, Processes
from engine.runtime import Front
from engine.settings import Settings, shown

_PARKED = 50


class Figure(Struct, frozen=True):
    """One number with its words."""

    number: int
    words: str


def system_routes(engine: Front, health: Health, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    processes = Processes(engine.store, engine.clock)

    @get("/console/system")
    async def show(request: AnyRequest) -> Response[bytes]:
        """Checks, numbers, parked events, settings."""
        read_query(request.scope, ())
        seen = await health.look()
        administrator = visit_of(request.scope).principal.may("admin")

        def look() -> dict[str, Any]:
            book = engine.rules.book()
            counts = engine.committer.counts
            events = list(counts.events.items())  # a copy: it grows meanwhile
            owed = engine.ledger.counts()
            alive = [(one, processes.is_seen(one)) for one in processes.all()]
            figures = [
                Figure(sum(n for _, n in events), "events answered since the start"),
                Figure(counts.batches, "commits since the start"),
                Figure(engine.committer.waiting, "events waiting now"),
                Figure(sum(s.get("pending", 0) + s.get("sending", 0) for s in owed.values()), "deliveries owed"),
                Figure(sum(s.get("dead", 0) for s in owed.values()), "deliveries given up"),
                Figure(sum(engine.ledger.tasks.counts().values()), "tasks not closed"),
            ]
            outcomes = sorted(((k, o, n) for (k, o), n in events), key=lambda row: -row[2])
            return {
                "figures": figures, "outcomes": outcomes[:30], "parked": engine.reading.parked(limit=_PARKED),
                "number_parked": engine.reading.number_parked(),
                "processes": alive, "missing": missing(alive, engine.settings),
                "digest": book.digest, "judging": engine.committer.rule_set, "disk": engine.disk.look(book.digest),
                "now": instant(engine.clock()), "zone": engine.settings.timezone,
                "versions": (importlib.metadata.version("lotgate"), platform.python_version(), engine.store.dialect),
                "settings": sorted(shown(engine.settings).items()) if administrator else [],
            }  # fmt: skip

        return pages.page(request, "system.html", health=seen, **await asyncio.to_thread(look))

    return [show]


def missing(alive: list[tuple[Process, bool]], settings: Settings) -> list[str]:
    """Roles that somebody has to play and nobody is seen playing."""
    needed = ("web", "clock") if settings.redis_url == "none" else ("web", "worker", "clock")
    there = {process.role for process, seen in alive if seen}
    return [role for role in needed if role not in there]
