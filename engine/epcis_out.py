"""Our journal entries written as GS1 EPCIS 2.0 events. Pure.

Entries that move, make, hold, release, split or ship a lot have an event; what only Lotgate knows (results, tasks,
records) has none. The eventID is where the entry stands in the feed, so that
whoever keeps both finds one by the other.
"""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec

from engine import epcis
from engine.feed import Change

#: CloudEvents type -> business step and disposition (CBV 2.0).
_STEPS = {
    "lot.received.v1": ("receiving", "in_progress"),
    "lot.produced.v1": ("commissioning", "in_progress"),
    "lot.consumed.v1": ("commissioning", "in_progress"),
    "lot.split_off.v1": ("repackaging", "in_progress"),
    "lot.released.v1": ("storing", "sellable_not_accessible"),
    "hold.applied.v1": ("holding", "non_sellable_other"),
    "lot.shipped.v1": ("shipping", "in_transit"),
    "lot.returned.v1": ("receiving", "returned"),
}
#: What has an EPCIS event.
TYPES = tuple(_STEPS)


def event_of(change: Change, number: str) -> dict[str, Any] | None:
    """The EPCIS event that says what ``change`` says; None: there is none. ``number``: where it stands in the feed."""
    if change.kind == "refusal" or change.type not in _STEPS:
        return None
    step, disposition = _STEPS[change.type]
    data = msgspec.json.decode(change.data)
    if change.type == "hold.applied.v1" and data.get("scope") == "recall":
        disposition = "recalled"
    event: dict[str, Any] = {
        "eventID": f"urn:lotgate:entry:{number}",
        "type": "ObjectEvent",
        "eventTime": change.time or change.recorded_at,
        "eventTimeZoneOffset": "+00:00",
        "recordTime": change.recorded_at,
        "bizStep": step,
        "disposition": disposition,
    }
    event |= _WRITERS.get(change.type, _observed)(change, data)
    places = {"bizLocation": data.get("plant") or change.plant, "readPoint": data.get("location")}
    event |= {name: {"id": _uri("place", place)} for name, place in places.items() if place}
    return event


def document(events: list[dict[str, Any]], created_at: str, query: str) -> dict[str, Any]:
    """Events as the answer to a query."""
    return {
        "@context": [epcis.CONTEXT, {"lotgate": epcis.NAMESPACE}],
        "type": "EPCISQueryDocument",
        "schemaVersion": "2.0",
        "creationDate": created_at,
        "epcisBody": {"queryResults": {"queryName": query, "resultsBody": {"eventList": events}}},
    }


def _observed(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    return {"action": "OBSERVE", "quantityList": [_part(change.lot, data.get("quantity"))]}


def _received(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "ADD",
        "quantityList": [_part(change.lot, data["quantity"])],
        "ilmd": _made_of(data),
        "sourceList": [{"type": "owning_party", "source": _uri("supplier", data["supplier"])}],
        **_documents(recadv=data["receipt"], po=data.get("order")),
    }


def _produced(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    made = {"ilmd": _made_of(data), **_documents(prodorder=data["order"])}
    inputs = [_part(one["lot"], one["quantity"]) for one in data.get("inputs", ())]
    if not inputs:
        return {"action": "ADD", "quantityList": [_part(change.lot, data["quantity"])], **made}
    outputs = [_part(change.lot, data["quantity"])]
    return {"type": "TransformationEvent", "inputQuantityList": inputs, "outputQuantityList": outputs, **made}


def _consumed(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "TransformationEvent",
        "inputQuantityList": [_part(change.lot, data["quantity"])],
        "transformationID": _uri("order", data["order"]),
        **_documents(prodorder=data["order"]),
    }


def _split_off(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    amount = {"value": str(data["lot"]["quantity"]), "unit": data["lot"]["unit"]}
    return {
        "type": "TransformationEvent",
        "inputQuantityList": [_part(data["parent"], amount)],
        "outputQuantityList": [_part(change.lot, amount)],
        "ilmd": _made_of(data["lot"]),
    }


def _shipped(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "OBSERVE",
        "quantityList": [_part(change.lot, data.get("quantity"))],
        "destinationList": [{"type": "owning_party", "destination": _uri("customer", data["customer"])}],
        **_documents(desadv=data["shipment"], po=data.get("order")),
    }


_WRITERS = {
    "lot.received.v1": _received, "lot.produced.v1": _produced, "lot.consumed.v1": _consumed,
    "lot.split_off.v1": _split_off, "lot.shipped.v1": _shipped,
}  # fmt: skip


def _part(lot: str, quantity: dict[str, Any] | None) -> dict[str, Any]:
    """A lot with its quantity, where EPCIS has a code for the unit."""
    part: dict[str, Any] = {"epcClass": epcis.class_of(lot)}
    if quantity is None:
        return part
    # Written as the number it is: msgspec writes a Decimal as text, which EPCIS does not take.
    number = msgspec.Raw(format(Decimal(str(quantity["value"])), "f").encode())
    if quantity["unit"] == epcis.PIECES:
        return part | {"quantity": number}
    uom = epcis.uom_of(quantity["unit"])
    return part if uom is None else part | {"quantity": number, "uom": uom}


def _made_of(data: dict[str, Any]) -> dict[str, str]:
    return {"lotgate:item": data["item"], "lotgate:revision": data["revision"]}


def _documents(**numbers: str | None) -> dict[str, Any]:
    named = [{"type": kind, "bizTransaction": _uri(kind, number)} for kind, number in numbers.items() if number]
    return {"bizTransactionList": named}


def _uri(kind: str, name: str) -> str:
    """A name as EPCIS wants it: one that is a URI stays itself."""
    return name if name.startswith(("urn:", "http://", "https://")) else f"urn:lotgate:{kind}:{quote(name, safe='')}"
