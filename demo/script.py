"""The script of the story: which events are sent about which lot, in which order. Nothing is sent here."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from demo.measured import MeasuredLot, Measurement

_RETRIED = (3, 11, 27)  # receipts that the scanner sends twice
_RESCANNED = 6  # a receipt that is scanned again: new event id, same receipt line
_EARLY = 8  # results that come before the goods
_IN_PARTS = 4  # results that come in two parts, with an attempt to release in between
_SOURCE = {"receive": "wms/dock-1", "inspect": "lims/lab-2", "decide": "qms/desk-1"}


class Scene(Struct, frozen=True):
    """Everything about one lot, as rows of events, sent in order: goods in, results, decisions."""

    lot: str
    goods_in: tuple[dict[str, Any], ...]
    results: tuple[dict[str, Any], ...]
    decisions: tuple[dict[str, Any], ...] = ()


class Author(Struct, frozen=True):
    """Writes events for one run: `run` makes lot and event ids its own, `now` is when they happen."""

    run: str
    now: datetime

    def scenes(self, lots: list[MeasuredLot]) -> list[Scene]:
        """One scene a measured lot, and after them three lots with something wrong."""
        ordinary = [self._ordinary(number, lot) for number, lot in enumerate(lots)]
        return [*ordinary, self._unapproved(lots[0]), self._outlived(lots[0]), self._unknown_item(lots[0])]

    def hold(self, lot: str) -> dict[str, Any]:
        """Quality stops a lot that was released."""
        data = {
            "hold": "QH-1",
            "reason": {"code": "customer-complaint", "text": "Burr found at the customer's."},
        }
        return self._event("decide", "hold.applied.v1", lot, "hold", data)

    def release(self, lot: str, attempt: str) -> dict[str, Any]:
        """Somebody asks for a release by hand."""
        return self._event("decide", "lot.released.v1", lot, f"release-{attempt}", {})

    def _ordinary(self, number: int, lot: MeasuredLot) -> Scene:
        name = f"{self.run}-{lot.name}"
        receipt = self._receipt(name, lot)
        results = self._results(name, lot.measurements, "1")
        if number in _RETRIED:
            return Scene(name, (receipt, receipt), (results,))
        if number == _RESCANNED:
            return Scene(name, (receipt, {**receipt, "id": receipt["id"] + "-rescan"}), (results,))
        if number == _EARLY:
            return Scene(name, (results, receipt), ())
        if number == _IN_PARTS:
            first = self._results(name, lot.measurements[:2], "1")
            second = self._results(name, lot.measurements[2:], "2")
            return Scene(name, (receipt,), (first, self.release(name, "early"), second))
        return Scene(name, (receipt,), (results,))

    def _unapproved(self, like: MeasuredLot) -> Scene:
        """From a supplier that is not approved: held on arrival, so that good results do not release it."""
        name = f"{self.run}-BADCO-1"
        receipt = self._receipt(name, like, supplier="BADCO")
        results = self._results(name, like.measurements, "1")
        return Scene(name, (receipt,), (results,), (self.release(name, "held"),))

    def _outlived(self, like: MeasuredLot) -> Scene:
        """Its shelf life ended yesterday: the results are good, yet the release gate stays shut."""
        name = f"{self.run}-OLD-1"
        receipt = self._receipt(name, like, expires_on=(self.now.date() - timedelta(days=1)).isoformat())
        results = self._results(name, like.measurements, "1")
        return Scene(name, (receipt,), (results,), (self.release(name, "late"),))

    def _unknown_item(self, like: MeasuredLot) -> Scene:
        """Of an item that no specification knows."""
        name = f"{self.run}-UNKNOWN-1"
        return Scene(name, (self._receipt(name, like, item="RING-47"),), ())

    def _receipt(self, name: str, lot: MeasuredLot, **other: str) -> dict[str, Any]:
        quantity = {"value": str(lot.quantity), "unit": lot.quantity_unit}
        data = {"item": lot.item, "revision": "A", "quantity": quantity, "supplier": lot.supplier}
        data |= {"supplier_lot": lot.name, "receipt": f"GR-{name}"[:64], **other}
        return self._event("receive", "lot.received.v1", name, "receipt", data)

    def _results(self, name: str, measurements: tuple[Measurement, ...], part: str) -> dict[str, Any]:
        found = [
            {"characteristic": m.characteristic, "value": m.value, "unit": m.unit, "sample": m.sample}
            for m in measurements
        ]
        data = {
            "inspection": f"IL-{name}"[:64],
            "record": f"IL-{name}"[:60] + f"/{part}",
            "measurements": found,
        }
        return self._event("inspect", "inspection.recorded.v1", name, f"results-{part}", data)

    def _event(self, who: str, kind: str, lot: str, what: str, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"{lot}-{what}",
            "source": _SOURCE[who],
            "type": kind,
            "subject": lot,
            "time": self.now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "data": data,
        }
