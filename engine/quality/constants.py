"""Constants of control charts for normal data, computed from their definitions and not from rounded tables.

``c4``: exact, by the gamma function (Montgomery, Introduction to Statistical Quality Control, 8th ed., section 3S.1).
``d2`` and ``d3``: mean and standard deviation of the range of ``n`` standard normal values, by numerical integration
of the range's distribution (Tippett 1925; the same source, appendix VI, prints three digits); exact here to nine
digits.
"""

import math
from functools import cache

#: Subgroups for which constants are asked.
SMALLEST, LARGEST = 2, 100
_NORMAL_STEP, _RANGE_STEP, _FAR = 0.1, 0.05, 9.0


def c4(n: int) -> float:
    """Expected standard deviation of ``n`` standard normal values."""
    _check(n)
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))


def d2(n: int) -> float:
    """Expected range of ``n`` standard normal values."""
    return _moments(n)[0]


def d3(n: int) -> float:
    """Standard deviation of the range of ``n`` standard normal values."""
    first, second = _moments(n)
    return math.sqrt(second - first * first)


@cache
def _moments(n: int) -> tuple[float, float]:
    """First and second moment of the range."""
    _check(n)
    steps = int(2 * _FAR / _NORMAL_STEP)
    at = [-_FAR + k * _NORMAL_STEP for k in range(steps + 1)]
    density = [math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in at]
    below = [_below(x) for x in at]
    first = second = 0.0
    # The trapezoid rule is exact to many digits for densities that fade out at both ends; Simpson's over the range.
    for k in range(1, int(12 / _RANGE_STEP)):
        width = k * _RANGE_STEP
        inner = 0.0
        for x, f, below_x in zip(at, density, below, strict=True):
            y = x + width
            inner += f * math.exp(-y * y / 2) * (_below(y) - below_x) ** (n - 2)
        value = n * (n - 1) * inner * _NORMAL_STEP / math.sqrt(2 * math.pi)
        weight = (4 if k % 2 else 2) * _RANGE_STEP / 3
        first += weight * width * value
        second += weight * width * width * value
    return first, second


def _below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _check(n: int) -> None:
    if not SMALLEST <= n <= LARGEST:
        raise ValueError(f"a subgroup has {SMALLEST} to {LARGEST} values, not {n}")
