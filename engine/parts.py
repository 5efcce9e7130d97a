"""Parts of lots: what concerns only a part splits it off, and a part begins as what it was part of. Pure."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine import events as ev
from engine.lot import Lot
from engine.submission import child_of_hold, child_of_shipment

#: What a lot of another item does not keep of the lot that it was made of.
REGRADED: dict[str, Any] = {
    "state": "quarantined", "holds": (), "rejected": False, "inspection_stands": False, "plan": None, "sample": None,
    "restrictions": (), "disposition": None, "results_version": 0, "results_after": 0, "certificates": (),
}  # fmt: skip


def part_of(event: ev.Event, lot: Lot | None) -> tuple[str, ev.Quantity] | None:
    """The part that a shipment or a hold concerns: its id and quantity; None: all of the lot, or another event."""
    if lot is None or not isinstance(event, ev.LotShipped | ev.HoldApplied):
        return None
    quantity = event.data.quantity
    if quantity is None or quantity.value >= lot.quantity:
        return None
    return (child_of_shipment(event) if isinstance(event, ev.LotShipped) else child_of_hold(event)), quantity


def born(parent: Lot, child: str, quantity: Decimal, now: str, **changes: Any) -> Lot:
    """``quantity`` of ``parent`` as a lot of its own, at version 1."""
    return replace(
        parent, id=child, version=1, quantity=quantity, parent=parent.id, closed=None, head="",
        received_at=now, changed_at=now, sequences={}, lifted=(), disputes=(), signatures=(),
        results_from=parent.results_from or (parent.id if parent.has_results else None), **changes,
    )  # fmt: skip
