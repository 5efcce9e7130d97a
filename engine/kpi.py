"""Business numbers: what waits, what is blocked and what that is worth, how good and how fast lots come through. Pure.

The definition of each, for readers, is in docs/kpi.md; what they are counted from, in engine/store/kpi.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from engine.clock import parse_instant
from engine.decide import TARGETS_AGREE
from engine.quality.scorecard import Scorecard
from engine.routing import is_unrouted
from engine.upcasts import current

#: Days that lead times and shipments are looked at, and the most of each.
WINDOW_DAYS = 30
MAX_RELEASES, MAX_SHIPMENTS = 2_000, 500
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
#: What waits -> its states.
QUEUES: dict[str, tuple[str, ...]] = {
    "inspection": ("received", "quarantined"),
    "release": ("inspected",),
    "blocked": ("blocked",),
}
#: Edges of ages, the youngest first.
EDGES: tuple[timedelta, ...] = (8 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY)
#: Rules that say that a shipment was asked for wrongly, which delays nothing.
_MISTAKES = frozenset({"UNIT-OF-LOT", "QUANTITY-AVAILABLE"})


class Age(Struct, frozen=True):
    """Lots that have waited at least ``from_hours`` and less than ``to_hours`` (null: no end)."""

    from_hours: int
    to_hours: int | None
    lots: int


class Queue(Struct, frozen=True):
    """What waits for one thing, by how long it has been in its state."""

    name: str
    lots: int
    #: Since when the oldest one waits.
    oldest_since: str | None
    ages: list[Age]


class Value(Struct, frozen=True):
    """What blocked lots are worth, by age; lots whose item has no cost in their unit are counted apart."""

    currency: str
    value: Decimal
    #: In the order of the ages.
    by_age: list[Decimal]


class UnreleasedOrders(Struct, frozen=True):
    """Production orders with at least one living lot that is not released."""

    orders: int
    lots: int
    oldest_since: str | None


class Share(Struct, frozen=True):
    """Lots that their first inspection accepted."""

    lots: int
    accepted: int
    percent: float | None


class Lead(Struct, frozen=True):
    """How long a step took, in hours; null before the first."""

    #: total, inspection, release
    step: str
    lots: int
    median_hours: float | None
    p95_hours: float | None


class SupplierPpm(Struct, frozen=True):
    """Nonconforming units per million of a supplier."""

    #: Empty: our own production.
    supplier: str
    lots: int
    units: int
    nonconforming: int
    ppm: float | None


class Delays(Struct, frozen=True):
    """Shipments that were refused at least once, by cause: one may have both."""

    shipments: int
    by_quality: int
    by_interfaces: int
    #: Target -> shipments that waited for it.
    interfaces: dict[str, int]
    #: Those of which a lot has not left since.
    waiting: int
    #: From the first refusal of a shipment to its last lot, of those that have left.
    median_hours: float | None


class Kpi(Struct, frozen=True):
    """Every business number, as of ``asked_at``; lead times and delays since ``since``."""

    asked_at: str
    since: str
    queues: list[Queue]
    blocked_value: list[Value]
    #: Blocked lots whose value is not known.
    blocked_unvalued: int
    orders: UnreleasedOrders
    first_pass: Share
    lead_times: list[Lead]
    suppliers: list[SupplierPpm]
    delays: Delays


class Cost(Struct, frozen=True):
    """What one unit of an item is worth."""

    value: Decimal
    unit: str
    currency: str


def queues(rows: Iterable[Any]) -> list[Queue]:
    """Rows (state, age, lots, oldest) added up by queue."""
    found = list(rows)
    return [_queue(name, [row for row in found if row.state in states]) for name, states in QUEUES.items()]


def _queue(name: str, rows: list[Any]) -> Queue:
    edges = [int(edge / _HOUR) for edge in EDGES]
    lots = [0] * (len(edges) + 1)
    for row in rows:
        lots[row.age] += row.lots
    ages = [Age(*one) for one in zip([0, *edges], [*edges, None], lots, strict=True)]
    return Queue(name, sum(lots), min((row.oldest for row in rows), default=None), ages)


def worth(rows: Iterable[Any], costs: Mapping[str, Cost]) -> tuple[list[Value], int]:
    """Rows (item, unit, quantity, age, lots) of blocked lots as values by currency, and lots without one."""
    by_age: dict[str, list[Decimal]] = {}
    unvalued = 0
    for row in rows:
        cost = costs.get(row.item)
        if cost is None or cost.unit != row.unit:
            unvalued += row.lots
            continue
        ages = by_age.setdefault(cost.currency, [Decimal(0)] * (len(EDGES) + 1))
        ages[row.age] += Decimal(row.quantity) * cost.value * row.lots
    return [Value(name, sum(ages, Decimal(0)), ages) for name, ages in sorted(by_age.items())], unvalued


def first_pass(cards: Iterable[Scorecard]) -> Share:
    """Accepted lots of all scorecards."""
    lots = rejected = 0
    for card in cards:
        lots, rejected = lots + card.lots, rejected + card.rejected
    return Share(lots, lots - rejected, round(100 * (lots - rejected) / lots, 2) if lots else None)


def ppm(cards: Iterable[tuple[str, Scorecard]]) -> list[SupplierPpm]:
    """(supplier, scorecard) of every item as one line a supplier, the worst first."""
    sums: dict[str, list[int]] = {}
    for supplier, card in cards:
        line = sums.setdefault(supplier, [0, 0, 0])
        line[0], line[1], line[2] = line[0] + card.lots, line[1] + card.units, line[2] + card.nonconforming
    lines = [
        SupplierPpm(supplier, lots, units, bad, round(1_000_000 * bad / units, 1) if units else None)
        for supplier, (lots, units, bad) in sums.items()
    ]
    return sorted(lines, key=lambda line: (-(-1.0 if line.ppm is None else line.ppm), line.supplier))


def lead_times(
    released: Iterable[tuple[str, str]], inspected: Iterable[tuple[str, str]], received: Mapping[str, str]
) -> list[Lead]:
    """From receipt to the first release of the window, and its two steps around the last inspection before that."""
    first: dict[str, str] = {}
    for lot, at in released:
        first[lot] = min(at, first.get(lot, at))
    looked: dict[str, str] = {}
    for lot, at in inspected:
        if lot in first and at <= first[lot]:
            looked[lot] = max(at, looked.get(lot, at))
    took: dict[str, list[float]] = {"total": [], "inspection": [], "release": []}
    for lot, at in first.items():
        if lot not in received:
            continue
        took["total"].append(_hours(received[lot], at))
        if lot in looked:
            took["inspection"].append(_hours(received[lot], looked[lot]))
            took["release"].append(_hours(looked[lot], at))
    return [Lead(step, len(all_), rank(all_, 50), rank(all_, 95)) for step, all_ in took.items()]


def rank(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least ``percent`` of all do not exceed (nearest rank); None of none."""
    place = -(-len(values) * percent // 100)
    return round(sorted(values)[place - 1], 3) if values else None


def _hours(begin: str, end: str) -> float:
    return max(timedelta(0), parse_instant(end) - parse_instant(begin)) / _HOUR


class _Refused(Struct):
    """One shipment that was refused."""

    since: str
    lots: set[str]
    targets: set[str]
    quality: bool = False
    interfaces: bool = False


def delays(refused: Iterable[Any], shipped: Mapping[str, str]) -> Delays:
    """Rows (lot, recorded_at, state_before, type, data, evidence) of refused shipments; when lots left after all."""
    found: dict[str, _Refused] = {}
    for row in refused:
        quality, interfaces, targets = _causes(row)
        if not quality and not interfaces:
            continue
        name = str(msgspec.json.decode(current(row.type, row.data.encode())[1]).get("shipment", ""))
        one = found.setdefault(name, _Refused(row.recorded_at, set(), set()))
        one.since = min(one.since, row.recorded_at)
        one.lots.add(row.lot)
        one.targets |= targets
        one.quality, one.interfaces = one.quality or quality, one.interfaces or interfaces
    left = [
        _hours(one.since, max(shipped[lot] for lot in one.lots))
        for one in found.values() if all(shipped.get(lot, "") > one.since for lot in one.lots)
    ]  # fmt: skip
    named = sorted({target for one in found.values() for target in one.targets})
    return Delays(
        len(found),
        sum(one.quality for one in found.values()),
        sum(one.interfaces for one in found.values()),
        {target: sum(target in one.targets for one in found.values()) for target in named},
        len(found) - len(left),
        rank(left, 50),
    )


def _causes(row: Any) -> tuple[bool, bool, set[str]]:
    """Was it quality, was it interfaces, and which; neither: the lot had left, or was asked for wrongly."""
    if row.state_before == "shipped":
        return False, False, set()
    evidence = msgspec.json.decode(row.evidence)
    failing = [
        line for line in evidence.get("verdicts", ())
        if line["verdict"] in ("fail", "unknown") and line["severity"] in ("block", "hold")
    ]  # fmt: skip
    silent = [line for line in failing if line["rule"] == TARGETS_AGREE]
    others = [line for line in failing if line["rule"] != TARGETS_AGREE and line["rule"] not in _MISTAKES]
    targets = {name for name in evidence.get("undelivered", ()) if silent and not is_unrouted(name)}
    not_released = row.state_before != "released"
    return bool(others) or not_released or not evidence.get("agreed", True), bool(silent), targets
