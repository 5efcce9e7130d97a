"""Which event a principal may send, and what a principal limited to plants may look at. Deny by default.

Type and source of an event are looked at in memory. Only for keys that are limited to plants the database is asked
where a lot is: a lot never changes its plant, so what is found before the decision still holds in it; a lot that nobody
knows yet is in no plant, and what is sent of it is refused instead of parked.

What may not enter: keys, routes, deciding.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl, unquote

from litestar.types import HTTPScope

from api.access import Principal
from api.problems import Refused
from api.roles import SENDERS
from engine.events import TYPES, Event, HoldApplied, HoldLifted, LotMerged, LotProduced, LotReceived, ProductionStarted
from engine.scopes import PREFIX

#: Struct -> CloudEvents type.
_NAMES = {struct: name for name, struct in TYPES.items()}
#: Sources that nobody else may use: the commands of somebody, and Lotgate's own events.
_COMMANDS = "api/"
_OWN = "lotgate/"
#: Records of a lot that show nothing of other lots.
_RECORDS = frozenset(
    (b"journal", b"results", b"holds", b"certificates", b"deliveries", b"explain", b"operations")
)
_LISTS = frozenset((b"/v1/lots", b"/v1/feed", b"/v1/changes"))
_EVENTS = frozenset((b"/v1/events", b"/v1/events/batch"))
#: Signing out; that something happened, not what; where a lot that was named exactly is, which is checked there.
_HARMLESS_PAGES = frozenset((b"/console/logout", b"/console/live", b"/console/find"))
_HARMLESS = frozenset((b"/healthz", b"/readyz", b"/problems"))

#: Gives the plant of each lot that is known; may block.
PlantsOf = Callable[[Iterable[str]], Mapping[str, str | None]]


def check_event(principal: Principal, event: Event) -> None:
    """Refuse an event whose type or source the principal may not send."""
    kind = _NAMES.get(type(event), "")
    if not principal.sends(kind) and not (isinstance(event, HoldLifted) and event.data.role is not None):
        asked = " or ".join(sorted(SENDERS.get(kind, ()))) or "admin"
        raise Refused("forbidden", f"{kind} needs the role {asked}, which the key {principal.name} lacks.", "/type")
    if isinstance(event, HoldLifted):
        _check_lift(principal, event)
    elif isinstance(event, HoldApplied) and event.data.hold.startswith(PREFIX):
        raise Refused("forbidden", f"Names of holds that begin with {PREFIX} are Lotgate's.", "/data/hold")
    source = event.source
    if source.startswith((_COMMANDS, _OWN)):
        if source != _COMMANDS + principal.name:
            raise Refused("forbidden", f"The source {source} is not yours: Lotgate gives it to its own.", "/source")
    elif principal.sources and not any(matches(source, pattern) for pattern in principal.sources):
        allowed = ", ".join(principal.sources)
        detail = f"The key {principal.name} sends from {allowed} only; this event is from {source}."
        raise Refused("forbidden", detail, "/source")


def _check_lift(principal: Principal, event: HoldLifted) -> None:
    """A lift is said in a role that its sender has; the hold says whether that is the right one."""
    role = event.data.role or "hold"
    if not principal.may(role):
        detail = f"Lifting in the role {role} needs it, and the key {principal.name} lacks it."
        raise Refused("forbidden", detail, "/data/role")


def matches(source: str, pattern: str) -> bool:
    """Is ``source`` what ``pattern`` says: a source, or the beginning of some with ``*`` at its end?"""
    return source.startswith(pattern[:-1]) if pattern.endswith("*") else source == pattern


def _as_api(path: bytes) -> bytes:
    """The address of the API that shows the same as this page of the console."""
    if path == b"/console":
        return b"/v1/lots"
    if path in _HARMLESS_PAGES:
        return b"/healthz"
    return path.replace(b"/console/", b"/v1/", 1) if path.startswith(b"/console/lots/") else path


class Permits:
    """The plants that principals are limited to."""

    def __init__(self, plants_of: PlantsOf) -> None:
        self._plants_of = plants_of

    async def check(self, principal: Principal, event: Event) -> None:
        """Refuse an event that the principal may not send: by its type, its source, or the plant of its lots."""
        check_event(principal, event)
        if principal.plants:
            await self._check_plants(principal, event)

    async def check_lot(self, principal: Principal, lot: str) -> None:
        """Refuse a lot of a plant that the principal may not change."""
        if principal.plants:
            await self._check_lots(principal, [lot])

    async def _check_plants(self, principal: Principal, event: Event) -> None:
        lots: list[str] = []
        if isinstance(event, LotReceived | LotProduced | ProductionStarted):
            if event.data.plant not in principal.plants:
                where = "no plant" if event.data.plant is None else f"the plant {event.data.plant}"
                raise _elsewhere(principal, f"this lot is of {where}", "/data/plant")
            if isinstance(event, LotProduced):
                lots += [part.lot for part in event.data.inputs]
        elif isinstance(event, LotMerged):
            lots += [part.lot for part in event.data.parts]
        else:
            lots.append(event.subject)
        await self._check_lots(principal, lots)

    async def _check_lots(self, principal: Principal, lots: list[str]) -> None:
        if not lots:
            return
        known = await asyncio.to_thread(self._plants_of, lots)
        for lot in lots:
            if lot not in known:
                raise _elsewhere(principal, f"nobody knows yet where the lot {lot} is; send it after its receipt")
            if known[lot] not in principal.plants:
                raise _elsewhere(principal, f"the lot {lot} is of {known[lot] or 'no plant'}")

    async def check_request(self, principal: Principal, scope: HTTPScope) -> None:
        """Refuse a request of a principal that is limited to plants, unless it is known to stay inside them."""
        path, method = _as_api(scope["raw_path"]), str(scope["method"])
        if method == "OPTIONS" or path in _HARMLESS or path.startswith((b"/problems/", b"/schema/")):
            return
        reads = method in ("GET", "HEAD")
        if path in _EVENTS or (path in _LISTS and reads):
            if path in _LISTS:
                self._check_list(principal, scope["query_string"])
            return
        parts = path.split(b"/")
        if reads and len(parts) == 7 and parts[4] == b"operations" and parts[6] in (b"gate", b"results"):
            parts = parts[:5]  # the gate of an operation, and its results, show nothing but their lot
        if parts[:3] != [b"", b"v1", b"lots"] or len(parts) not in (4, 5) or not parts[3]:
            raise _elsewhere(principal, "this address shows or changes things of all of them")
        if method == "POST" and len(parts) == 5:
            return  # a command: checked as the event that it becomes
        if not reads or (len(parts) == 5 and parts[4] not in _RECORDS):
            raise _elsewhere(principal, "this address shows or changes things of all of them")
        lot = unquote(parts[3].decode("ascii", "replace"), errors="replace")
        plant = (await asyncio.to_thread(self._plants_of, [lot])).get(lot, "")
        if plant != "" and plant not in principal.plants:
            raise _elsewhere(principal, f"the lot {lot} is of {plant or 'no plant'}")

    def _check_list(self, principal: Principal, query: bytes) -> None:
        asked = [value for name, value in parse_qsl(query.decode("latin-1")) if name == "plant"]
        if not asked or not principal.plants.issuperset(asked):
            raise _elsewhere(principal, "ask for one of them with ?plant=", "plant")


def _elsewhere(principal: Principal, why: str, pointer: str | None = None) -> Refused:
    plants = ", ".join(sorted(principal.plants))
    return Refused("forbidden", f"The key {principal.name} is limited to {plants}: {why}.", pointer)
