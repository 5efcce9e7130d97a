"""``lotgate spc``: control charts, run rules and capability of measured values in a CSV file."""

import argparse
import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.quality import charts
from engine.quality.capability import Capability, performance
from engine.quality.runs import RULES, signals
from engine.settings import Settings

#: Chart -> which columns it is made of: measured values, counts of equal samples, or counts and sizes.
KINDS = ("xbar-r", "xbar-s", "i-mr", "p", "np", "c", "u")


def spc(options: argparse.Namespace, settings: Settings) -> int:
    """Limits, points outside, run rules, capability. 1 when something is out of control."""
    rows = _rows(options.file)
    try:
        made = _charts(options, rows)
        able = _capability(options, rows)
    except charts.ChartInvalid as error:
        raise Failure(str(error), WRONG) from None
    rules = {} if options.rules == "none" else RULES[options.rules]
    # Run rules are for charts of levels; ranges and deviations are not symmetric.
    broken = {chart.kind: signals(chart, rules) if not n else {} for n, chart in enumerate(made)}
    out = any(chart.outside for chart in made) or any(points for found in broken.values() for points in found.values())
    if options.json:
        print_json({"charts": made, "rules": broken, "capability": able})
        return FOUND if out else DONE
    for chart in made:
        _print_chart(chart)
        for rule, points in broken[chart.kind].items():
            if points:
                print(f"  rule {rule}, {rules[rule][2]}: at {_list(points)}")
    if able is not None:
        potential = "" if able.potential is None else f"Pp {able.potential.value:.3f}, "
        print(f"{potential}Ppk {able.actual.value:.3f} (95 %: {able.actual.lower:.3f} to {able.actual.upper:.3f})")
    print("out of control" if out else "in control")
    return FOUND if out else DONE


def _print_chart(chart: charts.Chart) -> None:
    first = chart.points[0]
    same = all((p.lower, p.upper) == (first.lower, first.upper) for p in chart.points)
    limits = f"{_number(first.lower)} to {_number(first.upper)}" if same else "by sample size"
    print(f"{chart.kind}: centre {_number(first.centre)}, limits {limits}, from {chart.baseline} points")
    if chart.outside:
        print(f"  beyond a limit: {_list(chart.outside)}")


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "none"


def _list(points: tuple[int, ...]) -> str:
    return ", ".join(map(str, points))


def _rows(file: str) -> list[list[float]]:
    """Numbers line by line; a first line of names is skipped."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", WRONG) from None
    found: list[list[float]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not any(cell.strip() for cell in row):
            continue
        try:
            values = [float(cell) for cell in row]
        except ValueError:
            if number == 1:
                continue
            raise Failure(f"{file}, line {number}: {row} are not numbers", WRONG) from None
        if not all(map(math.isfinite, values)):
            raise Failure(f"{file}, line {number}: {row} are not numbers", WRONG)
        found.append(values)
    if not found:
        raise Failure(f"{file} has no numbers", WRONG)
    return found


def _charts(options: argparse.Namespace, rows: list[list[float]]) -> tuple[charts.Chart, ...]:
    base = options.baseline
    make: dict[str, Callable[[], tuple[charts.Chart, ...]]] = {
        "xbar-r": lambda: charts.xbar_r(rows, base),
        "xbar-s": lambda: charts.xbar_s(rows, base),
        "i-mr": lambda: charts.individuals([row[0] for row in rows], base),
        "p": lambda: (charts.p_chart(_counts(rows), _sizes(rows), base),),
        "np": lambda: (charts.np_chart(_counts(rows), _one_size(rows), base),),
        "c": lambda: (charts.c_chart(_counts(rows), base),),
        "u": lambda: (charts.u_chart(_counts(rows), [row[1] for row in _pairs(rows)], base),),
    }
    return make[options.chart]()


def _pairs(rows: list[list[float]]) -> list[list[float]]:
    if any(len(row) < 2 for row in rows):
        raise charts.ChartInvalid("each line has a count and a size")
    return rows


def _counts(rows: list[list[float]]) -> list[int]:
    if any(row[0] != int(row[0]) for row in rows):
        raise charts.ChartInvalid("counts are whole numbers")
    return [int(row[0]) for row in rows]


def _sizes(rows: list[list[float]]) -> list[int]:
    if any(row[1] != int(row[1]) for row in _pairs(rows)):
        raise charts.ChartInvalid("sizes are whole numbers")
    return [int(row[1]) for row in rows]


def _one_size(rows: list[list[float]]) -> int:
    sizes = set(_sizes(rows))
    if len(sizes) != 1:
        raise charts.ChartInvalid("an np chart is for samples of one size; take a p chart")
    return sizes.pop()


def _capability(options: argparse.Namespace, rows: list[list[float]]) -> Capability | None:
    if options.lsl is None and options.usl is None:
        return None
    if options.chart not in ("xbar-r", "xbar-s", "i-mr"):
        raise charts.ChartInvalid("capability is of measured values, not of counts")
    values: list[Any] = [row[0] for row in rows] if options.chart == "i-mr" else [v for row in rows for v in row]
    return performance(values, options.lsl, options.usl)
