"""Inspection by variables: measured values decide by mean and standard deviation, and say so on the lot."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import by_variables
from engine.by_variables import Variables
from engine.errors import EventInvalid
from engine.inspection_plan import Characteristic, InspectionPlan, Sampling, assign
from engine.journal import verify
from engine.quality.sampling import Severity
from engine.quality.scorecard import Scorecard
from engine.quality.switching import SwitchingState
from engine.records import AssignedVariables
from engine.reference import References, Wanted
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.track_record import count

#: Examples B-1 and B-3 of Z1.9: a lot of 40, AQL 1.0.
TEMPERATURE = {"characteristic": "temperature", "unit": "F", "lower": "180", "upper": "209", "variables": {"aql": "1.0"}}
PLAN = {"item": "RING-74", "characteristics": [TEMPERATURE]}
GOOD = ("197", "188", "184", "205", "201")


@pytest.fixture
def references(store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


def put(references: References, content: Any, key: str = "P") -> None:
    raw = msgspec.Raw(json.dumps(content).encode())
    references.put("inspection-plan", key, Wanted(date(2026, 1, 1), raw), "qe")


def measure(plant: Any, lot: str, *values: str, **more: Any) -> Any:
    lines = [{"characteristic": "temperature", "value": v, "unit": "F", "sample": n} for n, v in enumerate(values, 1)]
    return plant.send("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines} | more)


def lot_of(store: Store, lot: str) -> Any:
    return Reading(store).lot(lot)


def test_a_lot_is_accepted_by_mean_and_deviation(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    plant.receive("L1", quantity="40")
    assert lot_of(store, "L1").plan.variables == (
        AssignedVariables(
            characteristic="temperature", sample_size=5, letter="D", m_lower=Decimal("3.33"), m_upper=Decimal("3.33"),
            k_lower=Decimal("1.524668"), k_upper=Decimal("1.524668"),
        ),
    )  # fmt: skip
    assert lot_of(store, "L1").plan.severity == "normal"
    assert json.loads(measure(plant, "L1", *GOOD).body)["state"]["after"] == "released"
    (said,) = lot_of(store, "L1").sample.variables
    assert (said.mean, said.deviation, said.percent) == (Decimal(195), Decimal("8.803408"), Decimal("2.799209"))
    assert said.accepted
    assert verify(Reading(store).journals()).intact


def test_a_lot_is_not_accepted_though_every_value_is_inside(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    plant.receive("L1", quantity="40")
    answer = json.loads(measure(plant, "L1", "197", "182", "184", "208", "201").body)
    assert answer["state"]["after"] == "blocked"
    sample = lot_of(store, "L1").sample
    assert (sample.nonconforming, sample.accepted, sample.variables[0].accepted) == (0, False, False)


def test_one_value_outside_is_no_reason_by_itself(plant: Any, store: Store, references: References) -> None:
    wide = TEMPERATURE | {"variables": {"aql": "10"}}
    put(references, PLAN | {"characteristics": [wide]})
    plant.receive("L1", quantity="40")
    assert json.loads(measure(plant, "L1", "194", "194", "195", "195", "209.5").body)["state"]["after"] == "released"


def test_each_unit_is_measured_and_none_is_counted(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    plant.receive("L1", quantity="40")
    line = {"characteristic": "temperature", "unit": "F", "inspected": 5, "nonconforming": 0}
    answer = plant.send("inspection.recorded.v1", "L1", {"inspection": "IL", "measurements": [line]})
    assert answer.status == 409
    assert "by variables; say the value of each unit" in answer.body.decode()
    measure(plant, "L1", *GOOD[:4])
    assert lot_of(store, "L1").state == "quarantined"


def test_attributes_and_variables_both_have_to_accept(plant: Any, store: Store, references: References) -> None:
    surface = {"characteristic": "surface"}
    put(references, PLAN | {"characteristics": [TEMPERATURE, surface], "sampling": {"aql": "4.0", "level": "S1"}})
    for lot, values, scratched in (("BOTH", GOOD, 0), ("RATTLES", ("197", "182", "184", "208", "201"), 0), ("SCRATCHED", GOOD, 1)):
        plant.receive(lot, quantity="40")
        size = lot_of(store, lot).plan.sample_size
        lines = [{"characteristic": "surface", "inspected": size, "nonconforming": scratched}]
        plant.send("inspection.recorded.v1", lot, {"inspection": f"S-{lot}", "measurements": lines})
        measure(plant, lot, *values)
    states = {lot: lot_of(store, lot).state for lot in ("BOTH", "RATTLES", "SCRATCHED")}
    assert states == {"BOTH": "released", "RATTLES": "blocked", "SCRATCHED": "blocked"}


def test_severity_follows_what_the_samples_said(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    severities = []
    for number, good in enumerate([False, False, True, True, True, True, True, True]):
        lot = f"L{number}"
        plant.receive(lot, quantity="40")
        plan = lot_of(store, lot).plan
        severities.append((plan.severity, str(plan.variables[0].m_upper)))
        values = ["195"] * 5 if good else ["210"] * 5
        measure(plant, lot, *values)
        assert lot_of(store, lot).sample.accepted == good
        while count(store):
            pass
    assert severities == [("normal", "3.33")] * 2 + [("tightened", "1.34")] * 5 + [("normal", "3.33")]


def test_a_lot_no_larger_than_its_sample_is_inspected_unit_by_unit(
    plant: Any, store: Store, references: References
) -> None:
    put(references, PLAN)
    plant.receive("L1", quantity="4")
    (sample,) = lot_of(store, "L1").plan.variables
    assert (sample.sample_size, sample.estimates) == (4, False)
    measure(plant, "L1", "195", "195", "195", "210")
    assert (lot_of(store, "L1").sample.nonconforming, lot_of(store, "L1").state) == (1, "blocked")


def test_while_acceptance_by_sampling_is_discontinued_nothing_is_estimated() -> None:
    one = Characteristic(characteristic="a", unit="mm", lower=Decimal(1), variables=Variables(aql="1.0"))
    plan = InspectionPlan(item="X", characteristics=[one])
    found = assign("P", 1, plan, Decimal(500), Scorecard(sampling=SwitchingState(discontinued=True)))
    assert (found.sample_size, found.discontinued, found.variables) == (500, True, ())
    without = InspectionPlan(item="X", characteristics=[one], sampling=Sampling(limiting_quality="5", switching=False))
    found = assign("P", 1, without, Decimal(500), Scorecard(sampling=SwitchingState(Severity.REDUCED)))
    assert (found.severity, found.switching, found.variables[0].sample_size, found.accept) == ("normal", False, 25, 0)


@settings(max_examples=80)
@given(st.integers(2, 100_000), st.sampled_from(["0.10", "0.65", "4.0", "10"]), st.sampled_from(["0.10", "1.0", "10"]),
       st.sampled_from([None, Decimal("0.5")]), st.sampled_from(list(Severity)))  # fmt: skip
def test_limits_with_an_aql_each_share_one_sample(
    size: int, below: str, beyond: str, sigma: Decimal | None, severity: Severity
) -> None:
    asked = Variables(aql_lower=below, aql_upper=beyond, sigma=sigma)
    found = by_variables.assign("a", asked, Decimal(0), Decimal(1), size, severity)
    assert found.sample_size <= size
    if found.estimates:
        values = [500_000] * found.sample_size
        said = by_variables.outcome(found, Decimal(0), Decimal(1), values)
        assert said.allowed == max(found.m_lower or 0, found.m_upper or 0)
        assert sigma is not None or said.accepted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": None}, "limits need a unit"),
        ({"lower": None, "upper": None}, "needs a specification limit"),
        ({"sample_size": 5}, "finds its sample itself"),
        ({"required": False}, "finds its sample itself"),
        ({"variables": {}}, "has an aql, or"),
        ({"variables": {"aql": "1.0", "aql_upper": "1.0"}}, "has an aql, or"),
        ({"variables": {"aql_upper": "1.0"}}, "come together"),
        ({"variables": {"aql": "0.065"}}, "there is no AQL 0.065"),
        ({"variables": {"aql": "1.0", "sigma": "0"}}, "above 0"),
    ],
)
def test_what_makes_no_plan_is_refused_with_the_reason(references: References, change: Any, words: str) -> None:
    content = {name: value for name, value in (TEMPERATURE | change).items() if value is not None}
    with pytest.raises(EventInvalid, match=words):
        put(references, PLAN | {"characteristics": [content]})
