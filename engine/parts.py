"""Lots that are made of lots: a part that is split off or repacked, and several that are put together. Pure.

What is put together is as good as the worst of it: every hold comes along, a rejected or quarantined part makes the
whole so, the first last day counts, and what was not said alike of every part is not said of the whole. What may not
enter: journal entries (engine/course.py), links (engine/genealogy.py).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from engine import decide, in_process, operation_inspection, production
from engine import events as ev
from engine.builtin import fails
from engine.consequences import Merged, MergedInto
from engine.genealogy import GENEALOGY, inherited
from engine.lifecycle import Situation
from engine.lot import Hold, Lot
from engine.production import MAX_OPERATIONS, MAX_PARAMETERS, OperationInspection
from engine.records import KINDS, QualityRecord, without_decision
from engine.submission import child_of_hold, child_of_shipment
from rules.rulebook import RuleVerdict

Value = TypeVar("Value")
#: What may be reported of the production of a lot that is put together: as much as one routing may ask for.
MAX_REPORTED = MAX_OPERATIONS * MAX_PARAMETERS
#: How many of the reports that a part lacks are named.
_MOST_NAMED = 10
_encode = msgspec.json.Encoder().encode


def part_of(event: ev.Event, lot: Lot | None) -> tuple[str, ev.Quantity] | None:
    """The part that a shipment or a hold concerns: its id and quantity; None: all of the lot, or another event."""
    if lot is None or not isinstance(event, ev.LotShipped | ev.HoldApplied):
        return None
    quantity = event.data.quantity
    if quantity is None or quantity.value >= lot.quantity:
        return None
    return (child_of_shipment(event) if isinstance(event, ev.LotShipped) else child_of_hold(event)), quantity


def split_off(parent: Lot, child: str, quantity: Decimal, now: str, changes: Mapping[str, Any]) -> Lot:
    """What is taken out of ``parent`` as a lot of its own: as good, with its holds and its results."""
    fresh: dict[str, Any] = {
        "id": child, "version": 1, "quantity": quantity, "parent": parent.id, "parts": (), "closed": None, "head": "",
        "received_at": now, "changed_at": now, "sequences": {}, "lifted": (), "disputes": (), "signatures": (),
        "results_from": _results_of(parent), "packaging": None, "handling_units": (),
        "records": tuple(without_decision(one) for one in parent.records),
        "operation_inspections": operation_inspection.split_off(parent),
    }  # fmt: skip
    return replace(parent, **fresh | dict(changes))


def regraded(lot: Lot, item: str, revision: str) -> dict[str, Any]:
    """How a lot of another item or revision differs from ``lot``: nothing that was decided or found stands for it.

    Its production, which was cleared before, was that of its item: another item has none of it, another revision all.
    """
    production = {"routing": None, "operations": (), "operation_inspections": ()} if item != lot.item else {}
    return production | {
        "item": item, "revision": revision, "state": "quarantined", "holds": (), "rejected": False,
        "inspection_stands": False, "plan": None, "sample": None, "restrictions": (), "disposition": None,
        "concession": None, "certificates": (), "results_version": 0, "results_after": 0,
        "results_from": None,
    }  # fmt: skip


def repacked(pack: ev.Pack) -> dict[str, Any]:
    """How the lot that ``pack`` makes differs from the one that it was."""
    units = tuple(dict.fromkeys(pack.handling_units))
    changes: dict[str, Any] = {"unit": pack.quantity.unit, "packaging": pack.packaging, "handling_units": units}
    return changes if pack.location is None else changes | {"location": pack.location}


def waits_for(event: ev.Event, known: Mapping[str, Lot]) -> decide.Early | None:
    """The first part that has not come yet; None: all are there."""
    if not isinstance(event, ev.LotMerged):
        return None
    for part in event.data.parts:
        if part.lot not in known and part.lot != event.subject:
            return decide.Early(f"lot:{part.lot}", f"Lot {part.lot} is not known yet; the merge waits for it.")
    return None


def guards(event: ev.Event, known: Mapping[str, Lot]) -> tuple[RuleVerdict, ...]:
    """Every reason why lots cannot be put together; nothing for other events."""
    if not isinstance(event, ev.LotMerged):
        return ()
    data, ids = event.data, [part.lot for part in event.data.parts]
    failing: list[RuleVerdict] = []
    if len(set(ids)) < len(ids) or event.subject in ids:
        failing.append(fails("PARTS-DIFFER", "a merge makes a new lot of different lots: each is named once"))
    parts = [known[lot] for lot in ids if lot in known]
    for lot in parts:
        if lot.closed is not None:
            failing.append(fails("PART-IN-HOUSE", f"lot {lot.id} has ended ({lot.closed})"))
        if lot.in_production:
            failing.append(fails("PRODUCTION-COMPLETED", f"lot {lot.id} is in production by order {lot.order}"))
        # What is not done in one part would be taken for done where another part did it.
        failing += [replace(one, message=f"lot {lot.id}: {one.message}") for one in in_process.uncleared(lot)]
    if len({None if lot.concession is None else lot.concession.number for lot in parts}) > 1:
        words = "what is used by a concession is put together only with what is used by the same one"
        failing.append(fails("ONE-CONCESSION", words))
    failing += _one_kind(parts)
    failing += _made_alike(parts)
    failing += _quantities(data, known)
    limited = [lot for lot in parts if lot.restrictions]
    if limited and not _permitted(parts):
        words = "no customer may have every part: " + "; ".join(f"{p.id} {', '.join(p.restrictions)}" for p in limited)
        failing.append(fails("CUSTOMERS-AGREE", words))
    return tuple(failing)


def _one_kind(parts: Sequence[Lot]) -> Iterable[RuleVerdict]:
    items = list(dict.fromkeys(f"{lot.item} rev {lot.revision}" for lot in parts))
    if len(items) > 1:
        yield fails("ONE-ITEM", f"the parts are of different items: {', '.join(items)}")
    units = list(dict.fromkeys(lot.unit for lot in parts))
    if len(units) > 1:
        yield fails("ONE-UNIT", f"the parts are counted in {', '.join(units)}; repack them into one unit first")


def _made_alike(parts: Sequence[Lot]) -> Iterable[RuleVerdict]:
    """The whole has what was reported of each part: a rule that asks for it must not find it in one part alone."""
    reported = {lot.id: dict.fromkeys(_reported(lot)) for lot in parts}
    every = dict.fromkeys(name for names in reported.values() for name in names)
    for lot, names in reported.items():
        lacking = [name for name in every if name not in names]
        if lacking:
            more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
            words = f"lot {lot} lacks {', '.join(lacking[:_MOST_NAMED])}{more}, reported of another part"
            yield fails("PRODUCTION-ALIKE", f"{words}; report it of {lot}, too, or leave them apart")
    size = sum(1 + len(run.parameters) for run in production.together(lot.operations for lot in parts))
    size += sum(len(one.looked) for one in _inspections(parts))
    if size > MAX_REPORTED:
        words = f"{size} operations, parameters and inspected characteristics were reported of the parts"
        yield fails("PRODUCTION-FITS", f"{words}; one lot has at most {MAX_REPORTED}: put fewer together")


def _reported(lot: Lot) -> Iterable[str]:
    for run in lot.operations:
        yield f"operation {run.operation}"
        yield from (f"{p.parameter} in {p.unit} at operation {run.operation}" for p in run.parameters)
    for one in lot.operation_inspections:
        yield from (f"the inspection of {line.characteristic} at operation {one.operation}" for line in one.looked)


def _inspections(lots: Iterable[Lot]) -> tuple[OperationInspection, ...]:
    """Each part's own: what was found of one in process is in the whole, and rules look at it there."""
    return tuple(dict.fromkeys(one for lot in lots for one in operation_inspection.split_off(lot)))


def _quantities(data: ev.Merge, known: Mapping[str, Lot]) -> Iterable[RuleVerdict]:
    total = Decimal(0)
    unit = None
    for part in data.parts:
        lot, said = known.get(part.lot), part.quantity
        if lot is None:
            continue
        unit = unit or lot.unit
        if said is not None and said.unit != lot.unit:
            yield fails("UNIT-OF-LOT", f"the quantity of {lot.id} is in {said.unit}, the lot in {lot.unit}")
        elif said is not None and said.value > lot.quantity:
            words = f"{said.value} {lot.unit} of {lot.id} asked for, {lot.quantity} available"
            yield fails("QUANTITY-AVAILABLE", words)
        total += lot.quantity if said is None else said.value
    counted = data.quantity
    if counted is not None and (counted.value, counted.unit) != (total, unit):
        words = f"the parts are {total} {unit or ''}; {counted.value} {counted.unit} is said of the whole".replace(
            "  ", " "
        )
        yield fails("QUANTITY-BALANCES", words)


def situation(event: ev.LotMerged, known: Mapping[str, Lot]) -> Situation:
    """What chooses between the lifecycle's rows for a merge: the worst of its parts."""
    parts = [known[part.lot] for part in event.data.parts if part.lot in known]
    released = bool(parts) and all(lot.state == "released" for lot in parts)
    same = len({_basis(lot) for lot in parts}) == 1
    return Situation(
        still_blocked=any(lot.state == "blocked" or lot.holds or lot.rejected for lot in parts),
        # What was found of one part says nothing of another.
        inspection_stands=all(lot.state in ("inspected", "released") for lot in parts) and (same or released),
        all_released=released,
    )


def merged(event: ev.LotMerged, known: Mapping[str, Lot], state: str, now: str) -> Merged:
    """The first entry of a merged lot: what each part gave, and the lot as it begins. The guards have let it in."""
    data = event.data
    lots = [known[part.lot] for part in data.parts]
    gave = [
        ev.Part(lot=lot.id, quantity=part.quantity or ev.Quantity(value=lot.quantity, unit=lot.unit))
        for lot, part in zip(lots, data.parts, strict=True)
    ]
    total = sum((part.quantity.value for part in gave if part.quantity is not None), Decimal(0))
    first = lots[0]
    same_results = len({_basis(lot) for lot in lots}) == 1
    whole = Lot(
        id=event.subject, version=1, state=state, item=first.item, revision=first.revision, quantity=total,
        unit=first.unit, received_at=now, changed_at=now, parts=tuple(lot.id for lot in lots),
        location=data.location or _alike(lot.location for lot in lots), packaging=data.packaging,
        handling_units=tuple(dict.fromkeys(data.handling_units)), **_origin(lots), **_standing(lots),
        **(_results(first) if same_results else {}),
    )  # fmt: skip
    return Merged(
        parts=gave, quantity=data.quantity, packaging=data.packaging, handling_units=data.handling_units,
        location=data.location, reason=data.reason, lot=msgspec.Raw(_encode(whole)),
    )  # fmt: skip


def given(merge: Merged, into: str) -> list[tuple[str, MergedInto]]:
    """What the entry of each part says."""
    return [
        (part.lot, MergedInto(into=into, quantity=part.quantity)) for part in merge.parts if part.quantity is not None
    ]


def _origin(lots: Sequence[Lot]) -> dict[str, Any]:
    names = ("supplier", "supplier_lot", "receipt", "order", "plant")
    found: dict[str, Any] = {name: _alike(getattr(lot, name) for lot in lots) for name in names}
    for name, origin in (("manufactured_on", ""), ("expires_on", "expires_by"), ("retest_on", "retest_by")):
        days = [(getattr(lot, name), lot) for lot in lots if getattr(lot, name) is not None]
        day, first = min(days, key=lambda one: one[0], default=(None, None))
        found[name] = day
        if origin and first is not None:
            found[origin] = getattr(first, origin)
    found["opened_on"] = min((lot.opened_on for lot in lots if lot.opened_on is not None), default=None)
    # A certificate speaks of what it came with: of the whole only where it came with every part.
    found["certificates"] = tuple(c for c in lots[0].certificates if all(c in lot.certificates for lot in lots))
    return found


def _standing(lots: Sequence[Lot]) -> dict[str, Any]:
    retests = {lot.retest for lot in lots}
    return {
        "holds": _holds(lots),
        "rejected": any(lot.rejected for lot in lots),
        "inspection_stands": all(lot.inspection_stands for lot in lots) and len({_basis(lot) for lot in lots}) == 1,
        "retest": "asked" if "asked" in retests else "passed" if retests == {"passed"} else "",
        "disposition": _alike(lot.disposition for lot in lots),
        "concession": _concession(lots),
        "restrictions": _permitted(lots),
        "inspectors": tuple(dict.fromkeys(name for lot in lots for name in lot.inspectors)),
        "records": _records(lots),
        "facts": _facts(lots),
        "routing": _alike(lot.routing for lot in lots),
        "operations": production.together(lot.operations for lot in lots),
        "operation_inspections": _inspections(lots),
    }


def _concession(lots: Sequence[Lot]) -> ev.Concession | None:
    """The one by which every part is used, as the guards ask; of its last days the first counts."""
    found = [lot.concession for lot in lots if lot.concession is not None]
    return min(found, key=lambda one: one.valid_until, default=None)


def _holds(lots: Sequence[Lot]) -> tuple[Hold, ...]:
    """Every hold of every part, under the name by which families pass it on: it ends when it ends there."""
    found: dict[str, Hold] = {}
    for lot in lots:
        for hold in lot.holds:
            order = inherited(lot.id, hold)
            said = (order.scope, order.reason.text, order.owner, order.lift_role)
            found.setdefault(order.hold, Hold(order.hold, order.reason.code, GENEALOGY, *said))
    return tuple(found.values())


def _records(lots: Sequence[Lot]) -> tuple[QualityRecord, ...]:
    found: dict[str, QualityRecord] = {}
    for lot in lots:
        for record in lot.records:
            name = record.record
            if name in found and found[name] != record:
                name = _of(name, lot.id)
            found[name] = replace(record, record=name)
    return tuple(found.values())


def _of(name: str, lot: str) -> str:
    text = f"{name}@{lot}"
    return text if len(text) <= 64 else "part:" + hashlib.sha256(text.encode()).hexdigest()[:40]


def _facts(lots: Sequence[Lot]) -> dict[str, dict[str, dict[str, str]]]:
    """What others stated of every part alike, and each nonconformance, deviation and action that they stated of any."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for lot in lots:
        for kind, facts in lot.facts.items():
            for key, fields in facts.items():
                there = found.setdefault(kind, {})
                if kind in KINDS:
                    there[key if there.get(key, fields) == fields else _of(key, lot.id)] = fields
                elif all(other.facts.get(kind, {}).get(key) == fields for other in lots):
                    there[key] = fields
    return {kind: facts for kind, facts in found.items() if facts}


def _permitted(lots: Sequence[Lot]) -> tuple[str, ...]:
    """Customers who may have every part; empty with no restriction on any part."""
    limited = [lot.restrictions for lot in lots if lot.restrictions]
    return () if not limited else tuple(name for name in limited[0] if all(name in other for other in limited))


def _results_of(lot: Lot) -> str | None:
    return lot.results_from or (lot.id if lot.has_results else None)


def _basis(lot: Lot) -> tuple[str | None, int, int]:
    """What the lot was inspected by: lots of one basis were one lot then."""
    return (_results_of(lot), lot.results_after, lot.results_version) if lot.has_results else (lot.id, 0, 0)


def _results(lot: Lot) -> dict[str, Any]:
    return {
        "results_from": _results_of(lot), "results_version": lot.results_version, "results_after": lot.results_after,
        "plan": lot.plan, "sample": lot.sample,
    }  # fmt: skip


def _alike(values: Iterable[Value | None]) -> Value | None:
    """What all say; None where they differ."""
    seen = list(values)
    return seen[0] if all(value == seen[0] for value in seen) else None
