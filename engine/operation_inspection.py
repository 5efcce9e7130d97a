"""Inspections in process: what is looked at of which pieces of an operation, what lacks, what does not conform. Pure.

    operation begins → its plan, if it has one → results, unit by unit → complete? → what comes after it may start
                                                         └ a unit that does not conform → a deviation

A plan of kind ``in_process`` belongs to an operation of an item's routing. It is assigned when the operation begins; a
lot that does it again keeps the revision it began with, and its results begin anew. Characteristics, units and
corrections are those of every inspection (engine/inspection_plan.py). What may not enter: databases, clocks, HTTP.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from engine import events as ev
from engine import inspection_plan
from engine.builtin import fails
from engine.clock import parse_instant
from engine.inspection_plan import Fact, InspectionPlan, Pieces, found_of
from engine.known import Reference
from engine.lot import Lot
from engine.production import Looked, OperationInspection, OperationRun, ResultsOf
from engine.records import AssignedPlan
from rules.compiled import Verdict
from rules.rulebook import RuleVerdict

#: (lot, version, operation, inspection, measurements JSON) of one record of results in process.
OperationResult = tuple[str, int, str, str, str]
_SECONDS_OF_A_MINUTE = 60
#: What an inspection comes to, the worst last.
_WORST = ("accepted", "open", "rejected")


def inspection_of(lot: Lot, operation: str) -> OperationInspection | None:
    """The inspection of ``operation`` as it stands; None: it has no plan, or has not begun.

    Where parts that were put together were inspected apart: the worst of theirs.
    """
    found = inspections_of(lot, operation)
    return max(found, key=lambda one: _WORST.index(status(one, one.ended_at or one.began_at)), default=None)


def inspections_of(lot: Lot, operation: str) -> tuple[OperationInspection, ...]:
    """The inspection of ``operation``, or those of the parts that the lot was put together from."""
    return tuple(one for one in lot.operation_inspections if one.operation == operation)


# -- how much is looked at -----------------------------------------------------------------------------------------


def pieces_of(pieces: Pieces | None, quantity: Decimal) -> int:
    """How many pieces of an operation on ``quantity`` are looked at: first, every so many, and last, each once."""
    if pieces is None:
        return 0
    size = max(1, math.ceil(quantity))
    first, last = min(pieces.first, size), min(pieces.last, size)
    if first + last >= size:
        return size
    between = 0 if pieces.every is None else (size - last) // pieces.every - first // pieces.every
    return max(1, first + between + last)


def units(one: OperationInspection, now: str) -> int:
    """Units to look at by ``now`` where the plan does not say a number: pieces, and those by time."""
    if one.every_minutes is None:
        return one.pieces
    lasted = parse_instant(one.ended_at or now) - parse_instant(one.began_at)
    return one.pieces + max(0, int(lasted.total_seconds())) // (_SECONDS_OF_A_MINUTE * one.every_minutes)


def missing(one: OperationInspection, now: str) -> list[tuple[str, int]]:
    """Required characteristics, with the number of units on which each still has to be looked at."""
    asked = units(one, now)
    wanted = [(line, asked if line.wanted is None else line.wanted) for line in one.looked if line.required]
    return [(line.characteristic, number - line.inspected) for line, number in wanted if line.inspected < number]


def status(one: OperationInspection, now: str) -> str:
    """``open``: results are missing · ``rejected``: a required one does not conform · ``accepted``."""
    if any(line.required and line.nonconforming for line in one.looked):
        return "rejected"
    return "open" if missing(one, now) else "accepted"


def lacking(lot: Lot, run: OperationRun) -> RuleVerdict | None:
    """Why what comes after a completed operation waits for its inspection; None: it does not."""
    for one in inspections_of(lot, run.operation) if run.status == "completed" else ():
        left = missing(one, one.ended_at or one.began_at)
        if left:
            names = ", ".join(f"{name} on {number} more" for name, number in left)
            words = f"the inspection of operation {run.operation} by plan {one.plan} lacks {names}"
            return fails("OPERATION-INSPECTED", words, Verdict.UNKNOWN)
    return None


# -- how an inspection goes on -------------------------------------------------------------------------------------


def begun(reference: Reference, lot: Lot, operation: str, day: str, now: str) -> OperationInspection | None:
    """The inspection of an operation that has just begun, by the plan that it had before or by the one in force."""
    before = inspection_of(lot, operation)
    if before is not None and reference.has_plan(before.plan, before.revision):
        key, revision = before.plan, before.revision
        plan = reference.plan(key, revision)
    elif before is not None:
        return None
    else:
        found = reference.plan_for(lot.item, lot.revision, None, "in_process", day, operation)
        if found is None:
            return None
        key, revision, plan = found[0].key, found[0].revision, found[1]
    run = next((run for run in lot.operations if run.operation == operation), None)
    ended = now if run is not None and run.status == "completed" else None
    return OperationInspection(
        operation=operation, plan=key, revision=revision, after=lot.version, began_at=now, ended_at=ended,
        pieces=pieces_of(plan.pieces, lot.quantity),
        every_minutes=None if plan.pieces is None else plan.pieces.every_minutes,
        looked=tuple(Looked(c.characteristic, c.sample_size, c.required) for c in plan.characteristics),
    )  # fmt: skip


def ended(
    inspections: tuple[OperationInspection, ...], operation: str, at: str
) -> tuple[OperationInspection, ...]:
    """The inspections after ``operation`` was completed."""
    return tuple(
        replace(one, ended_at=at) if one.operation == operation and one.ended_at is None else one
        for one in inspections
    )  # fmt: skip


def with_inspection(
    inspections: tuple[OperationInspection, ...], changed: OperationInspection
) -> tuple[OperationInspection, ...]:
    """The inspections with ``changed`` in the place of the one of its operation, or of those of all parts."""
    if all(one.operation != changed.operation for one in inspections):
        return (*inspections, changed)
    return tuple(dict.fromkeys(changed if one.operation == changed.operation else one for one in inspections))


def split_off(lot: Lot) -> tuple[OperationInspection, ...]:
    """The inspections as a lot that is split off from ``lot`` has them: what was found stands for it, too."""
    return tuple(
        replace(one, after=0, results_version=0, before=(
            *one.before, *([ResultsOf(lot.id, one.after, one.results_version)] if one.results_version else ()),
        ))
        for one in lot.operation_inspections
    )  # fmt: skip


def sources(lot: Lot, one: OperationInspection) -> tuple[ResultsOf, ...]:
    """Where the results of an inspection are, oldest first."""
    own = ResultsOf(lot.id, one.after, one.results_version)
    return (*one.before, own) if one.results_version else one.before


# -- what results say ----------------------------------------------------------------------------------------------


def _assigned(one: OperationInspection, asked: int) -> AssignedPlan:
    return AssignedPlan(plan=one.plan, revision=one.revision, sample_size=max(1, asked))


def guards(
    reference: Reference, lot: Lot, data: ev.Inspection, results: Sequence[Fact], now: str
) -> tuple[RuleVerdict, ...]:  # fmt: skip
    """Every reason why results of an operation are refused. ``results``: those in force before."""
    name = data.operation or ""
    run = next((run for run in lot.operations if run.operation == name), None)
    if run is None:
        known = ", ".join(run.operation for run in lot.operations) or "none"
        words = f"operation {name} of lot {lot.id} was not reported; reported are: {known}"
        return (fails("OPERATION-REPORTED", words),)
    if len(inspections_of(lot, name)) > 1:
        # Results of the whole would take the place of what was found of one part, and hide the rest.
        words = f"operation {name} was inspected in the parts of lot {lot.id} apart; nothing is added to that"
        return (fails("OPERATION-OF-WHOLE", f"{words} until the operation is reported anew of the whole"),)
    one = inspection_of(lot, name)
    if one is None or not reference.has_plan(one.plan, one.revision):
        known = ", ".join(each.operation for each in lot.operation_inspections) or "none"
        words = f"operation {name} of lot {lot.id} has no inspection plan; inspected in process are: {known}"
        return (fails("OPERATION-PLANNED", words),)
    plan = reference.plan(one.plan, one.revision)
    return inspection_plan.guards(plan, _assigned(one, units(one, now)), results, data.measurements)


def judged(
    reference: Reference, one: OperationInspection, results: Iterable[Fact], version: int, now: str
) -> OperationInspection:
    """The inspection as ``results``, all that are in force, say; ``version``: of the newest record."""
    plan = reference.plan(one.plan, one.revision)
    found = found_of(plan, _assigned(one, units(one, now)), results)
    looked = tuple(
        Looked(f.planned.characteristic, f.planned.sample_size, f.planned.required, f.looked_at, f.nonconforming)
        for f in found
    )
    return replace(one, results_version=version, looked=looked)


def breaches(plan: InspectionPlan, data: ev.Inspection) -> tuple[str, ...]:
    """What is recorded that does not conform to a required characteristic, in sentences."""
    planned = {one.characteristic: one for one in plan.characteristics}
    found = []
    for m in data.measurements:
        one = planned.get(m.characteristic)
        if one is None or not one.required:
            continue
        where = f"operation {data.operation}: {m.characteristic} of sample {m.sample}"
        if m.value is not None and not inspection_plan.within(m.value, one.lower, one.upper):
            low, high = ("any" if bound is None else f"{bound:f}" for bound in (one.lower, one.upper))
            found.append(f"{where} = {m.value:f} {m.unit}, limits {low} to {high}")
        elif m.nonconforming:
            found.append(f"operation {data.operation}: {m.nonconforming} of {m.inspected} units, {m.characteristic}")
        elif m.inspected is None and (m.conforming is False or (m.value is None and m.conforming is None)):
            found.append(f"{where} does not conform")
    return tuple(found)


# -- what rules see ------------------------------------------------------------------------------------------------

#: Kinds of fact that come from here.
KINDS = frozenset({"operation_inspection", "operation_result"})
_SCALE = 1_000_000


def inspection_facts(lot: Lot, now: str) -> list[Fact]:
    """One fact a characteristic of each inspection in process of the lot."""
    found: list[Fact] = []
    for one in lot.operation_inspections:
        asked = units(one, now)
        for line in one.looked:
            wanted = asked if line.wanted is None else line.wanted
            found.append({
                "operation": one.operation, "plan": one.plan, "revision": one.revision * _SCALE,
                "status": status(one, now), "characteristic": line.characteristic, "required": line.required,
                "sample_size": wanted * _SCALE, "inspected": line.inspected * _SCALE,
                "missing": max(0, wanted - line.inspected) * _SCALE, "nonconforming": line.nonconforming * _SCALE,
            })  # fmt: skip
    return found
