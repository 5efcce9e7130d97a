"""How one step changes a lot: ``evolve(lot, step) -> lot``, pure.

Folding a lot's journal through :func:`evolve` gives exactly the stored state, because the pipeline itself uses
nothing else. What may not enter: rules, guards (``decide``), what may happen (engine/lifecycle.py), clocks, databases.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import events as ev
from engine import operation_inspection, stated
from engine.consequences import (
    Completed,
    Merged,
    MergedInto,
    Opened,
    OperationInspected,
    PlanAssigned,
    RoutingAssigned,
    SplitOff,
)
from engine.lot import CONCESSION_ENDED, EXPIRED, GATE_SHUT, Dispute, Hold, Lot, puts_off, used_of
from engine.production import reported
from engine.records import (
    KINDS,
    VOIDS,
    QualityRecord,
    Signature,
    by_board,
    changed,
    concession_of,
    opened,
)
from engine.supplier_certificates import after, kept


class Step(Struct, frozen=True):
    """What one journal entry does to its lot: all that :func:`evolve` needs."""

    lot: str
    version: int
    trigger: str
    type: str
    state_after: str
    recorded_at: str
    source: str
    data: Any
    #: Hash of the journal entry.
    head: str
    sequence: str | None = None
    #: A refused attempt changes nothing but the version.
    refused: bool = False


def evolve(lot: Lot | None, step: Step) -> Lot | None:
    """The lot after ``step``; None stays None only for a refused attempt on a lot that does not exist."""
    changes: dict[str, Any] = {"version": step.version, "changed_at": step.recorded_at, "head": step.head}
    if step.refused:
        return None if lot is None else replace(lot, **changes)
    if lot is None:
        lot = _BIRTHS[step.trigger](step)
    else:
        changes["state"] = step.state_after
        if step.trigger in VOIDS:
            changes["signatures"] = ()
        change = _CHANGES.get(step.trigger)
        if change is not None:
            changes.update(change(lot, step))
    if step.sequence is not None:
        changes["sequences"] = lot.sequences | {step.source: step.sequence}
    return replace(lot, **changes)


def _received(step: Step) -> Lot:
    data: ev.Receipt = step.data
    return _born(step, data, supplier=data.supplier, supplier_lot=data.supplier_lot, receipt=data.receipt)


def _produced(step: Step) -> Lot:
    data: ev.Production = step.data
    return _born(step, data, receipt=data.confirmation)


def _started(step: Step) -> Lot:
    data: ev.ProductionStart = step.data
    return Lot(
        id=step.lot, version=step.version, state=step.state_after, item=data.item, revision=data.revision,
        quantity=data.quantity.value, unit=data.quantity.unit, received_at=step.recorded_at,
        changed_at=step.recorded_at, order=data.order, plant=data.plant, location=data.location, in_production=True,
    )  # fmt: skip


def _born(step: Step, data: ev.Receipt | ev.Production, **more: Any) -> Lot:
    return Lot(
        id=step.lot,
        version=step.version,
        state=step.state_after,
        item=data.item,
        revision=data.revision,
        quantity=data.quantity.value,
        unit=data.quantity.unit,
        received_at=step.recorded_at,
        changed_at=step.recorded_at,
        order=data.order,
        plant=data.plant,
        location=data.location,
        manufactured_on=data.manufactured_on,
        expires_on=data.expires_on,
        retest_on=data.retest_on,
        **more,
    )


def _made_of_lots(step: Step) -> Lot:
    data: SplitOff | Merged = step.data
    return msgspec.json.decode(data.lot, type=Lot)


_BIRTHS = {
    "receive": _received, "produce": _produced, "start_production": _started, "split_off": _made_of_lots,
    "merge": _made_of_lots,
}  # fmt: skip


def _completed(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Production = step.data
    return {
        "in_production": False,
        "quantity": data.quantity.value,
        "receipt": data.confirmation,
        "location": data.location or lot.location,
        "manufactured_on": data.manufactured_on,
        "expires_on": data.expires_on,
        "retest_on": data.retest_on,
    }


def _reported(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.OperationReport = step.data
    changes: dict[str, Any] = {"operations": reported(lot.operations, data, step.version, step.recorded_at)}
    if data.status == "completed" and lot.operation_inspections:
        inspections = operation_inspection.ended(lot.operation_inspections, data.operation, step.recorded_at)
        changes["operation_inspections"] = inspections
    return changes


def _operation_inspected(lot: Lot, step: Step) -> dict[str, Any]:
    data: OperationInspected = step.data
    inspections = operation_inspection.with_inspection(lot.operation_inspections, data.inspection)
    return {"operation_inspections": inspections}


def _results_of_operation(lot: Lot, step: Step) -> dict[str, Any]:
    who = step.data.inspector
    return {} if who is None or who in lot.inspectors else {"inspectors": (*lot.inspectors, who)}


def _routed(lot: Lot, step: Step) -> dict[str, Any]:
    data: RoutingAssigned = step.data
    return {"routing": data.assigned}


def _inspected(lot: Lot, step: Step) -> dict[str, Any]:
    data: Completed = step.data
    changes: dict[str, Any] = {"inspection_stands": True, "sample": data.sample}
    return changes | {"retest": "passed"} if lot.retest == "asked" else changes


def _planned(lot: Lot, step: Step) -> dict[str, Any]:
    data: PlanAssigned = step.data
    return {"plan": data.assigned}


def _recorded(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Inspection = step.data
    who = data.inspector
    changes: dict[str, Any] = {"results_version": step.version}
    if who is not None and who not in lot.inspectors:
        changes["inspectors"] = (*lot.inspectors, who)
    return changes if lot.results_from is None else changes | {"results_from": None, "results_after": 0}


def _held(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.HoldOrder = step.data
    hold = Hold(data.hold, data.reason.code, step.source, data.scope, data.reason.text, data.owner, data.lift_role)
    lifted = tuple(name for name in lot.lifted if name != data.hold)
    changes: dict[str, Any] = {"holds": (*lot.holds, hold), "lifted": lifted}
    if step.state_after == "shipped":
        changes["recall_open"] = True
    return changes


def _lifted(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.HoldLift = step.data
    left = tuple(h for h in lot.holds if h.hold != data.hold)
    changes: dict[str, Any] = {"holds": left, "lifted": (*lot.lifted, data.hold)}
    if not left:
        changes["recall_open"] = False
    return changes


def _rejected(lot: Lot, step: Step) -> dict[str, Any]:
    return {"rejected": True}


def _used_as_is(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Disposition = step.data
    holds = tuple(h for h in lot.holds if h.hold != CONCESSION_ENDED)
    concession = concession_of(lot.records, data.record, data.decision, data.concession)
    return {"rejected": False, "disposition": "use_as_is", "restrictions": tuple(data.restrictions),
            "concession": concession, "holds": holds}  # fmt: skip


def _reworked(lot: Lot, step: Step) -> dict[str, Any]:
    return {"disposition": step.trigger, **_again(lot, step)}


def _again(lot: Lot, step: Step) -> dict[str, Any]:
    return {
        "rejected": False,
        "inspection_stands": False,
        "results_after": step.version,
        "results_from": None,
        "retest": "asked",
        "sample": None,
        "inspectors": (),
        "restrictions": (),
        "concession": None,
    }


def _retested(lot: Lot, step: Step) -> dict[str, Any]:
    # The day has come, and comes once; the next one is set with the result of the retest. No date answers a rejection.
    return {**_again(lot, step), "retest_on": None, "retest_by": "", "rejected": lot.rejected}


def _kept_longer(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.ShelfLife = step.data
    changes: dict[str, Any] = {
        "expires_on": data.expires_on or lot.expires_on, "retest_on": data.retest_on or lot.retest_on,
    }  # fmt: skip
    for days, origin in ((data.expires_on, "expires_by"), (data.retest_on, "retest_by")):
        if days is not None:
            changes[origin] = f"set: {data.reason.code}"
    return changes | {"retest": ""} if puts_off(lot, data) else changes


def _computed(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.ComputedShelfLife = step.data
    changes: dict[str, Any] = {}
    if data.expires_on is not None:
        changes |= {"expires_on": data.expires_on, "expires_by": data.expires_by or ""}
    if data.retest_on is not None:
        changes |= {"retest_on": data.retest_on, "retest_by": data.retest_by or ""}
    return changes


def _opened(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Opening = step.data
    return {"opened_on": data.opened_on}


def _ended(how: str, disposition: str | None) -> Any:
    def end(lot: Lot, step: Step) -> dict[str, Any]:
        return {"closed": how, "disposition": disposition or lot.disposition}

    return end


def _consumed(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Consumption = step.data
    left = lot.quantity - data.quantity.value
    return {"quantity": left, "closed": "consumed" if left == 0 else None}


def _expired(lot: Lot, step: Step) -> dict[str, Any]:
    if any(h.hold == EXPIRED for h in lot.holds):
        return {}
    data: ev.Expiry = step.data
    text = f"shelf life ended on {data.expired_on.isoformat()}"
    changes: dict[str, Any] = {}
    if step.state_after == "blocked":
        changes["holds"] = (*lot.holds, Hold(EXPIRED, EXPIRED, step.source, text=text))
    return changes


def _concession_ended(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.ConcessionEnd = step.data
    text = f"concession {data.concession} ended on {data.ended_on.isoformat()}"
    return {"holds": (*lot.holds, Hold(CONCESSION_ENDED, CONCESSION_ENDED, step.source, text=text))}


def _shipped(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Shipment = step.data
    return {"closed": "shipped", "shipment": data.shipment, "customer": data.customer}


def _unshipped(lot: Lot, step: Step) -> dict[str, Any]:
    changes: dict[str, Any] = {"closed": None, "shipment": None, "customer": None}
    if step.state_after == "blocked" and not lot.holds:
        text = "the release gate refused when the shipment was voided"
        changes["holds"] = (Hold(GATE_SHUT, GATE_SHUT, step.source, text=text),)
    return changes


def _returned(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Return = step.data
    return {**_again(lot, step), "closed": None, "quantity": data.quantity.value, "shipment": None, "customer": None}


def _split(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Split = step.data
    left = lot.quantity - sum((c.quantity.value for c in data.children), Decimal(0))
    return {"quantity": left, "closed": "split" if left == 0 else None}


def _repacked(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.Repack = step.data
    left = lot.quantity - sum((used_of(pack).value for pack in data.into), Decimal(0))
    units = [unit for unit in lot.handling_units if unit not in data.unpacked]
    return {
        "quantity": left,
        "closed": "repacked" if left == 0 else None,
        "packaging": data.packaging or lot.packaging,
        "handling_units": tuple(dict.fromkeys([*units, *data.packed])) if left else (),
    }


def _merged_into(lot: Lot, step: Step) -> dict[str, Any]:
    data: MergedInto = step.data
    left = lot.quantity - data.quantity.value
    return {"quantity": left, "closed": "merged" if left == 0 else None}
def _decided_by_parts(lot: Lot, step: Step) -> dict[str, Any]:
    return {"quantity": Decimal(0), "closed": "split"}


def _signed(lot: Lot, step: Step) -> dict[str, Any]:
    data, at = step.data, step.recorded_at
    one = Signature(data.signer, data.meaning, data.version, data.digest, at, data.text, data.role, data.record)
    return {"signatures": (*lot.signatures, one), "records": tuple(by_board(r, data, at) for r in lot.records)}


def _record_opened(lot: Lot, step: Step) -> dict[str, Any]:
    return {"records": (*lot.records, opened(step.data, step.recorded_at))}


def _record_changed(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.RecordStep = step.data
    return {"records": tuple(changed(r, data, step.recorded_at) if r.record == data.record else r for r in lot.records)}


def _record_by_rule(lot: Lot, step: Step) -> dict[str, Any]:
    data: Opened = step.data
    kind = data.record.split("/")[0].replace("-", "_")
    if kind not in KINDS:
        return {}  # somebody was told, nothing was opened
    record = QualityRecord(
        data.record, kind, "major", "open", data.text, step.recorded_at, operation=data.operation
    )  # fmt: skip
    return {"records": (*lot.records, record)}


def _stated(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.FactStatement = step.data
    return {"facts": stated.after(lot.facts, data)}


def _certified(lot: Lot, step: Step) -> dict[str, Any]:
    return {"certificates": after(lot.certificates, kept(step.data, step.recorded_at))}


def _disputed(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.RefusedDelivery = step.data
    others = tuple(d for d in lot.disputes if d.target != data.target)
    mine = Dispute(data.target, data.version, data.failure, data.detail, step.recorded_at, dict(data.undo))
    return {"disputes": (*others, mine)}


def _settled(lot: Lot, step: Step) -> dict[str, Any]:
    data: ev.AgreedDelivery = step.data
    return {"disputes": tuple(d for d in lot.disputes if d.target != data.target)}


_CHANGES: dict[str, Any] = {
    "produce": _completed,
    "start_operation": _reported,
    "report_operation": _reported,
    "assign_routing": _routed,
    "inspect_operation": _results_of_operation,
    "plan_operation_inspection": _operation_inspected,
    "judge_operation_inspection": _operation_inspected,
    "inspect": _inspected,
    "dock_to_stock": _inspected,
    "assign_plan": _planned,
    "record_inspection": _recorded,
    "hold": _held,
    "lift_hold": _lifted,
    "reject": _rejected,
    "use_as_is": _used_as_is,
    "rework": _reworked,
    "repair": _reworked,
    "decide_usage": _decided_by_parts,
    "end_concession": _concession_ended,
    "regrade": _ended("regraded", "regrade"),
    "return_to_supplier": _ended("returned", "return_to_supplier"),
    "scrap": _ended("scrapped", "scrap"),
    "reinspect": _again,
    "retest_due": _retested,
    "change_shelf_life": _kept_longer,
    "set_shelf_life": _computed,
    "open": _opened,
    "consume": _consumed,
    "expire": _expired,
    "ship": _shipped,
    "void_shipment": _unshipped,
    "return": _returned,
    "split": _split,
    "repack": _repacked,
    "merge_into": _merged_into,
    "state_fact": _stated,
    "record_certificate": _certified,
    "sign": _signed,
    "record_opened": _record_opened,
    "record_changed": _record_changed,
    "open_record": _record_by_rule,
    "compensate": _disputed,
    "settle": _settled,
}
