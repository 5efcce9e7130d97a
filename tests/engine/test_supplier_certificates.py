"""Certificates of suppliers: refused where they do not fit, held against our limits and our own results."""

from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.errors import EventInvalid
from engine.explaining import certificates, explain
from engine.inspection_plan import Characteristic, InspectionPlan
from engine.journal import verify
from engine.reference import References
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.supplier_certificates import Certificate, compare
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.conftest import Plant
from tests.engine.test_inspection_plans import body, diameters, failing, measure, put

DIAMETER = {"characteristic": "diameter", "unit": "mm", "lower": "73.950", "upper": "74.050", "plausible_from": "50",
            "plausible_to": "100", "certificate_tolerance": "0.002", "sample_size": 2}  # fmt: skip
PLAN = {"item": "RING-74", "characteristics": [DIAMETER, {"characteristic": "surface", "sample_size": 1}]}
GOOD = {"characteristic": "diameter", "value": "74.001", "unit": "mm"}


@pytest.fixture
def references(store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


def certify(plant: Any, lot: str, *values: dict[str, Any], **more: Any) -> Any:
    data = {"certificate": "CoA-1", "kind": "coa", "issuer": "ACME-LAB", "supplier_lot": "HEAT-7",
            "issued_on": "2026-11-01", "values": list(values)}  # fmt: skip
    return plant.send("certificate.recorded.v1", lot, data | more)


@pytest.fixture
def planned(plant: Any, references: References) -> Any:
    put(references, "P", PLAN)
    plant.receive("L1", supplier_lot="HEAT-7")
    return plant


def test_a_value_is_held_against_our_limits_and_our_results(planned: Any, store: Store) -> None:
    judged = {"characteristic": "surface", "conforming": True}
    assert certify(planned, "L1", GOOD, judged, valid_until="2027-11-01", signed=True).outcome == "applied"
    first, second = certificates(store, "L1").values
    assert (first.within, first.own_results, first.own_mean, first.agrees) == (True, 0, None, None)
    assert (second.within, second.conforming) == (True, True)
    measure(planned, "L1", *diameters("74.000", "74.003"))
    (first, _), (kept,) = certificates(store, "L1").values, certificates(store, "L1").data
    assert (first.own_results, first.own_mean, first.difference, first.agrees) == (2, Decimal("74.0015"), Decimal("-0.0005"), True)
    assert (kept.number, kept.valid_until, kept.signed) == ("CoA-1", "2027-11-01", True)
    measure(planned, "L1", *diameters("74.020", corrects="misread"))
    first = certificates(store, "L1").values[0]
    assert (first.difference, first.agrees) == (Decimal("-0.0105"), False)
    report = verify(iter([("L1", Reading(store).journal("L1"), Reading(store).lot("L1"))]))
    assert report.breaks == ()


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"supplier_lot": "HEAT-8"}, "CERTIFICATE-OF-LOT"),
        ({"issued_on": "2026-11-24"}, "CERTIFICATE-DATES"),
        ({"valid_until": "2026-10-31"}, "CERTIFICATE-DATES"),
        ({"corrects": "typing error"}, "CERTIFICATE-ONCE"),
        ({"values": [GOOD, GOOD]}, "VALUE-ONCE"),
        ({"values": [GOOD | {"characteristic": "colour"}]}, "CHARACTERISTIC-ON-PLAN"),
        ({"values": [GOOD | {"unit": "cm"}]}, "UNIT-OF-PLAN"),
        ({"values": [{"characteristic": "diameter", "value": "74"}]}, "UNIT-OF-PLAN"),
        ({"values": [GOOD | {"value": "7.4"}]}, "PLAUSIBLE"),
        ({"values": [{"characteristic": "surface", "value": "1", "unit": "um"}]}, "RESULT-FITS-PLAN"),
        ({"values": [{"characteristic": "diameter"}]}, "RESULT-FITS-PLAN"),
        ({"values": [GOOD | {"conforming": True}]}, "RESULT-FITS-PLAN"),
    ],
)
def test_what_does_not_fit_is_refused_whole_and_journaled(
    planned: Any, store: Store, more: dict[str, Any], rule: str
) -> None:
    answer = certify(planned, "L1", **more)
    assert (answer.outcome, failing(answer)) == ("refused", [rule])
    assert Reading(store).lot("L1").certificates == ()
    entry = Reading(store).journal("L1")[-1]
    assert (entry.kind, entry.type) == ("refusal", "certificate.recorded.v1")


def test_a_number_that_is_none_is_refused_at_the_door(plant: Any) -> None:
    for value in ("NaN", "1e99", "0.0000001"):
        with pytest.raises(EventInvalid) as refused:
            certify(plant, "L1", GOOD | {"value": value})
        assert refused.value.pointer.startswith("/data/values")


def test_a_correction_takes_its_place_with_a_reason(planned: Any, store: Store) -> None:
    certify(planned, "L1", GOOD)
    assert failing(certify(planned, "L1", GOOD | {"value": "74.002"})) == ["CERTIFICATE-ONCE"]
    assert certify(planned, "L1", GOOD | {"value": "74.002"}, corrects="typing error").outcome == "applied"
    assert [v.value for v in certificates(store, "L1").values] == [Decimal("74.002")]
    assert certify(planned, "L1", GOOD, certificate="CoA-2").outcome == "applied"
    assert [one.number for one in Reading(store).lot("L1").certificates] == ["CoA-1", "CoA-2"]


def test_without_a_plan_the_unit_of_our_results_is_the_unit(plant: Any, store: Store) -> None:
    plant.receive("L1")
    plant.inspect("L1", "74.000")
    assert failing(certify(plant, "L1", GOOD | {"unit": "cm"}, supplier_lot="L1")) == ["UNIT-OF-PLAN"]
    assert certify(plant, "L1", GOOD, supplier_lot="L1").outcome == "applied"
    (one,) = certificates(store, "L1").values
    assert (one.within, one.difference, one.agrees) == (None, Decimal("0.001"), None)


RULES = """
rulefile: 1
owner: QC
reference: SOP-QA-004
effective: {from: 2020-01-01}
rules:
  - id: CERTIFIED-VALUES-AGREE
    title: The supplier measures what we measure
    gate: [release]
    severity: block
    rationale: test
    require:
      - count: certificate
        where: [certificate.lot = lot.id, certificate.expires_on >= today]
        at_least: 1
      - every: certified
        at_least: 1
        check: [certified.within = yes, certified.agrees = yes]
    message: "no valid certificate, or it does not agree"
tests:
  - name: none
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: inspected, quantity: 1, unit: ea}}
    expect: {CERTIFIED-VALUES-AGREE: fail}
"""


@pytest.fixture
def strict(store: Store, clock: Any, tmp_path: Path, references: References) -> Any:
    """A plant that releases only what its supplier has certified as it measures it."""
    from shutil import copytree

    from engine.settings import SHIPPED_RULES

    folder = tmp_path / "rules"
    copytree(SHIPPED_RULES, folder)
    (folder / "release" / "certified.yaml").write_text(RULES)
    book = RuleBook.load(folder)
    put(references, "P", PLAN | {"characteristics": [DIAMETER]})
    with closing(TwoChannelJudge(book)) as judge:
        running = Plant(store, judge, book, clock)
        yield running, book
        running.pipeline.stop()


def test_rules_see_what_was_certified_and_what_we_measured(strict: Any, store: Store, clock: Any) -> None:
    plant, book = strict
    for lot, value in (("GOOD", "74.001"), ("BIASED", "74.010"), ("BARE", None)):
        plant.receive(lot, supplier_lot="HEAT-7")
        measure(plant, lot, *diameters("74.000", "74.001"))
        if value is not None:
            answer = certify(plant, lot, GOOD | {"value": value}, valid_until="2026-12-01")
            assert answer.outcome == "applied", body(answer)
    states = {lot: Reading(store).lot(lot).state for lot in ("GOOD", "BIASED", "BARE")}
    assert states == {"GOOD": "released", "BIASED": "inspected", "BARE": "inspected"}
    shown = explain(store, book, clock, "BIASED", "release", clock.now.toordinal())
    assert [str(r.verdict) for r in shown.rules if r.rule == "CERTIFIED-VALUES-AGREE"] == ["fail"]


_VALUES = st.integers(-10**9, 10**9)


@given(certified=_VALUES, own=st.lists(_VALUES, max_size=9), tolerance=st.integers(0, 10**9))
def test_agreement_is_exact(certified: int, own: list[int], tolerance: int) -> None:
    def exact(number: int) -> Decimal:
        return Decimal(number).scaleb(-6)

    value = ev.CertifiedValue(characteristic="x", value=exact(certified), unit="u")
    planned = Characteristic(characteristic="x", unit="u", sample_size=1, certificate_tolerance=exact(tolerance))
    plan = InspectionPlan(item="I", characteristics=[planned])
    results: list[Any] = [{"characteristic": "x", "value": number} for number in own]
    (one,) = compare([Certificate("C", "coa", "I", "2026-01-01", "now", values=(value,))], plan, results)
    if not own:
        assert (one.own_mean, one.difference, one.agrees) == (None, None, None)
        return
    apart = certified - Fraction(sum(own), len(own))
    assert one.agrees == (abs(apart) <= tolerance)
    assert one.difference is not None
    assert abs(Fraction(one.difference) * 10**6 - apart) <= Fraction(1, 2)
    assert one.own_mean == exact(certified) - one.difference
