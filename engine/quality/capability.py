"""Process capability: Cp and Cpk from the spread within subgroups, Pp and Ppk from the overall spread.

Definitions: Montgomery, Introduction to Statistical Quality Control, 8th ed., section 8.3; ISO 22514-2. Confidence
intervals: Cp and Pp by the chi-square distribution (exact for normal data), Cpk and Ppk by Bissell's approximation
(Applied Statistics 39, 1990). They say something only of a process that is in control.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from msgspec import Struct

from engine.quality.charts import ChartInvalid, deviation


class Index(Struct, frozen=True):
    """A capability index with its confidence interval; None where it needs a limit that is not there."""

    value: float
    lower: float
    upper: float


class Capability(Struct, frozen=True):
    """Of one characteristic."""

    n: int
    mean: float
    #: Standard deviation that the indices use.
    sigma: float
    #: Cp or Pp: needs both limits.
    potential: Index | None
    #: Cpk or Ppk.
    actual: Index


def capability(
    mean: float, sigma: float, n: int, lower: float | None, upper: float | None, *, freedom: int | None = None,
    confidence: float = 0.95,
) -> Capability:  # fmt: skip
    """Indices of a process with ``mean`` and ``sigma``, estimated from ``n`` values.

    ``lower``, ``upper``: specification limits, at least one. ``freedom``: degrees of freedom of ``sigma`` (n - 1).
    Raises ChartInvalid.
    """
    freedom = n - 1 if freedom is None else freedom
    if lower is None and upper is None:
        raise ChartInvalid("capability needs a specification limit")
    if lower is not None and upper is not None and lower >= upper:
        raise ChartInvalid(f"the lower limit {lower} is not below the upper limit {upper}")
    if sigma <= 0 or n < 2 or freedom < 1 or not 0 < confidence < 1:
        raise ChartInvalid("capability needs at least 2 values that differ, and a confidence between 0 and 1")
    tail = (1 - confidence) / 2
    potential = None
    if lower is not None and upper is not None:
        value = (upper - lower) / (6 * sigma)
        low, high = chi_square_quantile(tail, freedom), chi_square_quantile(1 - tail, freedom)
        potential = Index(value, value * math.sqrt(low / freedom), value * math.sqrt(high / freedom))
    sides = [(upper - mean) if upper is not None else math.inf, (mean - lower) if lower is not None else math.inf]
    actual = min(sides) / (3 * sigma)
    half = NormalDist().inv_cdf(1 - tail) * math.sqrt(1 / (9 * n) + actual * actual / (2 * freedom))
    return Capability(n, mean, sigma, potential, Index(actual, actual - half, actual + half))


def performance(values: Sequence[float], lower: float | None, upper: float | None) -> Capability:
    """Pp and Ppk of ``values``, from their overall standard deviation."""
    if len(values) < 2:
        raise ChartInvalid("capability needs at least 2 values that differ")
    return capability(math.fsum(values) / len(values), deviation(values), len(values), lower, upper)


def chi_square_quantile(probability: float, freedom: int) -> float:
    """The value that a chi-square variable with ``freedom`` degrees stays under with ``probability``, to 10 digits."""
    low, high = 0.0, freedom + 40 * math.sqrt(2 * freedom) + 40
    for _ in range(200):
        middle = (low + high) / 2
        if _gamma_below(freedom / 2, middle / 2) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _gamma_below(shape: float, x: float) -> float:
    """Regularised lower incomplete gamma function: by its series, or by its continued fraction (Lentz)."""
    if x <= 0:
        return 0.0
    scale = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1:
        term = total = 1 / shape
        k = shape
        while abs(term) > total * 1e-16:
            k += 1
            term *= x / k
            total += term
        return scale * total
    tiny = 1e-300
    b = x + 1 - shape
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        a = -i * (i - shape)
        b += 2
        d = 1 / (a * d + b or tiny)
        c = b + a / c or tiny
        step = d * c
        fraction *= step
        if abs(step - 1) < 1e-16:
            break
    return 1 - scale * fraction
