"""The questions that people ask of the track record: scorecards, charts, and limits that they set."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from engine import events as ev
from engine.clock import Clock, instant
from engine.errors import EventInvalid, NotFound
from engine.quality.charts import ChartInvalid, Point
from engine.quality.runs import NELSON, WESTERN_ELECTRIC, broken
from engine.quality.scorecard import Scorecard
from engine.quality.series import WINDOW, Limits, LotPoint, chart_of, limits_from
from engine.store import track_record as stored
from engine.store.opening import Store
from engine.tracks import card_of, pair_of, series_of

#: A supplier of their own production.
Supplier = Annotated[str, Meta(max_length=64)]


class ScorecardLine(Struct, frozen=True):
    """How an item from a supplier has done since the first lot."""

    item: str
    #: Empty: our own production.
    supplier: str
    scorecard: Scorecard
    #: Rejected lots per hundred, nonconforming units per million; null before there is one.
    rejection_percent: float | None
    ppm: float | None
    changed_at: str


class ChartPoint(Struct, frozen=True):
    """One lot on a chart."""

    lot: str
    at: str
    #: Values measured.
    size: int
    point: Point
    #: Rules that it breaks: ``nelson 2``, ``western electric 4``.
    signals: list[str]


class ChartLine(Struct, frozen=True):
    """The chart of one characteristic: the newest lots, as rules see them."""

    item: str
    supplier: str
    characteristic: str
    #: Lots and values ever, with mean and standard deviation of all of them.
    lots: int
    values: int
    mean: float
    deviation: float | None
    #: xbar or individuals; null where there are too few lots.
    kind: str | None
    #: 1: limits come from the points; 2: they were set.
    phase: int
    limits: Limits | None
    points: list[ChartPoint]


class SetLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold new lots against these limits from now on."""

    item: ev.Code
    characteristic: ev.Code
    supplier: Supplier = ""
    #: Centre line and standard error of a point; both left out: from the newest 25 lots, of at least 20.
    centre: float | None = None
    sigma: float | None = None
    #: Values a lot; left out: any number.
    size: Annotated[int, Meta(ge=1, le=1000)] | None = None
    #: Back to limits that come from the points.
    clear: bool = False


class OrderSampling(Struct, frozen=True, forbid_unknown_fields=True):
    """How hard lots of an item from a supplier are inspected from now on: the switching rules go on from there."""

    item: ev.Code
    #: ``lot_by_lot`` ends skip-lot sampling, and leaves the severity as it is.
    severity: Literal["normal", "tightened", "reduced", "lot_by_lot"]
    #: Who agreed, and to what: kept for ever.
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    supplier: Supplier = ""


class Ordered(Struct, frozen=True):
    """An order that the clock process carries out within a second."""

    item: str
    supplier: str
    severity: str
    ordered_at: str
    ordered_by: str


class Scorecards:
    """Answers for one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def lines(
        self, item: str | None = None, supplier: str | None = None, *, after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[ScorecardLine]:  # fmt: skip
        """Scorecards by item and supplier, from ``after`` on; without a limit all."""
        found = []
        for row in stored.list_scorecards(self._store, item, supplier, after, limit):
            card = card_of(row.content)
            found.append(
                ScorecardLine(row.item, row.supplier, card, card.rejection_percent, card.ppm, row.changed_at)
            )
        return found

    def number(self, item: str | None = None, supplier: str | None = None) -> int:
        """How many scorecards :meth:`lines` has; above MOST only that there are more."""
        return stored.number_of_scorecards(self._store, item, supplier)

    def charts_number(
        self, item: str | None = None, supplier: str | None = None, characteristic: str | None = None
    ) -> int:
        """How many charts :meth:`charts` has; above MOST only that there are more."""
        return stored.number_of_series(self._store, item, supplier, characteristic)

    def charts(
        self, item: str | None = None, supplier: str | None = None, characteristic: str | None = None, *,
        after: tuple[str, str, str] | None = None, limit: int | None = None,
    ) -> list[ChartLine]:  # fmt: skip
        """Charts by item, supplier and characteristic, from ``after`` on; without a limit all."""
        return [_chart(row) for row in stored.list_series(self._store, item, supplier, characteristic, after, limit)]

    def set_limits(self, wanted: SetLimits, by: str) -> ChartLine:
        """Set or clear limits. Raises NotFound for a series that does not exist, EventInvalid for limits of nothing."""
        rows = stored.list_series(self._store, wanted.item, wanted.supplier, wanted.characteristic)
        if not rows:
            of = wanted.supplier or "our own production"
            raise NotFound(f"No lot of {wanted.item} from {of} has a measured {wanted.characteristic}.")
        limits = None if wanted.clear else self._limits(wanted, rows[0], by)
        text = None if limits is None else msgspec.json.encode(limits).decode()
        stored.set_limits(self._store, pair_of(wanted.item, wanted.supplier), wanted.characteristic, text)
        return self.charts(wanted.item, wanted.supplier, wanted.characteristic)[0]

    def order_sampling(self, wanted: OrderSampling, by: str) -> Ordered:
        """Have sampling changed; acceptance that was discontinued begins again."""
        ordered = Ordered(wanted.item, wanted.supplier, wanted.severity, instant(self._clock()), by)
        stored.add_order(self._store, msgspec.structs.asdict(ordered) | {"reason": wanted.reason})
        return ordered

    def _limits(self, wanted: SetLimits, row: stored.Row, by: str) -> Limits:
        now = instant(self._clock())
        if (wanted.centre is None) != (wanted.sigma is None):
            raise EventInvalid("centre and sigma come together", "/centre" if wanted.centre is None else "/sigma")
        if wanted.centre is None or wanted.sigma is None:
            try:
                return limits_from(series_of(row.content, None), now, by)
            except ChartInvalid as error:
                raise EventInvalid(str(error)) from None
        if wanted.sigma <= 0:
            raise EventInvalid("sigma is the standard error of a point, above 0", "/sigma")
        kind = "individuals" if wanted.size is None or wanted.size == 1 else "xbar"
        return Limits(kind, wanted.centre, wanted.sigma, wanted.size, now, by)


def _chart(row: stored.Row) -> ChartLine:
    series = series_of(row.content, row.limits)
    points = series.recent[-WINDOW:]
    limits = series.limits
    if limits is not None and limits.size is not None and any(p.size != limits.size for p in points):
        limits = None
    kind, shown = None, [ChartPoint(p.lot, p.at, p.size, _bare(p), []) for p in points]
    try:
        chart = chart_of(points, limits)
    except ChartInvalid:
        pass
    else:
        kind = chart.kind
        zs = [point.z for point in chart.points]
        signals: dict[int, list[str]] = {}
        for family, rules in (("nelson", NELSON), ("western electric", WESTERN_ELECTRIC)):
            for rule, places in broken(zs, rules).items():
                for place in places:
                    signals.setdefault(place, []).append(f"{family} {rule}")
        shown = [
            ChartPoint(p.lot, p.at, p.size, point, signals.get(number, []))
            for number, (p, point) in enumerate(zip(points, chart.points, strict=True), 1)
        ]
    return ChartLine(
        row.item, row.supplier, row.characteristic, series.lots, series.values, series.mean, series.deviation, kind,
        1 if limits is None else 2, series.limits, shown,
    )  # fmt: skip


def _bare(point: LotPoint) -> Point:
    return Point(point.mean, point.mean, point.mean, point.mean, 0.0)
