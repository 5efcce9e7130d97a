"""Charts, run rules and capability give the published figures, and what their definitions say on random data."""

import csv
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.quality import charts
from engine.quality.capability import capability, chi_square_quantile, performance
from engine.quality.constants import c4, d2, d3
from engine.quality.runs import NELSON, WESTERN_ELECTRIC, broken, signals

#: Montgomery, Introduction to Statistical Quality Control: inside diameters of piston rings, micrometres above 74 mm.
RINGS = """30 2 19 -8 8/-5 -8 1 11 4/-12 24 21 5 2/2 -4 -7 15 9/-8 7 15 -11 14/9 -6 -3 -15 -7/-5 6 -6 0 5/-15 3 -7 15 -12
8 -5 9 5 4/-2 0 -10 7 -5/-6 -2 -6 -5 -10/4 0 7 0 -4/-17 2 -2 -3 12/6 -33 -6 0 -16/12 14 -2 -1 7/0 -16 5 -2 -4
-6 12 -14 5 7/6 10 18 3 0/-16 2 3 5 -3/0 10 13 20 3/-12 1 9 5 -4/4 -1 -10 6 9/10 -11 -10 9 14/15 8 -7 0 10
-18 -16 -5 17 13/12 15 30 -14 0/-5 10 -10 15 1/-13 -1 -15 0 -10/8 10 3 -9 6/3 0 1 -14 -3/-6 3 15 20 4/8 2 18 -5 5
1 4 -10 -4 -2/15 0 16 25 0/30 5 0 16 12/1 -10 -5 10 24/15 20 24 5 19/35 10 12 15 26/17 13 36 25 26/10 5 29 0 20"""
SUBGROUPS = [[74 + int(v) / 1000 for v in group.split()] for line in RINGS.splitlines() for group in line.split("/")]
ORANGE_JUICE = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6]
CIRCUITS = [21, 24, 16, 12, 15, 5, 28, 20, 31, 25, 20, 24, 16, 19, 10, 17, 13, 22, 18, 39, 30, 24, 16, 19, 17, 15]
COMPUTERS = [10, 12, 8, 14, 10, 16, 11, 7, 10, 15, 9, 5, 7, 11, 12, 6, 8, 10, 7, 5]
CLOTH = [14, 12, 20, 11, 7, 10, 21, 16, 19, 23]
CLOTH_SIZES = [10, 8, 13, 10, 9.5, 10, 12, 10.5, 12, 12.5]
#: NIST/SEMATECH e-Handbook of Statistical Methods, sections 6.3.2.2 and 6.3.2.4.
NIST_INDIVIDUALS = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
#: Montgomery, table 9.1: mean 10 for 20 points, then 11.
SHIFT = [9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.2, 10.34, 9.03, 11.47, 10.51, 9.4, 10.08, 9.37, 10.62, 10.31,
         8.52, 10.84, 10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31, 10.52]  # fmt: skip
#: R package SixSigma, ss.data.ca.
VOLUMES = [755.81, 750.54, 751.05, 749.52, 749.21, 748.38, 748.11, 753.07, 749.56, 750.08, 747.16, 747.53, 749.22, 746.76,
           747.64, 750.46, 749.27, 750.33, 750.26, 751.29]  # fmt: skip


def test_constants_are_those_of_the_printed_table() -> None:
    """Montgomery, appendix VI."""
    printed = {2: (0.7979, 1.128, 0.853), 3: (0.8862, 1.693, 0.888), 5: (0.9400, 2.326, 0.864), 10: (0.9727, 3.078, 0.797),
               15: (0.9823, 3.472, 0.756), 25: (0.9896, 3.931, 0.708)}  # fmt: skip
    for n, (one, two, three) in printed.items():
        assert c4(n) == pytest.approx(one, abs=5e-5)
        assert d2(n) == pytest.approx(two, abs=6e-4)
        assert d3(n) == pytest.approx(three, abs=6e-4)
    assert d2(2) == pytest.approx(2 / math.sqrt(math.pi), abs=1e-7)
    assert d3(2) == pytest.approx(math.sqrt(2 - 4 / math.pi), abs=1e-7)
    with pytest.raises(ValueError, match="2 to 100"):
        d2(1)


def test_piston_rings_means_and_ranges() -> None:
    means, ranges = charts.xbar_r(SUBGROUPS, 25)
    point = means.points[0]
    assert (point.centre, point.lower, point.upper) == pytest.approx((74.001176, 73.98805, 74.01430), abs=5e-6)
    assert means.outside == (37, 38, 39)
    assert ranges.points[0].centre == pytest.approx(0.02276, abs=5e-6)
    assert ranges.points[0].lower == 0
    assert ranges.points[0].upper == pytest.approx(0.04812, abs=2e-5)
    assert ranges.outside == ()
    assert 40 in signals(means, {2: (7, NELSON[2][1], "")})[2], "a run of 7 ends at 40"


def test_piston_rings_means_and_deviations() -> None:
    means, deviations = charts.xbar_s(SUBGROUPS, 25)
    assert deviations.points[0].centre == pytest.approx(0.009240, abs=1e-6)
    assert deviations.points[0].upper == pytest.approx(0.01930, abs=5e-6)
    assert (means.points[0].lower, means.points[0].upper) == pytest.approx((73.98799, 74.01436), abs=5e-6)


def test_counts_of_orange_juice_circuits_computers_and_cloth() -> None:
    juice = charts.p_chart(ORANGE_JUICE, [50] * 30)
    point = juice.points[0]
    assert (point.centre, point.lower, point.upper) == pytest.approx((0.231333, 0.052428, 0.410239), abs=5e-7)
    assert juice.outside == (15, 23)
    same = charts.np_chart(ORANGE_JUICE, 50)
    assert same.outside == juice.outside
    assert same.points[0].upper == pytest.approx(50 * point.upper)
    circuits = charts.c_chart(CIRCUITS)
    point = circuits.points[0]
    assert (point.centre, point.lower, point.upper) == pytest.approx((19.84615, 6.48145, 33.21086), abs=5e-6)
    assert circuits.outside == (6, 20)
    point = charts.u_chart(COMPUTERS, [5] * 20).points[0]
    assert (point.centre, point.lower, point.upper) == pytest.approx((1.93, 0.06613, 3.79387), abs=5e-6)
    cloth = charts.u_chart(CLOTH, CLOTH_SIZES)
    assert cloth.points[0].centre == pytest.approx(1.423256, abs=5e-7)
    assert cloth.points[1].upper > cloth.points[9].upper


def test_individuals_of_the_nist_handbook() -> None:
    found, moving = charts.individuals(NIST_INDIVIDUALS)
    point = found.points[0]
    # The handbook rounds d2 to 1.128.
    assert (point.centre, point.lower, point.upper) == pytest.approx((50.81, 45.8159, 55.8041), abs=3e-3)
    assert len(moving.points) == 9
    assert moving.points[0].centre == pytest.approx(1.8778, abs=5e-5)


def test_ewma_of_the_nist_handbook_and_of_montgomery() -> None:
    limits = charts.ewma(NIST_INDIVIDUALS * 4, weight=0.3, width=3, target=50, sigma=2.0539).points[-1]
    assert (limits.lower, limits.upper) == pytest.approx((47.4116, 52.5884), abs=5e-4)
    found = charts.ewma(SHIFT, weight=0.1, width=2.7, target=10, sigma=1)
    assert found.points[-1].value == pytest.approx(10.6341, abs=2e-3)
    assert found.outside == (29, 30)


def test_cusum_of_montgomery() -> None:
    found = charts.cusum(SHIFT, target=10, slack=0.5, decision=5)
    assert found.signals[0] == 29
    assert found.upper[28] == pytest.approx(5.28, abs=0.005)
    assert all(low <= 5 for low in found.lower)


def test_nelsons_rules_agree_with_another_program_on_every_one_of_3000_points() -> None:
    rows = list(csv.DictReader((Path(__file__).parent / "nelson_points.csv").read_text().splitlines()[1:]))
    found = broken([float(row["x"]) for row in rows])
    for rule in range(1, 9):
        assert found[rule] == tuple(n for n, row in enumerate(rows, 1) if str(rule) in row["rules"]), rule
    assert [len(found[rule]) for rule in range(1, 9)] == [3, 57, 33, 55, 17, 49, 86, 31]


def test_western_electric_rules_are_on_the_same_zones() -> None:
    zs = [0.5] * 7 + [0.1, 2.1, 0.0, 2.2, 3.1]
    found = broken(zs, WESTERN_ELECTRIC)
    assert found[4] == (8, 9)
    assert found[2] == (11, 12)
    assert found[1] == (12,)


_NUMBERS = st.floats(-1000, 1000, allow_nan=False).map(lambda v: round(v, 4))


@given(st.lists(st.lists(_NUMBERS, min_size=4, max_size=4), min_size=2, max_size=30))
def test_limits_are_three_standard_errors_from_the_mean_of_the_baseline(groups: list[list[float]]) -> None:
    means, ranges = charts.xbar_r(groups)
    centre = statistics.fmean(statistics.fmean(g) for g in groups)
    spread = statistics.fmean(max(g) - min(g) for g in groups)
    assert means.points[0].centre == pytest.approx(centre, abs=1e-9)
    assert means.points[0].upper - centre == pytest.approx(3 * spread / 2.0587507 / 2, rel=1e-6, abs=1e-9)
    assert [p.value for p in ranges.points] == pytest.approx([max(g) - min(g) for g in groups])
    alone = charts.xbar_r([*groups, [1e6] * 4], len(groups))[0]
    assert alone.points[0].upper == means.points[0].upper, "later points do not move the limits"
    assert alone.outside[-1] == len(groups) + 1


@given(st.lists(_NUMBERS, min_size=2, max_size=50))
def test_deviations_are_those_of_the_standard_library(values: list[float]) -> None:
    assert charts.deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("make", [
    lambda: charts.xbar_r([[1.0, 2.0], [1.0]]), lambda: charts.xbar_r([]), lambda: charts.xbar_r([[1.0], [2.0]]),
    lambda: charts.xbar_r([[1.0, math.nan]]), lambda: charts.individuals([1.0]), lambda: charts.p_chart([5], [4]),
    lambda: charts.p_chart([1, 2], [4]), lambda: charts.c_chart([-1]), lambda: charts.u_chart([1], [0]),
    lambda: charts.xbar_s([[1.0, 2.0]], 2), lambda: charts.individuals([1.0, 2.0], 1),
    lambda: charts.ewma([1.0], weight=0, width=3, target=0, sigma=1), lambda: charts.cusum([1.0], target=0, slack=-1, decision=5),
])  # fmt: skip
def test_data_that_make_no_chart_are_refused(make: object) -> None:
    with pytest.raises(charts.ChartInvalid):
        make()  # type: ignore[operator]


def test_a_process_without_any_spread_is_drawn_and_broken_by_whatever_differs() -> None:
    means, _ = charts.xbar_r([[1.0, 1.0]] * 3 + [[2.0, 2.0]], 3)
    assert means.outside == (4,)
    assert signals(means)[1] == ()


def test_capability_as_published() -> None:
    found = performance(VOLUMES, 740, 760)
    assert found.potential is not None
    assert (found.mean, found.sigma) == pytest.approx((749.7625, 2.104196), abs=5e-7)
    assert (found.potential.value, found.actual.value) == pytest.approx((1.584136, 1.546513), abs=5e-7)
    assert found.potential.lower < found.potential.value < found.potential.upper


def test_chi_square_as_tabled() -> None:
    tabled = {(0.025, 19): 8.907, (0.975, 19): 32.852, (0.95, 1): 3.841, (0.05, 10): 3.940, (0.99, 100): 135.807,
              (0.5, 2): 1.386}  # fmt: skip
    for (probability, freedom), value in tabled.items():
        assert chi_square_quantile(probability, freedom) == pytest.approx(value, abs=6e-4)


def test_one_limit_gives_no_potential_and_wrong_limits_nothing() -> None:
    assert capability(10, 1, 50, None, 14).potential is None
    assert capability(10, 1, 50, None, 14).actual.value == pytest.approx(4 / 3)
    for lower, upper, sigma in ((None, None, 1), (5, 5, 1), (6, 5, 1), (1, 5, 0)):
        with pytest.raises(charts.ChartInvalid):
            capability(3, sigma, 50, lower, upper)
