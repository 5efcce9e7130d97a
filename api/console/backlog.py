"""What waits for people: inspections, releases, and blocked stock by its age. What may not enter: SQL, HTML."""

import asyncio
from datetime import timedelta
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.console.paging import ROW, place
from api.console.render import AnyRequest, Pages
from api.pages import moment_place, page_of
from api.queries import one_of, position_of, read_query
from engine.clock import instant
from engine.runtime import Front
from engine.store.backlog import Backlog

_ROWS = 100
_HOME = "/console/backlog"
_HOURS, _DAYS = timedelta(hours=1), timedelta(days=1)
#: What waits -> the states, the edges of its ages, and the words for the ages between them.
_QUEUES: dict[str, tuple[str, tuple[str, ...], tuple[timedelta, ...], tuple[str, ...]]] = {
    "inspection": (
        "For inspection", ("received", "quarantined"), (8 * _HOURS, _DAYS, 3 * _DAYS, 7 * _DAYS),
        ("under 8 h", "8 h to 1 day", "1 to 3 days", "3 to 7 days", "over 7 days"),
    ),
    "release": (
        "For release", ("inspected",), (8 * _HOURS, _DAYS, 3 * _DAYS, 7 * _DAYS),
        ("under 8 h", "8 h to 1 day", "1 to 3 days", "3 to 7 days", "over 7 days"),
    ),
    "blocked": (
        "Blocked stock", ("blocked",), (_DAYS, 7 * _DAYS, 30 * _DAYS, 90 * _DAYS),
        ("under 1 day", "1 to 7 days", "7 to 30 days", "30 to 90 days", "over 90 days"),
    ),
}  # fmt: skip
#: Length of the longest bar.
_BAR = 220.0


class Bar(Struct, frozen=True):
    """Lots of one age."""

    words: str
    number: int
    width: str
    #: new, mid, old
    weight: str


class Queue(Struct, frozen=True):
    """What waits for one thing."""

    name: str
    title: str
    number: int
    bars: list[Bar]


def backlog_routes(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    backlog = Backlog(engine.store)

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """How much waits, how long, and what has waited longest."""
        asked = read_query(request.scope, ("queue", "cursor", ROW), blank=True)
        chosen = one_of(asked, "queue", tuple(_QUEUES)) or "inspection"
        after = moment_place(position_of(asked))

        def look() -> dict[str, Any]:
            now = engine.clock()
            queues = [
                _queue(name, backlog.ages(states, [instant(now - edge) for edge in edges]))
                for name, (_, states, edges, _) in _QUEUES.items()
            ]
            # Lots do not stay in the state received: the rest of a queue is its last state.
            rows = backlog.oldest(_QUEUES[chosen][1][-1], after=after, limit=_ROWS + 1)
            page = page_of(rows, _ROWS, lambda row: f"{row.state_since} {row.id}")
            total = next(queue.number for queue in queues if queue.name == chosen)
            here = place(_HOME, {"queue": chosen}, asked, len(page.data), page.next, total, "lot")
            standing = backlog.holds([row.id for row in page.data]) if chosen == "blocked" else {}
            return {"queues": queues, "chosen": chosen, "page": page, "place": here, "standing": standing}

        return pages.page(request, "backlog.html", **await asyncio.to_thread(look))

    return [show]


def _queue(name: str, ages: list[int]) -> Queue:
    title, _, _, words = _QUEUES[name]
    most = max(*ages, 1)
    weights = ("new", "new", "mid", "mid", "old")
    bars = [
        Bar(text, number, f"{number / most * _BAR:.0f}", weight)
        for text, number, weight in zip(words, ages, weights, strict=True)
    ]
    return Queue(name, title, sum(ages), bars)
