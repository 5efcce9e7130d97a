"""Sampling plans are those of the printed tables; curves are exact; switching does what the standard's text says."""

import csv
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.quality.curves import (
    acceptance_binomial,
    acceptance_hypergeometric,
    acceptance_poisson,
    fraction_accepted_with,
)
from engine.quality.sampling import (
    AQLS,
    LEVELS,
    Plan,
    SamplingInvalid,
    Severity,
    code_letter,
    plan,
    zero_accept_plan,
)
from engine.quality.switching import SwitchingState, after, judge, resumed

#: A lot size for each letter at level II that no plan exhausts, but for R at level III.
_SIZES = {
    "A": 8, "B": 15, "C": 25, "D": 50, "E": 90, "F": 150, "G": 280, "H": 500, "J": 1200, "K": 3200, "L": 10_000,
    "M": 35_000, "N": 150_000, "P": 500_000, "Q": 1_000_000,
}  # fmt: skip


def test_every_cell_of_the_three_tables_is_as_printed_with_its_arrows_followed() -> None:
    text = (Path(__file__).parent / "z14_followed.csv").read_text().splitlines()[1:]
    cells = list(csv.DictReader(text))
    assert len(cells) == 3 * 16 * 16
    for cell in cells:
        size, level = (1_000_000, "III") if cell["letter"] == "R" else (_SIZES[cell["letter"]], "II")
        assert code_letter(size, level) == cell["letter"]
        found = plan(size, cell["aql"], level, Severity(cell["severity"]))
        assert (found.accept, found.reject) == (int(cell["accept"]), int(cell["reject"])), cell
        assert found.sample_size == min(size, int(cell["sample_size"])), cell
        assert found.whole_lot == (int(cell["sample_size"]) >= size), cell


#: Table I as printed, a column a level.
_LETTERS = {
    "S1": "AAAABBBBCCCCDDD", "S2": "AAABBBCCCDDDEEE", "S3": "AABBCCDDEEFFGGH", "S4": "AABCCDEEFGGHJJK",
    "I": "AABCCDEFGHJKLMN", "II": "ABCDEFGHJKLMNPQ", "III": "BCDEFGHJKLMNPQR",
}  # fmt: skip
_FIRST = (2, 9, 16, 26, 51, 91, 151, 281, 501, 1201, 3201, 10_001, 35_001, 150_001, 500_001)


def test_code_letters_change_exactly_where_table_i_says() -> None:
    assert set(_LETTERS) == set(LEVELS)
    for level, letters in _LETTERS.items():
        for first, letter, before in zip(_FIRST, letters, " " + letters, strict=False):
            assert code_letter(first, level) == letter
            if first > 2:
                assert code_letter(first - 1, level) == before


@pytest.mark.parametrize(("size", "aql", "level"), [(1, "1.0", "II"), (50, "1.1", "II"), (50, "15", "II"),
                                                    (50, "x", "II"), (50, "1.0", "IV"), (-5, "1.0", "I")])  # fmt: skip
def test_a_plan_that_there_is_not_is_refused(size: int, aql: str, level: str) -> None:
    with pytest.raises(SamplingInvalid):
        plan(size, aql, level)


def test_an_aql_may_be_written_shorter() -> None:
    assert plan(500, "1") == plan(500, "1.0") == plan(500, "1.00")


@given(st.integers(2, 10**7), st.sampled_from(AQLS), st.sampled_from(LEVELS), st.sampled_from(list(Severity)))
def test_every_plan_can_be_carried_out_and_protects_at_its_aql(size: int, aql: str, level: str, how: Severity) -> None:
    found = plan(size, aql, level, how)
    assert 1 <= found.sample_size <= size
    assert 0 <= found.accept < found.reject
    if how is not Severity.TIGHTENED and not found.whole_lot:
        # Lots at the AQL are accepted most of the time: that is what the tables are made for.
        assert acceptance_binomial(float(aql) / 100, found.sample_size, found.reject - 1) > 0.8


def exactly(size: int, bad: int, sample: int, accept: int) -> Fraction:
    ways = sum(comb(bad, k) * comb(size - bad, sample - k) for k in range(min(accept, sample) + 1))
    return Fraction(ways, comb(size, sample))


@given(st.data())
def test_a_lots_curve_is_the_exact_fraction(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    bad, sample = data.draw(st.integers(0, size)), data.draw(st.integers(1, size))
    accept = data.draw(st.integers(0, 30))
    assert acceptance_hypergeometric(size, bad, sample, accept) == pytest.approx(
        float(exactly(size, bad, sample, accept)), rel=1e-9, abs=1e-12
    )


@given(st.integers(0, 100), st.integers(1, 300), st.integers(0, 30))
def test_a_processs_curve_is_the_exact_fraction(percent: int, sample: int, accept: int) -> None:
    p = Fraction(percent, 100)
    exact = sum(comb(sample, k) * p**k * (1 - p) ** (sample - k) for k in range(min(accept, sample) + 1))
    assert acceptance_binomial(percent / 100, sample, accept) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


def test_published_points_of_curves() -> None:
    # Montgomery, 8th ed., section 15.2: n = 89, c = 2.
    assert acceptance_binomial(0.01, 89, 2) == pytest.approx(0.9397, abs=5e-5)
    assert acceptance_binomial(0.05, 89, 2) == pytest.approx(0.1721, abs=5e-5)
    # Poisson: 3 expected, at most 3: tabled 0.6472.
    assert acceptance_poisson(0.03, 100, 3) == pytest.approx(0.6472, abs=5e-5)
    # Code letter J, Ac 2, n = 80: tabled qualities accepted 95 and 10 percent of the time (Z1.4 table X-J-1).
    assert fraction_accepted_with(0.95, 80, 2) == pytest.approx(0.01030, abs=1e-4)
    assert fraction_accepted_with(0.10, 80, 2) == pytest.approx(0.0652, abs=1e-4)


@given(st.integers(1, 2000), st.sampled_from(["0.5", "1", "2.5", "5", "10", "40"]), st.sampled_from(["0.05", "0.10"]))
def test_a_zero_accept_plan_is_the_smallest_that_keeps_the_risk(size: int, percent: str, risk: str) -> None:
    found = zero_accept_plan(size, percent, risk)
    bad = -(-size * Fraction(percent) // 100)
    assert exactly(size, int(bad), found.sample_size, 0) <= Fraction(risk)
    if found.sample_size > 1:
        assert exactly(size, int(bad), found.sample_size - 1, 0) > Fraction(risk)
    assert (found.accept, found.reject) == (0, 1)


@pytest.mark.parametrize(("size", "percent", "risk"), [(0, "5", "0.1"), (5, "0", "0.1"), (5, "101", "0.1"),
                                                       (5, "5", "1"), (5, "x", "0.1"), (5, "nan", "0.1")])  # fmt: skip
def test_a_zero_accept_plan_for_nothing_is_refused(size: int, percent: str, risk: str) -> None:
    with pytest.raises(SamplingInvalid):
        zero_accept_plan(size, percent, risk)


def written_from_the_text(lots: list[tuple[bool, bool, bool]]) -> list[str]:
    """Severity after each lot by Z1.4 section 8.3, from its whole history. A lot: accepted, between Ac and Re, steady."""
    where, since, said = "normal", 0, []
    for number, (accepted, between, steady) in enumerate(lots):
        run = [ok for ok, _, _ in lots[since : number + 1]]
        to = where
        if where == "normal":
            if run[-5:].count(False) >= 2:
                to = "tightened"
            elif len(run) >= 10 and all(run[-10:]) and steady:
                to = "reduced"
        elif where == "tightened":
            if len(run) >= 5 and all(run[-5:]):
                to = "normal"
            elif run.count(False) >= 5:
                to = "discontinued"
        elif where == "reduced" and (not accepted or between or not steady):
            to = "normal"
        if to != where:
            where, since = to, number + 1
        said.append(where)
    return said


_LOT = st.tuples(st.sampled_from([True, True, True, True, False]), st.booleans(), st.sampled_from([True, True, True, False]))


@given(st.lists(_LOT, max_size=120), st.booleans())
def test_switching_does_what_the_text_says_whatever_happens(lots: list[tuple[bool, bool, bool]], good: bool) -> None:
    lots = [(ok or good, between and ok, steady) for ok, between, steady in lots]
    state, said = SwitchingState(), []
    for accepted, between, steady in lots:
        reduced = Plan(20, 1, 4)
        number = 4 if not accepted else 2 if between else 0
        state = after(state, judge(reduced, number), steady=steady)
        said.append("discontinued" if state.discontinued else state.severity.value)
    assert said == written_from_the_text(lots)


def test_reduced_inspection_needs_the_authority_and_discontinued_inspection_somebody() -> None:
    good, bad = judge(Plan(20, 1, 2), 0), judge(Plan(20, 1, 2), 2)
    state = SwitchingState()
    for _ in range(30):
        state = after(state, good, reduce=False)
    assert state.severity is Severity.NORMAL
    assert after(state, good).severity is Severity.REDUCED
    for _ in range(7):
        state = after(state, bad)
    assert state.discontinued
    assert after(state, good) == state
    assert resumed() == SwitchingState(Severity.TIGHTENED)


def test_a_sample_with_more_nonconforming_units_than_units_is_refused() -> None:
    with pytest.raises(ValueError, match="part of the sample"):
        judge(Plan(20, 1, 2), 21)


def test_the_long_run_under_switching_is_as_published() -> None:
    """Stephens and Larson, 1967: code letter L, AQL 1.5: share of lots under normal inspection, no reduced."""
    for p, share in ((0.015, 0.9969), (0.02, 0.9233), (0.03, 0.0855)):
        normal, tightened = (acceptance_binomial(p, 200, accept) for accept in (7, 5))
        a = (2 - normal**4) / ((1 - normal) * (1 - normal**4))
        b = (1 - tightened**5) / ((1 - tightened) * tightened**5)
        assert a / (a + b) == pytest.approx(share, abs=5e-4)
    assert (plan(10_000, "1.5").accept, plan(10_000, "1.5", severity=Severity.TIGHTENED).accept) == (7, 5)
