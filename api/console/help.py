"""Help at hand: the documents that come with Lotgate, as pages of the console. For everybody, signed in or not.

What may not enter: how a document is rendered (api/console/handbook.py), which section helps (api/runbook.py).
"""

from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from markupsafe import Markup

from api.console import handbook
from api.console.render import AnyRequest, Pages
from api.problems import Refused
from api.queries import read_query
from api.runbook import HELP
from engine.runtime import Front

#: In the order in which somebody needs them.
_SHELVES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("When something is wrong", ("runbook", "problems", "operations")),
    (
        "Day by day",
        ("console", "lifecycle", "inspection", "in-process", "quality", "quality-records", "readiness", "genealogy",
         "kpi"),
    ),
    ("Rules", ("rules", "rules-lifecycle")),
    (
        "Other systems",
        ("connectors", "connect-tryton", "connect-others", "inbound", "webhooks", "http", "events", "epcis", "cli"),
    ),
    ("The record", ("journal", "archive", "audit", "security")),
    ("Lotgate itself", ("quickstart", "architecture", "contributing")),
)


def help_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get(HELP)
    async def shelf(request: AnyRequest) -> Response[bytes]:
        """Every document."""
        read_query(request.scope, ())
        return pages.page(request, "help.html", shelves=shelves())

    @get(HELP + "/{path:path}")
    async def read(request: AnyRequest, path: str) -> Response[Any]:
        """One document, or a file that one links to."""
        read_query(request.scope, ())
        name = path.strip("/")
        try:
            found = handbook.document(name)
        except KeyError:
            return _file(engine.settings.public_url, name)
        return pages.page(request, "document.html", document=found, text=Markup(found.html))  # noqa: S704  # ours

    return [shelf, read]


def _file(public_url: str, name: str) -> Response[bytes]:
    """A file as it is; the addresses of alerts lead to this installation where it is known."""
    try:
        text, media_type = handbook.file(name)
    except KeyError:
        raise Refused("not-found", f"There is no document {name}.") from None
    if public_url:
        text = text.replace(f"{handbook.PUBLISHED}runbook.md#", f"{public_url.rstrip('/')}{HELP}/runbook#")
    return Response(text.encode(), media_type=media_type)


def shelves() -> list[tuple[str, list[handbook.Document]]]:
    """The documents by what they are for; what stands nowhere stands with the last."""
    placed = {name for _, row in _SHELVES for name in row}
    made = [(title, [handbook.document(n) for n in row if n in handbook.names()]) for title, row in _SHELVES]
    made[-1][1].extend(handbook.document(name) for name in handbook.names() if name not in placed)
    return made
