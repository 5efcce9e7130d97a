"""Deliveries, parked events and tasks: what is under way, what waits, what needs somebody.

What may not enter: SQL, and the delivering itself (actors).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import limit_of, number_of, number_position_of, one_of, position_of, read_query
from api.targets import target_routes
from api.tasks import task_routes
from api.views import DeliveryPage, Replay, Replayed
from engine.delivery_lines import DeliveryState
from engine.errors import EventInvalid
from engine.ledger import Ledger
from engine.runtime import Front

AnyRequest = Request[Any, Any, Any]
#: Rings the doorbell of targets.
Ring = Callable[[Sequence[str]], None]
_STATES = tuple(state.value for state in DeliveryState)
#: States of deliveries that may have been archived with their lots.
_OVER = ("delivered", "superseded", "compensated")
_ARCHIVED = "Of {} archived lots only the newest deliveries are here; GET /v1/lots/LOT/deliveries has all of a lot."
_replay = msgspec.json.Decoder(Replay)


def ledger_routes(engine: Front, patience: Patience, ring: Ring) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    return [
        *_deliveries(engine),
        *_replays(engine, patience, ring),
        *target_routes(engine, patience, ring),
        *_parked(engine),
        *task_routes(engine, patience),
    ]


def _deliveries(engine: Front) -> list[HTTPRouteHandler]:
    ledger = engine.ledger

    @get("/v1/deliveries")
    async def list_deliveries(request: AnyRequest) -> Response[bytes]:
        """Deliveries in the order they were made."""
        query = read_query(request.scope, ("state", "target", "lot", "cursor", "limit"))
        limit, state, lot = limit_of(query), one_of(query, "state", _STATES), query.get("lot")
        rows = await asyncio.to_thread(
            ledger.lines,
            state=state,
            target=query.get("target"),
            lot=lot,
            after=number_position_of(query) or 0,
            limit=limit + 1,
        )
        page = page_of(rows, limit, lambda row: row.id)
        notice = await asyncio.to_thread(left_out, ledger, state, lot)
        return json_answer(DeliveryPage(page.data, page.next, notice))

    @get("/v1/deliveries/{delivery:str}")
    async def show_delivery(request: AnyRequest, delivery: str) -> Response[bytes]:
        """One delivery."""
        return json_answer(await asyncio.to_thread(ledger.get, number_of(delivery, "delivery")))

    return [list_deliveries, show_delivery]


def left_out(ledger: Ledger, state: str | None, lot: str | None) -> str | None:
    """What a list of deliveries leaves out, and where that is; None: nothing. Asks the database."""
    number = ledger.archived() if lot is None and state in (None, *_OVER) else 0
    return _ARCHIVED.format(number) if number else None


def _replays(engine: Front, patience: Patience, ring: Ring) -> list[HTTPRouteHandler]:
    ledger = engine.ledger

    @post("/v1/deliveries/{delivery:str}/replay", status_code=200)
    async def replay_delivery(request: AnyRequest, delivery: str) -> Response[bytes]:
        """Send one dead delivery again."""
        require(visit_of(request.scope), "replay")
        number = await asyncio.to_thread(ledger.replay, identity=number_of(delivery, "delivery"))
        ring(engine.committer.targets)
        return json_answer(Replayed(number, False))

    @post("/v1/deliveries/replay", status_code=200)
    async def replay_deliveries(request: AnyRequest) -> Response[bytes]:
        """Send dead deliveries again, all that match, or only count them."""
        visit = visit_of(request.scope)
        require(visit, "replay")
        if mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        body = await patience.wait(
            whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length"))
        )
        wanted = _wanted(body)
        number = await asyncio.to_thread(
            ledger.replay, target=wanted.target, lot=wanted.lot, dry_run=wanted.dry_run
        )
        if number and not wanted.dry_run:
            ring(engine.committer.targets)
        return json_answer(Replayed(number, wanted.dry_run))

    return [replay_delivery, replay_deliveries]


def _wanted(body: bytes) -> Replay:
    try:
        return _replay.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None


def _parked(engine: Front) -> list[HTTPRouteHandler]:
    reading = engine.reading

    @get("/v1/parked")
    async def list_parked(request: AnyRequest) -> Response[bytes]:
        """Events that wait for what they depend on."""
        query = read_query(request.scope, ("cursor", "limit"))
        limit = limit_of(query)
        rows = await asyncio.to_thread(reading.parked, after=position_of(query) or "", limit=limit + 1)
        return json_answer(page_of(rows, limit, lambda row: row.key))

    return [list_parked]
