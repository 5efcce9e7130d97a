"""Pages out of templates: the forms in which values are shown, and the headers that every answer carries.

What may not enter: routes, and what is on a page. Text is escaped by default, a name that a template does not know is
an error, and nothing inline runs: scripts and styles come from this service alone.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from markupsafe import Markup
from msgspec import Struct

from api import runbook
from api.access import Principal
from api.answers import visit_of
from api.conditional import has_tag
from api.console import words
from api.console.assets import address
from api.door import NOBODY, Visit
from api.problems import explain
from engine.clock import parse_instant
from engine.runtime import Front

AnyRequest = Request[Any, Any, Any]
HERE = Path(__file__).resolve().parent
#: Nothing inline, nothing from elsewhere, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    # Answers differ for whoever asks only whether something is new.
    "vary": "Cookie, Authorization",
}
#: Stands for a fresh token while a page is rendered, so that two renderings of the same are the same.
_FRESH = "lotgate-fresh-value"
#: Letters of a name that stay on one line of a table.
LONG_NAME = 22
#: Between thousands.
_GAP = "\N{NARROW NO-BREAK SPACE}"


class Room(Struct, frozen=True):
    """A page of the navigation."""

    path: str
    title: str
    icon: str


ROOMS = (
    Room("/console", "Lots", "lots"),
    Room("/console/backlog", "Backlog", "backlog"),
    Room("/console/tasks", "Tasks", "tasks"),
    Room("/console/records", "Records", "records"),
    Room("/console/deliveries", "Deliveries", "deliveries"),
    Room("/console/numbers", "Numbers", "numbers"),
    Room("/console/quality", "Quality", "quality"),
    Room("/console/readiness", "Readiness", "readiness"),
    Room("/console/holds", "Holds", "holds"),
    Room("/console/recalls", "Recalls", "recalls"),
    Room("/console/rules", "Rules", "rules"),
    Room("/console/reference", "Reference", "reference"),
    Room("/console/audit", "Audit", "audit"),
    Room("/console/system", "System", "system"),
    Room("/console/help", "Help", "help"),
)


class Pages:
    """Renders the pages of one service."""

    def __init__(self, engine: Front) -> None:
        self._engine = engine
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {
            "moment": self.moment, "clock": self.clock, "age": self.age, "amount": amount, "lot_path": lot_path,
            "part": part, "short": short, "plural": plural, "label": words.label, "step": words.step,
            "thousands": thousands, "name": name,
        }  # fmt: skip
        self._templates.globals |= {
            "asset": address, "rooms": ROOMS, "query": urlencode, "runbook": runbook, "long_name": LONG_NAME,
        }  # fmt: skip

    def page(self, request: AnyRequest, name: str, *, status: int = 200, **context: Any) -> Response[bytes]:
        """A page; 304 to whoever has it already."""
        visit = visit_of(request.scope)
        text = self._templates.get_template(name).render(
            me=visit.principal, here=request.scope["path"], token=_FRESH, signed_in=visit.principal is not NOBODY,
            session=visit.signed_in, seal=_seal(visit), **context,
        )
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        headers = {**HEADERS, "etag": tag}
        if status == 200 and has_tag(visit.headers.get(b"if-none-match"), tag):
            return Response(b"", status_code=304, headers=headers)
        body = text.replace(_FRESH, secrets.token_urlsafe(12)).encode()
        return Response(body, status_code=status, headers=headers, media_type="text/html")

    def problem(self, request: AnyRequest, error: Exception) -> Response[bytes]:
        """The page that says what went wrong and what to do."""
        visit = visit_of(request.scope)
        made, more = explain(error, request.scope["path"], visit.request_id.decode())
        code = made.type.rpartition("/")[2]
        back = room_of(request.scope["path"])
        answer = self.page(request, "problem.html", status=made.status, problem=made, code=code, back=back)
        answer.headers.update(more)
        return answer

    # -- values as people read them --------------------------------------------------------------------------------

    def moment(self, text: str | None) -> str:
        """An instant in the plant's time zone: ``24 Nov 2026, 06:12``."""
        return "–" if text is None else f"{self._local(text):%-d %b %Y, %H:%M}"

    def clock(self, text: str) -> str:
        """The same with seconds."""
        return f"{self._local(text):%-d %b %Y, %H:%M:%S}"

    def age(self, text: str | None) -> str:
        """How long ago an instant was: ``3 d 4 h``."""
        return "–" if text is None else span(self._engine.clock() - parse_instant(text))

    def _local(self, text: str) -> datetime:
        moment = parse_instant(text)
        try:
            return moment.astimezone(self._engine.timezone)
        except OverflowError:  # the last and first hours of the calendar, which this zone has not
            return moment


def _seal(visit: Visit) -> Markup:
    """What every form of a session carries; nothing where a key was sent."""
    if visit.signed_in is None:
        return Markup()
    return Markup('<input type="hidden" name="csrf" value="{}">').format(visit.signed_in.csrf)


def room_of(path: str) -> Room:
    """The room in which an address lies; lots are in the first."""
    return next((room for room in ROOMS[1:] if path == room.path or path.startswith(f"{room.path}/")), ROOMS[0])


def to(path: str) -> Response[None]:
    """Go on to another page after something was done."""
    return Response(None, status_code=303, headers={**HEADERS, "location": path})


def span(length: timedelta) -> str:
    """A length of time in its two largest units."""
    minutes = max(0, int(length.total_seconds())) // 60
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{rest} min" if minutes else "just now"


def amount(value: Decimal | str | None, unit: str | None = None) -> str:
    """A quantity with its unit, with gaps that cannot break and without zeros that say nothing."""
    if value is None:
        return "–"
    text = f"{Decimal(value):,f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    text = text.replace(",", _GAP)
    return f"{text} {unit}" if unit else text


def name(text: str | None) -> str | Markup:
    """The name of a thing in a table: a long one breaks over lines, so that it pushes no column out of sight."""
    if text is None or len(text) <= LONG_NAME:
        return text or "–"
    return Markup('<span class="long">{}</span>').format(text)


def part(text: str) -> str:
    """One part of a path, percent-encoded."""
    return quote(text, safe="")


def lot_path(lot: str) -> str:
    """Address of a lot's page."""
    return f"/console/lots/{part(lot)}"


def short(digest: str) -> str:
    """The digits of a digest that are enough to tell it from others."""
    return digest.removeprefix("sha256:")[:10]


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 lot``, ``2 lots``."""
    return f"{thousands(number)} {one if number == 1 else many or one + 's'}"


def thousands(number: int) -> str:
    """A count with thin gaps that cannot break."""
    return f"{number:,}".replace(",", _GAP)


def may(principal: Principal, *roles: str) -> bool:
    """Does the person have one of ``roles``?"""
    return principal.may(*roles)


def links(path: str, query: Mapping[str, str | None]) -> str:
    """``path`` with those parameters that have a value."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path
