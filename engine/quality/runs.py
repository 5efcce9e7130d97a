"""Run rules: patterns on a control chart that chance hardly makes.

Nelson's eight rules (L. S. Nelson, The Shewhart Control Chart: Tests for Special Causes, Journal of Quality
Technology 16, 1984) and the four of the Western Electric handbook (1956), on distances from the centre line in
standard errors. A rule is broken at the point that completes its pattern, and at every further point that keeps it
up.
"""

import itertools
from collections.abc import Callable, Sequence

from engine.quality.charts import Chart

Signal = Callable[[Sequence[float]], bool]


def _beyond(zs: Sequence[float], width: float, side: int) -> int:
    return sum(side * z > width for z in zs)


def _of(count: int, width: float) -> Signal:
    """``count`` of the window beyond ``width`` on one side, the last of them at the end."""
    return lambda zs: any(side * zs[-1] > width and _beyond(zs, width, side) >= count for side in (1, -1))


def _trend(zs: Sequence[float]) -> bool:
    steps = [b - a for a, b in itertools.pairwise(zs)]
    return all(s > 0 for s in steps) or all(s < 0 for s in steps)


def _alternating(zs: Sequence[float]) -> bool:
    steps = [b - a for a, b in itertools.pairwise(zs)]
    return all(a * b < 0 for a, b in itertools.pairwise(steps))


def _side(zs: Sequence[float]) -> bool:
    return all(z > 0 for z in zs) or all(z < 0 for z in zs)


def _hugging(zs: Sequence[float]) -> bool:
    return all(abs(z) < 1 for z in zs)


def _avoiding(zs: Sequence[float]) -> bool:
    return all(abs(z) > 1 for z in zs)


#: Number of the rule -> (points in its window, whether they break it, in words).
NELSON: dict[int, tuple[int, Signal, str]] = {
    1: (1, _of(1, 3), "one point beyond 3 sigma"),
    2: (9, _side, "9 in a row on one side of the centre line"),
    3: (6, _trend, "6 in a row rising, or falling"),
    4: (14, _alternating, "14 in a row up and down in turns"),
    5: (3, _of(2, 2), "2 of 3 beyond 2 sigma on one side"),
    6: (5, _of(4, 1), "4 of 5 beyond 1 sigma on one side"),
    7: (15, _hugging, "15 in a row within 1 sigma"),
    8: (8, _avoiding, "8 in a row beyond 1 sigma, on both sides"),
}
WESTERN_ELECTRIC: dict[int, tuple[int, Signal, str]] = {
    1: NELSON[1],
    2: NELSON[5],
    3: NELSON[6],
    4: (8, _side, "8 in a row on one side of the centre line"),
}
RULES = {"nelson": NELSON, "western-electric": WESTERN_ELECTRIC}


def broken(zs: Sequence[float], rules: dict[int, tuple[int, Signal, str]] = NELSON) -> dict[int, tuple[int, ...]]:
    """Rule -> points that break it, counted from 1. ``zs``: distances from the centre line in standard errors."""
    found = {}
    for number, (window, signal, _) in rules.items():
        found[number] = tuple(
            end for end in range(window, len(zs) + 1) if signal(zs[end - window : end])
        )
    return found


def ending(zs: Sequence[float], rules: dict[int, tuple[int, Signal, str]] = NELSON) -> frozenset[int]:
    """Rules that are broken at the last point."""
    return frozenset(
        number for number, (window, signal, _) in rules.items() if len(zs) >= window and signal(zs[-window:])
    )


def signals(chart: Chart, rules: dict[int, tuple[int, Signal, str]] = NELSON) -> dict[int, tuple[int, ...]]:
    """:func:`broken` of a chart's points."""
    return broken([point.z for point in chart.points], rules)
