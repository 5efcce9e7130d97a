"""Tells a page that something has happened, so that it looks again: one short answer, never the changes themselves.

A page in sight asks and waits here; it is answered as soon as the journal goes on, or after a while because
deliveries and tasks change without an entry. However fast lots change, a page looks again at most once a second.
What may not enter: what a page shows.
"""

import time

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.console.render import AnyRequest
from api.feed import Tail
from api.pages import json_answer
from api.queries import read_query
from engine.feed import id_of, place_of

#: A page looks again after this long, whatever happened; one that shows work under way, sooner.
WAIT_SECONDS, BUSY_SECONDS = 5.0, 0.5


class News(Struct):
    """``next``: to be sent as ``after`` next time."""

    next: str


def live_routes(tail: Tail) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get("/console/live")
    async def live(request: AnyRequest) -> Response[bytes]:
        """Wait for news."""
        asked = read_query(request.scope, ("after", "busy"), blank=True)
        seen = place_of(asked.get("after", ""))
        until = time.monotonic() + (BUSY_SECONDS if "busy" in asked else WAIT_SECONDS)
        tail.enter()
        try:
            while True:
                newest = await tail.newest()
                left = until - time.monotonic()
                if seen != newest or left <= 0 or tail.stopping:
                    return json_answer(News(id_of(newest)))
                await tail.wait(min(left, 1.0))
        finally:
            tail.leave()

    return [live]
