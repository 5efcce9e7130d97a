"""What is wrong with an inspection plan that somebody wants to be kept. Pure.

What may not enter: lots, results (engine/inspection_plan.py), keeping (engine/reference.py).
"""

from decimal import Decimal

from engine import by_variables
from engine.by_variables import Variables
from engine.decoding import scaled
from engine.inspection_plan import Characteristic, InspectionPlan, Sampling, sample_of, within
from engine.quality import skip_lot
from engine.quality.sampling import SamplingInvalid, Severity

#: ISO 2859-3, clause 5.2.1: the smallest AQL, percent, with which lots are skipped.
SKIPPING_AQL = Decimal("0.025")


def problem_of(plan: InspectionPlan) -> tuple[str, str] | None:
    """What is wrong with a plan, as a JSON pointer and a sentence; None: nothing."""
    problem = _in_process_problem(plan)
    if problem is not None:
        return problem
    seen: set[str] = set()
    for number, one in enumerate(plan.characteristics):
        at = f"/characteristics/{number}"
        if one.characteristic in seen:
            return f"{at}/characteristic", f"{one.characteristic} is on the plan twice"
        seen.add(one.characteristic)
        problem = _characteristic_problem(plan, one)
        if problem is not None:
            return at + problem[0], f"{one.characteristic}: {problem[1]}"
    if plan.sampling is None:
        return None
    return _sampling_problem(plan.sampling) or _skipping_problem(plan, plan.sampling)


def _in_process_problem(plan: InspectionPlan) -> tuple[str, str] | None:
    """A plan in process is of an operation, and says which pieces; no other plan does."""
    if plan.kind != "in_process":
        if plan.operation is not None or plan.pieces is not None:
            return "/operation", "an operation and its pieces are said of plans of kind in_process only"
        return None
    if plan.operation is None:
        return "/operation", "say at which operation of the routing"
    if plan.supplier is not None:
        return "/supplier", "what is made here has no supplier"
    if plan.sampling is not None:
        return "/sampling", "in process pieces say what is inspected; sampling is of lots that are complete"
    for number, one in enumerate(plan.characteristics):
        if one.variables is not None:
            where = f"/characteristics/{number}/variables"
            return where, f"{one.characteristic}: inspection by variables is of lots that are complete"
    if plan.pieces is not None and not any((plan.pieces.first, plan.pieces.last, plan.pieces.every)):
        return "/pieces", "say how many of the first or of the last pieces, or every how many one; a time alone is none"
    return None


def _characteristic_problem(plan: InspectionPlan, one: Characteristic) -> tuple[str, str] | None:
    bounds = (one.lower, one.upper, one.target, one.plausible_from, one.plausible_to)
    if one.unit is None and any(bound is not None for bound in bounds):
        return "/unit", "limits need a unit; without one it is judged, not measured"
    if one.certificate_tolerance is not None:
        try:
            apart = scaled(one.certificate_tolerance)
        except ValueError as error:
            return "/certificate_tolerance", f"the tolerance {one.certificate_tolerance} {error}"
        if apart < 0 or one.unit is None:
            return "/certificate_tolerance", "a tolerance is not below 0, and of what is measured in a unit"
    if one.variables is not None:
        problem = _variables_problem(one, one.variables)
        if problem is not None:
            return "/variables", problem
    elif one.sample_size is None and plan.sampling is None and plan.pieces is None:
        return "/sample_size", "say on how many units, here or by the plan's sampling"
    if one.lower is not None and one.upper is not None and one.lower > one.upper:
        return "/lower", f"the lower limit {one.lower} is above the upper limit {one.upper}"
    if one.target is not None and not within(one.target, one.lower, one.upper):
        return "/target", f"the target {one.target} is outside the limits"
    for name, bound in (("lower", one.lower), ("upper", one.upper)):
        if bound is not None and not within(bound, one.plausible_from, one.plausible_to):
            return f"/{name}", f"the limit {bound} itself is not plausible"
    return None


def _variables_problem(one: Characteristic, asked: Variables) -> str | None:
    if one.unit is None:
        return "what is inspected by variables is measured, and has a unit"
    if one.sample_size is not None or not one.required:
        return "inspection by variables finds its sample itself, and decides: no sample_size, and required"
    return by_variables.problem_of(asked, one.lower, one.upper)


def _sampling_problem(asked: Sampling) -> tuple[str, str] | None:
    if (asked.aql is None) == (asked.limiting_quality is None):
        return "/sampling", "sampling is by an aql or by a limiting_quality, one of the two"
    try:
        sample_of(asked, 1_000, Severity.NORMAL)
    except SamplingInvalid as error:
        return "/sampling", str(error)
    return None


def _skipping_problem(plan: InspectionPlan, asked: Sampling) -> tuple[str, str] | None:
    if asked.skip_lot is None:
        return None
    if plan.kind != "incoming" or asked.aql is None or not asked.switching:
        return "/sampling/skip_lot", "skip-lot is for goods that come in, with an aql and with switching"
    if any(one.variables is not None for one in plan.characteristics):
        return "/sampling/skip_lot", "skip-lot goes with sampling by attributes, not by variables"
    if Decimal(asked.aql) < SKIPPING_AQL:
        return "/sampling/skip_lot", f"skip-lot needs an aql of at least {SKIPPING_AQL}"
    problem = skip_lot.problem_of(asked.skip_lot)
    return None if problem is None else ("/sampling/skip_lot", problem)
