"""What lots' results add up to, characteristic by characteristic: a series for control charts. Pure.

A lot is a point: mean, standard deviation and number of its values. The newest points are kept for the chart; of all
values ever, only what their mean and standard deviation need (Chan, Golub and LeVeque, Algorithms for Computing the
Sample Variance, The American Statistician 37, 1983), so that a series costs the same after a million lots. Until
limits are set, they come from the points of the chart (phase I); limits that were set stand until others are set
(phase II).
"""

import math
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from engine.quality.charts import Chart, ChartInvalid, deviation, held_against, individuals, xbar_s_of
from engine.quality.runs import NELSON, WESTERN_ELECTRIC, ending

#: Points of a chart, the newest included.
WINDOW = 25
#: Points that are kept.
KEPT = 100
#: Points from which limits may be set.
LEAST_FOR_LIMITS = 20
#: Numbers of facts are integers x 10**6, below 10**18.
_SCALE, _LARGEST = 1_000_000, 10**12


class LotPoint(Struct, frozen=True, array_like=True):
    """One lot of a series."""

    lot: str
    #: When its inspection was complete.
    at: str
    #: Values measured.
    size: int
    mean: float
    #: Standard deviation (n - 1); 0 for a single value.
    deviation: float


class Limits(Struct, frozen=True):
    """Centre line and standard error of a point, set to hold new points against."""

    #: xbar (lots of ``size`` values) or individuals (means of lots of any size)
    kind: str
    centre: float
    sigma: float
    #: Values a lot; None: any number.
    size: int | None
    set_at: str
    set_by: str


class Series(Struct, frozen=True):
    """One characteristic of one item from one supplier."""

    lots: int = 0
    #: Of every value ever: number, mean, sum of squared distances from it.
    values: int = 0
    mean: float = 0.0
    squares: float = 0.0
    #: The newest points, oldest first.
    recent: tuple[LotPoint, ...] = ()
    limits: Limits | None = None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of every value ever; None below two."""
        return math.sqrt(self.squares / (self.values - 1)) if self.values > 1 else None


def point_of(lot: str, at: str, values: Sequence[float]) -> LotPoint:
    """The point of a lot with ``values`` (at least one)."""
    mean = math.fsum(values) / len(values)
    return LotPoint(lot, at, len(values), mean, deviation(values) if len(values) > 1 else 0.0)


def extended(series: Series, point: LotPoint) -> Series:
    """``series`` with one more lot."""
    own = point.deviation**2 * (point.size - 1)
    total = series.values + point.size
    away = point.mean - series.mean
    return replace(
        series,
        lots=series.lots + 1,
        values=total,
        mean=series.mean + away * point.size / total,
        squares=series.squares + own + away**2 * series.values * point.size / total,
        recent=(*series.recent, point)[-KEPT:],
    )


def chart_of(points: Sequence[LotPoint], limits: Limits | None = None) -> Chart:
    """The chart of ``points``: of means where all lots have as many values, else of the lots' means one by one.

    Raises ChartInvalid when there are too few points for limits of their own.
    """
    means = [point.mean for point in points]
    if limits is not None:
        return held_against(limits.kind, means, centre=limits.centre, sigma=limits.sigma)
    size = _common_size(points)
    if size is not None and size > 1:
        if len(points) < 2:
            raise ChartInvalid("a chart has at least two points")
        return xbar_s_of(means, [point.deviation for point in points], size)[0]
    return individuals(means)[0]


def limits_from(series: Series, at: str, by: str) -> Limits:
    """Limits from the newest points of a series. Raises ChartInvalid when there are too few, or they do not vary."""
    points = series.recent[-WINDOW:]
    if len(points) < LEAST_FOR_LIMITS:
        raise ChartInvalid(f"limits come from at least {LEAST_FOR_LIMITS} lots; there are {len(points)}")
    chart = chart_of(points)
    if chart.points[0].sigma <= 0:
        raise ChartInvalid("the lots do not vary; set centre and sigma yourself")
    return Limits(chart.kind, chart.points[0].centre, chart.points[0].sigma, _common_size(points), at, by)


def window_with(series: Series, own: LotPoint) -> tuple[LotPoint, ...]:
    """The newest points up to ``own``, which may be in the series already, or not yet."""
    before = series.recent
    for place, point in enumerate(before):
        if point.lot == own.lot:
            before = before[:place]
            break
    return (*before, own)[-WINDOW:]


def chart_fact(characteristic: str, series: Series, own: LotPoint) -> dict[str, int | str | bool]:
    """What rules see of a chart with the lot's own point as the last one; of too few points only how many."""
    points = window_with(series, own)
    fact: dict[str, int | str | bool] = {"characteristic": characteristic, "lots": len(points) * _SCALE}
    limits = series.limits
    if limits is not None and limits.size is not None and limits.size != own.size:
        limits = None  # limits for means of 5 say nothing of means of 3
    try:
        chart = chart_of(points, limits)
    except ChartInvalid:
        return fact
    last, zs = chart.points[-1], [point.z for point in chart.points]
    fact |= {"kind": chart.kind, "phase": (1 if limits is None else 2) * _SCALE, "outside": last.outside}
    for name, number in (("value", last.value), ("centre", last.centre), ("lower", last.lower), ("upper", last.upper)):
        if abs(number) < _LARGEST:
            fact[name] = round(number * _SCALE)
    for family, rules in (("nelson", NELSON), ("western_electric", WESTERN_ELECTRIC)):
        broken = ending(zs, rules)
        fact |= {f"{family}_{number}": number in broken for number in rules}
    return fact


def _common_size(points: Sequence[LotPoint]) -> int | None:
    sizes = {point.size for point in points}
    return next(iter(sizes)) if len(sizes) == 1 else None
