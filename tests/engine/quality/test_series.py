"""Series of lots: the same numbers as from all values at once, and charts that rules can ask."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quality.charts import ChartInvalid, xbar_s
from engine.quality.scorecard import Scorecard, counted, scorecard_fact
from engine.quality.series import (
    KEPT,
    WINDOW,
    LotPoint,
    Series,
    chart_fact,
    chart_of,
    extended,
    limits_from,
    point_of,
)

VALUES = st.lists(st.floats(-1e4, 1e4, allow_nan=False).map(lambda v: round(v, 4)), min_size=1, max_size=8)
SCALE = 1_000_000


def series_of(*lots: list[float]) -> Series:
    series = Series()
    for number, values in enumerate(lots):
        series = extended(series, point_of(f"L{number}", "2026-01-01T00:00:00Z", values))
    return series


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=30))
def test_what_is_kept_gives_the_mean_and_deviation_of_all_values(lots: list[list[float]]) -> None:
    series = series_of(*lots)
    everything = [v for lot in lots for v in lot]
    assert series.lots == len(lots)
    assert series.values == len(everything)
    assert series.mean == pytest.approx(statistics.fmean(everything), rel=1e-9, abs=1e-9)
    if len(everything) > 1:
        assert series.deviation == pytest.approx(statistics.stdev(everything), rel=1e-6, abs=1e-6)
    else:
        assert series.deviation is None


def test_a_chart_of_kept_points_is_the_chart_of_the_values() -> None:
    chance = random.Random(7)
    lots = [[chance.gauss(74, 0.01) for _ in range(5)] for _ in range(25)]
    kept = chart_of(series_of(*lots).recent)
    assert kept.kind == "xbar"
    for mine, theirs in zip(kept.points, xbar_s(lots)[0].points, strict=True):
        assert mine.value == pytest.approx(theirs.value)
        assert (mine.lower, mine.centre, mine.upper) == pytest.approx((theirs.lower, theirs.centre, theirs.upper))


def test_lots_of_different_sizes_are_charted_by_their_means() -> None:
    chart = chart_of(series_of([1.0, 3.0], [2.0], [4.0, 4.0, 4.0]).recent)
    assert chart.kind == "individuals"
    assert [p.value for p in chart.points] == [2.0, 2.0, 4.0]


def test_the_lot_itself_is_the_last_point_whether_it_was_counted_or_not() -> None:
    series = series_of(*[[10.0 + (n % 2)] for n in range(24)])
    own = point_of("L24", "now", [17.0])
    before, after = chart_fact("ph", series, own), chart_fact("ph", extended(series, own), own)
    assert before == after
    assert (before["lots"], before["value"], before["outside"]) == (25 * SCALE, 17 * SCALE, True)
    # Asked again when later lots were counted too, it is still the chart of then.
    later = extended(extended(series, own), point_of("L25", "now", [10.0]))
    assert chart_fact("ph", later, own) == before


def test_nine_lots_on_one_side_are_seen_at_the_ninth() -> None:
    lots = [[15.0], [5.0]] * 8
    high = [[11.0 + n % 2] for n in range(9)]
    facts = [
        chart_fact("ph", series_of(*lots, *high[:n]), point_of(f"L{16 + n}", "now", high[n])) for n in range(9)
    ]
    assert [fact["nelson_2"] for fact in facts] == [False] * 8 + [True]
    assert facts[8]["western_electric_4"] is True
    assert facts[6]["western_electric_4"] is False


def test_one_point_makes_no_chart_and_says_nothing() -> None:
    assert chart_fact("ph", Series(), point_of("L0", "now", [1.0])) == {"characteristic": "ph", "lots": SCALE}


def test_set_limits_stand_whatever_comes() -> None:
    series = series_of(*[[10.0 + (n % 3)] for n in range(24)])
    limits = limits_from(series, "2026-01-01T00:00:00Z", "qe")
    frozen = Series(series.lots, series.values, series.mean, series.squares, series.recent, limits)
    for n in range(40):
        frozen = extended(frozen, point_of(f"H{n}", "now", [14.0]))
    fact = chart_fact("ph", frozen, point_of("own", "now", [14.0]))
    assert fact["phase"] == 2 * SCALE
    assert fact["centre"] == pytest.approx(limits.centre * SCALE, abs=1)
    assert fact["nelson_2"] is True
    assert len(frozen.recent) == 64


def test_limits_of_fives_are_not_held_against_threes() -> None:
    series = series_of(*[[10.0, 11.0, 9.0, 10.0, 10.0 + n % 2] for n in range(24)])
    limits = limits_from(series, "now", "qe")
    assert limits.size == 5
    odd = Series(series.lots, series.values, series.mean, series.squares, series.recent, limits)
    assert chart_fact("ph", odd, point_of("own", "now", [10.0, 10.0, 10.0]))["phase"] == SCALE


@pytest.mark.parametrize("lots", [19, 0])
def test_limits_need_twenty_lots(lots: int) -> None:
    with pytest.raises(ChartInvalid, match="at least 20"):
        limits_from(series_of(*[[float(n)] for n in range(lots)]), "now", "qe")


def test_limits_of_lots_that_do_not_vary_are_refused() -> None:
    with pytest.raises(ChartInvalid, match="do not vary"):
        limits_from(series_of(*[[5.0]] * 25), "now", "qe")


def test_the_window_is_as_long_as_it_says() -> None:
    series = series_of(*[[float(n % 4)] for n in range(200)])
    assert chart_fact("ph", series, point_of("own", "now", [1.0]))["lots"] == WINDOW * SCALE
    assert len(series.recent) == KEPT
    assert series.lots == 200


def test_a_scorecard_counts_lots_rejections_and_units() -> None:
    card = Scorecard()
    assert scorecard_fact(card)["lots"] == 0
    assert "rejection_percent" not in scorecard_fact(card)
    for rejected in (False, False, True, False):
        card = counted(card, rejected=rejected, units=50, nonconforming=2 if rejected else 0)
    fact = scorecard_fact(card)
    assert (card.lots, card.rejected, card.accepted_in_row, card.units, card.nonconforming) == (4, 1, 1, 200, 2)
    assert fact["rejection_percent"] == 25 * SCALE
    assert fact["ppm"] == 10_000 * SCALE


def test_points_say_what_a_lot_measured() -> None:
    assert point_of("L", "now", [1.0, 2.0, 3.0]) == LotPoint("L", "now", 3, 2.0, 1.0)
    assert math.isclose(point_of("L", "now", [7.5]).deviation, 0.0)
