"""Do ERP and WMS show what Lotgate decided? Compares what the three show, however it was delivered.

The table of what a state means to each target stands here a second time on purpose: it checks the product's.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

#: Lot state -> ERP stock, WMS status, and whether the WMS may allocate, pick and ship.
_EXPECTED = {
    "received": ("quality", "QUALITY", False),
    "quarantined": ("quality", "QUALITY", False),
    "inspected": ("quality", "QUALITY", False),
    "released": ("unrestricted", "AVAILABLE", True),
    "blocked": ("blocked", "BLOCKED", False),
    "shipped": ("issued", "SHIPPED", False),
}


class Shown(Struct, frozen=True):
    """One lot as the three systems show it; None where a target does not know it."""

    lotgate: dict[str, Any]
    erp: dict[str, Any] | None
    wms: dict[str, Any] | None

    def agree(self) -> bool:
        """True when both show the state, quantity and availability that Lotgate decided, from one version."""
        if self.erp is None or self.wms is None:
            return False
        stock, status, usable = _EXPECTED[self.lotgate["state"]]
        erp, wms = self.erp, self.wms
        return (
            erp["stock"] == stock
            and erp["state"] == self.lotgate["state"]
            and Decimal(erp["quantity"]) == Decimal(self.lotgate["quantity"])
            and wms["status"] == status
            and wms["allocatable"] is wms["pick"] is wms["ship"] is usable
            and erp["version"] == wms["revision_no"]
        )

    def seconds(self, journal: list[dict[str, Any]]) -> float | None:
        """From the commit of the version both show until the later of the two had applied it.

        None when that version is not in the journal. Clocks: Lotgate's against the targets', on one machine.
        """
        if self.erp is None or self.wms is None:
            return None
        version = self.erp["version"]
        committed = next((entry["recorded_at"] for entry in journal if entry["version"] == version), None)
        if committed is None:
            return None
        agreed = max(_instant(self.erp["applied_at"]), _instant(self.wms["applied_at"]))
        return (agreed - _instant(committed)).total_seconds()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
