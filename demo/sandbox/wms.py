"""The sandbox WMS: `python -m demo.sandbox.wms --port 8002 --storage var/sandbox-wms.sqlite`.

PUT   /stock/{lot}                  {item, revision, quantity, unit}       201 | 200 same | 409 differs
POST  /stock/register-batch         {items: [{lot, + the above}]}          200, one result per item
PATCH /stock/{lot}/availability     X-Request-Id; {revision_no, allocatable, pick, ship, status, reasons}
POST  /stock/availability-batch     {items: [{lot, key, item, revision, …}]} 200, one result per item
PUT   /orders/{order}/signal        X-Request-Id; {number, signal, readiness, reasons}
GET   /orders/{order} · GET /stock/{lot} · GET /stock?after=&limit=
"""

from typing import Literal

import msgspec

from demo.sandbox.book import Applied, Change, StockBook
from demo.sandbox.serve import main
from demo.sandbox.stock import Code, LotToRegister, Quantity, Reasons, Stock, Version, Words, decode, key_of
from demo.sandbox.wire import BadRequest, Reply, Request, no_such_call, refuse, reply


class StockToRegister(msgspec.Struct, forbid_unknown_fields=True):
    item: Code
    revision: Code
    quantity: Quantity
    unit: Code


class Availability(msgspec.Struct, forbid_unknown_fields=True):
    """What the warehouse may do with a lot."""

    revision_no: Version
    allocatable: bool
    pick: bool
    ship: bool
    status: Literal["QUALITY", "AVAILABLE", "RESTRICTED", "BLOCKED", "SHIPPED", "NONE"]
    reasons: Reasons
    #: What expires first is picked first; null: it keeps.
    expires_on: str | None = None


class AvailabilityItem(Availability, forbid_unknown_fields=True, kw_only=True):
    """One item of an availability batch; `key` is what X-Request-Id is to the single call."""

    lot: Code
    key: Code
    item: Code
    revision: Code


class Signal(msgspec.Struct, forbid_unknown_fields=True):
    """May an order be staged?"""

    number: Version
    signal: Literal["RELEASE", "BLOCK"]
    readiness: Code
    reasons: Reasons


_AT_START = msgspec.json.encode(
    {"revision_no": 0, "allocatable": False, "pick": False, "ship": False, "status": "NONE", "reasons": []}
)
_NAME = msgspec.json.Decoder(Code)
_REGISTER = msgspec.json.Decoder(StockToRegister)
_AVAILABILITY = msgspec.json.Decoder(Availability)
_SIGNAL = msgspec.json.Decoder(Signal)
_ITEM = msgspec.json.Decoder(AvailabilityItem)


class Wms:
    key_header = b"x-request-id"

    def __init__(self, book: StockBook) -> None:
        self._book = book
        self._stock = Stock(book, Words(stale="outdated", listing="stock"))
        self.invariants = self._stock.invariants

    def answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "PATCH", ("stock", lot, "availability"):
                key = key_of(request, "X-Request-Id")
                return self._stock.apply(_change(lot, key, decode(_AVAILABILITY, request.body)))
            case "POST", ("stock", "availability-batch"):
                return self._stock.apply_batch(request.body, _item)
            case "PUT", ("stock", lot):
                new = decode(_REGISTER, request.body)
                name = decode(_NAME, msgspec.json.encode(lot))  # the path is held to the same rule as a body
                return self._stock.register(
                    LotToRegister(name, new.item, new.revision, new.quantity, new.unit)
                )
            case "POST", ("stock", "register-batch"):
                return self._stock.register_batch(request.body)
            case "PUT", ("orders", order, "signal"):
                key_of(request, "X-Request-Id")
                return self._signal(order, decode(_SIGNAL, request.body))
            case "GET", ("orders", order):
                found = self._book.find_order(order)
                return refuse(404, "unknown-order", "No signal came.") if found is None else reply(200, found)
            case "GET", ("stock",):
                return self._stock.page(request.query)
            case "GET", ("stock", lot):
                return self._stock.show(lot)
        return no_such_call(request)

    def _signal(self, order: str, new: Signal) -> Reply:
        with self._book.transaction():
            outcome, current = self._book.signal(order, new.number, msgspec.json.encode(new))
        if outcome is Applied.STALE:
            return refuse(409, "outdated", f"Signal {current} is known.", current=current)
        return reply(200, {outcome.value: True})


def _change(lot: str, key: str, new: Availability, item: str | None = None) -> Change:
    if (new.allocatable or new.pick or new.ship) and new.status not in ("AVAILABLE", "RESTRICTED"):
        raise BadRequest(
            422, "invalid", f"Stock with status {new.status} cannot be allocated, picked or shipped."
        )
    return Change(lot, key, new.revision_no, new.status, msgspec.json.encode(new), item)


def _item(raw: bytes) -> Change:
    item = decode(_ITEM, raw)
    new = Availability(item.revision_no, item.allocatable, item.pick, item.ship, item.status, item.reasons)
    return _change(item.lot, item.key, new, item.item)


if __name__ == "__main__":
    main("wms", 8002, lambda path: StockBook(path, status_at_start="NONE", body_at_start=_AT_START), Wms)
