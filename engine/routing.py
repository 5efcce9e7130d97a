"""Which targets are told of a lot: every target says in its file which lots it takes.

Targets of one kind (several ERPs) share the lots between them. Only what a lot is born with and keeps decides, so a
lot stays with its targets. A lot that no target of a kind takes is owed to ``unrouted-<kind>``: a delivery that nobody
can make, which becomes a dead letter with a task, keeps the lot from being shipped, and is routed again when it is
replayed.
What may not enter: how a target is told (actors/connectors).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import yaml
from msgspec import Meta, Struct

from engine.errors import LotgateError
from engine.settings import Settings

#: A target of the ledger that stands for "no target of this kind"; no other name has a hyphen after these letters.
UNROUTED = "unrouted-"
#: Targets that are told when nothing says otherwise.
USUAL = ("erp", "wms")

#: Patterns: ``*`` stands for anything, the empty pattern for a field that nobody said.
Patterns = Annotated[tuple[str, ...], Meta(min_length=1)]
Kind = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]


class RouteInvalid(LotgateError):
    """Which lots a target takes cannot be read; the message says where and why."""

    code = "route-invalid"
    title = "Which lots a target takes cannot be read"


class Routed(Protocol):
    """What decides where a lot goes."""

    @property
    def plant(self) -> str | None: ...
    @property
    def item(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def supplier(self) -> str | None: ...
    @property
    def order(self) -> str | None: ...
    @property
    def unit(self) -> str: ...


class Takes(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Lots that fit every field that is given: one of its patterns."""

    plant: Patterns | None = None
    item: Patterns | None = None
    revision: Patterns | None = None
    supplier: Patterns | None = None
    order: Patterns | None = None
    unit: Patterns | None = None

    def fits(self, lot: Routed) -> bool:
        """Does ``lot`` fit?"""
        for name in self.__struct_fields__:
            patterns = getattr(self, name)
            if patterns is not None and not any(fnmatchcase(getattr(lot, name) or "", p) for p in patterns):
                return False
        return True


class Route(Struct, frozen=True):
    """One target: its kind, and which lots it takes (None: all of them)."""

    target: str
    kind: str
    takes: tuple[Takes, ...] | None = None


class Routes:
    """The targets of an installation, and who is told of which lot."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.all = routes
        #: Every target, in order.
        self.targets = tuple(route.target for route in routes)
        self._everybody = all(route.takes is None for route in routes)
        self._kinds = tuple(dict.fromkeys(route.kind for route in routes))

    def of(self, lot: Routed) -> tuple[str, ...]:
        """Who is told of ``lot``, ``unrouted-<kind>`` where nobody of a kind takes it."""
        if self._everybody:
            return self.targets
        takers = [r for r in self.all if r.takes is None or any(takes.fits(lot) for takes in r.takes)]
        lonely = [kind for kind in self._kinds if all(route.kind != kind for route in takers)]
        return (*(route.target for route in takers), *(f"{UNROUTED}{kind}" for kind in lonely))

    def instead(self, lot: Routed, unrouted: str) -> tuple[str, ...]:
        """Who takes ``lot`` now that was owed to ``unrouted``; empty: still nobody."""
        kind = unrouted.removeprefix(UNROUTED)
        wanted = {route.target for route in self.all if route.kind == kind}
        if not wanted:
            return self.targets  # there are no targets of that kind any more: nobody has to be missed
        return tuple(target for target in self.of(lot) if target in wanted)


def everywhere(*targets: str) -> Routes:
    """Routes by which each of ``targets`` is told of every lot."""
    return Routes(tuple(Route(target, target) for target in targets))


#: What an installation has that says nothing.
USUAL_ROUTES = everywhere(*USUAL)


def is_unrouted(target: str) -> bool:
    """Does ``target`` stand for there being none?"""
    return target.startswith(UNROUTED)


def nobody_takes(unrouted: str, lot: Routed) -> str:
    """For people: why ``lot`` goes nowhere."""
    words = ", ".join(f"{name} {getattr(lot, name) or 'not said'}" for name in ("plant", "item", "supplier"))
    return f"no target of kind {unrouted.removeprefix(UNROUTED)} takes the lot ({words})"


class _Part(Struct):
    """What a connector file says about lots."""

    kind: Kind | None = None
    takes: tuple[Takes, ...] | None = None


def load_routes(settings: Settings) -> Routes:
    """The routes of an installation, from the connector files of its targets. Raises RouteInvalid."""
    return Routes(tuple(_route(name, settings.connectors / f"{name}.yaml") for name in settings.target_names))


def _route(target: str, path: Path) -> Route:
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RouteInvalid(f"{path.name}, the file of target {target}, cannot be read: {error}") from None
    known = {k: tree[k] for k in ("kind", "takes") if k in tree} if isinstance(tree, Mapping) else {}
    try:
        part = msgspec.convert(known, _Part)
    except msgspec.ValidationError as error:
        raise RouteInvalid(f"{path.name}: {error}") from None
    return Route(target, part.kind or target, part.takes)
