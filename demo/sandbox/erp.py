"""The sandbox ERP: `python -m demo.sandbox.erp --port 8001 --storage var/sandbox-erp.sqlite`.

POST /api/lots                   {lot, item, revision, quantity, unit}    201 | 200 same | 409 differs
POST /api/lots/register-batch    {items: [...]}                           200, one result per item
POST /api/lots/{lot}/status      Idempotency-Key; {version, stock, state, quantity, unit, reasons}
POST /api/lots/status-batch      {items: [{lot, key, item, revision, + the above}]} 200, one result per item
GET  /api/lots/{lot} · GET /api/lots?after=&limit=
"""

from typing import Literal

import msgspec

from demo.sandbox.book import Change, StockBook
from demo.sandbox.serve import main
from demo.sandbox.stock import Code, LotToRegister, Quantity, Reasons, Stock, Version, Words, decode, key_of
from demo.sandbox.wire import Reply, Request, no_such_call


class LotStatus(msgspec.Struct, forbid_unknown_fields=True):
    """The stock status of a lot as the ERP keeps it."""

    version: Version
    stock: Literal["quality", "unrestricted", "restricted", "blocked", "issued", "none"]
    state: Literal["received", "quarantined", "inspected", "released", "blocked", "shipped"]
    quantity: Quantity
    unit: Code
    reasons: Reasons


class LotStatusItem(LotStatus, forbid_unknown_fields=True, kw_only=True):
    """One item of a status batch; `key` is what Idempotency-Key is to the single call."""

    lot: Code
    key: Code
    item: Code
    revision: Code


_AT_START = msgspec.json.encode({"version": 0, "stock": "none", "state": None, "reasons": []})
_REGISTER = msgspec.json.Decoder(LotToRegister)
_STATUS = msgspec.json.Decoder(LotStatus)
_ITEM = msgspec.json.Decoder(LotStatusItem)


class Erp:
    key_header = b"idempotency-key"

    def __init__(self, book: StockBook) -> None:
        self._stock = Stock(book, Words(stale="stale-version", listing="lots"))
        self.invariants = self._stock.invariants

    def answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "POST", ("api", "lots", lot, "status"):
                key = key_of(request, "Idempotency-Key")
                return self._stock.apply(_change(lot, key, decode(_STATUS, request.body)))
            case "POST", ("api", "lots", "status-batch"):
                return self._stock.apply_batch(request.body, _item)
            case "POST", ("api", "lots"):
                return self._stock.register(decode(_REGISTER, request.body))
            case "POST", ("api", "lots", "register-batch"):
                return self._stock.register_batch(request.body)
            case "GET", ("api", "lots"):
                return self._stock.page(request.query)
            case "GET", ("api", "lots", lot):
                return self._stock.show(lot)
        return no_such_call(request)


def _change(lot: str, key: str, status: LotStatus, item: str | None = None) -> Change:
    return Change(lot, key, status.version, status.stock, msgspec.json.encode(status), item, status.unit)


def _item(raw: bytes) -> Change:
    item = decode(_ITEM, raw)
    status = LotStatus(item.version, item.stock, item.state, item.quantity, item.unit, item.reasons)
    return _change(item.lot, item.key, status, item.item)


if __name__ == "__main__":
    main("erp", 8001, lambda path: StockBook(path, status_at_start="none", body_at_start=_AT_START), Erp)
