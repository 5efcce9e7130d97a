"""What ERP and WMS have in common: registering lots, applying statuses singly or in batches, showing lots.

The two systems differ in paths, field names and words; those come in as `Words` and decoders. No paths here.
"""

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from demo.sandbox.book import Applied, Change, Registered, Registration, StockBook
from demo.sandbox.wire import BadRequest, Reply, Request, bounded, refuse, reply

MAX_BATCH_ITEMS = 1000
_MAX_PAGE = 1000

T = TypeVar("T")

#: A name: anything that can be printed, as no control character can.
Code = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
#: A decimal string, at most 15 digits before and 6 after the point; never negative, never an exponent.
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,6})?\Z")]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Reasons = Annotated[list[Annotated[str, msgspec.Meta(max_length=1000)]], msgspec.Meta(max_length=500)]


class Words(msgspec.Struct, frozen=True):
    """`stale`: the error code for a version too old; `listing`: the field that holds a page of lots."""

    stale: str
    listing: str


class Items(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH_ITEMS)]


class LotToRegister(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lot: Code
    item: Code
    revision: Code
    quantity: Quantity
    unit: Code


class Result(msgspec.Struct, omit_defaults=True):
    """The answer to one item of a batch; `current` is the version the system has, None for an unknown lot."""

    lot: str | None
    outcome: str
    current: int | None
    detail: str = ""


_ITEMS = msgspec.json.Decoder(Items)
_REGISTER = msgspec.json.Decoder(LotToRegister)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_REFUSED = {
    Applied.KEY_REUSED: "This key was used for another request; a key belongs to one lot, version and body.",
    Applied.ITEM_DIFFERS: "The lot is registered with another item.",
    Applied.UNIT_DIFFERS: "The lot is registered with another unit.",
}


class Stock:
    """The calls of both systems on one stock book."""

    def __init__(self, book: StockBook, words: Words) -> None:
        self._book = book
        self._words = words
        self.invariants = book.invariants

    def register(self, lot: LotToRegister) -> Reply:
        with self._book.transaction():
            outcome = self._book.register(_registration(lot))
        if outcome is Registered.DIFFERS:
            return refuse(409, "lot-differs", f"{lot.lot} is registered with another item, revision or unit.")
        return reply(201 if outcome is Registered.CREATED else 200, self._book.find(lot.lot))

    def register_batch(self, body: bytes) -> Reply:
        with self._book.transaction():
            return reply(200, {"results": [self._register_item(raw) for raw in decode(_ITEMS, body).items]})

    def _register_item(self, raw: msgspec.Raw) -> dict[str, str | None]:
        try:
            lot = decode(_REGISTER, bytes(raw))
        except BadRequest as error:
            return {"lot": _lot_of(raw), "outcome": "invalid", "detail": str(error)}
        return {"lot": lot.lot, "outcome": self._book.register(_registration(lot)).value}

    def apply(self, change: Change) -> Reply:
        with self._book.transaction():
            outcome, current = self._book.apply(change)
        match outcome:
            case Applied.APPLIED:
                return reply(200, {"applied": True, "lot": change.lot, "current": current})
            case Applied.DUPLICATE:
                return reply(200, {"duplicate": True, "lot": change.lot, "current": current})
            case Applied.STALE:
                detail = f"Version {change.version} of {change.lot} is not newer than {current}."
                return refuse(409, self._words.stale, detail, current)
            case Applied.UNKNOWN_LOT:
                return refuse(404, outcome.value, f"{change.lot} is not registered here.")
        return refuse(422, outcome.value, _REFUSED[outcome], current)

    def apply_batch(self, body: bytes, read: Callable[[bytes], Change]) -> Reply:
        """Apply each item by itself, in order, in one commit; a bad item spoils only itself."""
        with self._book.transaction():
            return reply(
                200, {"results": [self._apply_item(raw, read) for raw in decode(_ITEMS, body).items]}
            )

    def _apply_item(self, raw: msgspec.Raw, read: Callable[[bytes], Change]) -> Result:
        try:
            change = read(bytes(raw))
        except BadRequest as error:
            return Result(_lot_of(raw), "invalid", None, str(error))
        outcome, current = self._book.apply(change)
        if outcome in _REFUSED:
            return Result(change.lot, "invalid", current, _REFUSED[outcome])
        return Result(change.lot, self._words.stale if outcome is Applied.STALE else outcome.value, current)

    def show(self, lot: str) -> Reply:
        found = self._book.find(lot)
        return (
            refuse(404, "unknown-lot", f"{lot} is not registered here.")
            if found is None
            else reply(200, found)
        )

    def page(self, query: dict[str, str]) -> Reply:
        """`?after=<lot>&limit=<1…1000>`; `next` is the `after` of the following page, null on the last."""
        limit = min(max(bounded(query, "limit", 100), 1), _MAX_PAGE)
        lots = self._book.page(query.get("after", ""), limit)
        return reply(
            200, {self._words.listing: lots, "next": lots[-1]["lot"] if len(lots) == limit else None}
        )


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode strictly; BadRequest 400 for what is not JSON, 422 for what does not fit, with the place."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(422, "invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(400, "not-json", str(error)) from None


def key_of(request: Request, header: str) -> str:
    """The idempotency key; BadRequest 400 when it is missing or not 1 to 200 printable ASCII characters."""
    if request.key is None or not _KEY.fullmatch(request.key):
        raise BadRequest(
            400, "no-key", f"The header {header} must carry 1 to 200 printable ASCII characters."
        )
    return request.key


def _registration(lot: LotToRegister) -> Registration:
    return Registration(lot.lot, lot.item, lot.revision, lot.quantity, lot.unit)


def _lot_of(raw: msgspec.Raw) -> str | None:
    """The lot a bad item speaks of, so that its sender can tell which one it was."""
    try:
        return msgspec.json.decode(raw, type=_Named).lot
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Named(msgspec.Struct):
    lot: str
