"""Plans by variables are those of Z1.9; their numbers are scipy's, the standard's examples and other people's tables."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quality.normal import accepted_spread_unknown, beta_symmetric
from engine.quality.sampling import SamplingInvalid, Severity, plan
from engine.quality.variables import (
    AQLS,
    LEVELS,
    Method,
    VariablesPlan,
    accepted_with,
    code_letter,
    constant_of,
    estimate,
    estimated_percent,
    fraction_accepted,
    plan_of_two_points,
    variables_plan,
)

#: A lot size for each letter at level II.
_SIZES = {
    "B": 16, "C": 25, "D": 50, "E": 90, "F": 150, "G": 280, "H": 400, "I": 500, "J": 1200, "K": 3200, "L": 10_000,
    "M": 35_000, "N": 150_000, "P": 500_000,
}  # fmt: skip
#: Two decimals of k as others print them, by letter, beginning with the AQL that is named.
#: B to F: extract of DIN ISO 3951 (normal inspection; Cloodt, AQL-Stichproben, 2015), its two misprints left out (E 2.5, E 4.0);
#: H, K, P and again D, F: Z1.9-1980 as kept by M. Casquilho, IST Lisbon (page F-samplan).
_PRINTED = {
    "B": ("2.5", 1.12, 0.958, 0.765, 0.566), "C": ("1.0", 1.45, 1.34, 1.17, 1.01, 0.814, 0.617),
    "D": ("0.65", 1.65, 1.53, 1.40, 1.24, 1.07, 0.874, 0.675), "E": ("0.25", 2.00, 1.88, 1.75, 1.62, 1.50),
    "F": ("0.15", 2.24, 2.11, 1.98, 1.84, 1.72, 1.58, 1.41, 1.23, 1.03, 0.828), "G": ("0.10", 2.42, 2.32, 2.20, 2.05),
    "H": ("0.65", 1.96, 1.82, 1.69, 1.51, 1.33, 1.12, 0.917), "K": ("0.65", 2.08, 1.93, 1.80, 1.61, 1.42, 1.21, 1.00),
    "P": ("0.65", 2.18, 2.04, 1.89, 1.70, 1.51, 1.29, 1.07),
}  # fmt: skip


def cell(letter: str, aql: str, severity: Severity = Severity.NORMAL, method: Method = Method.S) -> VariablesPlan:
    """The plan of a cell; letter B has no lot at level II that its sample does not exhaust."""
    size = 5_000_000 if letter == "P" else _SIZES[letter]
    found = variables_plan(25 if letter == "B" else size, aql, "I" if letter == "B" else "II", severity, method)
    assert found.letter == letter
    return found


def test_k_is_what_others_print() -> None:
    seen = 0
    for letter, (first, *constants) in _PRINTED.items():
        start = AQLS.index(first)
        for aql, k in zip(AQLS[start:], constants, strict=False):
            # Two decimals; those of letter G are further away, and seem to be MIL-STD-414's.
            assert cell(letter, aql).k == pytest.approx(k, abs=0.012 if letter == "G" else 0.007), (letter, aql)
            seen += 1
    assert seen == 57


def test_a_lot_at_the_aql_is_accepted_with_the_probability_of_its_letter() -> None:
    """The rule that the table was made by: it tells a cell that was typed wrong, in every digit that matters."""
    risks = dict(zip("BCDEFGHIJKLMNP", (89, 90, 90, 90, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99), strict=True))
    sizes = {3: "B", 4: "C", 5: "D", 7: "E", 10: "F", 15: "G", 20: "H", 25: "I", 35: "J", 50: "K", 75: "L", 100: "M",
             150: "N", 200: "P"}  # fmt: skip
    steps = ("0.065", *AQLS, "15")
    for letter in risks:
        for severity, step in ((Severity.NORMAL, 0), (Severity.TIGHTENED, -1), (Severity.REDUCED, 1)):
            for aql in AQLS:
                found = cell(letter, aql, severity)
                if found.whole_lot:
                    continue
                quality = float(steps[steps.index(aql) + step]) / 100
                wanted = 94 if found.sample_size == 30 else risks[sizes[found.sample_size]]
                assert accepted_with(quality, found) == pytest.approx(wanted / 100, abs=0.0011), (letter, severity, aql)


def test_with_a_known_deviation_fewer_units_protect_as_well() -> None:
    for letter in "GHIJKLMNP":
        for aql in AQLS[3:]:
            unknown, known = cell(letter, aql), cell(letter, aql, method=Method.SIGMA)
            assert known.sample_size < unknown.sample_size
            for share in (0.95, 0.10):
                p = fraction_accepted(share, unknown)
                assert accepted_with(p, known) == pytest.approx(share, abs=0.02), (letter, aql)


def test_each_letter_protects_as_its_plan_by_attributes_does() -> None:
    """Lot 3,201 to 10,000, AQL 1.5: n 200, Ac 7 by attributes, n 75 by variables, one curve (AQLSchemes, figure 1)."""
    found = variables_plan(5000, "1.5")
    assert (found.sample_size, found.m, found.letter) == (75, 3.17, "L")
    assert found.k == pytest.approx(1.84097, abs=1e-5)  # as the vignette of AQLSchemes prints it
    assert plan(5000, "1.5").sample_size == 200
    assert accepted_with(0.013, found) == pytest.approx(0.975, abs=0.01)
    assert accepted_with(0.064, found) == pytest.approx(0.054, abs=0.03)


@pytest.mark.parametrize(
    ("n", "k", "p", "probability"),
    # scipy 1.16: nct.sf(k sqrt(n), n - 1, norm.isf(p) sqrt(n))
    [(3, 0.566, 0.10, 0.890000191), (5, 1.53, 0.01, 0.898317047), (10, 2.24, 0.0015, 0.899361409),
     (35, 1.87, 0.01, 0.950303359), (75, 1.841, 0.0317, 0.547887563), (200, 1.07, 0.12, 0.884452965)],
)  # fmt: skip
def test_acceptance_is_that_of_the_noncentral_t(n: int, k: float, p: float, probability: float) -> None:
    assert accepted_spread_unknown(p, n, k) == pytest.approx(probability, abs=2e-8)


@pytest.mark.parametrize(
    ("x", "a", "share"),
    # scipy 1.16: beta.cdf(x, a, a)
    [(0.1, 0.5, 0.204832764699), (0.3, 1.5, 0.252315787734), (0.02, 4, 5.3356544e-06), (0.4, 36.5, 0.0426809807314),
     (0.0, 2, 0.0), (1.0, 2, 1.0)],
)  # fmt: skip
def test_the_estimate_is_that_of_the_beta_distribution(x: float, a: float, share: float) -> None:
    assert beta_symmetric(x, a) == pytest.approx(share, rel=1e-10)


#: MIL-STD-414 and Z1.9, examples B-1 to B-3, as textbooks retell them: highest temperature of operation, at most 209 and at least 180 degrees;
#: a lot of 40, AQL 1.0.
_TEMPERATURES = (197, 188, 184, 205, 201)


def test_examples_b1_to_b3_of_the_standard() -> None:
    wanted = variables_plan(40, "1.0")
    assert (wanted.sample_size, wanted.letter) == (5, "D")
    assert wanted.k == pytest.approx(1.53, abs=0.01)
    one = estimate(_TEMPERATURES, None, (209, wanted))
    assert (one.mean, round(one.deviation, 2)) == (195, 8.80)  # printed 8.81, of rounded squares
    assert one.upper is not None
    assert one.upper.quality == pytest.approx(1.59, abs=0.005)
    assert one.accepted
    both = estimate(_TEMPERATURES, (180, wanted), (209, wanted))
    assert both.lower is not None
    assert both.lower.quality == pytest.approx(1.70, abs=0.005)
    # The standard looks up the rounded indices: 2.19 and 0.66 percent.
    assert estimated_percent(1.59, 5, Method.S) == pytest.approx(2.19, abs=0.005)
    assert estimated_percent(1.70, 5, Method.S) == pytest.approx(0.66, abs=0.005)
    assert both.accepted
    assert not estimate(_TEMPERATURES, (181, wanted), (205, wanted)).accepted


def test_example_d1_with_a_known_deviation() -> None:
    """Yield point of steel castings, at least 58,000 psi, sigma 3,000, a lot of 500, AQL 1.5: not accepted."""
    wanted = variables_plan(500, "1.5", method=Method.SIGMA)
    assert (wanted.sample_size, wanted.m) == (10, 3.63)
    assert wanted.k == pytest.approx(1.70, abs=0.005)
    values = (62500, 60500, 68000, 59000, 65500, 62000, 61000, 69000, 58000, 64500)
    found = estimate(values, (58000, wanted), None, sigma=3000)
    assert found.mean == 63000
    assert found.lower is not None
    assert found.lower.quality == pytest.approx(1.67, abs=0.005)
    assert not found.accepted
    assert estimate([v + 200 for v in values], (58000, wanted), None, sigma=3000).accepted


@settings(max_examples=150)
@given(st.integers(2, 10**6), st.sampled_from(AQLS), st.sampled_from(LEVELS), st.sampled_from(list(Severity)),
       st.sampled_from(list(Method)), st.integers(0, 2**32))  # fmt: skip
def test_both_forms_agree_whatever_is_measured(
    size: int, aql: str, level: str, how: Severity, method: Method, seed: int
) -> None:
    wanted = variables_plan(size, aql, level, how, method)
    assert wanted.sample_size <= size
    if wanted.whole_lot:
        return
    chance = random.Random(seed)
    sigma = 1.0 if method is Method.SIGMA else None
    values = [chance.gauss(0, 1) for _ in range(wanted.sample_size)]
    limit = wanted.k + chance.gauss(0, 0.5)
    found = estimate(values, None, (limit, wanted), sigma)
    assert found.upper is not None
    assert found.accepted == (found.upper.quality >= wanted.k) or abs(found.upper.quality - wanted.k) < 1e-9
    # Mirrored, it is the lower limit; two limits are never easier than one.
    mirrored = estimate([-v for v in values], (-limit, wanted), None, sigma)
    assert mirrored.accepted == found.accepted
    assert mirrored.percent == pytest.approx(found.percent, abs=1e-9)
    both = estimate(values, (-limit, wanted), (limit, wanted), sigma)
    assert not both.accepted or found.accepted


def test_limits_with_aqls_of_their_own_are_held_each_against_its_own() -> None:
    strict, loose = variables_plan(40, "1.0"), variables_plan(40, "10")
    near_lower = estimate(_TEMPERATURES, (188, loose), (240, strict))
    assert near_lower.percent > strict.m
    assert near_lower.accepted
    assert not estimate(_TEMPERATURES, (188, strict), (240, loose)).accepted
    # Together they are held against the larger.
    assert not estimate(_TEMPERATURES, (188.5, loose), (205.5, loose)).accepted


@pytest.mark.parametrize("method", list(Method))
def test_a_plan_of_two_points_is_the_smallest_that_keeps_both_risks(method: Method) -> None:
    found = plan_of_two_points(0.01, 0.05, 0.06, 0.10, method)
    assert accepted_with(0.01, found) >= 0.95
    assert accepted_with(0.06, found) <= 0.10
    smaller = found.sample_size - 1
    for k in [found.k + step / 200 for step in range(-60, 61)]:
        other = VariablesPlan(method, smaller, k, 0.0)
        assert accepted_with(0.01, other) < 0.95 or accepted_with(0.06, other) > 0.10
    # Montgomery, 8th ed., section 16.2: 1 and 6 percent, 0.05 and 0.10: n 40 and k 1.9, from a nomograph.
    assert found.sample_size == {Method.S: 42, Method.SIGMA: 15}[method]
    assert found.k == pytest.approx(1.9, abs=0.01)


def test_a_simulated_process_is_accepted_as_often_as_the_curve_says() -> None:
    wanted, chance = variables_plan(150, "2.5"), random.Random(1)
    limit = 1.2815515655446004  # 10 percent above
    accepted = sum(
        estimate([chance.gauss(0, 1) for _ in range(wanted.sample_size)], None, (limit, wanted)).accepted
        for _ in range(4000)
    )
    assert accepted / 4000 == pytest.approx(accepted_with(0.10, wanted), abs=0.025)


def test_values_that_do_not_vary_are_inside_or_outside() -> None:
    wanted = variables_plan(40, "1.0")
    assert estimate([5.0] * 5, (4, wanted), (6, wanted)).percent == 0
    assert estimate([5.0] * 5, (5, wanted), None).accepted
    assert estimate([5.0] * 5, (5.1, wanted), None).percent == 100


def test_a_sample_as_large_as_the_lot_is_the_whole_lot() -> None:
    found = variables_plan(3, "10")
    assert (found.whole_lot, found.sample_size) == (True, 3)
    with pytest.raises(SamplingInvalid, match="unit by unit"):
        estimate([1.0, 2.0, 3.0], (0, found), None)


def test_what_cannot_be_asked_is_refused_with_the_reason() -> None:
    wanted = variables_plan(40, "1.0")
    for values, lower, sigma, words in (
        ([1.0] * 4, (0, wanted), None, "there are 4 values; the plan asks for 5"),
        ([1.0] * 5, None, None, "no specification limit"),
        ([1.0] * 5, (0, wanted), 2.0, "known standard deviation"),
    ):
        with pytest.raises(SamplingInvalid, match=words):
            estimate(values, lower, None, sigma)
    for size, aql, level in ((40, "0.065", "II"), (40, "x", "II"), (40, "1.0", "S1"), (1, "1.0", "II")):
        with pytest.raises(SamplingInvalid):
            variables_plan(size, aql, level)
    for good, alpha, bad, beta in (
        (0.06, 0.05, 0.01, 0.1),
        (0.01, 0, 0.06, 0.1),
        (0.01, 0.6, 0.06, 0.5),
        (0.01, 0.05, 0.010001, 0.1),
    ):
        with pytest.raises(SamplingInvalid):
            plan_of_two_points(good, alpha, bad, beta)
    assert code_letter(281) == "H"
    assert math.isclose(constant_of(3.17, 75, Method.S), 1.84097, abs_tol=1e-5)
