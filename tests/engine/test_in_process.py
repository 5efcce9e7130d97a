"""The in-process gate: operations in their order, breaches that shut it, decisions that open it, what ERP is told."""

import itertools
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine.explaining import explain
from engine.inspection_plan import within
from engine.reference import ReferenceConflict, References, Wanted
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.store.recalls import quantities
from engine.tasks import Tasks, TaskState
from engine.track_record import count
from engine.upkeep import GAP, give_up_parked, tell_of_gaps
from rules.rulebook import RuleBook
from tests.engine.conftest import judged_by

ROUTING = {
    "item": "RING-74", "wait_seconds": 600,
    "operations": [
        {"operation": "0010"},
        {"operation": "0020", "parameters": [
            {"parameter": "temperature", "unit": "degC", "lower": "78", "upper": "84"},
            {"parameter": "note", "unit": "1", "required": False},
        ]},
        {"operation": "0030", "after": ["0010"], "required": False},
        {"operation": "0040", "after": ["0020"]},
    ],
}  # fmt: skip
RULES = """\
rulefile: 1
owner: Process Engineering
reference: SOP-PE-011
rules:
  - id: MIXED-EVENLY
    title: The mixer turned as it should
    gate: operation
    severity: block
    rationale: SOP-PE-011
    require:
      - every: parameter
        where: [parameter.parameter = speed]
        check: [parameter.value <= 120]
    message: "operation {parameter.operation}: {parameter.parameter} = {parameter.value}"
  - id: IN-CONTROL
    title: The process is in control
    gate: operation
    severity: hold
    rationale: SOP-PE-011
    require:
      - none: chart
        where: [chart.kind is present, chart.nelson_1 = yes]
    message: "{chart.characteristic} is out of control"
  - id: NOT-ON-HOLIDAY
    title: Nothing that is critical begins under an open critical deviation
    gate: start_operation
    severity: block
    rationale: SOP-PE-011
    require:
      - none: deviation
        where: [deviation.severity = critical, deviation.status != closed]
    message: "{deviation.number} is {deviation.status}"
"""


@pytest.fixture
def references(store: Store, clock: Any, rulebook: RuleBook) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


@pytest.fixture
def mes(store: Store, clock: Any, rulebook: RuleBook, plant: Any, references: References) -> Iterator[Any]:
    """The plant of the other tests, with a routing and rules on what is measured in production."""
    put(references, "R-9", ROUTING)
    with judged_by(plant, rulebook, clock, RULES):
        yield plant


def put(references: References, key: str, content: Any) -> Any:
    return references.put("routing", key, Wanted(date(2026, 1, 1), msgspec.Raw(msgspec.json.encode(content))), "erp")


def start(plant: Any, lot: str = "L", item: str = "RING-74") -> Any:
    data = {"item": item, "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "order": "MO-7"}
    return plant.send("production.started.v1", lot, data)


def complete(plant: Any, lot: str = "L", quantity: str = "98", **more: Any) -> Any:
    data = {
        "item": "RING-74", "revision": "A", "quantity": {"value": quantity, "unit": "ea"}, "order": "MO-7",
        "confirmation": f"C-{lot}",
    }  # fmt: skip
    return plant.send("lot.produced.v1", lot, data | more)


def report(plant: Any, operation: str, status: str = "completed", lot: str = "L", **more: Any) -> Any:
    measured = [{"parameter": n, "value": v, "unit": u} for n, (v, u) in more.pop("measured", {}).items()]
    data = {"operation": operation, "status": status, "parameters": measured} | more
    return plant.send("operation.reported.v1", lot, data)


def step(plant: Any, record: str, name: str, lot: str = "L") -> Any:
    data = {"record": record, "step": name, "text": "looked at"}
    return plant.send("quality_record.changed.v1", lot, data)


def failing(answer: Any) -> list[str]:
    return [rule["rule"] for rule in json.loads(answer.body).get("rules", []) if rule["verdict"] != "pass"]


def told(store: Store, lot: str = "L") -> list[str]:
    with store.reads.connect() as connection:
        rows = connection.execute(text("SELECT payload FROM deliveries WHERE lot = :l AND target = 'erp' ORDER BY id"), {"l": lot})
        return [json.loads(row.payload)["stock"] for row in rows]


def test_the_whole_way_of_a_lot_through_production(mes: Any, store: Store) -> None:
    assert start(mes).status == 201
    lot = Reading(store).lot("L")
    assert (lot.state, lot.in_production, lot.routing.routing) == ("received", True, "R-9")
    assert told(store) == [], "a lot in production is in no stock, so nobody is told of it"
    assert report(mes, "0010", "started").status == 201
    assert report(mes, "0010").status == 201
    breach = report(mes, "0020", measured={"temperature": ("84.5", "degC")})
    assert breach.status == 201, "what was measured is recorded, whatever it says"
    (deviation,) = Reading(store).lot("L").records
    assert (deviation.kind, deviation.operation, deviation.status) == ("deviation", "0020", "open")
    assert deviation.text == "operation 0020: temperature = 84.5 degC, limits 78 to 84"
    assert [(t.kind, t.detail) for t in Tasks(store, mes.pipeline._clock).lines()] == [("deviation", deviation.text)]

    refused = report(mes, "0040", "started")
    assert (refused.status, failing(refused)) == (409, ["DEVIATION-DECIDED"])
    assert Reading(store).journal("L")[-1].kind == "refusal"
    assert report(mes, "0030").status == 201, "what does not follow the operation goes on"

    assert complete(mes).status == 201
    lot = Reading(store).lot("L")
    assert (lot.state, lot.in_production, str(lot.quantity)) == ("quarantined", False, "98")
    assert told(store) == ["quality"]
    mes.send("inspection.recorded.v1", "L", {"inspection": "I", "measurements": [
        {"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]})  # fmt: skip
    shut = explain(store, mes.pipeline.rulebook, mes.pipeline._clock, "L", "release", date(2026, 11, 23).toordinal())
    assert [v.rule for v in shut.guards] == ["DEVIATION-DECIDED", "OPERATIONS-COMPLETED"]
    assert shut.guards[1].message == "not completed: 0040 (not reported); completed: 0010, 0020, 0030"
    assert set(told(store)) == {"quality"}

    assert step(mes, deviation.record, "investigate").status == 201
    assert failing(report(mes, "0040")) == ["DEVIATION-DECIDED"]
    assert step(mes, deviation.record, "decide").status == 201
    assert report(mes, "0040").status == 201
    open_now = explain(store, mes.pipeline.rulebook, mes.pipeline._clock, "L", "release", date(2026, 11, 23).toordinal())
    assert open_now.guards == ()
    step(mes, deviation.record, "close")
    assert step(mes, deviation.record, "reopen").status == 201
    assert failing(report(mes, "0040", "started")) == ["DEVIATION-DECIDED"]


def test_rules_and_charts_judge_what_is_measured(mes: Any, store: Store) -> None:
    for number in range(25):
        lot = f"H{number}"
        start(mes, lot, "OTHER")
        report(mes, "10", lot=lot, measured={"speed": (str(100 + number % 3), "rpm")})
        assert Reading(store).lot(lot).records == ()
    while count(store):
        pass
    start(mes, "N1", "OTHER")
    report(mes, "10", lot="N1", measured={"speed": ("119", "rpm")})
    (record,) = Reading(store).lot("N1").records
    assert record.text == "10/speed is out of control [IN-CONTROL]"
    lot = Reading(store).lot("N1")
    assert (lot.state, [h.hold for h in lot.holds]) == ("blocked", ["rule:IN-CONTROL"])
    assert failing(report(mes, "20", "started", "N1")) == ["NO-ACTIVE-HOLD", "DEVIATION-DECIDED"]
    mes.lift("N1", "rule:IN-CONTROL")
    assert Reading(store).lot("N1").state == "received", "a lot in production is not quarantined by a lift"
    start(mes, "N2", "OTHER")
    report(mes, "10", lot="N2", measured={"speed": ("121", "rpm")})
    (record,) = Reading(store).lot("N2").records
    assert "operation 10: speed = 121 [MIXED-EVENLY]" in record.text
    # Another operation is judged by its own report, not by the one before.
    step(mes, record.record, "investigate", "N2")
    step(mes, record.record, "decide", "N2")
    mes.lift("N2", "rule:IN-CONTROL")
    assert report(mes, "20", lot="N2").status == 201
    assert len(Reading(store).lot("N2").records) == 1
    data = {"record": "D-9", "kind": "deviation", "severity": "critical", "text": "smoke"}
    mes.send("quality_record.opened.v1", "N2", data)
    assert failing(report(mes, "30", "started", "N2")) == ["NOT-ON-HOLIDAY"]
    assert failing(report(mes, "30", "completed", "N2")) == ["NOT-ON-HOLIDAY"]


def test_what_comes_too_early_waits_and_somebody_is_told_in_time(mes: Any, store: Store, clock: Any) -> None:
    start(mes)
    fourth = report(mes, "0040", sequence=3)
    assert (fourth.status, json.loads(fourth.body)["waits_for"]) == (202, "operation:L|0020")
    second = report(mes, "0020", sequence=2, measured={"temperature": ("80", "degC")})
    assert second.status == 202
    assert Reading(store).lot("L").operations == ()
    clock.forward(599)
    assert tell_of_gaps(store, clock) == 0
    clock.forward(1)
    assert tell_of_gaps(store, clock) == 2
    assert tell_of_gaps(store, clock) == 0, "somebody was told"
    (task,) = Tasks(store, clock).lines(kind=GAP)
    assert task.subject == "L"
    assert "waits for" in task.detail
    assert report(mes, "0010", sequence=1).status == 201
    assert [run.operation for run in Reading(store).lot("L").operations] == ["0010", "0020", "0040"]
    tell_of_gaps(store, clock)
    assert Tasks(store, clock).get(task.id).state == TaskState.CLOSED.value


def test_a_report_that_waited_in_vain_is_given_up_and_answered(mes: Any, store: Store, clock: Any) -> None:
    start(mes)
    report(mes, "0040")
    clock.forward(8 * 86_400)
    assert give_up_parked(store, clock) == 1
    assert "parked-expired" in [task.kind for task in Tasks(store, clock).lines()]


def test_sequence_numbers_leave_no_gap(mes: Any, store: Store) -> None:
    start(mes, "S", "OTHER")
    assert report(mes, "b", lot="S", sequence=2).status == 202
    assert report(mes, "c", lot="S", sequence=3).status == 202
    assert report(mes, "a", "aborted", "S", sequence=1).status == 201
    lot = Reading(store).lot("S")
    assert [run.operation for run in lot.operations] == ["a"], "what was aborted has to be completed first"
    outcomes = [e.kind for e in Reading(store).journal("S") if e.trigger == "report_operation"]
    assert outcomes == ["event", "refusal"], "the second was taken up, and refused with its reason"


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"operation": "0020", "measured": {"temperature": ("80", "K")}}, "UNIT-OF-ROUTING"),
        ({"operation": "0020", "measured": {}}, "PARAMETERS-COMPLETE"),
        ({"operation": "0020", "measured": {"temperature": ("80", "degC"), "colour": ("1", "1")}}, "PARAMETER-ON-ROUTING"),
        ({"operation": "0099"}, "OPERATION-ON-ROUTING"),
        ({"operation": "0010", "order": "MO-8"}, "ORDER-OF-LOT"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_journaled(mes: Any, store: Store, more: Any, rule: str) -> None:
    start(mes)
    report(mes, "0010")
    before = Reading(store).lot("L").operations
    operation = more["operation"]
    assert failing(report(mes, operation, **{n: v for n, v in more.items() if n != "operation"})) == [rule]
    assert Reading(store).lot("L").operations == before
    assert Reading(store).journal("L")[-1].kind == "refusal"


def test_a_lot_in_production_is_not_used_split_or_shipped(mes: Any) -> None:
    start(mes)
    part = {"lot": "L-1", "quantity": {"value": "1", "unit": "ea"}}
    assert failing(mes.send("lot.split.v1", "L", {"children": [part]})) == ["PRODUCTION-COMPLETED"]
    assert json.loads(start(mes).body)["code"] == "lot-exists"
    assert failing(complete(mes, item="OTHER", quantity="1")) == ["COMPLETES-WHAT-BEGAN"]
    assert complete(mes).status == 201
    assert json.loads(complete(mes, confirmation="C-2").body)["code"] == "lot-exists"


def test_a_routing_that_makes_no_sense_is_refused(references: References) -> None:
    for operations, pointer in (
        ([{"operation": "1"}, {"operation": "1"}], "/content/operations/1/operation"),
        ([{"operation": "1", "after": ["2"]}, {"operation": "2"}], "/content/operations/0/after"),
        ([{"operation": "1", "parameters": [{"parameter": "t", "unit": "K", "lower": "2", "upper": "1"}]}],
         "/content/operations/0/parameters/0/lower"),
    ):  # fmt: skip
        with pytest.raises(Exception) as refused:
            put(references, "R-0", {"item": "X", "operations": operations})
        assert refused.value.pointer == pointer  # type: ignore[attr-defined]
    put(references, "R-1", {"item": "X", "operations": [{"operation": "1"}]})
    with pytest.raises(ReferenceConflict):
        put(references, "R-2", {"item": "X", "operations": [{"operation": "1"}]})


NUMBERS = itertools.count(1000)
OPERATIONS = [one["operation"] for one in ROUTING["operations"]]  # type: ignore[index]
AFTER = {"0010": set(), "0020": {"0010"}, "0030": {"0010"}, "0040": {"0020"}}
ABOVE = {"0010": set(), "0020": {"0010"}, "0030": {"0010"}, "0040": {"0010", "0020"}}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    order=st.permutations(OPERATIONS), temperature=st.sampled_from(["77.9", "78", "81", "84", "84.1"]),
    decided=st.booleans(),)  # fmt: skip
def test_in_whatever_order_reports_come_they_are_applied_in_theirs(
    mes: Any, store: Store, order: list[str], temperature: str, decided: bool
) -> None:
    """Nothing is applied before what it comes after, nothing behind an undecided breach, and nothing is lost."""
    lot = f"P{next(NUMBERS)}"
    start(mes, lot)
    for operation in order:
        measured = {"temperature": (temperature, "degC")} if operation == "0020" else {}
        report(mes, operation, lot=lot, measured=measured)
    breached = not within(*map(float, (temperature, "78", "84")))  # type: ignore[arg-type]
    state = Reading(store).lot(lot)
    entries = [json.loads(e.data)["operation"] for e in Reading(store).journal(lot) if e.type == "operation.reported.v1" and e.kind == "event"]
    for place, operation in enumerate(entries):
        assert AFTER[operation] <= set(entries[:place])
    if breached:
        assert set(entries) == {"0010", "0020", "0030"}
        assert [r.operation for r in state.records] == ["0020"]
        if decided:
            step(mes, state.records[0].record, "investigate", lot)
            step(mes, state.records[0].record, "decide", lot)
            assert report(mes, "0040", lot=lot).status == 201
    else:
        assert set(entries) == set(OPERATIONS)
        assert state.records == ()


def test_putting_lots_together_clears_no_gate_of_production(mes: Any, store: Store) -> None:
    """What was not completed, or deviates undecided, is not lost in a lot that has no operations of its own."""
    start(mes)
    report(mes, "0010")
    complete(mes)
    assert mes.receive("OTHER").outcome == "applied"
    answer = mes.send("lot.merged.v1", "M", {"parts": [{"lot": "L"}, {"lot": "OTHER"}]})
    assert answer.outcome == "refused"
    assert "OPERATIONS-COMPLETED" in failing(answer)
    assert Reading(store).lot("L").closed is None


def test_a_recall_counts_what_production_made_and_not_what_it_began_with(mes: Any, store: Store) -> None:
    start(mes)
    assert quantities(store, ["L"])[0]["L"].born == Reading(store).lot("L").quantity
    for operation in ("0010", "0020", "0040"):
        report(mes, operation, measured={"temperature": ("80", "degC")} if operation == "0020" else {})
    complete(mes, quantity="98")
    assert quantities(store, ["L"])[0]["L"].born == Reading(store).lot("L").quantity == 98
