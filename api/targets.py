"""The target systems: how each of them does, and the switch that stops telling it.

What may not enter: SQL, single deliveries (api/ledger.py), and the delivering itself (actors).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import limit_of, one_of, position_of, read_query
from api.views import Page
from engine.drift import KINDS, Drift, DriftLine, Reading
from engine.errors import EventInvalid, NotFound
from engine.runtime import Front
from engine.subscriptions import is_subscription
from engine.targets import TargetState

AnyRequest = Request[Any, Any, Any]


class TargetLine(Struct, frozen=True):
    """One target: what it is owed, and how it does."""

    state: TargetState
    #: Deliveries that wait, are under way, and were given up.
    pending: int
    sending: int
    dead: int
    #: Instant of the oldest commit that it has not agreed to; null: none.
    oldest_open: str | None


class Pause(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a target is paused."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class DriftPage(Struct, frozen=True):
    """One page of a target's drift, and when it was read back."""

    data: list[DriftLine]
    next: str | None
    reading: Reading


_pause = msgspec.json.Decoder(Pause)


def target_lines(engine: Front) -> list[TargetLine]:
    """Every target as it stands; asks the database."""
    counts, oldest = engine.ledger.counts(), engine.ledger.oldest_open()
    # What is owed to no target, or to one that is not configured any more, is shown too.
    others = sorted(name for name in counts if name not in engine.committer.targets and not is_subscription(name))
    names = dict.fromkeys((*engine.settings.told_names, *others))
    return [_line(engine, name, counts.get(name, {}), oldest.get(name)) for name in names]


def _line(engine: Front, name: str, counts: dict[str, int], oldest: str | None) -> TargetLine:
    pending, sending, dead = (counts.get(state, 0) for state in ("pending", "sending", "dead"))
    return TargetLine(engine.ledger.targets.state(name), pending, sending, dead, oldest)


def known_target(engine: Front, name: str) -> str:
    """``name``, when it is a target; raises NotFound."""
    if name not in engine.committer.targets:
        words = ", ".join(engine.committer.targets)
        raise NotFound(f"There is no target {name}; there are {words}.")
    return name


def target_routes(engine: Front, patience: Patience, ring: Callable[[Sequence[str]], None]) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    ledger = engine.ledger
    drift = Drift(engine.store, engine.clock)

    def known(name: str) -> str:
        return known_target(engine, name)

    def told(name: str) -> str:
        return name if name in engine.settings.signal_names else known_target(engine, name)

    @get("/v1/targets")
    async def list_targets(request: AnyRequest) -> Response[bytes]:
        """Every target system."""
        return json_answer(Page(await asyncio.to_thread(target_lines, engine), None))

    @post("/v1/targets/{target:str}/pause", status_code=200)
    async def pause_target(request: AnyRequest, target: str) -> Response[bytes]:
        """Tell it nothing until it is resumed; what is under way ends."""
        visit = visit_of(request.scope)
        require(visit, "admin")
        if mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
        reason, by = _reason(body), visit.principal.name
        return json_answer(await asyncio.to_thread(ledger.targets.pause, told(target), by, reason))

    @post("/v1/targets/{target:str}/resume", status_code=200)
    async def resume_target(request: AnyRequest, target: str) -> Response[bytes]:
        """Tell it everything that has come meanwhile, the newest status of each lot."""
        require(visit_of(request.scope), "admin")
        state = await asyncio.to_thread(ledger.targets.resume, told(target))
        ring((target,))
        return json_answer(state)

    @get("/v1/targets/{target:str}/drift")
    async def show_drift(request: AnyRequest, target: str) -> Response[bytes]:
        """Lots of which the target says something else than it agreed to, as it was last read back."""
        query = read_query(request.scope, ("lot", "kind", "cursor", "limit"))
        limit, name = limit_of(query), known(target)
        rows = await asyncio.to_thread(
            drift.lines,
            name,
            lot=query.get("lot"),
            kind=one_of(query, "kind", KINDS),
            after=position_of(query) or "",
            limit=limit + 1,
        )
        page = page_of(rows, limit, lambda row: row.lot)
        return json_answer(DriftPage(page.data, page.next, await asyncio.to_thread(drift.reading, name)))

    @post("/v1/targets/{target:str}/reconcile", status_code=202)
    async def reconcile_target(request: AnyRequest, target: str) -> Response[bytes]:
        """Have the clock process read the target back as soon as it can."""
        require(visit_of(request.scope), "replay")
        return json_answer(await asyncio.to_thread(drift.ask, known(target)))

    return [list_targets, pause_target, resume_target, show_drift, reconcile_target]


def _reason(body: bytes) -> str:
    try:
        return _pause.decode(body).reason
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None
