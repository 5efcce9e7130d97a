"""Entries to effects: what the targets must be told. Pure.

A target is told the canonical stock status, not the event: the newest status is always enough, and a delivery that
comes late cannot take a lot back to an older one.
"""

from msgspec import Struct, json

from engine.lot import Lot

#: Canonical stock status by lot state: what ERP books, and whether WMS may allocate, pick and ship.
STOCK: dict[str, tuple[str, bool]] = {
    "received": ("quality", False),
    "quarantined": ("quality", False),
    "inspected": ("quality", False),
    "released": ("unrestricted", True),
    "blocked": ("blocked", False),
    "shipped": ("issued", False),
}


class StockStatus(Struct, frozen=True):
    """What every target must agree on about a lot. Quantity is decimal text in ``unit``."""

    lot: str
    #: Journal version the status comes from: grows with every change of the lot.
    version: int
    item: str
    revision: str
    #: Lot state (engine.lifecycle.State).
    state: str
    #: quality, unrestricted, restricted, blocked, issued, none
    stock: str
    #: May WMS allocate, pick and ship it?
    allocatable: bool
    quantity: str
    unit: str
    plant: str | None
    location: str | None
    #: Why it may not be used: active holds by reason, or ``rejected``.
    reasons: list[str]
    #: Customers it is restricted to; empty: no restriction.
    restrictions: list[str]


def stock_status(lot: Lot) -> StockStatus:
    """The canonical status of ``lot`` as it stands."""
    stock, allocatable = STOCK[lot.state]
    if lot.state == "released" and lot.restrictions:
        stock = "restricted"
    if lot.closed is not None and lot.closed != "shipped":
        stock, allocatable = "none", False
    reasons = [h.reason for h in lot.holds]
    if lot.rejected:
        reasons.append("rejected")
    return StockStatus(
        lot.id, lot.version, lot.item, lot.revision, lot.state, stock, allocatable, format(lot.quantity, "f"),
        lot.unit, lot.plant, lot.location, reasons, list(lot.restrictions),
    )  # fmt: skip


def must_be_told(before: Lot | None, after: Lot) -> bool:
    """True when anything that targets are told differs between the two."""
    if before is None:
        return True
    return (
        before.state != after.state
        or before.quantity != after.quantity
        or before.closed != after.closed
        or before.holds != after.holds
        or before.rejected != after.rejected
        or before.restrictions != after.restrictions
    )


def encode_status(status: StockStatus) -> bytes:
    """The payload of a delivery, as the ledger keeps it."""
    return json.encode(status)
