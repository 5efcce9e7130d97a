"""Shewhart control charts, EWMA and CUSUM.

Formulas and their names: Montgomery, Introduction to Statistical Quality Control, 8th ed., chapters 6, 7 and 9.
Limits are at three standard errors. The first ``baseline`` points (all, when it is None) set centre line and limits:
phase I; the points after them are held against these limits: phase II. Values are floats: charts are statistics, not
decisions on a limit.
"""

import itertools
import math
from collections.abc import Sequence

from msgspec import Struct

from engine.quality.constants import c4, d2, d3

#: Standard errors between centre line and limit.
WIDTH = 3.0


class Point(Struct, frozen=True):
    """One point of a chart with its limits."""

    value: float
    lower: float
    centre: float
    upper: float
    #: Standard error of the point; the zones of run rules are counted in it.
    sigma: float

    @property
    def outside(self) -> bool:
        """Beyond a limit."""
        return not self.lower <= self.value <= self.upper

    @property
    def z(self) -> float:
        """Distance from the centre line in standard errors; 0 where there is no spread."""
        return (self.value - self.centre) / self.sigma if self.sigma > 0 else 0.0


class Chart(Struct, frozen=True):
    """A control chart."""

    #: xbar, r, s, individuals, moving_range, p, np, c, u, ewma
    kind: str
    points: tuple[Point, ...]
    #: How many of the first points set the limits.
    baseline: int

    @property
    def outside(self) -> tuple[int, ...]:
        """Points beyond a limit, counted from 1."""
        return tuple(number for number, point in enumerate(self.points, 1) if point.outside)


class ChartInvalid(ValueError):
    """Data that make no chart; says why."""


Subgroups = Sequence[Sequence[float]]


def xbar_r(subgroups: Subgroups, baseline: int | None = None) -> tuple[Chart, Chart]:
    """Means and ranges. ``subgroups``: (points, n) values, n from 2 on, the same for all."""
    n, first = _sizes(subgroups, baseline)
    means, ranges = [math.fsum(g) / n for g in subgroups], [max(g) - min(g) for g in subgroups]
    mean_range = _mean(ranges[:first])
    sigma = mean_range / d2(n)
    spread = d3(n) * sigma
    return (
        _level("xbar", means, _mean(means[:first]), sigma / math.sqrt(n), first),
        _level("r", ranges, mean_range, spread, first, floor=0.0),
    )


def xbar_s(subgroups: Subgroups, baseline: int | None = None) -> tuple[Chart, Chart]:
    """Means and standard deviations. ``subgroups``: (points, n) values, n from 2 on, the same for all."""
    n, first = _sizes(subgroups, baseline)
    means, deviations = [math.fsum(g) / n for g in subgroups], [deviation(g) for g in subgroups]
    return xbar_s_of(means, deviations, n, first)


def xbar_s_of(
    means: Sequence[float], deviations: Sequence[float], size: int, baseline: int | None = None
) -> tuple[Chart, Chart]:
    """As :func:`xbar_s`, for subgroups of ``size`` values of which only mean and standard deviation were kept."""
    first = _first(len(means), baseline)
    mean_deviation = _mean(deviations[:first])
    sigma = mean_deviation / c4(size)
    spread = sigma * math.sqrt(1 - c4(size) ** 2)
    return (
        _level("xbar", means, _mean(means[:first]), sigma / math.sqrt(size), first),
        _level("s", deviations, mean_deviation, spread, first, floor=0.0),
    )


def individuals(values: Sequence[float], baseline: int | None = None) -> tuple[Chart, Chart]:
    """Single values and their moving ranges of two; the second chart has one point less."""
    first = _first(len(values), baseline, least=2)
    _finite(values)
    moving = [abs(b - a) for a, b in itertools.pairwise(values)]
    mean_range = _mean(moving[: first - 1])
    sigma = mean_range / d2(2)
    return (
        _level("individuals", values, _mean(values[:first]), sigma, first),
        _level("moving_range", moving, mean_range, d3(2) * sigma, first - 1, floor=0.0),
    )


def p_chart(counts: Sequence[int], sizes: Sequence[int], baseline: int | None = None) -> Chart:
    """Fraction nonconforming, samples of any size."""
    first = _counted(counts, sizes, baseline, most=True)
    centre = sum(counts[:first]) / sum(sizes[:first])
    points = tuple(
        _point(x / n, centre, math.sqrt(centre * (1 - centre) / n), floor=0.0, ceiling=1.0)
        for x, n in zip(counts, sizes, strict=True)
    )
    return Chart("p", points, first)


def np_chart(counts: Sequence[int], size: int, baseline: int | None = None) -> Chart:
    """Number nonconforming, samples of one size."""
    first = _counted(counts, [size] * len(counts), baseline, most=True)
    fraction = sum(counts[:first]) / (size * first)
    sigma = math.sqrt(size * fraction * (1 - fraction))
    points = tuple(_point(x, size * fraction, sigma, floor=0.0, ceiling=float(size)) for x in counts)
    return Chart("np", points, first)


def c_chart(counts: Sequence[int], baseline: int | None = None) -> Chart:
    """Nonconformities per sample, samples of one size."""
    first = _counted(counts, [1] * len(counts), baseline, most=False)
    centre = sum(counts[:first]) / first
    return Chart("c", tuple(_point(x, centre, math.sqrt(centre), floor=0.0) for x in counts), first)


def u_chart(counts: Sequence[int], sizes: Sequence[float], baseline: int | None = None) -> Chart:
    """Nonconformities per unit, samples of any size."""
    first = _counted(counts, sizes, baseline, most=False)
    centre = sum(counts[:first]) / sum(sizes[:first])
    points = tuple(
        _point(x / n, centre, math.sqrt(centre / n), floor=0.0) for x, n in zip(counts, sizes, strict=True)
    )
    return Chart("u", points, first)


def ewma(values: Sequence[float], *, weight: float, width: float, target: float, sigma: float) -> Chart:
    """Exponentially weighted moving average, with exact limits (Montgomery 9.25, 9.26)."""
    if not 0 < weight <= 1 or sigma <= 0 or width <= 0:
        raise ChartInvalid("an EWMA has a weight above 0 and up to 1, and a width and a sigma above 0")
    _finite(values)
    points, at = [], target
    for number, value in enumerate(values, 1):
        at = weight * value + (1 - weight) * at
        error = sigma * math.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * number)))
        points.append(Point(at, target - width * error, target, target + width * error, error))
    return Chart("ewma", tuple(points), 0)


def held_against(kind: str, values: Sequence[float], *, centre: float, sigma: float) -> Chart:
    """Points held against limits that were set before (phase II). ``sigma``: standard error of a point."""
    if not math.isfinite(centre) or not math.isfinite(sigma) or sigma <= 0:
        raise ChartInvalid("limits are a centre line and a standard error above 0")
    _finite(values)
    return _level(kind, values, centre, sigma, 0)


class Cusum(Struct, frozen=True):
    """Tabular CUSUM: sums above and below the target, in units of the values."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]
    decision: float

    @property
    def signals(self) -> tuple[int, ...]:
        """Points at which a sum is beyond the decision interval, counted from 1."""
        pairs = zip(self.upper, self.lower, strict=True)
        return tuple(number for number, (a, b) in enumerate(pairs, 1) if max(a, b) > self.decision)


def cusum(values: Sequence[float], *, target: float, slack: float, decision: float) -> Cusum:
    """Tabular CUSUM (Montgomery 9.2, 9.3). ``slack``: K, ``decision``: H, both in units of the values."""
    if slack < 0 or decision <= 0:
        raise ChartInvalid("a CUSUM has a slack of at least 0 and a decision interval above 0")
    _finite(values)
    upper, lower, above, below = [], [], 0.0, 0.0
    for value in values:
        above = max(0.0, value - (target + slack) + above)
        below = max(0.0, (target - slack) - value + below)
        upper.append(above)
        lower.append(below)
    return Cusum(tuple(upper), tuple(lower), decision)


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1)."""
    mean = _mean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _level(
    kind: str, values: Sequence[float], centre: float, sigma: float, first: int, floor: float = -math.inf
) -> Chart:
    return Chart(kind, tuple(_point(v, centre, sigma, floor=floor) for v in values), first)


def _point(value: float, centre: float, sigma: float, floor: float = -math.inf, ceiling: float = math.inf) -> Point:
    lower, upper = max(floor, centre - WIDTH * sigma), min(ceiling, centre + WIDTH * sigma)
    return Point(float(value), lower, centre, upper, sigma)


def _sizes(subgroups: Subgroups, baseline: int | None) -> tuple[int, int]:
    first = _first(len(subgroups), baseline)
    sizes = {len(group) for group in subgroups}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ChartInvalid("subgroups have the same number of values, at least 2")
    for group in subgroups:
        _finite(group)
    return min(sizes), first


def _counted(counts: Sequence[int], sizes: Sequence[float], baseline: int | None, *, most: bool) -> int:
    first = _first(len(counts), baseline)
    if len(counts) != len(sizes):
        raise ChartInvalid("there is one size a count")
    for count, size in zip(counts, sizes, strict=True):
        if size <= 0 or count < 0 or (most and count > size):
            raise ChartInvalid(f"{count} of {size} cannot be")
    return first


def _first(number: int, baseline: int | None, least: int = 1) -> int:
    first = number if baseline is None else baseline
    if not least <= first <= number:
        raise ChartInvalid(f"limits come from {least} to all {number} points, not from {first}")
    return first


def _finite(values: Sequence[float]) -> None:
    if not all(math.isfinite(v) for v in values):
        raise ChartInvalid("every value is a finite number")
