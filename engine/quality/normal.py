"""Probabilities that inspection by variables rests on: of a normal process with a mean and spread that are estimated.

Formulas: Schilling and Neubauer, Acceptance Sampling in Quality Control, chapter 10; Lieberman and Resnikoff,
Sampling Plans for Inspection by Variables, Journal of the American Statistical Association 50 (1955). Pure numbers,
without numpy: a plan costs milliseconds. Tests hold them against scipy's noncentral t and beta distributions.
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

_NORMAL = NormalDist()
#: Steps of Simpson's rule over the spread; 400 give ten digits.
_STEPS = 400


def above(z: float) -> float:
    """Share of a normal distribution above ``z`` standard deviations; keeps its digits far out."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def quantile_above(share: float) -> float:
    """The ``z`` that ``share`` of a normal distribution is above."""
    return -_NORMAL.inv_cdf(share)


def beta_symmetric(x: float, a: float) -> float:
    """The distribution function of Beta(a, a) at ``x``."""
    if x <= 0:
        return 0.0
    if x > 0.5:
        return 1.0 - beta_symmetric(1 - x, a)
    log_front = math.lgamma(2 * a) - 2 * math.lgamma(a) + a * (math.log(x) + math.log1p(-x))
    return math.exp(log_front) * _fraction(x, a) / a


def _fraction(x: float, a: float) -> float:
    """The continued fraction of the incomplete beta function (Press et al., Numerical Recipes, section 6.4)."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - 2 * a * x / (a + 1))
    h = d
    for m in range(1, 1000):
        for numerator in (
            m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + numerator * d or tiny)
            c = 1 + numerator / c or tiny
            h *= d * c
        if abs(d * c - 1) < 1e-15:
            return h
    raise ArithmeticError(f"no incomplete beta of {x} and {a}")


def accepted_spread_unknown(fraction: float, sample_size: int, k: float) -> float:
    """Probability that (limit - mean) / s is at least ``k``, of a process with ``fraction`` beyond the limit.

    It is that of a noncentral t with n - 1 degrees of freedom above k sqrt(n); integrated here over the sample's
    standard deviation. ``sample_size`` from 3 on (below, the rule is too coarse).
    """
    z, root = quantile_above(fraction), math.sqrt(sample_size)
    return math.fsum(weight * above(root * (k * spread - z)) for spread, weight in _spreads(sample_size - 1))


@cache
def _spreads(freedom: int) -> list[tuple[float, float]]:
    """Values of s / sigma with their weights, Simpson's rule; ``freedom``: degrees of freedom."""
    reach = 10 / math.sqrt(2 * freedom)
    low, high = max(0.0, 1 - reach), 1 + reach + 2 / freedom
    step = (high - low) / _STEPS
    log_front = math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    found = []
    for number in range(_STEPS + 1):
        s = low + number * step
        if s > 0:
            weight = (1 if number in (0, _STEPS) else 4 if number % 2 else 2) * step / 3
            found.append((s, weight * math.exp(log_front + (freedom - 1) * math.log(s) - freedom * s * s / 2)))
    return found


def rising_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising ``function`` passes 0 between ``low`` and ``high``; an end where it does not."""
    for _ in range(70):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
