"""Inspection plans: what is measured of a lot, on how many units, and what that says. Pure.

A plan is reference data (engine/reference.py). When a lot comes in, the plan that fits it best is assigned to it, with
the sample that its size and its supplier's record ask for; both are journaled, so what is in work keeps its plan and
its sample whatever is loaded later. Sampling is by attributes: a unit of the sample is nonconforming when any of its
results is (ANSI/ASQ Z1.4-2003, ISO 2859-1:1999; engine/quality/sampling.py).
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine import events as ev
from engine.decoding import scaled
from engine.quality import sampling
from engine.quality.sampling import SamplingInvalid, Severity
from engine.quality.scorecard import Scorecard
from engine.quality.switching import judge
from engine.records import AssignedPlan, SampleOutcome
from rules import units
from rules.compiled import Severity as RuleSeverity
from rules.compiled import Verdict
from rules.rulebook import RuleVerdict

#: When a plan is for: goods that come in, lots that leave production, lots whose retest date came.
Kind = Literal["incoming", "final", "retest"]
Unit = Annotated[str, Meta(min_length=1, max_length=16)]
SampleSize = Annotated[int, Meta(ge=1, le=1_000_000)]
#: Kinds of fact that come from here.
KINDS = frozenset({"plan", "characteristic"})
#: Where these guards say they come from.
PLAN = "built-in"
_SCALE = 1_000_000

Fact = dict[str, int | str | bool]


class Characteristic(ev.Closed, frozen=True):
    """What is looked at: measured where it has a unit, judged where it has none."""

    characteristic: ev.Code
    unit: Unit | None = None
    #: Specification limits, both included; left out: none on that side.
    lower: Decimal | None = None
    upper: Decimal | None = None
    target: Decimal | None = None
    #: False: recorded, but nothing waits for it and nothing is rejected for it.
    required: bool = True
    #: Units to look at; left out: the plan's sample.
    sample_size: SampleSize | None = None
    #: Values outside are typing errors, and refused.
    plausible_from: Decimal | None = None
    plausible_to: Decimal | None = None
    #: How far a supplier's certified value may be from the mean of our results, in the unit; left out: nobody says.
    certificate_tolerance: Decimal | None = None
    method: ev.Code | None = None
    instrument: ev.Code | None = None


class Sampling(ev.Closed, frozen=True):
    """How the sample is found: from an AQL, or c = 0 for a limiting quality."""

    #: Percent nonconforming, such as ``0.65``.
    aql: Annotated[str, Meta(max_length=8)] | None = None
    level: Literal["S1", "S2", "S3", "S4", "I", "II", "III"] = "II"
    #: Normal, tightened and reduced inspection by the supplier's record.
    switching: bool = True
    #: Percent nonconforming that is accepted with ``consumer_risk`` at the most; no nonconforming unit is accepted.
    limiting_quality: Annotated[str, Meta(max_length=8)] | None = None
    consumer_risk: Annotated[str, Meta(max_length=8)] = "0.10"


class InspectionPlan(ev.Closed, frozen=True):
    """What is inspected of lots of an item."""

    item: ev.Code
    characteristics: Annotated[list[Characteristic], Meta(min_length=1, max_length=500)]
    #: Only of this revision of the item, or from this supplier; left out: of all.
    revision: ev.Code | None = None
    supplier: ev.Code | None = None
    kind: Kind = "incoming"
    #: Left out: each characteristic says its sample size, and no nonconforming unit is accepted.
    sampling: Sampling | None = None


def problem_of(plan: InspectionPlan) -> tuple[str, str] | None:
    """What is wrong with a plan, as a JSON pointer and a sentence; None: nothing."""
    seen: set[str] = set()
    for number, one in enumerate(plan.characteristics):
        at = f"/characteristics/{number}"
        if one.characteristic in seen:
            return f"{at}/characteristic", f"{one.characteristic} is on the plan twice"
        seen.add(one.characteristic)
        problem = _characteristic_problem(plan, one)
        if problem is not None:
            return at + problem[0], f"{one.characteristic}: {problem[1]}"
    return None if plan.sampling is None else _sampling_problem(plan.sampling)


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
    if one.sample_size is None and plan.sampling is None:
        return "/sample_size", "say on how many units, here or by the plan's sampling"
    if one.lower is not None and one.upper is not None and one.lower > one.upper:
        return "/lower", f"the lower limit {one.lower} is above the upper limit {one.upper}"
    if one.target is not None and not within(one.target, one.lower, one.upper):
        return "/target", f"the target {one.target} is outside the limits"
    for name, bound in (("lower", one.lower), ("upper", one.upper)):
        if bound is not None and not within(bound, one.plausible_from, one.plausible_to):
            return f"/{name}", f"the limit {bound} itself is not plausible"
    return None


def _sampling_problem(asked: Sampling) -> tuple[str, str] | None:
    if (asked.aql is None) == (asked.limiting_quality is None):
        return "/sampling", "sampling is by an aql or by a limiting_quality, one of the two"
    try:
        _sample_of(asked, 1_000, Severity.NORMAL)
    except SamplingInvalid as error:
        return "/sampling", str(error)
    return None


def within(value: Decimal, lower: Decimal | None, upper: Decimal | None) -> bool:
    """Between two limits, both included; None: no limit on that side."""
    return (lower is None or value >= lower) and (upper is None or value <= upper)


def assign(key: str, revision: int, plan: InspectionPlan, quantity: Decimal, card: Scorecard) -> AssignedPlan:
    """``plan`` for a lot of ``quantity``, with the sample that is taken of it.

    While acceptance by sampling is discontinued, every unit is inspected.
    """
    if plan.sampling is None:
        return AssignedPlan(plan=key, revision=revision)
    size = max(1, math.ceil(quantity))
    asked, switching = plan.sampling, plan.sampling.aql is not None and plan.sampling.switching
    severity = card.sampling.severity if switching else Severity.NORMAL
    if size < 2 or (switching and card.sampling.discontinued):
        return AssignedPlan(plan=key, revision=revision, sample_size=size, severity=severity.value,
                            switching=switching, discontinued=switching and card.sampling.discontinued)  # fmt: skip
    found = _sample_of(asked, size, severity)
    return AssignedPlan(
        plan=key, revision=revision, sample_size=found.sample_size, accept=found.accept, reject=found.reject,
        severity=severity.value if asked.aql is not None else None, letter=found.letter, switching=switching,
    )  # fmt: skip


def _sample_of(asked: Sampling, lot_size: int, severity: Severity) -> sampling.Plan:
    if asked.limiting_quality is not None:
        return sampling.zero_accept_plan(lot_size, asked.limiting_quality, asked.consumer_risk)
    return sampling.plan(lot_size, asked.aql or "", asked.level, severity)


# -- what results say --------------------------------------------------------------------------------------------


class Found(Struct, frozen=True):
    """What the results say of one characteristic."""

    planned: Characteristic
    #: Units to look at, and units that were.
    wanted: int
    looked_at: int
    #: Units, and of them those that can be told apart (by their sample number).
    nonconforming: int
    which: frozenset[int]

    @property
    def missing(self) -> int:
        """Units still to be looked at."""
        return max(0, self.wanted - self.looked_at)


def found_of(plan: InspectionPlan, assigned: AssignedPlan, results: Iterable[Fact]) -> list[Found]:
    """What the results in force say, characteristic by characteristic in the order of the plan."""
    by_name: dict[str, list[Fact]] = {}
    for result in results:
        by_name.setdefault(str(result["characteristic"]), []).append(result)
    return [_found(one, wanted(one, assigned), by_name.get(one.characteristic, [])) for one in plan.characteristics]


def wanted(one: Characteristic, assigned: AssignedPlan) -> int:
    """Units on which ``one`` is looked at."""
    if one.sample_size is not None:
        return one.sample_size
    return assigned.sample_size or 1


def _found(planned: Characteristic, asked: int, results: Sequence[Fact]) -> Found:
    looked_at = bad = 0
    which: set[int] = set()
    for result in results:
        if "inspected" in result:
            looked_at += int(result["inspected"]) // _SCALE
            bad += int(result["nonconforming"]) // _SCALE
            continue
        looked_at += 1
        if not _conforms(planned, result):
            bad += 1
            which.add(int(result["sample"]) // _SCALE)
    return Found(planned, asked, looked_at, bad, frozenset(which))


def _conforms(planned: Characteristic, result: Fact) -> bool:
    value = result.get("value")
    if planned.unit is None or value is None:
        return result.get("conforming") is True
    limits = (planned.lower, planned.upper)
    return within(Decimal(int(value)).scaleb(-6), *limits) and result.get("conforming") is not False


def nonconforming_units(found: Iterable[Found]) -> int:
    """Units of the sample that do not conform in a required characteristic.

    A unit that fails in two counts once where its number tells; counts without numbers are added up.
    """
    which: set[int] = set()
    others = 0
    for one in found:
        if one.planned.required:
            which |= one.which
            others += one.nonconforming - len(one.which)
    return len(which) + others


def incomplete(found: Iterable[Found]) -> RuleVerdict | None:
    """The verdict on an inspection that lacks required results; None: it is complete."""
    missing = [one for one in found if one.planned.required and one.missing]
    if not missing:
        return None
    names = ", ".join(f"{one.planned.characteristic} on {one.missing} more" for one in missing)
    return _fails("PLAN-COMPLETE", f"the inspection plan asks for {names}", Verdict.UNKNOWN)


def outcome(plan: InspectionPlan, assigned: AssignedPlan, found: Sequence[Found]) -> SampleOutcome:
    """What the sample says of the lot: accepted up to Ac, not accepted from Re on."""
    bad = nonconforming_units(found)
    if assigned.letter is None or assigned.sample_size is None:
        return SampleOutcome(bad, bad < assigned.reject, switching=assigned.switching)
    units_seen = max(assigned.sample_size, bad)
    judged = judge(
        sampling.Plan(units_seen, assigned.accept, assigned.reject, assigned.letter), bad
    )
    return SampleOutcome(bad, judged.accepted, judged.back_to_normal, assigned.switching)


def guards(
    plan: InspectionPlan, assigned: AssignedPlan, results: Sequence[Fact], measurements: Sequence[ev.Measurement]
) -> tuple[RuleVerdict, ...]:
    """Every reason why measurements do not fit the plan. ``results``: those in force before."""
    planned = {one.characteristic: one for one in plan.characteristics}
    there = {(str(r["characteristic"]), int(r["sample"]) // _SCALE) for r in results if "inspected" not in r}
    failing: list[RuleVerdict] = []
    for m in measurements:
        one = planned.get(m.characteristic)
        if one is None:
            words = f"{m.characteristic} is not on the plan {assigned.plan}: {', '.join(planned)}"
            failing.append(_fails("CHARACTERISTIC-ON-PLAN", words))
            continue
        failing += _measurement_guards(one, wanted(one, assigned), m)
        key = (m.characteristic, m.sample)
        if m.inspected is None:
            if m.corrects is None and key in there:
                words = f"{m.characteristic} of sample {m.sample} is recorded already; to correct it, say why"
                failing.append(_fails("SAMPLE-ONCE", words))
            elif m.corrects is not None and key not in there:
                words = f"{m.characteristic} of sample {m.sample} is not recorded yet; there is nothing to correct"
                failing.append(_fails("SAMPLE-ONCE", words))
            there.add(key)
    return tuple(failing)


def _measurement_guards(one: Characteristic, asked: int, m: ev.Measurement) -> list[RuleVerdict]:
    name, failing = m.characteristic, []
    if one.unit is None and m.value is not None:
        failing.append(_fails("RESULT-FITS-PLAN", f"{name} is judged, not measured; say conforming"))
    elif one.unit is not None and m.value is None and m.inspected is None:
        failing.append(_fails("RESULT-FITS-PLAN", f"{name} is measured in {one.unit}; say its value"))
    if m.value is not None and one.unit is not None:
        if m.unit != one.unit:
            failing.append(_fails("UNIT-OF-PLAN", f"{name} is measured in {one.unit}, not in {m.unit or 'no unit'}"))
        elif not within(m.value, one.plausible_from, one.plausible_to):
            limits = f"{_bound(one.plausible_from)} to {_bound(one.plausible_to)} {one.unit}"
            failing.append(_fails("PLAUSIBLE", f"{name} = {m.value} {m.unit} is not plausible ({limits})"))
    if m.sample > asked or (m.inspected or 0) > asked:
        words = f"{name}: sample {max(m.sample, m.inspected or 0)} is beyond the {asked} of the plan"
        failing.append(_fails("SAMPLE-IN-RANGE", words))
    return failing


def _bound(value: Decimal | None) -> str:
    return "any" if value is None else str(value)


def _fails(rule: str, message: str, verdict: Verdict = Verdict.FAIL) -> RuleVerdict:
    return RuleVerdict(rule, verdict, RuleSeverity.BLOCK, message, PLAN, 0, None)


# -- what rules see ----------------------------------------------------------------------------------------------


def plan_facts(
    plan: InspectionPlan, assigned: AssignedPlan, results: Iterable[Fact], kinds: frozenset[str]
) -> dict[str, list[Fact]]:
    """Facts of ``kinds``: the plan as it was assigned, and what was found of each characteristic."""
    found = found_of(plan, assigned, results)
    facts: dict[str, list[Fact]] = {}
    if "plan" in kinds:
        facts["plan"] = [_plan_fact(plan, assigned, found)]
    if "characteristic" in kinds:
        facts["characteristic"] = [_characteristic_fact(one) for one in found]
    return facts


def _plan_fact(plan: InspectionPlan, assigned: AssignedPlan, found: Sequence[Found]) -> Fact:
    fact: Fact = {
        "plan": assigned.plan, "revision": assigned.revision * _SCALE, "kind": plan.kind,
        "accept": assigned.accept * _SCALE, "reject": assigned.reject * _SCALE,
        "nonconforming": nonconforming_units(found) * _SCALE, "complete": incomplete(found) is None,
        "discontinued": assigned.discontinued,
    }  # fmt: skip
    if assigned.sample_size is not None:
        fact["sample_size"] = assigned.sample_size * _SCALE
    if assigned.severity is not None:
        fact["severity"] = assigned.severity
    return fact


def _characteristic_fact(one: Found) -> Fact:
    planned = one.planned
    fact: Fact = {
        "characteristic": planned.characteristic, "required": planned.required, "sample_size": one.wanted * _SCALE,
        "inspected": one.looked_at * _SCALE, "missing": one.missing * _SCALE,
        "nonconforming": one.nonconforming * _SCALE,
    }  # fmt: skip
    for name, number in (("lower", planned.lower), ("upper", planned.upper), ("target", planned.target)):
        if number is not None:
            fact[name] = int(number.scaleb(units.PLACES))
    for name, text in (("unit", planned.unit), ("method", planned.method), ("instrument", planned.instrument)):
        if text is not None:
            fact[name] = text
    return fact
