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
#: Points of one drawing, where more would be one blot, and of all of them; of too many there is none.
_MAX_POINTS, _ALL_POINTS, _LEAST_POINTS = 200, 600, 10
#: Results that are written out, of all characteristics together.
_WRITTEN = 200


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
    #: The first of them, and how many there are.
    results: list[Measured]
    number: int
    #: None: nothing says of any of them.
    outside: int | None
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
    points, written = min(_MAX_POINTS, _ALL_POINTS // max(1, len(found))), _WRITTEN // max(1, len(found))
    return [_characteristic(name, rows, _limits(table, lot, name), points, written) for name, rows in found.items()]


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
    name: str, rows: list[tuple[ResultLine, ev.Measurement]], limits: _Limits | None, points: int, written: int
) -> Characteristic:
    results = [_measured(line, one, limits) for line, one in rows[:written]]
    values = [one.value for _, one in rows if one.value is not None]
    unit = next((one.unit for _, one in rows if one.unit), None)
    said = [good for _, one in rows if (good := _good(one, limits)) is not None]
    outside = said.count(False) if said else None
    drawing, summary = _drawing(values, limits, points), _summary(values, unit)
    return Characteristic(name, _words(limits), results, len(rows), outside, drawing, summary)


def _measured(line: ResultLine, one: ev.Measurement, limits: _Limits | None) -> Measured:
    if one.value is not None:
        text = f"{one.value:f}" + (f" {one.unit}" if one.unit else "")
    elif one.inspected is not None:
        text = f"{one.nonconforming or 0} of {one.inspected} nonconforming"
    else:
        text = {True: "conforms", False: "does not conform", None: "–"}[one.conforming]
    return Measured(line.version, line.inspection, one.sample, text, one.gauge, _good(one, limits))


def _good(one: ev.Measurement, limits: _Limits | None) -> bool | None:
    if one.value is not None:
        return None if limits is None else _inside(one.value, limits)
    if one.inspected is not None:
        return None if one.nonconforming is None else one.nonconforming == 0
    return one.conforming


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


def _thinned(values: list[Decimal], most: int) -> list[Decimal]:
    """At most ``most`` of the values, evenly by size: the smallest and the largest are among them."""
    if len(values) <= most:
        return values
    ordered = sorted(values)
    return [ordered[place * (len(ordered) - 1) // (most - 1)] for place in range(most)]


def _drawing(values: list[Decimal], limits: _Limits | None, shown: int) -> Drawing | None:
    if shown < _LEAST_POINTS or not values or limits is None or (limits.lower is None and limits.upper is None):
        return None
    edges = [v for v in (limits.lower, limits.upper) if v is not None]
    least, most = min(*values, *edges), max(*values, *edges)
    width = float(most - least) or 1.0

    def x(value: Decimal) -> str:
        return f"{_EDGE + float(value - least) / width * (WIDTH - 2 * _EDGE):.1f}"

    # Equal values are drawn above each other, so that many look like many.
    seen: dict[str, int] = {}
    points = []
    for value in _thinned(values, shown):
        at = x(value)
        level = seen[at] = seen.get(at, -1) + 1
        points.append(Point(at, f"{HEIGHT / 2 - (level % 4) * 4:.0f}", _inside(value, limits)))
    lower = None if limits.lower is None else x(limits.lower)
    return Drawing(points, lower, None if limits.upper is None else x(limits.upper))
