"""What rules see of an inspection plan: the plan as it was assigned, what was found of each characteristic. Pure."""

from collections.abc import Iterable, Sequence

from engine.inspection_plan import Fact, Found, InspectionPlan, estimated, found_of, incomplete, nonconforming_units
from engine.records import AssignedPlan, VariablesOutcome
from rules import units

#: Kinds of fact that come from here.
KINDS = frozenset({"plan", "characteristic"})
_SCALE = 1_000_000


def plan_facts(
    plan: InspectionPlan, assigned: AssignedPlan, results: Iterable[Fact], kinds: frozenset[str]
) -> dict[str, list[Fact]]:
    """Facts of ``kinds``: the plan as it was assigned, and what was found of each characteristic."""
    found = found_of(plan, assigned, results)
    facts: dict[str, list[Fact]] = {}
    if "plan" in kinds:
        facts["plan"] = [_plan_fact(plan, assigned, found)]
    if "characteristic" in kinds:
        facts["characteristic"] = [_characteristic_fact(one, estimated(one, assigned)) for one in found]
    return facts


def _plan_fact(plan: InspectionPlan, assigned: AssignedPlan, found: Sequence[Found]) -> Fact:
    fact: Fact = {
        "plan": assigned.plan, "revision": assigned.revision * _SCALE, "kind": plan.kind,
        "accept": assigned.accept * _SCALE, "reject": assigned.reject * _SCALE,
        "nonconforming": nonconforming_units(found) * _SCALE, "complete": incomplete(found) is None,
        "discontinued": assigned.discontinued,
        # Who inspects it after all, does so as the plan says.
        "skipped": assigned.skip is not None and assigned.skip.skipped and not any(one.looked_at for one in found),
    }  # fmt: skip
    if assigned.sample_size is not None:
        fact["sample_size"] = assigned.sample_size * _SCALE
    if assigned.severity is not None:
        fact["severity"] = assigned.severity
    if assigned.skip is not None:
        fact |= {"skip_lot": assigned.skip.state, "skip_frequency": assigned.skip.frequency * _SCALE}
    return fact


def _characteristic_fact(one: Found, said: VariablesOutcome | None) -> Fact:
    planned = one.planned
    fact: Fact = {
        "characteristic": planned.characteristic, "required": planned.required, "sample_size": one.wanted * _SCALE,
        "inspected": one.looked_at * _SCALE, "missing": one.missing * _SCALE,
        "nonconforming": one.nonconforming * _SCALE,
    }  # fmt: skip
    numbers = [("lower", planned.lower), ("upper", planned.upper), ("target", planned.target)]
    if said is not None:
        numbers += [(name, getattr(said, name)) for name in ("mean", "deviation")]
        numbers += [("estimated_percent", said.percent), ("allowed_percent", said.allowed)]
    for name, number in numbers:
        if number is not None:
            fact[name] = int(number.scaleb(units.PLACES))
    for name, text in (("unit", planned.unit), ("method", planned.method), ("instrument", planned.instrument)):
        if text is not None:
            fact[name] = text
    return fact
