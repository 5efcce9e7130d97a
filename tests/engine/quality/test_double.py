"""Double plans protect as the single plans they stand for do, with fewer units; their curves are exact."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quality.curves import acceptance_binomial, fraction_accepted_with
from engine.quality.double import (
    DoublePlan,
    accepted_of_lot,
    accepted_of_process,
    back_to_normal,
    double_plan,
    units_on_average,
    verdict,
)
from engine.quality.sampling import AQLS, LEVELS, Plan, SamplingInvalid, Severity, plan

K = DoublePlan(80, 1, 4, 4, "K")


def test_the_double_plan_of_letter_k() -> None:
    assert double_plan(3200, "1.0") == K


def test_every_double_plan_has_the_curve_of_its_single_plan() -> None:
    seen = set()
    for severity in Severity:
        for aql in AQLS:
            for size in (90, 150, 280, 500, 1200, 3200, 10_000, 35_000, 150_000, 500_000, 1_000_000):
                single, double = plan(size, aql, "II", severity), double_plan(size, aql, "II", severity)
                if isinstance(double, Plan):
                    assert double == single
                    continue
                seen.add((severity, single.accept, single.reject))
                # A wrong number in a row shows here, but for those that hardly move the curve.
                # Reduced plans are further away from their single plans, by the table itself.
                reduced = severity is Severity.REDUCED
                for share, near in ((0.95, 0.041), (0.5, 0.19 if reduced else 0.09), (0.10, 0.075 if reduced else 0.04)):
                    p = fraction_accepted_with(share, single.sample_size, single.reject - 1)
                    assert accepted_of_process(p, double) == pytest.approx(share, abs=near), (single, double)
                # Lots at half the AQL and better are what reduced inspection is for.
                good = float(aql) / 200
                assert units_on_average(good, double) < single.sample_size
    assert len(seen) == 23, "a row of the table that no lot leads to"


@settings(max_examples=60)
@given(st.integers(2, 10**6), st.sampled_from(AQLS), st.sampled_from(LEVELS), st.sampled_from(list(Severity)))
def test_every_double_plan_can_be_carried_out(size: int, aql: str, level: str, severity: Severity) -> None:
    found = double_plan(size, aql, level, severity)
    if isinstance(found, DoublePlan):
        assert 2 * found.sample_size < size
        assert 0 <= found.first_accept < found.first_reject - 1 <= found.most


@settings(max_examples=60)
@given(st.integers(10, 80), st.data())
def test_the_curves_are_what_the_verdicts_add_up_to(size: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, size // 2))
    first = data.draw(st.integers(0, 3))
    reject = data.draw(st.integers(first + 2, first + 5))
    second = data.draw(st.integers(reject - 1, reject + 4))
    beyond = data.draw(st.none() | st.integers(second + 1, second + 4))
    wanted = DoublePlan(n, first, reject, second, "X", beyond)
    bad = data.draw(st.integers(0, size))
    p = Fraction(bad, size)
    lot = process = Fraction(0)
    for x in range(n + 1):
        seconds = range(n + 1) if verdict(wanted, x) == "second" else [None]
        for y in seconds:
            if verdict(wanted, x, y) != "accept":
                continue
            one, two = comb(n, x) * p**x * (1 - p) ** (n - x), Fraction(1)
            drawn = Fraction(comb(bad, x) * comb(size - bad, n - x), comb(size, n))
            if y is not None:
                two = comb(n, y) * p**y * (1 - p) ** (n - y)
                if x <= bad and n - x <= size - bad:
                    drawn *= Fraction(comb(bad - x, y) * comb(size - bad - n + x, n - y), comb(size - n, n))
            process += one * two
            lot += drawn
    assert accepted_of_process(bad / size, wanted) == pytest.approx(float(process), abs=1e-9)
    assert accepted_of_lot(size, bad, wanted) == pytest.approx(float(lot), abs=1e-9)


def test_the_first_sample_decides_clear_lots() -> None:
    assert [verdict(K, n) for n in range(6)] == ["accept", "accept", "second", "second", "reject", "reject"]
    assert verdict(K, 2, 2) == "accept"
    assert verdict(K, 2, 3) == "reject"


@pytest.mark.parametrize(("first", "second"), [(1, 0), (4, 0), (-1, None), (81, None), (2, 81), (2, -1)])
def test_counts_that_cannot_be_are_refused(first: int, second: int | None) -> None:
    with pytest.raises(SamplingInvalid):
        verdict(K, first, second)


def test_under_reduced_inspection_a_lot_between_the_numbers_is_accepted_and_normal_inspection_comes_back() -> None:
    found = double_plan(3200, "1.0", "II", Severity.REDUCED)
    assert found == DoublePlan(32, 0, 4, 1, "K", 5)
    assert [verdict(found, n) for n in range(5)] == ["accept", "second", "second", "second", "reject"]
    outcomes = [(verdict(found, 1, n), back_to_normal(found, 1, n)) for n in range(5)]
    assert outcomes == [("accept", False)] + [("accept", True)] * 3 + [("reject", False)]
    assert not back_to_normal(found, 0)
    assert not back_to_normal(K, 2, 2)


def test_where_the_reduced_table_has_no_double_plan_it_is_the_single_one() -> None:
    # Letter C, AQL 10: n 2, which no two samples replace.
    assert double_plan(25, "10", "II", Severity.REDUCED) == Plan(2, 0, 2, "C")


def test_two_samples_are_not_more_than_the_lot() -> None:
    with pytest.raises(SamplingInvalid):
        accepted_of_lot(100, 5, K)
    assert acceptance_binomial(0.0, 80, 1) == accepted_of_process(0.0, K) == 1.0
