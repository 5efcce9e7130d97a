"""Inspecting a characteristic by variables: the plan it gets, and what its measured values say of the lot. Pure.

The statistics are in engine/quality/variables.py; which characteristics are inspected so is said by the inspection
plan (engine/inspection_plan.py). Journaled are the sample and M, as exact decimals; k is for people.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from engine import events as ev
from engine.quality.sampling import SamplingInvalid, Severity
from engine.quality.variables import Method, VariablesPlan, aql_of, estimate, variables_plan
from engine.records import AssignedVariables, VariablesOutcome

Aql = Annotated[str, Meta(max_length=8)]
_SCALE = 1_000_000


class Variables(ev.Closed, frozen=True):
    """Sampling by variables (ANSI/ASQ Z1.9): the measured values decide by mean and standard deviation."""

    #: Percent nonconforming, of the limit that there is or of both together.
    aql: Aql | None = None
    #: Of each limit by itself; both or none.
    aql_lower: Aql | None = None
    aql_upper: Aql | None = None
    level: Literal["S3", "S4", "I", "II", "III"] = "II"
    #: The process's standard deviation, where it is known; left out: it is estimated from the sample.
    sigma: Decimal | None = None


def problem_of(asked: Variables, lower: Decimal | None, upper: Decimal | None) -> str | None:
    """What is wrong, as a sentence; ``lower`` and ``upper``: the specification limits."""
    if lower is None and upper is None:
        return "inspection by variables needs a specification limit"
    separate = (asked.aql_lower, asked.aql_upper)
    if (asked.aql is None) == all(aql is None for aql in separate):
        return "inspection by variables has an aql, or an aql_lower and an aql_upper"
    if asked.aql is None and (None in separate or lower is None or upper is None):
        return "aql_lower and aql_upper are for two specification limits, and come together"
    if asked.sigma is not None and asked.sigma <= 0:
        return "the known standard deviation is above 0"
    try:
        for aql in (asked.aql, *separate):
            if aql is not None:
                aql_of(aql)
    except SamplingInvalid as error:
        return str(error)
    return None


def assign(
    name: str, asked: Variables, lower: Decimal | None, upper: Decimal | None, size: int, severity: Severity
) -> AssignedVariables:
    """The sample of characteristic ``name`` in a lot of ``size`` units, from 2 on.

    Two AQLs that lead to samples of different sizes: the stricter one stands for both limits.
    """
    method = Method.S if asked.sigma is None else Method.SIGMA

    def plan(aql: str) -> VariablesPlan:
        return variables_plan(size, aql, asked.level, severity, method)

    below, beyond = (plan(aql or asked.aql or "") for aql in (asked.aql_lower, asked.aql_upper))
    if below.sample_size != beyond.sample_size or below.whole_lot or beyond.whole_lot:
        below = beyond = min(below, beyond, key=lambda one: (not one.whole_lot, one.m))
    found = AssignedVariables(characteristic=name, sample_size=below.sample_size, letter=below.letter or "",
                              sigma=asked.sigma)  # fmt: skip
    if below.whole_lot:
        return found
    if lower is not None:
        found = replace(found, m_lower=_exact(below.m), k_lower=_exact(below.k))
    return found if upper is None else replace(found, m_upper=_exact(beyond.m), k_upper=_exact(beyond.k))


def outcome(
    assigned: AssignedVariables, lower: Decimal | None, upper: Decimal | None, values: Sequence[int]
) -> VariablesOutcome:
    """What ``values`` (millionths), as many as the sample has, say of the lot."""
    method = Method.S if assigned.sigma is None else Method.SIGMA

    def side(limit: Decimal | None, m: Decimal | None) -> tuple[float, VariablesPlan] | None:
        if limit is None or m is None:
            return None
        return float(limit), VariablesPlan(method, assigned.sample_size, 0.0, float(m))

    numbers = [value / _SCALE for value in values]
    sigma = None if assigned.sigma is None else float(assigned.sigma)
    found = estimate(numbers, side(lower, assigned.m_lower), side(upper, assigned.m_upper), sigma)
    allowed = max(m for m in (assigned.m_lower, assigned.m_upper) if m is not None)
    return VariablesOutcome(
        characteristic=assigned.characteristic, mean=_exact(found.mean), deviation=_exact(found.deviation),
        percent=_exact(found.percent), allowed=allowed, accepted=found.accepted,
    )  # fmt: skip


def _exact(value: float) -> Decimal:
    """At most six places, as every number of a fact."""
    return Decimal(f"{value:.6f}".rstrip("0").rstrip("."))
