"""Results beside their limits, and a small drawing of them: what the lot page shows of an inspection.

Limits come out of a table of the rules in force that is matched by item, revision and characteristic and has columns
``lower`` and ``upper``. What may not enter: judging; a value is inside or outside here as the eye sees it.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec
from msgspec import Struct

from engine import events as ev
from engine.lot import Lot
from engine.store.reading import ResultLine
from rules.compiled import Table, Value
from rules.rulebook import RuleBook
from rules.units import SCALE

_MATCH = ("item", "revision", "characteristic")
_decode = msgspec.json.Decoder(list[ev.Measurement]).decode
#: Width and height of a drawing, in units of its own.
WIDTH, HEIGHT = 240.0, 36.0
_EDGE = 10.0
#: Points of one drawing; more would be one blot.
_MAX_POINTS = 200


class Measured(Struct, frozen=True):
    """One result."""

    version: int
    inspection: str
    sample: int
    #: As it was recorded, with its unit.
    value: str
    gauge: str | None
    #: True inside, False outside its limits or nonconforming; None: nothing says.
    good: bool | None


class Point(Struct, frozen=True):
    """A result in a drawing."""

    x: str
    y: str
    good: bool


class Drawing(Struct, frozen=True):
    """Results between their limits, left to right by value."""

    points: list[Point]
    lower: str | None
    upper: str | None


class Characteristic(Struct, frozen=True):
    """What was measured, between which limits."""

    name: str
    limits: str
    results: list[Measured]
    outside: int
    drawing: Drawing | None
    #: The smallest, the mean and the largest value, with the unit; empty where nothing was measured.
    summary: str


def characteristics(lot: Lot, lines: Iterable[ResultLine], book: RuleBook) -> list[Characteristic]:
    """Results of the present inspection by characteristic, in the order in which they came."""
    table = next((t for t in book.rules.tables.values() if _has_limits(t)), None)
    found: dict[str, list[tuple[ResultLine, ev.Measurement]]] = {}
    for line in lines:
        for one in _decode(bytes(line.measurements)):
            found.setdefault(one.characteristic, []).append((line, one))
    return [_characteristic(name, rows, _limits(table, lot, name)) for name, rows in found.items()]


class _Limits(Struct, frozen=True):
    lower: Decimal | None
    upper: Decimal | None
    unit: str | None


def _has_limits(table: Table) -> bool:
    return table.match == _MATCH and {"lower", "upper"} <= set(table.columns)


def _limits(table: Table | None, lot: Lot, name: str) -> _Limits | None:
    row = None if table is None else table.find((lot.item, lot.revision, name))
    if table is None or row is None:
        return None
    cells = table.rows[row]
    unit = cells.get("unit")
    return _Limits(_number(cells["lower"]), _number(cells["upper"]), None if unit is None else str(unit))


def _number(value: Value | None) -> Decimal | None:
    return None if value is None else Decimal(int(value)) / SCALE


def _characteristic(
    name: str, rows: list[tuple[ResultLine, ev.Measurement]], limits: _Limits | None
) -> Characteristic:
    results = [_measured(line, one, limits) for line, one in rows]
    values = [one.value for _, one in rows if one.value is not None]
    unit = next((one.unit for _, one in rows if one.unit), None)
    outside = sum(result.good is False for result in results)
    return Characteristic(name, _words(limits), results, outside, _drawing(values, limits), _summary(values, unit))


def _measured(line: ResultLine, one: ev.Measurement, limits: _Limits | None) -> Measured:
    good: bool | None = one.conforming
    if one.value is not None:
        text = f"{one.value:f}" + (f" {one.unit}" if one.unit else "")
        good = None if limits is None else _inside(one.value, limits)
    elif one.inspected is not None:
        text = f"{one.nonconforming or 0} of {one.inspected} nonconforming"
        good = None if one.nonconforming is None else one.nonconforming == 0
    else:
        text = {True: "conforms", False: "does not conform", None: "–"}[one.conforming]
    return Measured(line.version, line.inspection, one.sample, text, one.gauge, good)


def _inside(value: Decimal, limits: _Limits) -> bool:
    return (limits.lower is None or value >= limits.lower) and (limits.upper is None or value <= limits.upper)


def _words(limits: _Limits | None) -> str:
    if limits is None:
        return ""
    unit = f" {limits.unit}" if limits.unit else ""
    if limits.lower is not None and limits.upper is not None:
        return f"{_plain(limits.lower)} to {_plain(limits.upper)}{unit}"
    if limits.lower is not None:
        return f"at least {_plain(limits.lower)}{unit}"
    return f"at most {_plain(limits.upper)}{unit}" if limits.upper is not None else "no limits"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _summary(values: list[Decimal], unit: str | None) -> str:
    if not values:
        return ""
    mean = (sum(values, Decimal(0)) / len(values)).quantize(min(values, key=lambda v: v.as_tuple().exponent))
    return f"{min(values):f} · mean {mean:f} · {max(values):f}" + (f" {unit}" if unit else "")


def _drawing(values: list[Decimal], limits: _Limits | None) -> Drawing | None:
    if not values or limits is None or (limits.lower is None and limits.upper is None):
        return None
    edges = [v for v in (limits.lower, limits.upper) if v is not None]
    least, most = min(*values, *edges), max(*values, *edges)
    width = float(most - least) or 1.0

    def x(value: Decimal) -> str:
        return f"{_EDGE + float(value - least) / width * (WIDTH - 2 * _EDGE):.1f}"

    # Equal values are drawn above each other, so that many look like many.
    seen: dict[str, int] = {}
    points = []
    for value in values[:_MAX_POINTS]:
        at = x(value)
        level = seen[at] = seen.get(at, -1) + 1
        points.append(Point(at, f"{HEIGHT / 2 - (level % 4) * 4:.0f}", _inside(value, limits)))
    lower = None if limits.lower is None else x(limits.lower)
    return Drawing(points, lower, None if limits.upper is None else x(limits.upper))
