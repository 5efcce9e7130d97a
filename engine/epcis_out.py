"""Our journal entries written as GS1 EPCIS 2.0 events. Pure.

Entries that move, make, hold, release, split, put together, repack or ship a lot have events; what only Lotgate knows
(results, tasks, records) has none. The eventID is where the entry stands in the feed, so that whoever keeps both finds
one by the other. A handling unit is told as an AggregationEvent, an order or shipment as a TransactionEvent without a
business step: the event beside it says what happened.
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
    "lot.merged.v1": ("repackaging", "in_progress"),
    "lot.released.v1": ("storing", "sellable_not_accessible"),
    "hold.applied.v1": ("holding", "non_sellable_other"),
    "lot.shipped.v1": ("shipping", "in_transit"),
    "lot.returned.v1": ("receiving", "returned"),
}
#: What may have EPCIS events.
TYPES = (*_STEPS, "lot.repacked.v1", "shipment.voided.v1")


def events_of(change: Change, number: str) -> list[dict[str, Any]]:
    """The EPCIS events that say what ``change`` says; none for most. ``number``: where it stands in the feed."""
    if change.kind == "refusal" or change.type not in TYPES:
        return []
    data = msgspec.json.decode(change.data)
    told = _told(change, data)
    places = {"bizLocation": data.get("plant") or change.plant, "readPoint": data.get("location")}
    where = {name: {"id": _uri("place", place)} for name, place in places.items() if place}
    when = {"eventTime": change.time or change.recorded_at, "eventTimeZoneOffset": "+00:00"}
    common = {"type": "ObjectEvent", **when, "recordTime": change.recorded_at}
    names = [f"urn:lotgate:entry:{number}" + (f"/{at}" if at else "") for at in range(len(told))]
    return [{"eventID": name, **common, **one, **where} for name, one in zip(names, told, strict=True)]


def _told(change: Change, data: dict[str, Any]) -> list[dict[str, Any]]:
    if change.type == "lot.repacked.v1":
        taken = [_aggregated(change.lot, unit, "DELETE", "unpacking") for unit in data.get("unpacked", ())]
        return taken + [_aggregated(change.lot, unit, "ADD", "packing") for unit in data.get("packed", ())]
    if change.type == "shipment.voided.v1":
        voided = _linked(change.lot, "DELETE", desadv=data["shipment"])
        return [voided | {"bizStep": "void_shipping", "disposition": "in_progress"}]
    step, disposition = _STEPS[change.type]
    if change.type == "hold.applied.v1" and data.get("scope") == "recall":
        disposition = "recalled"
    told = [{"bizStep": step, "disposition": disposition} | _WRITERS.get(change.type, _observed)(change, data)]
    begun = data.get("lot") if change.type in ("lot.split_off.v1", "lot.merged.v1") else None
    told += [_aggregated(change.lot, unit, "ADD", "packing") for unit in (begun or {}).get("handling_units", ())]
    if change.type == "lot.received.v1" and data.get("order"):
        told.append(_linked(change.lot, "ADD", po=data["order"], recadv=data["receipt"]))
    if change.type == "lot.shipped.v1":
        told.append(_linked(change.lot, "ADD", po=data.get("order"), desadv=data["shipment"]))
    return told


def _aggregated(lot: str, unit: str, action: str, step: str) -> dict[str, Any]:
    """A lot lies on a handling unit, or no longer: how much of it there is not known."""
    return {
        "type": "AggregationEvent", "action": action, "bizStep": step, "disposition": "in_progress",
        "parentID": epcis.container_of(unit), "childQuantityList": [{"epcClass": epcis.class_of(lot)}],
    }  # fmt: skip


def _linked(lot: str, action: str, **numbers: str | None) -> dict[str, Any]:
    """A lot belongs to business documents, or no longer."""
    return {
        "type": "TransactionEvent", "action": action, "quantityList": [{"epcClass": epcis.class_of(lot)}],
        **_documents(**numbers),
    }  # fmt: skip


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
        "inputQuantityList": [_part(data["parent"], data.get("used", amount))],
        "outputQuantityList": [_part(change.lot, amount)],
        "ilmd": _made_of(data["lot"]),
    }


def _merged(change: Change, data: dict[str, Any]) -> dict[str, Any]:
    whole = data["lot"]
    return {
        "type": "TransformationEvent",
        "inputQuantityList": [_part(part["lot"], part["quantity"]) for part in data["parts"]],
        "outputQuantityList": [_part(change.lot, {"value": str(whole["quantity"]), "unit": whole["unit"]})],
        "ilmd": _made_of(whole),
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
    "lot.merged.v1": _merged,
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
