"""Inspections in process: what is missing at an operation, or does not conform, keeps what follows it from starting."""

import itertools
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.clock import instant
from engine.errors import EventInvalid
from engine.explaining import explain
from engine.inspection_plan import Pieces
from engine.operation_gate import gate_of_lot, operations_of
from engine.operation_inspection import pieces_of
from engine.reference import ReferenceConflict, References, Wanted
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from rules.rulebook import RuleBook
from tests.engine.conftest import judged_by

DIAMETER = {"characteristic": "diameter", "unit": "mm", "lower": "73.950", "upper": "74.050", "plausible_from": "50",
            "plausible_to": "100"}  # fmt: skip
SURFACE = {"characteristic": "surface", "sample_size": 1}
COLOUR = {"characteristic": "colour", "sample_size": 1, "required": False}
PLAN = {
    "item": "RING-74", "kind": "in_process", "operation": "0010", "pieces": {"first": 1, "last": 1},
    "characteristics": [DIAMETER, SURFACE, COLOUR],
}  # fmt: skip
ROUTING = {
    "item": "RING-74",
    "operations": [{"operation": "0010"}, {"operation": "0020"}, {"operation": "0030", "after": []}],
}
RULES = """\
rulefile: 1
owner: Process Engineering
reference: SOP-PE-012
rules:
  - id: GAUGE-SAID
    title: Every value says what it was measured with
    gate: inspect_operation
    severity: block
    rationale: SOP-PE-012
    require:
      - none: operation_result
        where: [operation_result.operation = "0030", operation_result.gauge is missing]
    message: "{operation_result.characteristic} of sample {operation_result.sample} has no gauge"
  - id: NOTHING-REJECTED
    title: Nothing was rejected in process
    gate: release
    severity: block
    rationale: SOP-PE-012
    require:
      - none: operation_inspection
        where: [operation_inspection.nonconforming > 0]
    message: "{operation_inspection.characteristic} at operation {operation_inspection.operation}"
"""
NUMBERS = itertools.count(1)


@pytest.fixture
def references(store: Store, clock: Any, rulebook: RuleBook) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


@pytest.fixture
def mes(store: Store, clock: Any, rulebook: RuleBook, plant: Any, references: References) -> Iterator[Any]:
    """The plant of the other tests, with a routing, a plan for its first operation, and rules that look at it."""
    put(references, "R-9", ROUTING, "routing")
    put(references, "IP-10", PLAN)
    with judged_by(plant, rulebook, clock, RULES):
        yield plant


def put(references: References, key: str, content: Any, kind: str = "inspection-plan", since: str = "2026-01-01") -> Any:
    wanted = Wanted(date.fromisoformat(since), msgspec.Raw(msgspec.json.encode(content)))
    return references.put(kind, key, wanted, "qms")


def start(plant: Any, lot: str = "L", quantity: str = "100") -> None:
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": quantity, "unit": "ea"}, "order": "MO-7"}
    assert plant.send("production.started.v1", lot, data).status == 201


def report(plant: Any, operation: str, status: str = "completed", lot: str = "L") -> Any:
    return plant.send("operation.reported.v1", lot, {"operation": operation, "status": status})


def line(sample: int = 1, value: str | None = "74.000", **more: Any) -> dict[str, Any]:
    return {"characteristic": "diameter", "sample": sample, "value": value, "unit": "mm"} | more


def surface(good: bool = True, **more: Any) -> dict[str, Any]:
    return {"characteristic": "surface", "conforming": good} | more


def event_of(plant: Any, *lines: Any, operation: str = "0010", lot: str = "L") -> Any:
    data = {"inspection": f"OI-{next(NUMBERS)}", "operation": operation, "inspector": "ann", "measurements": list(lines)}
    return plant.event("inspection.recorded.v1", lot, data)


def look(plant: Any, *lines: Any, operation: str = "0010", lot: str = "L") -> Any:
    return plant.pipeline.submit(event_of(plant, *lines, operation=operation, lot=lot), "tester").result(20)


def decide(plant: Any, lot: str = "L") -> None:
    for record in Reading(plant.store).lot(lot).records:
        for step in ("investigate", "decide"):
            data = {"record": record.record, "step": step, "text": "looked at"}
            plant.send("quality_record.changed.v1", lot, data)


def refused(answer: Any) -> list[tuple[str, str]]:
    rules = json.loads(answer.body).get("rules", [])
    return [(rule["rule"], rule["message"]) for rule in rules if rule["verdict"] != "pass"]


def names(answer: Any) -> list[str]:
    return [rule for rule, _ in refused(answer)]


def test_what_follows_an_operation_waits_for_its_inspection(mes: Any, store: Store, clock: Any) -> None:
    start(mes)
    report(mes, "0010", "started")
    (one,) = Reading(store).lot("L").operation_inspections
    assert (one.operation, one.plan, one.revision, one.pieces) == ("0010", "IP-10", 1, 2)
    assert report(mes, "0010").status == 201, "what has happened is recorded"
    assert refused(report(mes, "0020", "started")) == [
        ("OPERATION-INSPECTED", "the inspection of operation 0010 by plan IP-10 lacks diameter on 2 more, surface on 1 more")
    ]
    assert Reading(store).journal("L")[-1].kind == "refusal"
    assert look(mes, line(1)).status == 201
    assert names(report(mes, "0020")) == ["OPERATION-INSPECTED"]
    gate = gate_of_lot(store, mes.pipeline.rulebook, clock, "L", "0020", date(2026, 11, 23).toordinal())
    assert (gate.open, [v.message for v in gate.guards]) == (
        False, ["the inspection of operation 0010 by plan IP-10 lacks diameter on 1 more, surface on 1 more"],
    )  # fmt: skip
    assert report(mes, "0030").status == 201, "what does not follow the operation goes on"
    assert look(mes, line(2), surface()).status == 201
    lot = Reading(store).lot("L")
    assert (lot.results_version, lot.inspectors) == (0, ("ann",)), "results in process are not those of the lot"
    shown = operations_of(lot, instant(clock()))[0].inspection
    assert shown is not None
    assert (shown.status, [(c.characteristic, c.wanted, c.inspected) for c in shown.characteristics]) == (
        "accepted", [("diameter", 2, 2), ("surface", 1, 1), ("colour", 1, 0)],
    )  # fmt: skip
    assert report(mes, "0020").status == 201
    assert len(Reading(store).operation_results("L", "0010")) == 2
    assert Reading(store).results("L") == []


def test_production_is_not_cleared_until_it_is_inspected(mes: Any, store: Store, references: References) -> None:
    put(references, "IP-20", PLAN | {"operation": "0020"})
    start(mes)
    report(mes, "0010")
    look(mes, line(1), line(2), surface())
    report(mes, "0020")
    report(mes, "0030")
    done = {"item": "RING-74", "revision": "A", "quantity": {"value": "98", "unit": "ea"}, "order": "MO-7", "confirmation": "C"}
    assert mes.send("lot.produced.v1", "L", done).status == 201
    mes.inspect("L", *["74.000"] * 5)
    today = date(2026, 11, 23).toordinal()
    shut = explain(store, mes.pipeline.rulebook, mes.pipeline._clock, "L", "release", today)
    assert [v.rule for v in shut.guards] == ["OPERATION-INSPECTED"]
    assert "operation 0020 by plan IP-20 lacks diameter on 2 more" in shut.guards[0].message
    assert names(mes.send("lot.released.v1", "L", {})) == ["OPERATION-INSPECTED"]
    assert look(mes, line(1), line(2), surface(), operation="0020").status == 201
    assert explain(store, mes.pipeline.rulebook, mes.pipeline._clock, "L", "release", today).open
    assert mes.send("lot.released.v1", "L", {}).status == 201


def test_a_piece_that_does_not_conform_opens_a_deviation_and_shuts_the_gate(mes: Any, store: Store) -> None:
    start(mes)
    report(mes, "0010")
    assert look(mes, line(1, "74.060"), line(2), surface(False)).status == 201, "what was found is recorded"
    (deviation,) = Reading(store).lot("L").records
    assert (deviation.kind, deviation.operation, deviation.status) == ("deviation", "0010", "open")
    assert deviation.text == (
        "operation 0010: diameter of sample 1 = 74.060 mm, limits 73.950 to 74.050; "
        "operation 0010: surface of sample 1 does not conform"
    )
    assert names(report(mes, "0020", "started")) == ["DEVIATION-DECIDED"]
    decide(mes)
    assert report(mes, "0020", "started").status == 201
    # What is only for information opens nothing.
    assert look(mes, {"characteristic": "colour", "conforming": False}).status == 201
    assert len(Reading(store).lot("L").records) == 1


def test_a_result_is_corrected_with_a_reason_and_both_stay(mes: Any, store: Store, clock: Any) -> None:
    start(mes)
    report(mes, "0010")
    look(mes, line(1, "74.060"), line(2), surface())
    assert names(look(mes, line(1))) == ["SAMPLE-ONCE"]
    assert look(mes, line(1, corrects="read from the wrong scale")).status == 201
    lot = Reading(store).lot("L")
    shown = operations_of(lot, instant(clock()))[0].inspection
    assert shown is not None
    assert (shown.status, shown.characteristics[0].inspected, shown.characteristics[0].nonconforming) == ("accepted", 2, 0)
    assert len(Reading(store).operation_results("L", "0010")) == 2
    assert names(report(mes, "0020")) == ["DEVIATION-DECIDED"], "that somebody decides: a correction decides nothing"


def test_what_was_found_of_a_part_in_process_is_in_the_whole(mes: Any, store: Store) -> None:
    put_together = [("L", "74.900"), ("K", "74.000")]
    for lot, value in put_together:
        start(mes, lot=lot)
        report(mes, "0010", lot=lot)
        assert look(mes, line(1, value), line(2, value), surface(), lot=lot).status == 201
        decide(mes, lot)
        for operation in ("0020", "0030"):
            report(mes, operation, lot=lot)
        data = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "order": "MO-7"}
        assert mes.send("lot.produced.v1", lot, data | {"confirmation": f"C-{lot}"}).status == 201
    assert mes.send("lot.merged.v1", "W", {"parts": [{"lot": lot} for lot, _ in put_together]}).status == 201
    good = [line(sample) for sample in range(1, 6)]
    assert mes.send("inspection.recorded.v1", "W", {"inspection": "F", "measurements": good}).status == 201
    assert names(mes.send("lot.released.v1", "W", {})) == ["NOTHING-REJECTED"]
    assert Reading(store).lot("W").state == "inspected"


@pytest.mark.parametrize(
    ("lines", "operation", "rule", "words"),
    [
        ([line()], "0020", "OPERATION-REPORTED", "operation 0020 of lot L was not reported; reported are: 0010, 0030"),
        ([line()], "0030", "OPERATION-PLANNED", "operation 0030 of lot L has no inspection plan; inspected in process are: 0010"),
        ([line(characteristic="weight")], "0010", "CHARACTERISTIC-ON-PLAN", "weight is not on the plan IP-10: diameter, surface, colour"),
        ([line(unit="inch")], "0010", "UNIT-OF-PLAN", "diameter is measured in mm, not in inch"),
        ([line(3)], "0010", "SAMPLE-IN-RANGE", "sample 3 is beyond the 2 of the plan"),
        ([surface(sample=2)], "0010", "SAMPLE-IN-RANGE", "sample 2 is beyond the 1 of the plan"),
        ([line(value="740")], "0010", "PLAUSIBLE", "740 mm is not plausible"),
        ([surface(value="3", unit="mm")], "0010", "RESULT-FITS-PLAN", "surface is judged, not measured"),
        ([line(corrects="typing error")], "0010", "SAMPLE-ONCE", "there is nothing to correct"),
        ([line(), line()], "0010", "SAMPLE-ONCE", "recorded already"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_whole_and_journaled(
    mes: Any, store: Store, lines: Any, operation: str, rule: str, words: str
) -> None:
    start(mes)
    report(mes, "0010")
    report(mes, "0030")
    before = Reading(store).lot("L").operation_inspections
    answer = look(mes, surface() if lines[0]["characteristic"] != "surface" and rule != "OPERATION-REPORTED" else line(2),
                  *lines, operation=operation)  # fmt: skip
    assert answer.status == 409
    assert rule in names(answer)
    assert any(words in message for _, message in refused(answer))
    lot, entry = Reading(store).lot("L"), Reading(store).journal("L")[-1]
    assert (entry.kind, entry.trigger) == ("refusal", "inspect_operation")
    assert lot.operation_inspections == before
    assert Reading(store).operation_results("L", operation) == []


def test_what_is_in_work_keeps_the_revision_it_began_with(mes: Any, store: Store, references: References, clock: Any) -> None:
    start(mes)
    start(mes, "M")
    report(mes, "0010", "started")
    put(references, "IP-10", PLAN | {"pieces": {"first": 5}}, since="2026-11-23")
    report(mes, "0010", "started", "M")
    revisions = {lot: Reading(store).lot(lot).operation_inspections[0] for lot in ("L", "M")}
    assert {lot: (one.revision, one.pieces) for lot, one in revisions.items()} == {"L": (1, 2), "M": (2, 5)}
    look(mes, line(1, "74.5"))
    report(mes, "0010", "aborted")
    decide(mes)
    assert report(mes, "0010").status == 201
    (again,) = Reading(store).lot("L").operation_inspections
    assert (again.revision, again.results_version, again.looked[0].inspected) == (1, 0, 0), "done again, looked at again"
    assert names(report(mes, "0020")) == ["OPERATION-INSPECTED"]
    assert look(mes, line(1), line(2), surface()).status == 201
    assert report(mes, "0020").status == 201


def test_time_asks_for_pieces_too(mes: Any, store: Store, references: References, clock: Any) -> None:
    put(references, "IP-30", PLAN | {"operation": "0030", "pieces": {"first": 1, "every_minutes": 30}})
    start(mes)
    report(mes, "0030", "started")
    gauge = {"gauge": "MIC-1"}
    assert names(look(mes, line(2, **gauge), operation="0030")) == ["SAMPLE-IN-RANGE"]
    clock.forward(65 * 60)
    assert look(mes, line(1, **gauge), line(2, **gauge), {**surface(), **gauge}, operation="0030").status == 201
    report(mes, "0030")
    clock.forward(3600)
    (shut,) = [v for v in operations_of(Reading(store).lot("L"), instant(clock())) if v.operation == "0030"]
    assert shut.inspection is not None
    assert (shut.inspection.characteristics[0].wanted, shut.inspection.status) == (3, "open"), "65 minutes: two besides the first"
    assert look(mes, line(3, **gauge), operation="0030").status == 201


def test_rules_see_results_as_they_come_and_what_they_add_up_to(mes: Any, store: Store, references: References) -> None:
    put(references, "IP-30", PLAN | {"operation": "0030"})
    start(mes)
    report(mes, "0030")
    assert refused(look(mes, line(1), operation="0030")) == [("GAUGE-SAID", "diameter of sample 1 has no gauge")]
    assert look(mes, line(1, "74.9", gauge="MIC-1"), operation="0030").status == 201
    found = explain(store, mes.pipeline.rulebook, mes.pipeline._clock, "L", "release", date(2026, 11, 23).toordinal())
    (rule,) = [r for r in found.rules if r.rule == "NOTHING-REJECTED"]
    assert (rule.verdict, rule.message) == ("fail", "diameter at operation 0030")


def test_results_of_one_batch_are_counted_one_after_the_other(mes: Any, store: Store) -> None:
    start(mes)
    report(mes, "0010")
    events = [event_of(mes, line(1)), event_of(mes, line(1)), event_of(mes, line(2), surface())]
    answers = mes.pipeline.process([submission(event, "tester") for event in events])
    assert [answer.status for answer in answers] == [201, 409, 201]
    assert report(mes, "0020").status == 201


def test_a_part_has_what_was_found_of_the_whole_and_goes_on_by_itself(mes: Any, store: Store) -> None:
    mes.receive("W")
    report(mes, "0010", lot="W")
    look(mes, line(1), lot="W")
    mes.send("lot.split.v1", "W", {"children": [{"lot": "W.1", "quantity": {"value": "40", "unit": "ea"}}]})
    assert names(look(mes, line(1), lot="W.1")) == ["SAMPLE-ONCE"], "it was looked at before the split"
    assert look(mes, line(2), surface(), lot="W.1").status == 201
    assert report(mes, "0020", lot="W.1").status == 201
    assert names(report(mes, "0020", lot="W")) == ["OPERATION-INSPECTED"], "what is found of a part says nothing of the rest"
    assert names(mes.send("lot.merged.v1", "V", {"parts": [{"lot": "W"}, {"lot": "W.1"}]}))[0] == "OPERATION-INSPECTED"
    mes.send("lot.split.v1", "W.1", {"children": [{"lot": "W.1.1", "quantity": {"value": "4", "unit": "ea"}}]})
    assert look(mes, line(2, "74.01", corrects="read again"), lot="W.1.1").status == 201
    looked = Reading(store).lot("W.1.1").operation_inspections[0].looked
    assert [(one.characteristic, one.inspected) for one in looked] == [("diameter", 2), ("surface", 1), ("colour", 0)]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"operation": None}, "/content/operation"),
        ({"supplier": "ACME"}, "/content/supplier"),
        ({"sampling": {"aql": "1.0"}}, "/content/sampling"),
        ({"kind": "final"}, "/content/operation"),
        ({"pieces": {"every_minutes": 30}}, "/content/pieces"),
        ({"pieces": None}, "/content/characteristics/0/sample_size"),
        ({"characteristics": [DIAMETER | {"variables": {"aql": "1.0"}}]}, "/content/characteristics/0/variables"),
    ],
)
def test_a_plan_in_process_says_where_and_which_pieces(references: References, change: Any, pointer: str) -> None:
    with pytest.raises(EventInvalid) as refusal:
        put(references, "X", PLAN | change)
    assert refusal.value.pointer == pointer


def test_two_plans_for_one_operation_are_refused_and_a_lot_is_given_none_of_them(mes: Any, references: References) -> None:
    with pytest.raises(ReferenceConflict):
        put(references, "OTHER", PLAN)
    put(references, "IP-20", PLAN | {"operation": "0020"})
    mes.receive("W")
    answer = mes.send("inspection_plan.changed.v1", "W", {"plan": "IP-20", "reason": {"code": "X"}})
    assert names(answer) == ["PLAN-IN-FORCE"]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40) | st.none(), st.integers(1, 200))
def test_pieces_are_first_every_so_many_and_last_each_once(first: int, last: int, every: int | None, size: int) -> None:
    looked_at = {n for n in range(1, size + 1) if n <= first or n > size - last or (every and n % every == 0)}
    asked = pieces_of(Pieces(first=first, last=last, every=every), Decimal(size))
    assert asked == max(1, len(looked_at))


# -- the gate against a plain model ----------------------------------------------------------------------------------

STEPS = st.tuples(
    st.sampled_from(["report", "report", "look", "look", "look", "decide"]),
    st.sampled_from(["0010", "0020"]), st.integers(1, 3), st.sampled_from(["74.0", "74.0", "74.2"]), st.booleans(),
)  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=4, max_size=16))
def test_the_gate_is_open_exactly_when_a_plain_model_says_so(
    mes: Any, store: Store, references: References, clock: Any, steps: list[Any]
) -> None:
    if not references_know(references):
        put(references, "IP-20", PLAN | {"operation": "0020"})
    lot = f"P{next(NUMBERS)}"
    start(mes, lot)
    values: dict[str, dict[tuple[str, int], bool]] = {}
    done: set[str] = set()
    undecided: set[str] = set()

    def whole(operation: str) -> bool:
        return {("diameter", 1), ("diameter", 2), ("surface", 1)} <= values.get(operation, {}).keys()

    def opens(operation: str) -> bool:
        before = operation == "0020"
        if before and ("0010" not in done or not whole("0010")):
            return False
        return operation not in undecided and not (before and "0010" in undecided)

    for kind, operation, sample, value, correct in steps:
        if kind == "report":
            answer = report(mes, operation, lot=lot)
            parked = operation == "0020" and "0010" not in done
            assert answer.status == (202 if parked else 201 if opens(operation) else 409), answer.body
            if parked:
                return  # it is taken up when the gap is filled, which is tested elsewhere
            if answer.status == 201:
                done.add(operation)
                values[operation] = {}
        elif kind == "look":
            lines = [line(sample, value, **({"corrects": "again"} if correct else {}))]
            lines += [] if ("surface", 1) in values.get(operation, {}) else [surface()]
            there = ("diameter", sample) in values.get(operation, {})
            answer = look(mes, *lines, operation=operation, lot=lot)
            good = operation in done and sample <= 2 and there == correct
            assert answer.status == (201 if good else 409), answer.body
            if good:
                values[operation] |= {("diameter", sample): value == "74.0", ("surface", 1): True}
                if value != "74.0":
                    undecided.add(operation)
        else:
            decide(mes, lot)
            undecided = set()
        today = date(2026, 11, 23).toordinal()
        for name in ("0010", "0020"):
            gate = gate_of_lot(store, mes.pipeline.rulebook, clock, lot, name, today)
            assert gate.open == opens(name), (name, gate.guards)


def references_know(references: References) -> bool:
    return any(record.key == "IP-20" for record in references.page("inspection-plan", "2026-11-23", None, "", 50)[0])
