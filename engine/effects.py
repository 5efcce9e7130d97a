"""Entries to effects: what the targets must be told. Pure.

A target is told the canonical stock status, not the event: the newest status is always enough, and a delivery that
comes late cannot take a lot back to an older one.
"""

from msgspec import Struct, json
from msgspec.structs import replace

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
    #: Last day of shelf life, ISO 8601: what expires first goes out first (FEFO); null: it does not expire.
    expires_on: str | None = None


def stock_status(lot: Lot) -> StockStatus:
    """The canonical status of ``lot`` as it stands."""
    stock, allocatable = STOCK[lot.state]
    if lot.state == "released" and lot.restrictions:
        stock = "restricted"
    if lot.in_production or (lot.closed is not None and lot.closed != "shipped"):
        stock, allocatable = "none", False
    reasons = [h.reason for h in lot.holds]
    if lot.rejected:
        reasons.append("rejected")
    return StockStatus(
        lot.id, lot.version, lot.item, lot.revision, lot.state, stock, allocatable, format(lot.quantity, "f"),
        lot.unit, lot.plant, lot.location, reasons, list(lot.restrictions),
        None if lot.expires_on is None else lot.expires_on.isoformat(),
    )  # fmt: skip


def status_for(lot: Lot, target: str) -> StockStatus:
    """What ``target`` must be told of ``lot``: its status, or less while another target disputes it.

    Who disputes a status is not told less itself: it never took what would have to be undone.
    """
    status = stock_status(lot)
    if not status.allocatable or any(d.target == target for d in lot.disputes):
        return status
    mine = [d for d in lot.disputes if target in d.undo]
    if not mine:
        return status
    stock = "blocked" if any(d.undo[target] == "blocked" for d in mine) else "quality"
    reasons = [*status.reasons, *(f"{d.target} does not take version {d.version}" for d in mine)]
    return replace(status, stock=stock, allocatable=False, reasons=reasons)


def same_words(one: StockStatus, other: StockStatus) -> bool:
    """True when both say the same of the lot, whichever its version."""
    return replace(one, version=other.version) == other


def disputed(lot: Lot) -> set[str]:
    """Targets that may have to be told less than the lot's status."""
    return {target for d in lot.disputes for target in d.undo}


def must_be_told(before: Lot | None, after: Lot) -> bool:
    """True when anything that targets are told differs between the two."""
    if after.in_production:
        return False  # it is nowhere in stock yet
    if before is None or before.in_production:
        return True
    return (
        before.state != after.state
        or before.quantity != after.quantity
        or before.closed != after.closed
        or before.holds != after.holds
        or before.rejected != after.rejected
        or before.restrictions != after.restrictions
        or before.expires_on != after.expires_on
    )


def encode_status(status: StockStatus) -> bytes:
    """The payload of a delivery, as the ledger keeps it."""
    return json.encode(status)
