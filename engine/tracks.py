"""What a decision sees of earlier lots: charts and a scorecard, out of what was counted of them. Pure.

Counting is in engine/track_record.py.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.lot import Lot
from engine.quality.scorecard import Scorecard, scorecard_fact
from engine.quality.series import Limits, Series, chart_fact, point_of

#: Kinds of fact that come from here.
KINDS = frozenset({"chart", "scorecard"})
_SCALE = 1_000_000

_encode = msgspec.json.Encoder().encode
_decode_card = msgspec.json.Decoder(Scorecard).decode
_decode_series = msgspec.json.Decoder(Series).decode
_decode_limits = msgspec.json.Decoder(Limits).decode

Fact = dict[str, int | str | bool]


def pair_of(item: str, supplier: str | None) -> str:
    """Item and supplier as one key."""
    return _encode([item, supplier or ""]).decode()


class Track(Struct):
    """What was counted of one item from one supplier, as it lies in the store."""

    #: JSON; None: no lot yet.
    card: str | None = None
    #: Characteristic -> JSON of the series and of its limits.
    series: dict[str, tuple[str, str | None]] = {}


def series_of(content: str, limits: str | None) -> Series:
    """A series as it lies in the store."""
    return replace(_decode_series(content), limits=None if limits is None else _decode_limits(limits))


def card_of(content: str | None) -> Scorecard:
    """A scorecard as it lies in the store."""
    return Scorecard() if content is None else _decode_card(content)


def track_facts(track: Track, lot: Lot, results: Sequence[Fact], kinds: frozenset[str]) -> dict[str, list[Fact]]:
    """Facts of ``kinds`` for rules: the scorecard, and a chart for each measured characteristic of the lot."""
    found: dict[str, list[Fact]] = {}
    if "scorecard" in kinds:
        found["scorecard"] = [scorecard_fact(card_of(track.card))]
    if "chart" in kinds:
        charts = []
        for characteristic, values in _values(results).items():
            series = series_of(*track.series[characteristic]) if characteristic in track.series else Series()
            charts.append(chart_fact(characteristic, series, point_of(lot.id, lot.changed_at, values)))
        if charts:
            found["chart"] = charts
    return found


def _values(results: Sequence[Fact]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for result in results:
        value = result.get("value")
        if isinstance(value, int):
            found.setdefault(str(result["characteristic"]), []).append(value / _SCALE)
    return found
