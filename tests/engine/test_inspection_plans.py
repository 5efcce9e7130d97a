"""Inspection plans: assigned when a lot comes in, followed while it is inspected, deciding by its sample."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine import events as ev
from engine.errors import EventInvalid, NotFound
from engine.explaining import explain
from engine.gather import result_facts, with_results
from engine.history import decisions_of
from engine.inspection_plan import (
    Characteristic,
    InspectionPlan,
    Sampling,
    assign,
    found_of,
    nonconforming_units,
    outcome,
)
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.quality.scorecard import Scorecard
from engine.quality.switching import SwitchingState
from engine.records import AssignedPlan
from engine.reference import Kept, ReferenceConflict, References, Wanted
from engine.scorecards import OrderSampling, Scorecards
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.track_record import carry_out_orders, count
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

DIAMETER = {"characteristic": "diameter", "unit": "mm", "lower": "73.950", "upper": "74.050", "plausible_from": "50",
            "plausible_to": "100"}  # fmt: skip
SURFACE = {"characteristic": "surface"}
PLAN = {"item": "RING-74", "characteristics": [DIAMETER], "sampling": {"aql": "1.0"}}


@pytest.fixture
def references(store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


@pytest.fixture
def rows(store: Store) -> Callable[[str], int]:
    """How many rows a table has."""

    def number(table: str) -> int:
        with store.reads.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    return number


def put(references: References, key: str, content: Any, since: str = "2026-01-01", **more: Any) -> Kept:
    raw = msgspec.Raw(json.dumps(content).encode())
    until = more.pop("until", None)
    wanted = Wanted(date.fromisoformat(since), raw, None if until is None else date.fromisoformat(until))
    return references.put(more.pop("kind", "inspection-plan"), key, wanted, "qe", **more)


def body(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


def failing(answer: Any) -> list[str]:
    return [rule["rule"] for rule in body(answer)["rules"] if rule["verdict"] != "pass"]


def lot_of(store: Store, lot: str) -> Any:
    return Reading(store).lot(lot)


def measure(plant: Any, lot: str, *lines: dict[str, Any], record: str | None = None) -> Any:
    data: dict[str, Any] = {"inspection": f"IL-{lot}", "measurements": list(lines)}
    return plant.send("inspection.recorded.v1", lot, data if record is None else data | {"record": record})


def diameters(*values: str, first: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [
        {"characteristic": "diameter", "value": v, "unit": "mm", "sample": n} | more for n, v in enumerate(values, first)
    ]


def test_a_lot_gets_the_plan_that_fits_best_with_the_sample_of_its_size(
    plant: Any, store: Store, references: References
) -> None:
    put(references, "ANY", PLAN)
    put(references, "ACME", PLAN | {"supplier": "ACME", "sampling": {"aql": "0.65"}})
    put(references, "REV-B", PLAN | {"revision": "B", "sampling": {"aql": "4.0"}})
    put(references, "LATER", PLAN | {"supplier": "ACME", "revision": "A"}, since="2027-01-01")
    put(references, "FINAL", PLAN | {"kind": "final", "supplier": "ACME", "revision": "A"})
    answer = body(plant.receive("L1", quantity="1000"))
    assert [c["type"] for c in answer["consequences"]] == ["inspection_plan.assigned.v1", "lot.quarantined.v1"]
    # 1,000 units: code letter J, AQL 0.65: 80 units, Ac 1.
    assert lot_of(store, "L1").plan == AssignedPlan(
        plan="ACME", revision=1, sample_size=80, accept=1, reject=2, severity="normal", letter="J", switching=True,
        why="normal inspection: nothing has changed it since the first lot",
    )  # fmt: skip
    assert lot_of(store, "L1").state == "quarantined"
    plant.receive("L2", quantity="1000", supplier="NORDRING")
    assert lot_of(store, "L2").plan.plan == "ANY"
    assert verify(Reading(store).journals()).intact


def test_a_lot_that_is_held_at_the_door_has_its_plan_too(plant: Any, store: Store, references: References) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [DIAMETER | {"sample_size": 5}]})
    assert body(plant.receive("L1", supplier="NOBODY"))["state"]["after"] == "blocked"
    assert lot_of(store, "L1").plan.plan == "P"
    plant.lift("L1", "rule:SUPPLIER-APPROVED")
    assert body(measure(plant, "L1", *diameters(*["74.000"] * 5)))["state"]["after"] == "released"


def test_a_retest_has_a_plan_of_its_own(plant: Any, store: Store, references: References) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [DIAMETER | {"sample_size": 5}]})
    put(references, "R", {"item": "RING-74", "kind": "retest", "characteristics": [DIAMETER | {"sample_size": 1}]})
    plant.released("L1")
    plant.send("lot.retest_due.v1", "L1", {"due_on": "2026-11-01"})
    assert (lot_of(store, "L1").plan.plan, lot_of(store, "L1").state) == ("R", "quarantined")
    assert verify(Reading(store).journals()).intact


def test_a_lot_in_work_keeps_its_plan_until_somebody_decides_otherwise(
    plant: Any, store: Store, references: References
) -> None:
    put(references, "P", PLAN)
    plant.receive("L1", quantity="100")
    assert put(references, "P", PLAN | {"sampling": {"aql": "0.10"}}, since="2026-02-01").lots_in_work == 1
    assert lot_of(store, "L1").plan.revision == 1
    answer = plant.send(
        "inspection_plan.changed.v1", "L1", {"plan": "P", "reason": {"code": "TIGHTER", "text": "drawing changed"}}
    )
    assert [c["type"] for c in body(answer)["consequences"]] == ["inspection_plan.assigned.v1"]
    assert (lot_of(store, "L1").plan.revision, lot_of(store, "L1").plan.sample_size) == (2, 100)
    refused = plant.send("inspection_plan.changed.v1", "L1", {"plan": "NONE", "reason": {"code": "X"}})
    assert failing(refused) == ["PLAN-IN-FORCE"]
    assert verify(Reading(store).journals()).intact


def test_an_inspection_is_complete_when_the_plan_says_so(
    plant: Any, store: Store, clock: Any, rulebook: Any, references: References
) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [DIAMETER | {"sample_size": 5}, SURFACE | {
        "sample_size": 2}, {"characteristic": "colour", "sample_size": 1, "required": False}]})  # fmt: skip
    plant.receive("L1")
    assert body(measure(plant, "L1", *diameters(*["74.000"] * 5)))["state"]["after"] == "quarantined"
    why = explain(store, rulebook, clock, "L1", "inspect", clock().toordinal())
    assert not why.open
    assert [guard.message for guard in why.guards] == ["the inspection plan asks for surface on 2 more"]
    fine = [{"characteristic": "surface", "conforming": True, "sample": n} for n in (1, 2)]
    assert body(measure(plant, "L1", fine[0]))["state"]["after"] == "quarantined"
    assert lot_of(store, "L1").sample is None
    measure(plant, "L1", fine[1])
    assert lot_of(store, "L1").sample.accepted
    assert lot_of(store, "L1").inspection_stands


@pytest.mark.parametrize(("bad", "state"), [(1, "released"), (2, "blocked")])
def test_the_sample_decides_by_its_accept_number(
    plant: Any, store: Store, references: References, bad: int, state: str
) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [SURFACE, DIAMETER | {"sample_size": 5}], "sampling": {
        "aql": "0.65"}})  # fmt: skip
    plant.receive("L1", quantity="1000")
    surfaces = [{"characteristic": "surface", "conforming": n > bad, "sample": n} for n in range(1, 81)]
    measure(plant, "L1", *diameters(*["74.000"] * 5))
    assert lot_of(store, "L1").state == "quarantined"
    answer = body(measure(plant, "L1", *surfaces))
    sample = lot_of(store, "L1").sample
    assert (sample.nonconforming, sample.accepted) == (bad, bad == 1)
    assert answer["state"]["after"] == state
    assert lot_of(store, "L1").rejected == (state == "blocked")


def test_a_unit_that_fails_twice_counts_once() -> None:
    plan = InspectionPlan(
        item="X", sampling=Sampling(aql="1.0"),
        characteristics=[Characteristic(characteristic="a"), Characteristic(characteristic="b"),
                         Characteristic(characteristic="c", required=False)],
    )  # fmt: skip
    lines = [ev.Measurement(characteristic=c, sample=n, conforming=n > 2) for c in "abc" for n in (1, 2, 3)]
    found = found_of(plan, AssignedPlan(plan="P", revision=1, sample_size=3), result_facts("IL", lines))
    assert nonconforming_units(found) == 2
    counts = [ev.Measurement(characteristic="a", inspected=50, nonconforming=2), lines[3]]
    found = found_of(plan, AssignedPlan(plan="P", revision=1, sample_size=51), result_facts("IL", counts))
    assert (found[0].looked_at, found[0].missing, nonconforming_units(found)) == (50, 1, 3)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ({"characteristic": "weight", "value": "1", "unit": "g"}, "CHARACTERISTIC-ON-PLAN"),
        ({"characteristic": "diameter", "value": "74", "unit": "in"}, "UNIT-OF-PLAN"),
        ({"characteristic": "diameter", "value": "740", "unit": "mm"}, "PLAUSIBLE"),
        ({"characteristic": "diameter", "value": "74", "unit": "mm", "sample": 6}, "SAMPLE-IN-RANGE"),
        ({"characteristic": "surface", "inspected": 6, "nonconforming": 0}, "SAMPLE-IN-RANGE"),
        ({"characteristic": "surface", "value": "1", "unit": "mm"}, "RESULT-FITS-PLAN"),
        ({"characteristic": "diameter", "conforming": True}, "RESULT-FITS-PLAN"),
        ({"characteristic": "diameter", "value": "74", "unit": "mm", "sample": 1}, "SAMPLE-ONCE"),
        ({"characteristic": "diameter", "value": "74", "unit": "mm", "sample": 2, "corrects": "typo"}, "SAMPLE-ONCE"),
    ],
)
def test_results_that_do_not_fit_the_plan_are_refused_and_journaled(
    plant: Any, store: Store, references: References, rows: Callable[[str], int], line: dict[str, Any], rule: str
) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [
        DIAMETER | {"sample_size": 5}, SURFACE | {"sample_size": 5}]})  # fmt: skip
    plant.receive("L1")
    measure(plant, "L1", *diameters("74.000"))
    before = rows("results")
    answer = measure(plant, "L1", *diameters("74.001", first=3), line)
    assert answer.status == 409
    assert rule in failing(answer)
    # Nothing half-done: the good line of the same record was not taken either.
    assert rows("results") == before
    entries = Reading(store).journal("L1", after=0, limit=100)
    assert (entries[-1].kind, entries[-1].trigger) == ("refusal", "record_inspection")


def test_a_result_is_corrected_by_a_new_one_with_its_reason(
    plant: Any, store: Store, references: References
) -> None:
    put(references, "P", {"item": "RING-74", "characteristics": [DIAMETER | {"sample_size": 5}]})
    plant.receive("L1")
    measure(plant, "L1", *diameters("74.000", "74.000", "74.900"))
    measure(plant, "L1", *diameters("74.009", first=3, corrects="read 74.900 for 74.009"))
    answer = body(measure(plant, "L1", *diameters("74.000", "74.000", first=4)))
    assert answer["state"]["after"] == "released"
    assert lot_of(store, "L1").sample.nonconforming == 0
    # Both stay: the results are what was recorded.
    kept = [line for record in Reading(store).results("L1") for line in json.loads(bytes(record.measurements))]
    assert [line["value"] for line in kept if line.get("sample") == 3] == ["74.900", "74.009"]
    while count(store):
        pass


def test_without_a_correction_nothing_is_replaced() -> None:
    first = with_results([], "IL", [ev.Measurement(characteristic="a", sample=1, conforming=True)])
    both = with_results(first, "IL", [ev.Measurement(characteristic="a", sample=1, conforming=False)])
    assert [fact["conforming"] for fact in both] == [True, False]
    other = with_results(first, "IL", [ev.Measurement(characteristic="b", sample=1, conforming=False, corrects="x")])
    assert len(other) == 2


def test_the_severity_follows_the_outcomes_of_the_samples(plant: Any, store: Store, references: References) -> None:
    put(references, "P", {"item": "RING-74", "sampling": {"aql": "6.5", "level": "S1"}, "characteristics": [
        DIAMETER | {"sample_size": 5}, SURFACE]})  # fmt: skip
    severities = []
    for number, good in enumerate([False, False, True, True, True, True, True, True]):
        lot = f"L{number}"
        plant.receive(lot)
        plan = lot_of(store, lot).plan
        severities.append(plan.severity)
        lines = [{"characteristic": "surface", "conforming": good, "sample": n} for n in range(1, plan.sample_size + 1)]
        measure(plant, lot, *diameters(*["74.000"] * 5), *lines)
        assert lot_of(store, lot).sample.accepted == good
        while count(store):
            pass
    assert severities == ["normal"] * 2 + ["tightened"] * 5 + ["normal"]


def test_an_order_changes_sampling_and_stays_on_record(
    plant: Any, store: Store, clock: Any, references: References
) -> None:
    put(references, "P", PLAN)
    cards = Scorecards(store, clock)
    cards.order_sampling(OrderSampling(item="RING-74", severity="reduced", reason="agreed with QA", supplier="ACME"), "qm")
    assert carry_out_orders(store, "2026-11-23T08:00:00Z") == 1
    assert carry_out_orders(store, "2026-11-23T08:00:01Z") == 0
    plant.receive("L1", quantity="1000")
    assert lot_of(store, "L1").plan.severity == "reduced"
    with store.reads.connect() as connection:
        row = connection.execute(text("SELECT severity, reason, ordered_by, done_at FROM sampling_orders")).one()
    assert tuple(row) == ("reduced", "agreed with QA", "qm", "2026-11-23T08:00:00Z")


def test_while_acceptance_by_sampling_is_discontinued_every_unit_is_inspected() -> None:
    plan = InspectionPlan(item="X", characteristics=[Characteristic(characteristic="a")], sampling=Sampling(aql="1.0"))
    card = Scorecard(sampling=SwitchingState(discontinued=True))
    found = assign("P", 1, plan, Decimal(500), card)
    assert (found.sample_size, found.accept, found.reject, found.discontinued) == (500, 0, 1, True)


# -- reference data ------------------------------------------------------------------------------------------------


def test_the_same_revision_again_changes_nothing(references: References, rows: Callable[[str], int]) -> None:
    assert put(references, "P", PLAN).outcome == "created"
    assert put(references, "P", PLAN).outcome == "unchanged"
    assert put(references, "P", PLAN, since="2026-06-01", dry_run=True).outcome == "checked"
    assert rows("reference") == 1


def test_days_that_overlap_are_refused(references: References) -> None:
    put(references, "P", PLAN, since="2026-03-01", until="2026-03-31")
    for since, until in (("2026-03-31", None), ("2026-02-01", "2026-03-01"), ("2026-03-01", None)):
        with pytest.raises(ReferenceConflict):
            put(references, "P", PLAN | {"sampling": {"aql": "4.0"}}, since=since, until=until)
    put(references, "P", PLAN | {"sampling": {"aql": "4.0"}}, since="2026-04-01")
    put(references, "P", PLAN | {"sampling": {"aql": "2.5"}}, since="2026-01-01", until="2026-02-28")
    assert [r.revision for r in references.revisions("inspection-plan", "P")] == [1, 2, 3]


def test_two_plans_for_the_same_lots_are_refused(references: References) -> None:
    put(references, "P", PLAN)
    with pytest.raises(ReferenceConflict, match="The plan P is for the same lots"):
        put(references, "Q", PLAN)
    put(references, "P", None, since="2026-06-01")
    put(references, "Q", PLAN, since="2026-06-01")
    page, following = references.page("inspection-plan", "2026-07-01", "RING-74", "", 10)
    assert ([record.key for record in page], following) == (["Q"], None)


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (PLAN | {"characteristics": []}, "/content"),
        (PLAN | {"characteristics": [DIAMETER, DIAMETER]}, "/content/characteristics/1/characteristic"),
        (PLAN | {"characteristics": [DIAMETER | {"lower": "75"}]}, "/content/characteristics/0/lower"),
        (PLAN | {"characteristics": [DIAMETER | {"target": "80"}]}, "/content/characteristics/0/target"),
        (PLAN | {"characteristics": [SURFACE | {"upper": "1"}]}, "/content/characteristics/0/unit"),
        (PLAN | {"sampling": {"aql": "0.7"}}, "/content/sampling"),
        (PLAN | {"sampling": {}}, "/content/sampling"),
        (PLAN | {"sampling": {"limiting_quality": "0"}}, "/content/sampling"),
        ({"item": "X", "characteristics": [SURFACE]}, "/content/characteristics/0/sample_size"),
        (PLAN | {"colour": "red"}, "/content"),
    ],
)
def test_plans_that_make_no_sense_are_refused(references: References, content: Any, pointer: str) -> None:
    with pytest.raises(EventInvalid) as caught:
        put(references, "P", content)
    assert caught.value.pointer == pointer


def test_records_that_are_not_there(references: References) -> None:
    with pytest.raises(NotFound):
        put(references, "P", None)
    with pytest.raises(NotFound, match="inspection-plan, fact"):
        put(references, "P", PLAN, kind="colour")
    with pytest.raises(NotFound):
        references.revisions("fact", "P")


def test_nothing_of_reference_data_is_ever_changed(references: References, store: Store) -> None:
    put(references, "P", PLAN)
    for statement in ("UPDATE reference SET content = 'null'", "DELETE FROM reference"):
        with pytest.raises(Exception, match="append-only"), store.engine.begin() as connection:
            connection.execute(text(statement))


FACTS = """\
rulefile: 1
owner: Supplier Quality
reference: SOP-SQ-007
rules:
  - id: APPROVED
    title: The supplier is approved for the item
    gate: [receive]
    severity: hold
    rationale: SOP-SQ-007
    require: [approval.status = approved]
    message: "{lot.supplier} is {approval.status} for {lot.item}"
  - id: PLANNED
    title: There is an inspection plan, and nothing of it is out of limits
    gate: [release]
    severity: block
    rationale: SOP-II-002
    require:
      - plan.nonconforming <= plan.accept
      - every: characteristic
        at_least: 1
        check: [characteristic.missing = 0]
    message: "{plan.nonconforming} nonconforming, accept number {plan.accept}"
"""
APPROVAL = """
  approval:
    one: true
    fields:
      status: {type: choice, values: [approved, suspended]}
"""


def test_facts_of_items_and_suppliers_and_plans_reach_the_rules(plant: Any, store: Store, clock: Any, rulebook: Any) -> None:
    words = rulebook.sources["vocabulary.yaml"] + APPROVAL
    book = RuleBook.from_sources(rulebook.sources | {"facts.yaml": FACTS, "vocabulary.yaml": words})
    references = References(store, clock, lambda: book.vocabulary, {})
    with closing(TwoChannelJudge(book)) as judge:
        plant.pipeline.stop()
        plant.pipeline = Pipeline(store, judge, book, clock)
        plant.pipeline.start()
        approved = {"kind": "approval", "supplier": "ACME", "item": "RING-74", "fields": {"status": "approved"}}
        put(references, "ACME", {"kind": "approval", "supplier": "ACME", "fields": {"status": "suspended"}}, kind="fact")
        assert body(plant.receive("L0"))["state"]["after"] == "blocked"
        # What is said of item and supplier wins over what is said of the supplier.
        put(references, "ACME/RING-74", approved, kind="fact")
        put(references, "P", {"item": "RING-74", "characteristics": [DIAMETER | {"sample_size": 5}]})
        assert body(plant.receive("L1"))["state"]["after"] == "quarantined"
        answer = body(measure(plant, "L1", *diameters(*["74.000"] * 5)))
        assert answer["state"]["after"] == "released"
        entry = next(e for e in Reading(store).journal("L1", after=0, limit=100) if e.trigger == "release")
        facts = json.loads(entry.evidence)["facts"]
        assert facts["approval"] == [{"status": "approved"}]
        assert facts["plan"][0]["nonconforming"] == 0
        assert facts["characteristic"][0]["inspected"] == 5_000_000
        # The whole decision can be judged again from its evidence alone.
        (past,) = [d for d in decisions_of(store, UTC, "L1") if d.version == entry.version]
        assert book.judge(past.case).verdicts == past.verdicts
        plant.pipeline.stop()


def test_facts_that_the_vocabulary_does_not_know_are_refused(references: References) -> None:
    for content in (
        {"kind": "weather", "item": "RING-74", "fields": {"sun": True}},
        {"kind": "chart", "item": "RING-74", "fields": {"lots": 5}},
        {"kind": "lot", "item": "RING-74", "fields": {"state": "released"}},
        {"kind": "lot", "fields": {}},
    ):
        with pytest.raises(EventInvalid):
            put(references, "F", content, kind="fact")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.integers(0, 5),
    st.integers(1, 3),
)
def test_a_sample_is_accepted_below_its_reject_number(units: list[bool], accept: int, apart: int) -> None:
    plan = InspectionPlan(item="X", characteristics=[Characteristic(characteristic="a")], sampling=Sampling(aql="1.0"))
    assigned = AssignedPlan(
        plan="P", revision=1, sample_size=len(units), accept=accept, reject=accept + apart, letter="J"
    )
    lines = [ev.Measurement(characteristic="a", sample=n, conforming=good) for n, good in enumerate(units, 1)]
    said = outcome(plan, assigned, found_of(plan, assigned, result_facts("IL", lines)))
    bad = units.count(False)
    assert (said.nonconforming, said.accepted) == (bad, bad < accept + apart)
    assert said.back_to_normal == (bad > accept)
