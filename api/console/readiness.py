"""May this shipment leave, asked in the browser. What may not enter: the answer itself (engine/readiness.py)."""

import asyncio
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.console.render import AnyRequest, Pages
from api.queries import read_query
from engine.errors import EventInvalid
from engine.readiness import Question, Readinesses
from engine.runtime import Front

_FIELDS = ("shipment", "customer", "lots", "order", "deliver_on", "remaining_days", "plants")


def readiness_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    readinesses = Readinesses(engine.store, engine.clock)

    @get("/console/readiness")
    async def show(request: AnyRequest) -> Response[bytes]:
        """The question as a form, and its answer with every reason."""
        said = read_query(request.scope, _FIELDS, blank=True)
        me = visit_of(request.scope).principal.name

        def look() -> dict[str, Any]:
            if not said:
                return {"answer": None, "fault": None}
            try:
                question = _question(said)
                answer = readinesses.of(question, engine.rules.book(), me, engine.today())
            except EventInvalid as error:
                return {"answer": None, "fault": error.detail}
            return {"answer": answer, "fault": None}

        return pages.page(request, "readiness.html", said=said, **await asyncio.to_thread(look))

    return [show]


def _question(said: dict[str, str]) -> Question:
    """What a form asks; raises EventInvalid. A line is a lot, then perhaps a quantity and its unit."""
    plain = ("shipment", "customer", "order", "deliver_on")
    asked: dict[str, Any] = {name: said[name] for name in plain if name in said}
    asked["lines"] = [_line(line) for line in said.get("lots", "").splitlines() if line.strip()]
    if not asked["lines"]:
        raise EventInvalid("Say which lots: one a line, at least one.")
    if "remaining_days" in said:
        asked["remaining_days"] = said["remaining_days"]
    if "plants" in said:
        asked["plants"] = [name.strip() for name in said["plants"].split(",") if name.strip()]
    try:
        return msgspec.convert(asked, Question, strict=False)
    except msgspec.ValidationError as error:
        raise EventInvalid(str(error)) from None


def _line(text: str) -> dict[str, Any]:
    words = text.split("\t") if "\t" in text else text.rsplit(maxsplit=2)
    if len(words) == 3 and words[1].replace(".", "", 1).isdecimal():
        return {"lot": words[0].strip(), "quantity": {"value": words[1], "unit": words[2].strip()}}
    return {"lot": text.strip()}
