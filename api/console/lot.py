"""The page of one lot: what it is, why it stands where it stands, what can be done, and everything that happened.

What may not enter: SQL, judging, and what a command does (api/console/acts.py).
"""

import asyncio
from typing import Any, get_args

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.access import Principal
from api.answers import visit_of
from api.commands import COMMANDS
from api.console.graph import Graph, drawn
from api.console.measured import characteristics
from api.console.render import AnyRequest, Pages
from api.console.timeline import moments
from api.console.why import STANDING, outlook
from api.door import path_part
from api.genealogy import csv_of
from api.lots import lot_view
from api.problems import Refused
from api.queries import MAX_VERSION, number_of, one_of, read_query
from api.slowly import slowly
from engine.clock import instant
from engine.concession_lists import ConcessionLine, about, offered
from engine.delivery_lines import DeliveryLine
from engine.errors import ArchiveUnavailable
from engine.events import LiftRole
from engine.explaining import certificates
from engine.hold_reasons import declared
from engine.journal import Entry
from engine.lot import Lot
from engine.operation_gate import operations_of
from engine.records import STEPS as RECORD_STEPS
from engine.runtime import Front
from engine.tracing import Direction, Genealogy, Trace

#: Entries of the journal that one page shows.
ENTRIES = 50
#: Lots and orders on either side that a lot's own page draws, and that the page of its family does.
GLIMPSE, FAMILY, MOST_FAMILY = 24, 100, 250
_WAYS: tuple[Direction, Direction] = ("backward", "forward")
#: Records of results that one page shows, relatives on either side, deliveries, and holds that ended.
_RECORDS, _RELATIVES, _DELIVERIES, _ENDED = 50, 50, 20, 20
_SEVERAL = "This key is limited to plants, and a family may be of several."
#: Roles in which a hold may have to be lifted, but the usual one.
LIFT_ROLES = tuple(role for role in get_args(LiftRole) if role != "hold")


class LotPages:
    """Puts the pages of lots together."""

    def __init__(self, engine: Front, pages: Pages) -> None:
        self._engine = engine
        self.pages = pages
        self._genealogy = Genealogy(engine.store)

    async def show(
        self, request: AnyRequest, lot: str, *, before: int | None = None, status: int = 200, refused: Any = None,
        typed: dict[str, str] | None = None,
    ) -> Response[bytes]:  # fmt: skip
        """The page; ``refused``: what was just refused and why, ``typed``: what somebody had filled in."""
        cited = (typed or {}).get("concession")
        context = await asyncio.to_thread(self._look, lot, before, visit_of(request.scope).principal, cited)
        asked = read_query(request.scope, ("done", "before"), blank=True) if request.scope["method"] == "GET" else {}
        return self.pages.page(
            request, "lot.html", status=status, refused=refused, typed=typed or {}, done=asked.get("done"), **context
        )

    def _look(self, name: str, before: int | None, me: Principal, cited: str | None) -> dict[str, Any]:
        engine = self._engine
        book = engine.rules.book()
        found = engine.reading.lot(name)
        view = lot_view(engine, found, me.plants)
        upto = found.version if before is None else min(before, found.version)
        entries, told, all_told, unread = self._history(name, upto)
        present, all_present, earlier = engine.reading.newest_results(name, found.results_after, _RECORDS)
        # Relatives may be of other plants.
        whole = not me.plants
        holds = engine.reading.holds(name)
        over = [hold for hold in holds if hold.lifted_at][:-_ENDED]
        return {
            "view": view, "lot": found, "standing": STANDING.get(found.state, ""),
            "outlook": outlook(engine, book, found),
            "moments": moments(entries, book.vocabulary), "unread": unread,
            "earlier": upto - ENTRIES if upto > ENTRIES else None,
            "later": before is not None,
            "characteristics": characteristics(found, present, book),
            "earlier_records": earlier, "unshown_records": all_present - len(present),
            "operations": operations_of(found, instant(engine.clock())),
            "holds": [hold for hold in holds if hold not in over], "older_holds": len(over),
            "certificates": certificates(engine.store, name) if found.certificates else None,
            "deliveries": told, "all_deliveries": all_told,
            "whole": whole, "listed": _RELATIVES,
            "children": self._relatives(name, "forward") if whole else [],
            "parents": self._relatives(name, "backward") if whole else [],
            "graph": self.family(name, GLIMPSE) if whole else None,
            "hold_reasons": declared(engine.store, engine.today()), "lift_roles": LIFT_ROLES,
            "mine": permitted(me), "record_steps": record_steps,
            "known_concessions": self._concessions(found, cited, me),
        }  # fmt: skip

    def _concessions(self, lot: Lot, cited: str | None, me: Principal) -> list[ConcessionLine]:
        """What is used of concessions by which the lot may be decided: first of what was typed, then of its own."""
        if lot.state != "blocked" or lot.closed or "dispose" not in permitted(me):
            return []
        # Others may be used in other plants.
        if me.plants:
            return list(about(self._engine.store, lot, plants=me.plants))
        named = [] if cited is None or "\0" in cited else [cited]
        found = about(self._engine.store, lot, *named)
        return list(dict.fromkeys((*found, *offered(self._engine.store, lot.unit))))

    def _history(self, name: str, upto: int) -> tuple[list[Entry], list[DeliveryLine], int, str | None]:
        """Entries, deliveries and how many of these there are, or why they cannot be read; the page needs neither."""
        try:
            entries = self._engine.reading.journal(name, after=max(0, upto - ENTRIES), limit=min(ENTRIES, upto))
            return entries, *self._engine.ledger.newest(name, _DELIVERIES), None
        except ArchiveUnavailable as error:
            return [], [], 0, error.detail

    def family(self, name: str, nodes: int) -> Graph | None:
        """The drawing of a lot's family, with at most ``nodes`` on either side. Raises NotFound."""
        backward, forward = (self._genealogy.trace([name], way, nodes=nodes + 1) for way in _WAYS)
        return drawn(name, backward, forward)

    def _relatives(self, name: str, direction: Direction) -> list[Any]:
        # One more than is listed, besides the lot itself: then there are others.
        return _others(self._genealogy.trace([name], direction, depth=1, nodes=_RELATIVES + 2), name)


def lot_routes(engine: Front, lots: LotPages) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @get("/console/lots/{lot:str}")
    async def lot_page(request: AnyRequest, lot: str) -> Response[bytes]:
        """One lot."""
        asked = read_query(request.scope, ("done", "before"), blank=True)
        before = asked.get("before")
        return await lots.show(
            request, path_part(lot), before=None if before is None else number_of(before, "before", MAX_VERSION)
        )

    @get("/console/lots/{lot:str}/family")
    async def family_page(request: AnyRequest, lot: str) -> Response[bytes]:
        """The drawing of its family."""
        asked, name = read_query(request.scope, ("nodes",), blank=True), path_part(lot)
        nodes = min(number_of(asked.get("nodes") or str(FAMILY), "nodes"), MOST_FAMILY)
        if visit_of(request.scope).principal.plants:
            raise Refused("forbidden", _SEVERAL)
        graph = await slowly(lots.family, name, nodes)
        more = MOST_FAMILY if nodes < MOST_FAMILY else None
        return lots.pages.page(request, "family.html", lot=name, graph=graph, limit=nodes, more=more)

    @get("/console/lots/{lot:str}/family.csv")
    async def family_sheet(request: AnyRequest, lot: str) -> Response[bytes]:
        """All of its family in one direction, one line a lot."""
        asked = read_query(request.scope, ("direction",), blank=True)
        way = one_of(asked, "direction", _WAYS) or "forward"
        if visit_of(request.scope).principal.plants:
            raise Refused("forbidden", _SEVERAL)
        found = await slowly(Genealogy(engine.store).trace, [path_part(lot)], way)  # type: ignore[arg-type]  # one of the two
        return Response(csv_of(found.nodes), media_type="text/csv; charset=utf-8")

    return [lot_page, family_page, family_sheet]


def record_steps(status: str) -> list[str]:
    """Steps that a quality record may take from where it stands."""
    return [step for step, (sources, _) in RECORD_STEPS.items() if status in sources]


def permitted(me: Principal) -> frozenset[str]:
    """The commands that somebody may give."""
    return frozenset(name for name, kind in COMMANDS.items() if me.sends(kind))


def _others(trace: Trace, name: str) -> list[Any]:
    """What a trace found besides the lot itself, each with the quantity on the way to it."""
    me = f"lot:{name}"
    far: dict[str, tuple[str, str, str]] = {}
    for link in trace.links:
        near, other = (link.parent, link.child) if trace.direction == "forward" else (link.child, link.parent)
        if near == me:
            far[other] = (link.kind, link.quantity, link.unit)
    nodes = [node for node in trace.nodes if node.depth]
    return [(node, far.get(f"{node.kind}:{node.id}")) for node in nodes]
