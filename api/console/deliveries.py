"""What other systems are told: how each target does, what was given up and why, and the switches.

What may not enter: SQL, the delivering itself (actors).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.console.forms import read_form, wanted
from api.console.paging import ROW, place
from api.console.render import AnyRequest, Pages, links, to
from api.ledger import left_out
from api.pages import page_of
from api.queries import number_of, number_position_of, one_of, read_query
from api.targets import known_target, target_lines
from engine.delivery_lines import DeliveryState
from engine.drift import Drift
from engine.runtime import Front

_STATES = tuple(state.value for state in DeliveryState)
_ROWS = 100
#: Errors that are counted out: the rest is in the list.
_SAID = 5
_HOME = "/console/deliveries"


def delivery_routes(
    engine: Front, pages: Pages, patience: Patience, ring: Callable[[Sequence[str]], None]
) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    return [*_looking(engine, pages), *_acting(engine, patience, ring)]


def _looking(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    ledger, drift = engine.ledger, Drift(engine.store, engine.clock)

    @get(_HOME)
    async def deliveries(request: AnyRequest) -> Response[bytes]:
        """Targets, and deliveries of one state."""
        asked = read_query(request.scope, ("state", "target", "lot", "cursor", ROW, "done"), blank=True)
        state = one_of(asked, "state", _STATES) or "dead"
        after, target, lot = number_position_of(asked) or 0, asked.get("target"), asked.get("lot")

        def look() -> dict[str, Any]:
            rows = ledger.lines(state=state, target=target, lot=lot, after=after, limit=_ROWS + 1)
            page = page_of(rows, _ROWS, lambda row: row.id)
            more = {"state": state, "target": target, "lot": lot}
            again = ledger.replay(target=target, lot=lot, dry_run=True) if state == "dead" else 0
            total = again if state == "dead" else None if lot else _owed(ledger.counts(), state, target)
            here = place(_HOME, more, asked, len(page.data), page.next, total, "delivery", "deliveries")
            return {
                "targets": target_lines(engine), "drifting": drift.counts(),
                "readings": {name: drift.reading(name) for name in engine.committer.targets},
                "page": page, "left_out": left_out(ledger, state, lot),
                "place": here, "again": again,
                "said": ledger.given_up_for(target, lot, _SAID) if again > 1 else [],
                "untold": not ledger.lines(limit=1) and not ledger.archived(),
                "asked": more, "states": _STATES, "done": asked.get("done"),
            }  # fmt: skip

        return pages.page(request, "deliveries.html", **await asyncio.to_thread(look))

    @get(_HOME + "/{delivery:str}")
    async def delivery(request: AnyRequest, delivery: str) -> Response[bytes]:
        """One delivery, with the whole exchange."""
        asked = read_query(request.scope, ("done",), blank=True)
        found = await asyncio.to_thread(ledger.get, number_of(delivery, "delivery"))
        status = msgspec.json.format(bytes(found.status), indent=2).decode()
        return pages.page(request, "delivery.html", delivery=found, told=status, done=asked.get("done"))

    return [deliveries, delivery]


def _acting(
    engine: Front, patience: Patience, ring: Callable[[Sequence[str]], None]
) -> list[HTTPRouteHandler]:
    ledger, drift = engine.ledger, Drift(engine.store, engine.clock)

    @post(_HOME + "/replay", status_code=200)
    async def replay(request: AnyRequest) -> Response[None]:
        """Send what was given up again, all that fits."""
        require(visit_of(request.scope), "replay")
        form = await read_form(request, patience)
        target, lot = form.get("target"), form.get("lot")
        number = await asyncio.to_thread(ledger.replay, target=target, lot=lot)
        ring(engine.committer.targets)
        return to(links(_HOME, {"target": target, "lot": lot, "done": f"replayed-{number}"}))

    @post(_HOME + "/{delivery:str}/replay", status_code=200)
    async def replay_one(request: AnyRequest, delivery: str) -> Response[None]:
        """Send one again."""
        require(visit_of(request.scope), "replay")
        await read_form(request, patience)
        number = await asyncio.to_thread(ledger.replay, identity=number_of(delivery, "delivery"))
        ring(engine.committer.targets)
        return to(f"{_HOME}/{number_of(delivery, 'delivery')}?done=replayed-{number}")

    @post("/console/targets/{target:str}/{act:str}", status_code=200)
    async def switch(request: AnyRequest, target: str, act: str) -> Response[None]:
        """Pause or resume a target, or have it read back."""
        visit = visit_of(request.scope)
        one_of({"act": act}, "act", ("pause", "resume", "reconcile"))
        require(visit, "replay" if act == "reconcile" else "admin")
        form = await read_form(request, patience)
        name = known_target(engine, target)
        if act == "pause":
            reason = wanted(form, "reason", "The reason")[:500]
            await asyncio.to_thread(ledger.targets.pause, name, visit.principal.name, reason)
        elif act == "resume":
            await asyncio.to_thread(ledger.targets.resume, name)
            ring((name,))
        else:
            await asyncio.to_thread(drift.ask, name)
        return to(f"{_HOME}?done={act}")

    return [replay, replay_one, switch]


def _owed(counts: dict[str, dict[str, int]], state: str, target: str | None) -> int | None:
    """Deliveries in ``state``; None for states that nobody counts, for they are history."""
    if state not in ("pending", "sending"):
        return None
    return sum(states.get(state, 0) for name, states in counts.items() if target in (None, name))
