"""The console's words for states, steps, verdicts and entries. What may not enter: deciding, HTML."""

from typing import Any

from engine.consequences import Opened, decode_data
from engine.journal import Entry
from engine.upcasts import newest

#: Value of a closed set -> what people call it, where that is not the value itself.
_LABELS = {
    "not_applicable": "does not apply",
    "not_effective": "not in effect",
    "delivery-dead": "delivery given up",
    "pending": "waiting",
    "sending": "under way",
    "dead": "given up",
    "not_ready": "not ready",
    "half-open": "trying",
    "rolled_back": "rolled back",
    "use_as_is": "use as is",
    "return_to_supplier": "returned to supplier",
}
#: Lifecycle trigger -> the step in the imperative.
STEPS = {
    "record_inspection": "Record results",
    "release": "Release",
    "hold": "Hold",
    "lift_hold": "Lift hold",
    "use_as_is": "Use as is",
    "rework": "Rework",
    "regrade": "Regrade",
    "return_to_supplier": "Return to supplier",
    "scrap": "Scrap",
    "reinspect": "Inspect again",
    "consume": "Consume",
    "ship": "Ship",
    "void_shipment": "Void shipment",
    "return": "Take back from customer",
    "split": "Split",
    "merge": "Merge",
    "merge_into": "Merge into another lot",
    "repack": "Repack",
    "sign": "Sign",
    "change_shelf_life": "Change the shelf life",
    "change_plan": "Change the inspection plan",
    "open-record": "Open a record",
    "change-record": "Record's step",
}


def label(value: Any) -> str:
    """A value of a closed set as people say it."""
    text = str(value)
    return _LABELS.get(text, text.replace("_", " ").replace("-", " "))


def step(trigger: str) -> str:
    """A lifecycle trigger as a step somebody takes."""
    return STEPS.get(trigger, trigger.replace("_", " ").capitalize())


def sentence(entry: Entry) -> str:
    """What an entry of the journal says, in one line."""
    if entry.kind == "refusal":
        return f"Refused: {step(entry.trigger).lower()}"
    data = decode_data(entry.type, entry.data)
    say = _SENTENCES.get(newest(entry.type))
    if say is not None:
        return str(say(data))
    if isinstance(data, Opened):
        return data.text
    return step(entry.trigger)


def _goods(data: Any) -> str:
    return f"{data.quantity.value.normalize():f} {data.quantity.unit} of {data.item} rev {data.revision}"


def _days(data: Any) -> str:
    said = (("last day", data.expires_on), ("retest on", data.retest_on))
    return ", ".join(f"{name} {day}" for name, day in said if day is not None)


def _why(data: Any) -> str:
    reason = getattr(data, "reason", None)
    if reason is None:
        return ""
    return f": {reason.code}" + (f" – {reason.text}" if reason.text else "")


def _received(data: Any) -> str:
    return f"Received {_goods(data)} from {data.supplier}, receipt {data.receipt}"


def _produced(data: Any) -> str:
    made_of = ", ".join(part.lot for part in data.inputs[:5])
    return f"Produced {_goods(data)} by order {data.order}" + (f" out of {made_of}" if made_of else "")


def _inspected(data: Any) -> str:
    number = len(data.measurements)
    of = "" if data.operation is None else f" of operation {data.operation}"
    return f"{number} {'result' if number == 1 else 'results'}{of} recorded, inspection {data.inspection}"


def _split(data: Any) -> str:
    children = ", ".join(f"{child.lot} ({child.quantity.value.normalize():f})" for child in data.children[:5])
    return f"Split into {children}" + (" …" if len(data.children) > 5 else "")


def _amount(quantity: Any) -> str:
    return f"{quantity.value.normalize():f} {quantity.unit}"


def _merged(data: Any) -> str:
    parts = ", ".join(f"{part.lot} ({_amount(part.quantity)})" for part in data.parts[:5])
    return f"Put together from {parts}" + (" …" if len(data.parts) > 5 else "")


def _repacked(data: Any) -> str:
    into = ", ".join(f"{pack.lot} ({_amount(pack.quantity)})" for pack in data.into[:5]) + (
        " …" if data.into[5:] else ""
    )
    packaging = f"in {data.packaging.count} × {data.packaging.package}" if data.packaging is not None else ""
    said = (
        f"into {into}" if into else "", packaging, f"onto {_units(data.packed)}" if data.packed else "",
        f"off {_units(data.unpacked)}" if data.unpacked else "",
    )  # fmt: skip
    return "Repacked " + ", ".join(words for words in said if words)


def _units(units: Any) -> str:
    return ", ".join(units[:3]) + (" …" if units[3:] else "")


def _made_of(data: Any) -> str:
    return f"{'Repacked' if data.how == 'repack' else 'Split off'} from {data.parent}"


def _caused(first: str) -> Any:
    def say(data: Any) -> str:
        rules = getattr(data, "rules", [])
        return first + (f": {', '.join(rules)}" if rules else "")

    return say


def _usage(data: Any) -> str:
    parts = ", ".join(f"{p.quantity.value.normalize():f} {p.quantity.unit} {label(p.decision)}" for p in data.parts[:6])
    return f"Decided: {parts}" + (" …" if len(data.parts) > 6 else "") + _why(data)


def _parameters(data: Any) -> str:
    said = ", ".join(f"{p.parameter} {p.value.normalize():f} {p.unit}" for p in data.parameters[:5])
    return (f": {said}" if said else "") + (" …" if len(data.parameters) > 5 else "")


def _of_operation(data: Any) -> str:
    return f"Inspection of operation {data.inspection.operation}"


def _looked(data: Any) -> str:
    lines = data.inspection.looked
    said = [f"{one.inspected} × {one.characteristic}" for one in lines[:5]]
    bad = sum(one.nonconforming for one in lines)
    return ", ".join(said) + (" …" if len(lines) > 5 else "") + (f", {bad} nonconforming" if bad else "")


def _shipped(data: Any) -> str:
    return f"Shipped to {data.customer}, shipment {data.shipment}"


def _stated(data: Any) -> str:
    fact = f"{data.kind} {data.key}".strip()
    return f"No longer true: {fact}" if data.withdrawn else f"Stated by another system: {fact}"


_SENTENCES: dict[str, Any] = {
    "lot.received.v1": _received,
    "lot.produced.v1": _produced,
    "production.started.v1": lambda d: f"Production started: {_goods(d)}, order {d.order}",
    "operation.reported.v1": lambda d: f"Operation {d.operation} {d.status}{_parameters(d)}",
    "operation_inspection.assigned.v1": lambda d: f"{_of_operation(d)} by plan {d.inspection.plan}",
    "operation_inspection.judged.v1": lambda d: f"{_of_operation(d)}: {_looked(d)}",
    "routing.assigned.v1": lambda d: f"Routing {d.assigned.routing} assigned",
    "lot.quarantined.v1": _caused("Quarantined until it is inspected"),
    "lot.accepted.v1": _caused("Accepted without inspection"),
    "inspection.recorded.v1": _inspected,
    "inspection.completed.v1": _caused("Inspection complete"),
    "lot.rejected.v1": _caused("Rejected"),
    "hold.applied.v1": lambda d: f"Hold {d.hold} placed{_why(d)}",
    "hold.lifted.v1": lambda d: f"Hold {d.hold} lifted{_why(d)}",
    "lot.released.v1": lambda d: f"Released{_why(d)}",
    "lot.dispositioned.v1": lambda d: f"Decided: {label(d.decision)}{_why(d)}",
    "usage_decision.made.v1": _usage,
    "concession.ended.v1": lambda d: f"Concession {d.concession} ended on {d.ended_on}",
    "reinspection.requested.v1": lambda d: f"To be inspected again{_why(d)}",
    "lot.consumed.v1": lambda d: f"{d.quantity.value.normalize():f} {d.quantity.unit} used by order {d.order}",
    "lot.split.v1": _split,
    "lot.split_off.v1": _made_of,
    "lot.merged.v1": _merged,
    "lot.merged_into.v1": lambda d: f"{_amount(d.quantity)} became part of {d.into}",
    "lot.repacked.v1": _repacked,
    "lot.shipped.v1": _shipped,
    "shipment.voided.v1": lambda d: f"Shipment {d.shipment} voided{_why(d)}",
    "lot.returned.v1": lambda d: f"Sent back by the customer, {d.rma}{_why(d)}",
    "lot.expired.v1": lambda d: f"Shelf life ended on {d.expired_on}",
    "lot.retest_due.v1": lambda d: f"Retest due on {d.due_on}",
    "specification.revised.v1": lambda d: f"Specification revised: {d.item} rev {d.revision}",
    "fact.stated.v1": _stated,
    "inspection_plan.assigned.v1": lambda d: f"Inspection plan {d.assigned.plan} assigned",
    "shelf_life.changed.v1": lambda d: f"Shelf life changed: {_days(d)}{_why(d)}",
    "inspection_plan.changed.v1": lambda d: f"Inspection plan changed to {d.plan}{_why(d)}",
    "quality_record.opened.v1": lambda d: f"{label(d.kind).capitalize()} {d.record} opened: {d.text}",
    "quality_record.changed.v1": lambda d: f"{d.record}: {d.step}: {d.text}",
    "certificate.recorded.v1": lambda d: f"Certificate {d.certificate} of {d.issuer} recorded",
    "lot.opened.v1": lambda d: f"Opened on {d.opened_on}",
    "shelf_life.computed.v1": lambda d: f"Shelf life: {'; '.join(filter(None, (d.expires_by, d.retest_by)))}",
    "lot.signed.v1": lambda d: f"Signed by {d.signer}: {label(d.meaning)}, version {d.version}",
    "delivery.refused.v1": lambda d: f"{d.target} refuses version {d.version}: {d.detail}",
    "delivery.agreed.v1": lambda d: f"{d.target} agrees again, version {d.version}",
    "delivery.drifted.v1": lambda d: f"{d.target} said something else ({label(d.kind)}) and is told again",
}
