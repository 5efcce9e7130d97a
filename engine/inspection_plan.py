"""Inspection plans: what is measured of a lot, on how many units, and what that says. Pure.

A plan is reference data (engine/reference.py). When a lot comes in, the plan that fits it best is assigned to it, with
the sample that its size and its supplier's record ask for; both are journaled, so what is in work keeps its plan and
its sample whatever is loaded later. Sampling is by attributes: a unit of the sample is nonconforming when any of its
results is (ANSI/ASQ Z1.4-2003, ISO 2859-1:1999; engine/quality/sampling.py); or by variables, characteristic by
characteristic (engine/by_variables.py). A lot is accepted when all of it accepts.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine import by_variables
from engine import events as ev
from engine.builtin import fails
from engine.by_variables import Variables
from engine.quality import sampling, skip_lot
from engine.quality.sampling import Severity
from engine.quality.scorecard import Scorecard
from engine.quality.skip_lot import Scheme, SkipState, State
from engine.quality.switching import judge
from engine.records import (
    AssignedPlan,
    AssignedVariables,
    SampleOutcome,
    SkipDecision,
    SkipResult,
    VariablesOutcome,
)
from rules.compiled import Verdict
from rules.rulebook import RuleVerdict

#: When a plan is for: goods that come in, lots that leave production, lots whose retest date came, an operation of it.
Kind = Literal["incoming", "final", "retest", "in_process"]
Unit = Annotated[str, Meta(min_length=1, max_length=16)]
SampleSize = Annotated[int, Meta(ge=1, le=1_000_000)]
_SCALE = 1_000_000

Fact = dict[str, int | str | bool]


class Arrival(Struct, frozen=True):
    """A lot that is just coming in, so that it may be skipped."""

    #: Instant, as text.
    now: str
    #: What chance says for it, from 0 to 1.
    drawn: float


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
    #: Mean and standard deviation decide, not how many units are outside the limits.
    variables: Variables | None = None
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
    #: Lots of a supplier that has earned it go to stock without inspection; left out: none.
    skip_lot: Scheme | None = None


class Pieces(ev.Closed, frozen=True):
    """Which pieces of an operation are inspected; each of them once, whatever it is inspected for."""

    #: So many of the first, and so many of the last.
    first: Annotated[int, Meta(ge=0, le=10_000)] = 0
    last: Annotated[int, Meta(ge=0, le=10_000)] = 0
    #: Every so many pieces one, counted from the first of the lot.
    every: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    #: One for every so many minutes that the operation lasted, besides.
    every_minutes: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


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
    #: In process: at which operation of the routing, and which of its pieces.
    operation: ev.Code | None = None
    pieces: Pieces | None = None


def within(value: Decimal, lower: Decimal | None, upper: Decimal | None) -> bool:
    """Between two limits, both included; None: no limit on that side."""
    return (lower is None or value >= lower) and (upper is None or value <= upper)


def switches(plan: InspectionPlan) -> bool:
    """Does how hard is inspected follow the supplier's record?"""
    sampled = any(one.variables is not None for one in plan.characteristics)
    if plan.sampling is None:
        return sampled
    return (sampled or plan.sampling.aql is not None) and plan.sampling.switching


def assign(
    key: str, revision: int, plan: InspectionPlan, quantity: Decimal, card: Scorecard, arrival: Arrival | None = None
) -> AssignedPlan:
    """``plan`` for a lot of ``quantity``, with the sample that is taken of it, and why.

    While acceptance by sampling is discontinued, every unit is inspected. A lot that is skipped has its sample all the
    same: a hold may lead to its inspection.
    """
    found = _sampled(key, revision, plan, quantity, card)
    scheme = None if plan.sampling is None else plan.sampling.skip_lot
    if scheme is None or arrival is None:
        return replace(found, why=_why(found, card, None))
    stands = skip_lot.standing(card.skip, scheme, arrival.now) if found.severity != "tightened" else SkipState()
    skipped = not found.discontinued and skip_lot.is_skipped(stands, arrival.drawn)
    drawn = Decimal(int(arrival.drawn * _SCALE)).scaleb(-6)
    decision = SkipDecision(state=stands.state.value, frequency=stands.frequency, drawn=drawn, skipped=skipped)
    return replace(found, skip=decision, why=_why(found, card, decision))


def _why(found: AssignedPlan, card: Scorecard, skip: SkipDecision | None) -> str:
    """Why a lot is inspected as hard as it is, or not at all."""
    if not found.switching:
        return ""
    level = "every unit is inspected" if found.discontinued else f"{found.severity} inspection"
    words = f"{level}: {card.because or 'nothing has changed it since the first lot'}"
    if skip is None or skip.state == State.LOT_BY_LOT.value:
        return words
    if skip.state == State.INTERRUPTED.value:
        return f"{words}; skip-lot is interrupted"
    chance = f"1 lot in {skip.frequency} is inspected, drawn was {skip.drawn}"
    return f"{words}; skip-lot: {'not ' if skip.skipped else ''}inspected, {chance}"


def _sampled(key: str, revision: int, plan: InspectionPlan, quantity: Decimal, card: Scorecard) -> AssignedPlan:
    switching, size = switches(plan), max(1, math.ceil(quantity))
    severity = card.sampling.severity if switching else Severity.NORMAL
    named = severity.value if _by_aql(plan) else None
    found = AssignedPlan(plan=key, revision=revision, severity=named, switching=switching)
    if plan.sampling is None and not switching:
        return found
    if size < 2 or (switching and card.sampling.discontinued):
        discontinued = switching and card.sampling.discontinued
        return replace(found, sample_size=size, severity=severity.value, discontinued=discontinued)
    found = replace(found, variables=tuple(
        by_variables.assign(one.characteristic, one.variables, one.lower, one.upper, size, severity)
        for one in plan.characteristics if one.variables is not None
    ))  # fmt: skip
    if plan.sampling is None:
        return found
    sample = sample_of(plan.sampling, size, severity)
    return replace(
        found, sample_size=sample.sample_size, accept=sample.accept, reject=sample.reject, letter=sample.letter
    )


def _by_aql(plan: InspectionPlan) -> bool:
    """Is anything of the plan from tables with normal, tightened and reduced inspection?"""
    sampled = any(one.variables is not None for one in plan.characteristics)
    return sampled or (plan.sampling is not None and plan.sampling.aql is not None)


def sample_of(asked: Sampling, lot_size: int, severity: Severity) -> sampling.Plan:
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
    #: Measured values, millionths; only of a characteristic that is inspected by variables.
    values: tuple[int, ...] = ()

    @property
    def missing(self) -> int:
        """Units still to be looked at."""
        return max(0, self.wanted - self.looked_at)


def found_of(plan: InspectionPlan, assigned: AssignedPlan, results: Iterable[Fact]) -> list[Found]:
    """What the results in force say, characteristic by characteristic in the order of the plan."""
    by_name: dict[str, list[Fact]] = {}
    for result in results:
        by_name.setdefault(str(result["characteristic"]), []).append(result)
    return [
        _found(one, wanted(one, assigned), by_name.get(one.characteristic, []), _estimated(one, assigned))
        for one in plan.characteristics
    ]


def wanted(one: Characteristic, assigned: AssignedPlan) -> int:
    """Units on which ``one`` is looked at."""
    if one.sample_size is not None:
        return one.sample_size
    by_itself = [sample.sample_size for sample in assigned.variables if sample.characteristic == one.characteristic]
    return by_itself[0] if by_itself else assigned.sample_size or 1


def _estimated(one: Characteristic, assigned: AssignedPlan) -> AssignedVariables | None:
    """How ``one`` is inspected by variables; None: unit by unit."""
    for sample in assigned.variables:
        if sample.characteristic == one.characteristic and sample.estimates:
            return sample
    return None


def _found(
    planned: Characteristic, asked: int, results: Sequence[Fact], estimated: AssignedVariables | None
) -> Found:
    looked_at = bad = 0
    which: set[int] = set()
    if estimated is not None:
        values = tuple(int(result["value"]) for result in results if "value" in result)
        return Found(planned, asked, len(values), 0, frozenset(), values)
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
    return fails("PLAN-COMPLETE", f"the inspection plan asks for {names}", Verdict.UNKNOWN)


def outcome(plan: InspectionPlan, assigned: AssignedPlan, found: Sequence[Found]) -> SampleOutcome:
    """What the sample says of the lot: accepted up to Ac, not accepted from Re on; and each estimate at most M."""
    bad = nonconforming_units(found)
    estimates = tuple(one for one in (estimated(each, assigned) for each in found) if one is not None)
    said = SampleOutcome(bad, bad < assigned.reject, switching=assigned.switching, variables=estimates)
    if assigned.letter is not None and assigned.sample_size is not None:
        units_seen = max(assigned.sample_size, bad)
        judged = judge(sampling.Plan(units_seen, assigned.accept, assigned.reject, assigned.letter), bad)
        said = replace(said, accepted=judged.accepted, back_to_normal=judged.back_to_normal)
    if not all(one.accepted for one in estimates):
        said = replace(said, accepted=False, back_to_normal=False)
    scheme = None if plan.sampling is None else plan.sampling.skip_lot
    if scheme is None:
        return said
    points = skip_lot.points_of(assigned.accept, bad, scheme) if said.accepted and bad <= assigned.accept else None
    return replace(said, skip=SkipResult(points, scheme))


def estimated(one: Found, assigned: AssignedPlan) -> VariablesOutcome | None:
    """What the values of a characteristic say of the lot; None: it is not inspected by variables, or not yet."""
    sample = _estimated(one.planned, assigned)
    if sample is None or len(one.values) != sample.sample_size:
        return None
    return by_variables.outcome(sample, one.planned.lower, one.planned.upper, one.values)


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
            failing.append(fails("CHARACTERISTIC-ON-PLAN", words))
            continue
        failing += _measurement_guards(one, wanted(one, assigned), m)
        if m.value is None and _estimated(one, assigned) is not None:
            words = f"{m.characteristic} is inspected by variables; say the value of each unit"
            failing.append(fails("RESULT-FITS-PLAN", words))
        key = (m.characteristic, m.sample)
        if m.inspected is None:
            if m.corrects is None and key in there:
                words = f"{m.characteristic} of sample {m.sample} is recorded already; to correct it, say why"
                failing.append(fails("SAMPLE-ONCE", words))
            elif m.corrects is not None and key not in there:
                words = f"{m.characteristic} of sample {m.sample} is not recorded yet; there is nothing to correct"
                failing.append(fails("SAMPLE-ONCE", words))
            there.add(key)
    return tuple(failing)


def _measurement_guards(one: Characteristic, asked: int, m: ev.Measurement) -> list[RuleVerdict]:
    name, failing = m.characteristic, []
    if one.unit is None and m.value is not None:
        failing.append(fails("RESULT-FITS-PLAN", f"{name} is judged, not measured; say conforming"))
    elif one.unit is not None and m.value is None and m.inspected is None:
        failing.append(fails("RESULT-FITS-PLAN", f"{name} is measured in {one.unit}; say its value"))
    if m.value is not None and one.unit is not None:
        if m.unit != one.unit:
            failing.append(fails("UNIT-OF-PLAN", f"{name} is measured in {one.unit}, not in {m.unit or 'no unit'}"))
        elif not within(m.value, one.plausible_from, one.plausible_to):
            limits = f"{_bound(one.plausible_from)} to {_bound(one.plausible_to)} {one.unit}"
            failing.append(fails("PLAUSIBLE", f"{name} = {m.value} {m.unit} is not plausible ({limits})"))
    if m.sample > asked or (m.inspected or 0) > asked:
        words = f"{name}: sample {max(m.sample, m.inspected or 0)} is beyond the {asked} of the plan"
        failing.append(fails("SAMPLE-IN-RANGE", words))
    return failing


def _bound(value: Decimal | None) -> str:
    return "any" if value is None else str(value)
