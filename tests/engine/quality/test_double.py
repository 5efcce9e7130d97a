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
    double_plan,
    units_on_average,
    verdict,
)
from engine.quality.sampling import AQLS, LEVELS, Plan, SamplingInvalid, Severity, plan

BOTH = (Severity.NORMAL, Severity.TIGHTENED)
K = DoublePlan(80, 1, 4, 4, "K")


def test_the_double_plan_of_letter_k() -> None:
    assert double_plan(3200, "1.0") == K


def test_every_double_plan_has_the_curve_of_its_single_plan() -> None:
    seen = set()
    for severity in BOTH:
        for aql in AQLS:
            for size in (90, 150, 280, 500, 1200, 3200, 10_000, 35_000, 150_000, 500_000, 1_000_000):
                single, double = plan(size, aql, "II", severity), double_plan(size, aql, "II", severity)
                if isinstance(double, Plan):
                    assert double == single
                    continue
                seen.add((severity, single.accept))
                # A wrong number in a row shows here, but for those that hardly move the curve.
                for share, near in ((0.95, 0.04), (0.5, 0.09), (0.10, 0.04)):
                    p = fraction_accepted_with(share, single.sample_size, single.accept)
                    assert accepted_of_process(p, double) == pytest.approx(share, abs=near), (single, double)
                good = fraction_accepted_with(0.95, single.sample_size, single.accept)
                assert units_on_average(good, double) < single.sample_size
    assert len(seen) == 15, "a row of the table that no lot leads to"


@settings(max_examples=60)
@given(st.integers(2, 10**6), st.sampled_from(AQLS), st.sampled_from(LEVELS), st.sampled_from(BOTH))
def test_every_double_plan_can_be_carried_out(size: int, aql: str, level: str, severity: Severity) -> None:
    found = double_plan(size, aql, level, severity)
    if isinstance(found, DoublePlan):
        assert 2 * found.sample_size < size
        assert 0 <= found.first_accept < found.first_reject - 1 <= found.second_accept


@settings(max_examples=60)
@given(st.integers(10, 80), st.data())
def test_the_curves_are_what_the_verdicts_add_up_to(size: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, size // 2))
    first = data.draw(st.integers(0, 3))
    reject = data.draw(st.integers(first + 2, first + 5))
    wanted = DoublePlan(n, first, reject, data.draw(st.integers(reject - 1, reject + 4)), "X")
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


def test_reduced_inspection_has_no_double_plan() -> None:
    with pytest.raises(SamplingInvalid, match="reduced"):
        double_plan(3200, "1.0", "II", Severity.REDUCED)


def test_two_samples_are_not_more_than_the_lot() -> None:
    with pytest.raises(SamplingInvalid):
        accepted_of_lot(100, 5, K)
    assert acceptance_binomial(0.0, 80, 1) == accepted_of_process(0.0, K) == 1.0
