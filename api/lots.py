"""The state API: lots and the records that hang on them, events by key.

What may not enter: SQL (engine/store/reading.py has it) and anything that changes a lot (api/commands.py).
"""

import asyncio
from collections.abc import Collection
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import visit_of
from api.conditional import has_tag
from api.door import path_part
from api.pages import json_answer, page_of, selected
from api.problems import Refused
from api.queries import (
    MAX_VERSION,
    fields_of,
    limit_of,
    number_of,
    number_position_of,
    one_of,
    position_of,
    read_query,
)
from api.views import LotView, Page, TargetView
from engine.as_decided import as_decided
from engine.as_of import lot_as_of
from engine.clock import instant, parse_instant
from engine.concession_lists import about
from engine.delivery_lines import Acknowledged
from engine.explaining import certificates, explain
from engine.lifecycle import State, next_steps
from engine.lot import Lot
from engine.runtime import Front
from engine.store.reading import LotLine

_STATES = tuple(state.value for state in State)
AnyRequest = Request[Any, Any, Any]


def lot_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    return [*_lots(engine), *_records(engine), *_reasons(engine)]


def _lots(engine: Front) -> list[HTTPRouteHandler]:
    reading = engine.reading

    @get("/v1/lots")
    async def list_lots(request: AnyRequest) -> Response[bytes]:
        """Lots by id, filtered, in pages."""
        query = read_query(request.scope, ("state", "item", "supplier", "order", "plant", "cursor", "limit", "fields"))
        limit, fields = limit_of(query), fields_of(query, LotLine)
        rows = await asyncio.to_thread(
            reading.lots,
            state=one_of(query, "state", _STATES),
            item=query.get("item"),
            supplier=query.get("supplier"),
            order=query.get("order"),
            plant=query.get("plant"),
            after=position_of(query) or "",
            limit=limit + 1,
        )
        return json_answer(selected(page_of(rows, limit, lambda row: row.id), fields))

    @get("/v1/lots/{lot:str}")
    async def show_lot(request: AnyRequest, lot: str) -> Response[bytes]:
        """One lot; 304 when the caller has it already."""
        visit = visit_of(request.scope)
        query = read_query(request.scope, ("fields", "as_of"))
        if "as_of" in query:
            return await _then(engine, lot, query)
        fields = fields_of(query, LotView)
        found = await asyncio.to_thread(reading.lot, path_part(lot))
        tag = f'"{found.version}"'
        if has_tag(visit.headers.get(b"if-none-match"), tag):
            # What the targets know changes without the lot's version: the tag speaks of the lot alone.
            return Response(b"", status_code=304, headers={"etag": tag})
        view = await asyncio.to_thread(lot_view, engine, found, visit.principal.plants)
        return json_answer(selected(view, fields), etag=tag)

    return [list_lots, show_lot]


async def _then(engine: Front, lot: str, query: dict[str, str]) -> Response[bytes]:
    try:
        moment = instant(parse_instant(query["as_of"]))
    except ValueError as error:
        raise Refused("parameter-invalid", str(error), "as_of") from None
    fields = fields_of(query, LotView)
    then = await asyncio.to_thread(lot_as_of, engine.reading, path_part(lot), moment)
    view = LotView(then.lot, next_steps(then.lot.state, then.lot.in_production), [], then.as_of, then.until)
    return json_answer(selected(view, fields))


def lot_view(engine: Front, found: Lot, plants: Collection[str]) -> LotView:
    """A lot with its surroundings as they are now; asks the database.

    ``plants``: those that whoever asks is limited to; none: to no plant.
    """
    known = engine.ledger.acknowledged(found.id)
    mine = found.concession
    lines = () if mine is None else about(engine.store, found, plants=plants)
    used = [line for line in lines if mine is not None and line.number == mine.number]
    targets = [_target(one) for one in known]
    concession = used[0] if used else None
    return LotView(found, next_steps(found.state, found.in_production), targets, concession=concession)


def _target(known: Acknowledged) -> TargetView:
    return TargetView(
        known.target,
        known.sent_version,
        known.sent_state,
        known.acknowledged_version,
        known.acknowledged_state,
        known.sent_version is not None and known.sent_version == known.acknowledged_version,
    )


def _records(engine: Front) -> list[HTTPRouteHandler]:
    reading = engine.reading

    @get("/v1/lots/{lot:str}/journal")
    async def lot_journal(request: AnyRequest, lot: str) -> Response[bytes]:
        """Journal entries, oldest first, each complete enough to verify its hash."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), number_position_of(query, MAX_VERSION) or 0
        found = await asyncio.to_thread(reading.lot, path_part(lot))
        rows = await asyncio.to_thread(reading.journal, found.id, after=after, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: row.version))

    @get("/v1/lots/{lot:str}/results")
    async def lot_results(request: AnyRequest, lot: str) -> Response[bytes]:
        """Inspection records, oldest first."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), number_position_of(query, MAX_VERSION) or 0
        found = await asyncio.to_thread(reading.lot, path_part(lot))
        rows = await asyncio.to_thread(reading.results, found.id, after=after, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: row.version))

    @get("/v1/lots/{lot:str}/holds")
    async def lot_holds(request: AnyRequest, lot: str) -> Response[bytes]:
        """Every hold the lot ever had."""
        read_query(request.scope, ())
        found = await asyncio.to_thread(reading.lot, path_part(lot))
        rows = await asyncio.to_thread(reading.holds, found.id)
        return json_answer(Page(rows, None))

    @get("/v1/lots/{lot:str}/certificates")
    async def lot_certificates(request: AnyRequest, lot: str) -> Response[bytes]:
        """Its supplier's certificates, with each value beside our limits and our results."""
        read_query(request.scope, ())
        return json_answer(await asyncio.to_thread(certificates, engine.store, path_part(lot)))

    @get("/v1/lots/{lot:str}/deliveries")
    async def lot_deliveries(request: AnyRequest, lot: str) -> Response[bytes]:
        """What each target was told, oldest first."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit, after = limit_of(query), number_position_of(query) or 0
        found = await asyncio.to_thread(reading.lot, path_part(lot))
        rows = await asyncio.to_thread(engine.ledger.lines, lot=found.id, after=after, limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: row.id))

    return [lot_journal, lot_results, lot_holds, lot_certificates, lot_deliveries]


def _reasons(engine: Front) -> list[HTTPRouteHandler]:
    @get("/v1/lots/{lot:str}/explain")
    async def explain_lot(request: AnyRequest, lot: str) -> Response[bytes]:
        """Why, or why not: every guard of a step with the values it looks at."""
        query = read_query(request.scope, ("trigger", "as_decided"))
        trigger, then = query.get("trigger", "release"), query.get("as_decided")
        if then is not None:
            version = None if then == "last" else number_of(then, "as_decided", MAX_VERSION)
            again = (engine.store, engine.rules.sets, engine.timezone, path_part(lot), trigger, version)
            return json_answer(await asyncio.to_thread(as_decided, *again))
        today = engine.today().toordinal()
        rulebook = await asyncio.to_thread(engine.rules.book)
        now = (engine.store, rulebook, engine.clock, path_part(lot), trigger, today)
        plants = visit_of(request.scope).principal.plants
        return json_answer(await asyncio.to_thread(explain, *now, plants))

    @get("/v1/events/{key:str}")
    async def show_event(request: AnyRequest, key: str) -> Response[bytes]:
        """An event as it was answered."""
        read_query(request.scope, ())
        return json_answer(await asyncio.to_thread(engine.reading.event, path_part(key)))

    return [explain_lot, show_event]
