"""A control chart as a drawing: places of points and lines in units of their own. What may not enter: statistics."""

import math

from msgspec import Struct

from engine.scorecards import ChartLine

WIDTH, HEIGHT = 760.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 14.0, 14.0, 26.0
#: Share of the height that stays free above and below.
_AIR = 0.08


class Dot(Struct, frozen=True):
    """One lot."""

    x: str
    y: str
    lot: str
    words: str
    #: Breaks a run rule, or lies outside the limits.
    signal: bool


class Level(Struct, frozen=True):
    """A line across, with its value."""

    name: str
    points: str
    y: str
    value: str


class ControlChart(Struct, frozen=True):
    """A chart ready to be drawn."""

    line: ChartLine
    dots: list[Dot]
    path: str
    levels: list[Level]
    signals: int
    words: str


def drawn(line: ChartLine) -> ControlChart:
    """Where everything of a chart is."""
    has_limits = line.kind is not None
    values = [p.point.value for p in line.points]
    edges = [edge for p in line.points for edge in (p.point.lower, p.point.upper)] if has_limits else []
    least, most = min([*values, *edges], default=0.0), max([*values, *edges], default=1.0)
    air = (most - least) * _AIR or 1.0
    least, most = least - air, most + air
    across = (WIDTH - _LEFT - _RIGHT) / max(1, len(values) - 1)

    def x(number: int) -> str:
        return f"{_LEFT + (number * across if len(values) > 1 else (WIDTH - _LEFT - _RIGHT) / 2):.1f}"

    def y(value: float) -> str:
        return f"{_TOP + (most - value) / (most - least) * (HEIGHT - _TOP - _BOTTOM):.1f}"

    dots = []
    for number, one in enumerate(line.points):
        broken = [*one.signals, *(["outside its limits"] if has_limits and one.point.outside else [])]
        words = f"{one.lot}: {one.point.value:.6g}" + (f" ({', '.join(broken)})" if broken else "")
        dots.append(Dot(x(number), y(one.point.value), one.lot, words, bool(broken)))
    levels = []
    places = _places(most - least)
    if has_limits and line.points:
        last = line.points[-1].point
        for name, of in (("upper", "upper"), ("centre", "centre"), ("lower", "lower")):
            points = " ".join(f"{x(n)},{y(getattr(p.point, of))}" for n, p in enumerate(line.points))
            value = float(getattr(last, of))
            levels.append(Level(name, points, y(value), f"{value:.{places}f}"))
    signals = sum(dot.signal for dot in dots)
    path = " ".join(f"{dot.x},{dot.y}" for dot in dots)
    words = f"{line.characteristic} of {line.item}: {len(dots)} lots, {signals} with a signal"
    return ControlChart(line, dots, path, levels, signals, words)


def _places(span: float) -> int:
    """Decimal places with which values that are a tenth of ``span`` apart look different."""
    return min(9, max(0, 1 - math.floor(math.log10(span))))
