"""GS1 EPCIS 2.0 events read: what our events are that say the same, or why there are none. Pure.

An event is understood whole or not at all. What happens to a container happens to the lots that are named as its
content. Serial-numbered items are no lots. What may not enter: submitting, HTTP.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from engine import epcis
from engine.decoding import decode_event, scaled
from engine.errors import EventInvalid
from engine.events import Event

#: Events of one document.
MAX_EVENTS = 2_000
#: Lots of one list of an event.
MAX_LOTS = 2_000
#: What a document may become, as a batch may hold (api/batch.py).
MAX_OURS = 10_000
#: Where nobody says which revision of an item a lot is of.
NO_REVISION = "-"
#: Source of what was captured; a key that is limited to sources has to be allowed it.
SOURCE = "epcis"
_TYPES = ("ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent", "AssociationEvent")
#: Lists in which an event names its lots, by its type.
_CLASSES = {"ObjectEvent": "quantityList", "AggregationEvent": "childQuantityList", "TransactionEvent": "quantityList"}
_SERIALS = {"ObjectEvent": "epcList", "AggregationEvent": "childEPCs", "TransactionEvent": "epcList"}
#: Where a document has its events, by its type.
_WAYS = {
    "EPCISDocument": ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]} is beyond every number") from None


#: Exact: no quantity passes through a binary float.
_decode = msgspec.json.Decoder(float_hook=_number).decode


class NotUnderstood(EventInvalid):
    """An EPCIS event, or a document, that says nothing that Lotgate can act on; with the reason and the place."""


class Captured(Struct, frozen=True):
    """One event of a document: our events, or why there are none."""

    event_id: str | None
    type: str | None
    events: list[Event]
    problem: NotUnderstood | None = None


def read_document(body: bytes) -> list[Captured]:
    """Every event of a document, in order. Raises NotUnderstood for what is no EPCIS 2.0 document."""
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotUnderstood(f"It is no JSON: {error}.", malformed=True) from None
    if not isinstance(document, dict):
        raise NotUnderstood("A document is a JSON object.")
    _check_context(document.get("@context"))
    at, listed = _events(document)
    found, ours = [], 0
    for number, event in enumerate(listed):
        found.append(_captured(event, f"{at}/{number}" if at else ""))
        ours += len(found[-1].events)
        if ours > MAX_OURS:
            raise NotUnderstood(f"A document names at most {MAX_OURS} lots, repeated ones too; divide it.")
    return found


def _check_context(context: Any) -> None:
    names = context if isinstance(context, list) else [context]
    texts = [name for name in names if isinstance(name, str)]
    for name in texts:
        if not epcis.is_known_context(name):
            raise NotUnderstood(f"The context {name} is not known here, and none is fetched.", "/@context")
    if not texts:
        raise NotUnderstood(f"The document has no context of EPCIS; it is {epcis.CONTEXT}.", "/@context")


def _events(document: dict[str, Any]) -> tuple[str, list[Any]]:
    kind = document.get("type")
    if kind in _TYPES:
        return "", [document]
    steps = _WAYS.get(str(kind))
    if steps is None:
        raise NotUnderstood("Its type is EPCISDocument, EPCISQueryDocument or that of one event.", "/type")
    if str(document.get("schemaVersion")) != "2.0":
        raise NotUnderstood("Its schemaVersion is 2.0.", "/schemaVersion")
    found: Any = document
    for step in steps:
        found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, list):
        raise NotUnderstood("It has no list of events.", "/" + "/".join(steps))
    if len(found) > MAX_EVENTS:
        raise NotUnderstood(f"A document has at most {MAX_EVENTS} events; this one has {len(found)}.")
    return "/" + "/".join(steps), found


def _captured(event: Any, pointer: str) -> Captured:
    said = event if isinstance(event, dict) else {}
    identity, kind = said.get("eventID"), said.get("type")
    try:
        events = list(_understood(said))
        problem = None
    except NotUnderstood as error:
        events, problem = [], NotUnderstood(error.detail, pointer + error.pointer)
    except EventInvalid as error:
        events, problem = [], NotUnderstood(f"What it says does not fit: {error.detail}", pointer)
    return Captured(
        identity if isinstance(identity, str) else None, kind if isinstance(kind, str) else None, events, problem
    )


def _understood(event: dict[str, Any]) -> Iterator[Event]:
    kind = event.get("type")
    if kind not in _TYPES:
        raise NotUnderstood(f"Its type is one of {', '.join(_TYPES)}.", "/type")
    if kind == "AssociationEvent":
        raise NotUnderstood("Which thing is attached to which is not kept here.", "/type")
    if "errorDeclaration" in event:
        raise NotUnderstood("What was decided stands; send the event that says what is so.", "/errorDeclaration")
    if not isinstance(event.get("eventTime"), str):
        raise NotUnderstood("It has no eventTime.", "/eventTime")
    said = _Said(event)
    made = _transformed(said) if kind == "TransformationEvent" else _happened(said)
    for number, (type_, lot, data) in enumerate(made):
        ours = {
            "specversion": "1.0", "id": f"{said.identity}#{number}", "source": SOURCE, "type": type_, "subject": lot,
            "time": event["eventTime"], "correlationid": said.identity, "data": data,
        }  # fmt: skip
        yield decode_event(msgspec.json.encode(ours))


class _Part(Struct, frozen=True):
    """A lot with a quantity."""

    lot: str
    epc_class: str
    quantity: dict[str, str] | None


class _Said:
    """What one EPCIS event says."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        self.kind = str(event["type"])
        self.step = epcis.word_of(str(event.get("bizStep") or ""))
        self.disposition = epcis.word_of(str(event.get("disposition") or ""))
        given = event.get("eventID")
        plain = msgspec.json.encode(event, order="sorted")
        self.identity = given if isinstance(given, str) and len(given) <= 200 else hashlib.sha256(plain).hexdigest()
        #: Short enough for a code of ours, and always the same for the same event.
        self.short = hashlib.sha256(self.identity.encode()).hexdigest()[:32]

    def parts(self, name: str, serials: str) -> list[_Part]:
        """The lots of a list. Raises NotUnderstood for what is in it beside lots."""
        if self.event.get(serials):
            raise NotUnderstood("It is about serial-numbered items; Lotgate decides about lots.", f"/{serials}")
        found = dict[str, _Part]()
        listed = _objects(self.event.get(name), f"/{name}")
        if len(listed) > MAX_LOTS:
            raise NotUnderstood(f"A list names at most {MAX_LOTS} lots; this one has {len(listed)}.", f"/{name}")
        for number, element in enumerate(listed):
            pointer = f"/{name}/{number}"
            named = element.get("epcClass")
            lot = epcis.lot_of(named) if isinstance(named, str) else None
            if lot is None:
                words = f"The class {named} names no lot (or one of more than 64 characters)."
                raise NotUnderstood(words, f"{pointer}/epcClass")
            if lot in found:  # the second would look like the first sent again
                raise NotUnderstood(f"It names {lot} twice; say its whole quantity once.", f"{pointer}/epcClass")
            found[lot] = _Part(lot, str(named), _amount(element, pointer))
        return list(found.values())

    def transaction(self, *kinds: str) -> str | None:
        """The number of the first business document of these kinds."""
        return self._first("bizTransactionList", "bizTransaction", kinds)

    def party(self, list_: str, name: str) -> str | None:
        """Who is at one end: owner before holder before place."""
        return self._first(list_, name, ("owning_party", "possessing_party", "location"))

    def _first(self, list_: str, name: str, kinds: tuple[str, ...]) -> str | None:
        listed = _objects(self.event.get(list_), f"/{list_}")
        for kind in kinds:
            for one in listed:
                if epcis.word_of(str(one.get("type", ""))) == kind and isinstance(one.get(name), str):
                    return _code(one[name])
        return None

    def place(self, name: str) -> str | None:
        found = self.event.get(name)
        return _code(found["id"]) if isinstance(found, dict) and isinstance(found.get("id"), str) else None

    def goods(self, part: _Part) -> dict[str, Any]:
        """What a lot is of. Raises NotUnderstood where nobody says it."""
        ilmd = self.event.get("ilmd")
        more: Mapping[str, Any] = ilmd if isinstance(ilmd, dict) else {}
        item = more.get("lotgate:item") or epcis.gtin_of(part.epc_class)
        if item is None:
            raise NotUnderstood(f"Nobody says of which item {part.lot} is (ilmd, lotgate:item).", "/ilmd")
        found = {
            "item": item, "revision": more.get("lotgate:revision", NO_REVISION), "plant": self.place("bizLocation"),
            "location": self.place("readPoint"), "expires_on": more.get("cbvmda:itemExpirationDate"),
        }  # fmt: skip
        if part.quantity is None:
            raise NotUnderstood(f"Nobody says how much {part.lot} is.")
        return {name: value for name, value in found.items() if value is not None} | {"quantity": part.quantity}


Made = Iterator[tuple[str, str, dict[str, Any]]]


def _happened(said: _Said) -> Made:
    act = _STEPS.get(said.step)
    if act is None:
        known = ", ".join(_STEPS)
        raise NotUnderstood(f'The step "{said.step}" changes nothing here; understood are {known}.', "/bizStep")
    if said.event.get("action") == "DELETE" and said.step not in _UNDOING:
        raise NotUnderstood("The action DELETE ends what Lotgate keeps for good.", "/action")
    parts = said.parts(_CLASSES[said.kind], _SERIALS[said.kind])
    if not parts:
        raise NotUnderstood("It names no lot.", f"/{_CLASSES[said.kind]}")
    for part in parts:
        yield act(said, part)


def _received(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    supplier = said.party("sourceList", "source")
    if supplier is None:
        raise NotUnderstood("Nobody says who sent it (sourceList).", "/sourceList")
    receipt = said.transaction("recadv", "desadv", "po") or said.short
    more = {"supplier": supplier, "receipt": _key(receipt, part.lot), "order": said.transaction("po")}
    return "lot.received.v1", part.lot, said.goods(part) | {n: v for n, v in more.items() if v is not None}


def _commissioned(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    order = said.transaction("prodorder")
    if order is None:
        raise NotUnderstood("Nobody says by which production order it was made (prodorder).", "/bizTransactionList")
    return "lot.produced.v1", part.lot, said.goods(part) | {"order": order, "confirmation": said.short}


def _shipped(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    customer = said.party("destinationList", "destination")
    if customer is None:
        raise NotUnderstood("Nobody says who gets it (destinationList).", "/destinationList")
    data = {"shipment": said.transaction("desadv", "bol") or said.short, "customer": customer,
            "order": said.transaction("po"), "quantity": part.quantity}  # fmt: skip
    return "lot.shipped.v1", part.lot, {name: value for name, value in data.items() if value is not None}


def _held(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    return "hold.applied.v1", part.lot, {"hold": said.short, "reason": {"code": _code(said.disposition or "holding")}}


def _voided(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    shipment = said.transaction("desadv", "bol")
    if shipment is None:
        raise NotUnderstood("Nobody says which shipment is voided (desadv).", "/bizTransactionList")
    reason = {"code": _code(said.disposition or "void_shipping")}
    return "shipment.voided.v1", part.lot, {"shipment": shipment, "reason": reason}


def _packed(said: _Said, part: _Part) -> tuple[str, str, dict[str, Any]]:
    named = said.event.get("parentID")
    unit = epcis.unit_in(named) if isinstance(named, str) else None
    if said.kind != "AggregationEvent" or unit is None:
        words = "Nobody says on which handling unit it lies (an AggregationEvent with parentID)."
        raise NotUnderstood(words, "/parentID")
    away = said.step == "unpacking" or said.event.get("action") == "DELETE"
    return "lot.repacked.v1", part.lot, {"unpacked" if away else "packed": [unit]}


#: Steps that the action DELETE belongs to.
_UNDOING = ("packing", "unpacking", "void_shipping")
#: Business step -> our event.
_STEPS: dict[str, Callable[[_Said, _Part], tuple[str, str, dict[str, Any]]]] = {
    "receiving": _received, "commissioning": _commissioned, "shipping": _shipped, "holding": _held,
    "packing": _packed, "unpacking": _packed, "void_shipping": _voided,
}  # fmt: skip


def _transformed(said: _Said) -> Made:
    """Inputs go into a production order, outputs come out of it; the step repackaging puts together or repacks."""
    used, made = said.parts("inputQuantityList", "inputEPCList"), said.parts("outputQuantityList", "outputEPCList")
    if said.step == "repackaging" and used and made:
        yield _repackaged(said, used, made)
        return
    given = said.event.get("transformationID")
    order = said.transaction("prodorder") or (_code(given) if isinstance(given, str) else said.short)
    for part in used:
        if part.quantity is None:
            raise NotUnderstood(f"Nobody says how much of {part.lot} was used.", "/inputQuantityList")
        yield "lot.consumed.v1", part.lot, {"quantity": part.quantity, "order": order, "confirmation": said.short}
    for part in made:
        yield "lot.produced.v1", part.lot, said.goods(part) | {"order": order, "confirmation": said.short}


def _repackaged(said: _Said, used: list[_Part], made: list[_Part]) -> tuple[str, str, dict[str, Any]]:
    """One lot becomes several, or several become one."""
    if len(used) > 1 and len(made) > 1:
        words = "Which lot went into which is not said: one lot is repacked, or several are put together into one."
        raise NotUnderstood(words, "/outputQuantityList")
    if len(used) > 1:
        parts = [{"lot": part.lot} | ({} if part.quantity is None else {"quantity": part.quantity}) for part in used]
        counted = {} if made[0].quantity is None else {"quantity": made[0].quantity}
        return "lot.merged.v1", made[0].lot, {"parts": parts} | counted
    return "lot.repacked.v1", used[0].lot, {"into": [_pack(used[0], part, alone=len(made) == 1) for part in made]}


def _pack(lot: _Part, part: _Part, *, alone: bool) -> dict[str, Any]:
    if part.quantity is None:
        raise NotUnderstood(f"Nobody says how much {part.lot} is.", "/outputQuantityList")
    pack = {"lot": part.lot, "quantity": part.quantity}
    if lot.quantity is None or lot.quantity["unit"] == part.quantity["unit"]:
        return pack
    if not alone:
        words = f"How much of {lot.lot} went into {part.lot} is not said: one output an event where units differ."
        raise NotUnderstood(words, "/outputQuantityList")
    return pack | {"used": lot.quantity}


def _objects(value: Any, pointer: str) -> list[dict[str, Any]]:
    listed = [] if value is None else value
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise NotUnderstood("It is a list of objects.", pointer)
    return listed


def _amount(element: dict[str, Any], pointer: str) -> dict[str, str] | None:
    value, uom = element.get("quantity"), element.get("uom")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not isinstance(uom, str | None):
        raise NotUnderstood("A quantity is a number, its uom a UN/CEFACT code.", pointer)
    exact = Decimal(value)
    try:
        scaled(exact)  # before it is written out: 1e999999999 would be a billion digits
    except ValueError as error:
        raise NotUnderstood(f"The quantity {value} {error}.", f"{pointer}/quantity") from None
    return {"value": format(exact, "f"), "unit": epcis.unit_of(uom)}


def _key(document: str, lot: str) -> str:
    """A document's line for a lot: what tells two of them apart is never cut off."""
    text = f"{document}/{lot}"
    return text if len(text) <= 64 else hashlib.sha256(text.encode()).hexdigest()


def _code(text: str) -> str:
    """A name of theirs as a code of ours; a long one by the end that tells it apart, or by its hash."""
    if text.startswith("urn:lotgate:"):
        text = unquote(text.split(":", 3)[3]) if text.count(":") >= 3 else text
    if len(text) <= 64:
        return text
    end = text.rpartition("/")[2]
    return end if 1 <= len(end) <= 64 else hashlib.sha256(text.encode()).hexdigest()
