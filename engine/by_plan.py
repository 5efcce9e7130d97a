"""Inspecting a lot by its plan: which one it gets, what does not fit it, what lacks, what the sample says. Pure."""

from collections.abc import Sequence
from typing import Any

from engine import decide, inspection_plan, supplier_certificates
from engine import events as ev
from engine.consequences import Completed, PlanAssigned, SamplingChanged
from engine.gather import Fact
from engine.inspection_plan import InspectionPlan
from engine.lot import Lot
from engine.surroundings import Surroundings
from rules.rulebook import Reaction, RuleVerdict


def off_plan(around: Surroundings, lot: Lot, results: Sequence[Fact], data: ev.Inspection) -> tuple[RuleVerdict, ...]:
    """Every reason why ``data`` does not fit the plan of ``lot``; ``results`` were recorded before it."""
    plan = around.plan_of(lot)
    return () if plan is None else inspection_plan.guards(*plan, results, data.measurements)


def certificate_fails(
    around: Surroundings, lot: Lot, results: Sequence[Fact], data: ev.SupplierCertificate
) -> tuple[RuleVerdict, ...]:
    """Every reason why a supplier's certificate does not fit ``lot``."""
    plan = around.plan_of(lot)
    names = [name for name in (lot.supplier_lot, lot.id) if name is not None]
    return supplier_certificates.guards(
        names, lot.certificates, data, around.day, None if plan is None else plan[0], results
    )


def completed(around: Surroundings, lot: Lot, results: Sequence[Fact]) -> Completed | None:
    """What the sample says; None while the plan lacks results. Without a plan nothing is said."""
    plan = around.plan_of(lot)
    if plan is None:
        return Completed()
    found = inspection_plan.found_of(*plan, results)
    if inspection_plan.incomplete(found) is not None:
        return None
    return Completed(sample=inspection_plan.outcome(*plan, found))


def changed(around: Surroundings, lot: Lot, name: str) -> PlanAssigned | RuleVerdict:
    """The plan ``name`` for ``lot``, or why it is not for it."""
    found = around.reference.in_force("inspection-plan", name, around.day)
    # A plan in process is of an operation, never of a lot.
    if found is None or not isinstance(found.content, InspectionPlan) or found.content.kind == "in_process":
        return decide.no_such_plan(name, lot.item)
    return PlanAssigned(assigned=around.assign(lot, found, found.content))


def assigned(around: Surroundings, lot: Lot, kind: str, *, arriving: bool) -> PlanAssigned | None:
    """The plan of ``kind`` that fits ``lot`` best; None: there is none, and the lot keeps what it has.

    Only a lot that is ``arriving`` may be skipped: what was put together of others had its chance with each of them.
    """
    found = around.reference.plan_for(lot.item, lot.revision, lot.supplier, kind, around.day)
    if found is None:
        return None
    return PlanAssigned(assigned=around.assign(lot, *found, arriving=arriving))


def sampling_changed(reaction: Reaction) -> SamplingChanged:
    """What a reaction says of how hard the supplier's lots are inspected from now on."""
    severity: Any = reaction.to  # one of the three: the rule files are checked
    return SamplingChanged(reaction=reaction.id, severity=severity, text=reaction.message)
