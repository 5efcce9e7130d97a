"""What lots' inspections add up to, counted from the journal: series for control charts, scorecards of suppliers.

The clock process counts: every completed inspection once, in the order of the feed, in a transaction that moves the
place up to which was counted. So a crash counts nothing twice, what was decided before this release counts too, and
counting takes nothing from those who wait for a decision. What a lot's decision sees is what was counted before it,
and the lot's own results.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import events as ev
from engine.consequences import decode_data
from engine.decoding import scaled
from engine.gather import Fact, with_results
from engine.production import charted
from engine.quality.sampling import Severity
from engine.quality.scorecard import Scorecard, counted
from engine.quality.series import LotPoint, Series, extended, point_of
from engine.quality.skip_lot import SkipState, State, inspected, skipped
from engine.quality.switching import Judged, SwitchingState, after, switched
from engine.records import SampleOutcome, SkipResult
from engine.store import track_record as stored
from engine.store import writing
from engine.store.opening import Store
from engine.tracks import Track, card_of, pair_of, series_of

log = logging.getLogger("lotgate.track_record")

_SCALE = 1_000_000
#: Steps of lots that something is counted of.
_COUNTED = ("inspect", "change_sampling", "dock_to_stock", "report_operation")
#: Journal entries that one round looks at.
ROUND = 1_000

_encode = msgspec.json.Encoder().encode
_decode_measurements = msgspec.json.Decoder(list[ev.Measurement]).decode


def read_tracks(cursor: writing.Cursor, statements: writing.Statements, pairs: Iterable[str]) -> dict[str, Track]:
    """Tracks by pair; each of ``pairs`` has one, though it may be empty."""
    found = {pair: Track() for pair in pairs}
    if not found:
        return found
    cards, lines = writing.read_tracks(cursor, statements, found)
    for pair, content in cards:
        found[pair].card = content
    for pair, characteristic, content, limits in lines:
        found[pair].series[characteristic] = (content, limits)
    return found


# -- counting --------------------------------------------------------------------------------------------------


class _Inspection(Struct):
    """A completed inspection that is to be counted."""

    lot: str
    pair: str
    point: dict[str, LotPoint]
    original: bool
    rejected: bool
    units: int
    nonconforming: int
    at: str
    #: What its sample said, where that counts for switching.
    sample: SampleOutcome | None = None


class _Counting(Struct):
    """Series and scorecards while a round counts."""

    names: dict[str, tuple[str, str]] = {}
    cards: dict[str, Scorecard] = {}
    series: dict[tuple[str, str], Series] = {}
    #: When each pair was counted last.
    at: dict[str, str] = {}

    def read(self, connection: Any) -> None:
        """What was counted before."""
        cards, lines = stored.read_kept(connection, sorted(self.names))
        self.cards = {pair: card_of(content) for pair, content in cards}
        self.series = {(pair, name): series_of(content, None) for pair, name, content in lines}

    def add(self, inspection: _Inspection) -> None:
        pair = inspection.pair
        self.at[pair] = inspection.at
        if inspection.original:
            card = self.cards.get(pair, Scorecard())
            self.cards[pair] = counted(
                card, rejected=inspection.rejected, units=inspection.units, nonconforming=inspection.nonconforming
            )
            self._switch(inspection)
        for characteristic, point in inspection.point.items():
            self._extend(pair, characteristic, point)

    def add_operation(self, pair: str, lot: str, at: str, data: ev.OperationReport) -> None:
        """A report of an operation: each measured parameter is a point of its own chart."""
        self.at[pair] = at
        for one in data.parameters:
            point = point_of(lot, at, [int(scaled(one.value)) / _SCALE])
            self._extend(pair, charted(data.operation, one.parameter), point)

    def _extend(self, pair: str, characteristic: str, point: LotPoint) -> None:
        key = (pair, characteristic)
        self.series[key] = extended(self.series.get(key, Series()), point)

    def _switch(self, inspection: _Inspection) -> None:
        sample = inspection.sample
        if sample is None or not sample.switching:
            return
        card = self.cards[inspection.pair]
        judged = Judged(sample.accepted, sample.back_to_normal)
        sampling = after(card.sampling, judged)
        because = switched(card.sampling, sampling, inspection.lot) or card.because
        self.cards[inspection.pair] = replace(card, sampling=sampling, because=because)
        if sample.skip is not None:
            self._skip(inspection, sample.skip)

    def _skip(self, inspection: _Inspection, said: SkipResult) -> None:
        """Go on with skip-lot sampling; while lots are skipped, the others are under normal inspection."""
        card, sample = self.cards[inspection.pair], inspection.sample
        ordinary = card.sampling.severity is not Severity.TIGHTENED and not card.sampling.discontinued
        skip = inspected(
            card.skip, said.scheme, inspection.at, accepted=sample is not None and sample.accepted,
            points=said.points, ordinary=ordinary,
        )  # fmt: skip
        card = replace(card, skip=skip)
        if skip.state is not State.LOT_BY_LOT and card.sampling.severity is Severity.REDUCED:
            because = "lots are skipped, and those in between are inspected normally"
            card = replace(card, sampling=SwitchingState(), because=because)
        self.cards[inspection.pair] = card

    def change(self, pair: str, to: str, at: str, because: str) -> None:
        """Somebody, or a reaction, says how hard it is inspected from now on."""
        self.at[pair] = at
        card = self.cards.get(pair, Scorecard())
        skip = SkipState(last=card.skip.last) if to in ("tightened", "lot_by_lot") else card.skip
        if to != "lot_by_lot":
            card = replace(card, sampling=SwitchingState(Severity(to)))
        self.cards[pair] = replace(card, skip=skip, because=because)

    def skipped(self, pair: str, at: str) -> None:
        """A lot went to stock without inspection."""
        self.at[pair] = at
        card = self.cards.get(pair, Scorecard())
        self.cards[pair] = replace(card, skip=skipped(card.skip, at), skipped=card.skipped + 1)


def count(store: Store) -> int:
    """Count the next entries of the journal; gives how many were looked at, 0 when none are left."""
    with store.reads.connect() as connection:
        before = stored.read_position(connection)
        page = stored.read_page(connection, before, ROUND)
        if not page:
            return 0
        steps = [row for row in page if row[4] in _COUNTED and row[6] is not None and row[8] is not None]
        inspections = iter(_inspections(connection, [row for row in steps if row[4] == "inspect"]))
    with store.engine.begin() as connection:
        if not stored.move_position(connection, before, (int(page[-1][0]), int(page[-1][1]))):
            log.info("another process counts already")
            return len(page)
        counting = _Counting({pair_of(row[6], row[7]): (row[6], row[7] or "") for row in steps})
        counting.read(connection)
        for row in steps:
            pair = pair_of(row[6], row[7])
            if row[4] == "inspect":
                counting.add(next(inspections))
            elif row[4] == "report_operation":
                counting.add_operation(pair, row[2], row[5], decode_data(row[9], row[8]))
            elif row[4] == "dock_to_stock":
                counting.skipped(pair, row[5])
            else:
                changed = decode_data(row[9], row[8])
                because = f"{changed.text} (reaction {changed.reaction}, lot {row[2]})"
                counting.change(pair, changed.severity, row[5], because)
        stored.keep(connection, "scorecards", _card_rows(counting))
        stored.keep(connection, "series", _series_rows(counting))
    return len(page)


def _card_rows(counting: _Counting) -> list[dict[str, Any]]:
    return [
        _row(counting, pair, card) for pair, card in counting.cards.items() if pair in counting.at
    ]  # fmt: skip


def _series_rows(counting: _Counting) -> list[dict[str, Any]]:
    return [
        _row(counting, pair, series) | {"characteristic": name} for (pair, name), series in counting.series.items()
        if pair in counting.at
    ]  # fmt: skip


def _row(counting: _Counting, pair: str, content: Scorecard | Series) -> dict[str, Any]:
    item, supplier = counting.names[pair]
    return {"pair": pair, "item": item, "supplier": supplier, "content": _encode(content).decode(),
            "at": counting.at[pair]}  # fmt: skip


def _inspections(connection: Any, rows: Sequence[Any]) -> list[_Inspection]:
    lots = sorted({row[2] for row in rows})
    if not lots:
        return []
    records: dict[str, list[tuple[int, str]]] = {}
    for lot, version, measurements in stored.read_results(connection, lots):
        records.setdefault(lot, []).append((version, measurements))
    turns: dict[str, list[tuple[int, str]]] = {}
    for lot, version, trigger in stored.read_turns(connection, lots):
        turns.setdefault(lot, []).append((version, trigger))
    return [_inspection(row, records.get(row[2], []), turns.get(row[2], [])) for row in rows]


def _inspection(row: Any, records: Sequence[tuple[int, str]], turns: Sequence[tuple[int, str]]) -> _Inspection:
    _, _, lot, version, _, at, item, supplier, data, type_ = row
    since = max((turn for turn, trigger in turns if turn < version and trigger != "reject"), default=0)
    measured: dict[str, list[float]] = {}
    units = bad = 0
    results: list[Fact] = []
    for number, text in records:
        if since < number < version:
            results = with_results(results, "", _decode_measurements(text))
    for one in results:
        if "value" in one:
            measured.setdefault(str(one["characteristic"]), []).append(int(one["value"]) / _SCALE)
        if "conforming" in one:
            units, bad = units + 1, bad + (not one["conforming"])
        elif "inspected" in one:
            units, bad = units + int(one["inspected"]) // _SCALE, bad + int(one["nonconforming"]) // _SCALE
    points = {name: point_of(lot, at, values) for name, values in measured.items()}
    rejected = (version + 1, "reject") in turns
    sample = decode_data(type_, data).sample
    return _Inspection(lot, pair_of(item, supplier), points, since == 0, rejected, units, bad, at, sample)


def carry_out_orders(store: Store, now: str) -> int:
    """Take up what people said of sampling; gives how many orders were done."""
    with store.engine.begin() as connection:
        orders = stored.read_orders(connection)
        counting = _Counting({pair_of(o.item, o.supplier): (o.item, o.supplier) for o in orders})
        counting.read(connection)
        for order in orders:
            because = f"{order.reason} ({order.ordered_by})"
            counting.change(pair_of(order.item, order.supplier), order.severity, now, because)
        stored.keep(connection, "scorecards", _card_rows(counting))
        stored.finish_orders(connection, [order.id for order in orders], now)
    return len(orders)
