"""Acceptance sampling by variables: plans of ANSI/ASQ Z1.9, and plans for two points of a curve. Pure.

A measured characteristic of a normal process: from mean and standard deviation of a sample (method s), or from its
mean where the standard deviation is known (method sigma), the percent beyond the specification limits is estimated.
A lot is accepted when the estimate is at most M (Form 2 of the standard); for one limit this says the same as
(limit - mean) / s >= k (Form 1). The plans protect as the single plans by attributes with the same AQL do, with
fewer units. ISO 3951:1989 has the same k for normal inspection; ISO 3951-1 from 2005 on has plans of its own, which
are not here. Switching is that of engine/quality/switching.py; reduced plans leave no gap between accept and reject.
"""

import enum
import math
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import cache

from msgspec import Struct

from engine.quality.normal import (
    above,
    accepted_spread_unknown,
    beta_symmetric,
    quantile_above,
    rising_root,
)
from engine.quality.sampling import SamplingInvalid, Severity, rows_of

#: AQLs of the tables, percent nonconforming.
AQLS = ("0.10", "0.15", "0.25", "0.40", "0.65", "1.0", "1.5", "2.5", "4.0", "6.5", "10")
#: Inspection levels: special, and general.
LEVELS = ("S3", "S4", "I", "II", "III")
#: Largest sample that is looked for.
_LARGEST = 100_000


class Method(enum.Enum):
    """What is known of the process's spread."""

    #: Nothing: it is estimated from the sample.
    S = "s"
    #: Its standard deviation.
    SIGMA = "sigma"


class VariablesPlan(Struct, frozen=True):
    """Measure ``sample_size`` units; the lot is accepted when at most ``m`` percent are estimated beyond the limits."""

    method: Method
    sample_size: int
    #: Acceptability constant: least distance from mean to limit, in standard deviations.
    k: float
    #: Largest estimated percent nonconforming that is accepted.
    m: float
    #: Code letter; None for a plan of two points.
    letter: str | None = None
    #: The plan asks for as many units as there are or more: the lot is inspected whole, unit by unit.
    whole_lot: bool = False


class Limit(Struct, frozen=True):
    """What a sample says of one specification limit."""

    #: (limit - mean) in standard deviations, positive inside.
    quality: float
    #: Percent of the process beyond it, as estimated.
    percent: float


class Estimate(Struct, frozen=True):
    """What a sample says of its lot."""

    mean: float
    #: Of the sample, or the known one.
    deviation: float
    lower: Limit | None
    upper: Limit | None
    #: Percent beyond the limits, together.
    percent: float
    accepted: bool


def code_letter(lot_size: int, level: str = "II") -> str:
    """Sample size code letter (Z1.9 table A-2). Raises SamplingInvalid."""
    if level not in LEVELS:
        raise SamplingInvalid(f"by variables there is no inspection level {level}; there are {', '.join(LEVELS)}")
    if lot_size < 2:
        raise SamplingInvalid(f"a lot of {lot_size} is not sampled; a lot has at least 2 units")
    starts, rows = _letters()
    return rows[bisect_right(starts, lot_size) - 1][level]


def variables_plan(
    lot_size: int,
    aql: str,
    level: str = "II",
    severity: Severity = Severity.NORMAL,
    method: Method = Method.S,
) -> VariablesPlan:
    """The plan for a lot (Z1.9 tables B-3, B-4, D-3, D-4), arrows followed. Raises SamplingInvalid.

    ``aql``: percent nonconforming, as a decimal text, of one limit or of two together.
    """
    letter = code_letter(lot_size, level)
    size, m = _cells()[method.value, severity.value, letter, aql_of(aql)]
    if size >= lot_size:
        return VariablesPlan(method, lot_size, 0.0, 0.0, letter, whole_lot=True)
    return VariablesPlan(method, size, constant_of(m, size, method), m, letter)


def aql_of(text: str) -> str:
    """The AQL as the tables write it. Raises SamplingInvalid for one that they do not have."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    for aql in AQLS:
        if value == Decimal(aql):
            return aql
    raise SamplingInvalid(f"by variables there is no AQL {text}; there are {', '.join(AQLS)}")


@cache
def constant_of(m: float, sample_size: int, method: Method) -> float:
    """The k that belongs to M, so that both forms of acceptance always agree."""
    if method is Method.SIGMA:
        return quantile_above(m / 100) * math.sqrt((sample_size - 1) / sample_size)
    largest = (sample_size - 1) / math.sqrt(sample_size)
    return rising_root(lambda k: m - estimated_percent(k, sample_size, method), -largest, largest)


def estimated_percent(quality: float, sample_size: int, method: Method) -> float:
    """Percent of a process beyond a limit that is ``quality`` standard deviations from the sample's mean: the
    estimator without bias that has the least variance (Lieberman and Resnikoff)."""
    n = sample_size
    if method is Method.SIGMA:
        return 100 * above(quality * math.sqrt(n / (n - 1)))
    return 100 * beta_symmetric(min(1.0, max(0.0, 0.5 - 0.5 * quality * math.sqrt(n) / (n - 1))), n / 2 - 1)


def estimate(
    values: Sequence[float],
    lower: tuple[float, VariablesPlan] | None,
    upper: tuple[float, VariablesPlan] | None,
    sigma: float | None = None,
) -> Estimate:
    """What ``values`` say of their lot, by each specification limit with its plan.

    The same plan for both limits is one AQL for both together: their percents are added and held against M. Two plans
    are two AQLs: each percent against its own M, and their sum against the larger one (Z1.9 sections B14, D14).
    ``sigma``: the known standard deviation, for plans of that method. Raises SamplingInvalid.
    """
    plans = [one[1] for one in (lower, upper) if one is not None]
    _fitting(plans, len(values), sigma)
    mean = math.fsum(values) / len(values)
    spread = sigma
    if spread is None:
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    below = None if lower is None else _limit(mean - lower[0], spread, lower[1])
    beyond = None if upper is None else _limit(upper[0] - mean, spread, upper[1])
    found = [
        (limit, one[1]) for limit, one in ((below, lower), (beyond, upper)) if limit is not None and one is not None
    ]
    total = math.fsum(limit.percent for limit, _ in found)
    accepted = all(limit.percent <= plan.m for limit, plan in found) and total <= max(plan.m for plan in plans)
    return Estimate(mean, spread, below, beyond, total, accepted)


def _fitting(plans: Sequence[VariablesPlan], number: int, sigma: float | None) -> None:
    if not plans:
        raise SamplingInvalid("there is no specification limit to hold the values against")
    if any(plan.whole_lot for plan in plans):
        raise SamplingInvalid("the plan asks for the whole lot: it is inspected unit by unit, and nothing is estimated")
    if any(plan.sample_size != number for plan in plans):
        sizes = ", ".join(str(size) for size in sorted({plan.sample_size for plan in plans}))
        raise SamplingInvalid(f"there are {number} values; the plan asks for {sizes}")
    if any((plan.method is Method.SIGMA) != (sigma is not None) for plan in plans):
        raise SamplingInvalid("a known standard deviation goes with plans of method sigma, and only with them")
    if sigma is not None and not 0 < sigma < math.inf:
        raise SamplingInvalid("the known standard deviation is above 0")


def _limit(distance: float, spread: float, plan: VariablesPlan) -> Limit:
    """Values that do not vary are inside or outside, all of them."""
    if spread == 0:
        return Limit(math.copysign(math.inf, distance) if distance else 0.0, 0.0 if distance >= 0 else 100.0)
    quality = distance / spread
    return Limit(quality, estimated_percent(quality, plan.sample_size, plan.method))


def accepted_with(fraction: float, plan: VariablesPlan) -> float:
    """Probability that a lot of a normal process with ``fraction`` beyond one limit is accepted."""
    if not 0 < fraction < 1:
        return float(fraction == 0)
    return _accepted(fraction, plan.sample_size, plan.k, plan.method)


def fraction_accepted(probability: float, plan: VariablesPlan) -> float:
    """The fraction nonconforming that the plan accepts with ``probability``."""
    if not 0 < probability < 1:
        raise ValueError("a probability between 0 and 1")
    return rising_root(lambda p: probability - accepted_with(p, plan), 1e-9, 1 - 1e-9)


def plan_of_two_points(
    good: float, producer_risk: float, bad: float, consumer_risk: float, method: Method = Method.S
) -> VariablesPlan:
    """The smallest plan that refuses a process with ``good`` nonconforming at most ``producer_risk`` of the time, and
    accepts one with ``bad`` at most ``consumer_risk`` of the time. Fractions, for one limit. Raises SamplingInvalid.

    Exact for both methods; of the constants that keep both risks, k is the one in the middle.
    """
    if not 0 < good < bad < 1 or not 0 < producer_risk < 1 or not 0 < consumer_risk < 1 - producer_risk:
        raise SamplingInvalid(
            "the good quality is below the bad one, both between 0 and 100 percent; the risks are above 0, and below 1"
            " together"
        )
    low, high = 3 if method is Method.S else 2, _LARGEST

    def constants(size: int) -> tuple[float, float]:
        """Least k for the consumer, largest for the producer."""
        return (
            _constant(bad, consumer_risk, size, method),
            _constant(good, 1 - producer_risk, size, method),
        )

    if constants(high)[0] > constants(high)[1]:
        raise SamplingInvalid(f"the two qualities are too near: no sample of up to {_LARGEST} tells them apart")
    while low < high:
        middle = (low + high) // 2
        least, most = constants(middle)
        if least <= most:
            high = middle
        else:
            low = middle + 1
    least, most = constants(low)
    k = (least + most) / 2
    return VariablesPlan(method, low, k, estimated_percent(k, low, method))


def _constant(fraction: float, probability: float, size: int, method: Method) -> float:
    """The k with which a process is accepted with ``probability``."""
    if method is Method.SIGMA:
        return quantile_above(fraction) + quantile_above(probability) / math.sqrt(size)
    return rising_root(lambda k: probability - accepted_spread_unknown(fraction, size, k), -60.0, 60.0)


def _accepted(fraction: float, size: int, k: float, method: Method) -> float:
    if method is Method.SIGMA:
        return above(math.sqrt(size) * (k - quantile_above(fraction)))
    return accepted_spread_unknown(fraction, size, k)


@cache
def _letters() -> tuple[list[int], list[dict[str, str]]]:
    rows = rows_of("z19_letters.csv")
    return [int(row["from"]) for row in rows], rows


@cache
def _cells() -> dict[tuple[str, str, str, str], tuple[int, float]]:
    return {
        (row["method"], row["severity"], row["letter"], row["aql"]): (int(row["sample_size"]), float(row["m"]))
        for row in rows_of("z19_plans.csv")
    }
