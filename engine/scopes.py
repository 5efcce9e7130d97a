"""Holds on scopes: which of those that stand cover a lot, so that it is held from the moment it comes in. Pure.

A hold on an item, a supplier or an order stands by itself until it is lifted (engine/wide_holds.py). Lots that were
there when it was placed are held by the clock process, lots that come in later by the event that brings them. It
covers lots that have not ended; somebody who lifts it from one lot by hand keeps it lifted there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engine import events as ev
from engine.lot import Lot

#: Scopes that a hold may stand on.
Scope = Literal["item", "supplier", "order"]

#: What the hold on lots is called, before the id of the hold on the scope.
PREFIX = "wide:"
#: Triggers by which a lot may come under a hold that stood before.
BRINGS = frozenset({"receive", "produce", "start_production", "merge", "return", "void_shipment", "regrade"})
#: What a scope may be told by: all that a lot is born with and keeps.
FIELDS = ("item", "revision", "supplier", "order", "plant")


class Standing(Struct, frozen=True):
    """A hold that stands on a scope."""

    id: str
    scope: Scope
    reason: ev.Reason
    owner: str | None
    lift_role: ev.LiftRole | None
    #: Field of the lot -> what it has to be, all of them.
    match: Mapping[str, str]

    def covers(self, lot: Lot) -> bool:
        """Is ``lot`` of the scope, and still there?"""
        return lot.closed is None and all(getattr(lot, name) == value for name, value in self.match.items())


def hold_of(identity: str) -> str:
    """The name that the hold has on each of its lots."""
    return PREFIX + identity


def missing(standing: Iterable[Standing], lot: Lot) -> list[ev.HoldOrder]:
    """The holds that ``lot`` should carry and does not."""
    there = {hold.hold for hold in lot.holds} | set(lot.lifted)
    return [
        order_of(one.id, one.reason, one.scope, one.owner, one.lift_role)
        for one in standing
        if one.covers(lot) and hold_of(one.id) not in there
    ]


def standing_of(rows: Sequence[Sequence[Any]]) -> tuple[int, list[Standing]]:
    """How often what stands was changed, and what stands, out of the rows that say so (engine/store/writing.py)."""
    found = []
    for _, identity, scope, selection, reason, owner, role in rows:
        if identity is not None:
            match = msgspec.json.decode(selection, type=dict[str, str])
            found.append(
                Standing(identity, scope, msgspec.json.decode(reason, type=ev.Reason), owner, role, match)
            )
    return int(rows[0][0]), found


def order_of(
    identity: str, reason: ev.Reason, scope: Scope | Literal["filter"], owner: str | None, lift_role: ev.LiftRole | None
) -> ev.HoldOrder:
    """The hold that each lot gets."""
    return ev.HoldOrder(hold=hold_of(identity), reason=reason, scope=scope, owner=owner, lift_role=lift_role)
