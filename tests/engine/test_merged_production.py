"""What was reported of a part's production is in the whole: putting lots together hides nothing from the rules."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import parts
from engine.explaining import explain
from engine.operation_gate import operations_of
from engine.production import MeasuredParameter, OperationRun, operation_facts, together
from engine.reference import References
from engine.store.opening import Store
from engine.store.reading import Reading
from rules.rulebook import RuleBook
from tests.engine.conftest import judged_by
from tests.engine.test_merging import merge
from tests.engine.test_operation_inspections import PLAN, line, look, names, put, refused, surface
from tests.engine.test_operation_inspections import references as references

RULES = """\
rulefile: 1
owner: Process Engineering
reference: SOP-PE-012
rules:
  - id: NOT-TOO-FAST
    title: The mixer turned as it should
    gate: release
    severity: block
    rationale: SOP-PE-012
    require:
      - every: parameter
        where: [parameter.parameter = speed]
        check: [parameter.value <= 120]
    message: "operation {parameter.operation}: {parameter.parameter} = {parameter.value}"
  - id: DONE-ONCE
    title: No operation had to be done again
    gate: release
    severity: block
    rationale: SOP-PE-012
    require:
      - none: operation
        where: [operation.run > 1]
    message: "operation {operation.number} was done again"
  - id: THREE-OPERATIONS
    title: Three operations are completed
    gate: release
    severity: warn
    rationale: SOP-PE-012
    require:
      - count: operation
        where: [operation.status = completed]
        at_least: 3
    message: "fewer than three operations"
"""


@pytest.fixture
def mes(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Iterator[Any]:
    """The plant of the other tests, with rules that look at production when a lot is released."""
    with judged_by(plant, rulebook, clock, RULES):
        yield plant


def report(mes: Any, lot: str, operation: str, speed: str | None = None, unit: str = "rpm", **more: Any) -> None:
    measured = [] if speed is None else [{"parameter": "speed", "value": speed, "unit": unit}]
    data = {"operation": operation, "status": "completed", "parameters": measured} | more
    assert mes.send("operation.reported.v1", lot, data).status == 201


def verdicts(mes: Any, lot: str) -> dict[str, str]:
    today = date(2026, 11, 23).toordinal()
    found = explain(mes.store, mes.pipeline.rulebook, mes.pipeline._clock, lot, "release", today)
    return {rule.rule: str(rule.verdict) for rule in found.rules}


@pytest.mark.parametrize("order", ["LK", "KL"])
def test_what_a_rule_refuses_of_one_part_it_refuses_of_the_whole(mes: Any, store: Store, order: str) -> None:
    for lot, speed in (("L", "121"), ("K", "100")):
        mes.receive(lot)
        report(mes, lot, "0010", speed)
    assert merge(mes, "M", *order).status == 201
    assert mes.inspect("M", *["74.000"] * 5).status == 201
    assert Reading(store).lot("M").state == "inspected"
    assert refused(mes.send("lot.released.v1", "M", {})) == [("NOT-TOO-FAST", "operation 0010: speed = 121")]
    (shown,) = operations_of(Reading(store).lot("M"), "2026-11-23T08:00:00Z")
    assert shown.reported is not None
    assert {one.value for one in shown.reported.parameters} == {121, 100}
    # It goes on into what is made of the whole, by splitting and putting together, too.
    child = {"lot": "M.1", "quantity": {"value": "10", "unit": "ea"}}
    assert mes.send("lot.split.v1", "M", {"children": [child]}).status == 201
    assert merge(mes, "N", "M", "M.1").status == 201
    assert Reading(store).lot("N").operations == Reading(store).lot("M").operations
    assert verdicts(mes, "N")["NOT-TOO-FAST"] == "fail"


def test_how_often_an_operation_was_begun_is_that_of_the_worst_part_and_it_is_counted_once(mes: Any, store: Store) -> None:
    for lot, times in (("L", 1), ("K", 2), ("J", 1)):
        mes.receive(lot)
        for _ in range(times):
            report(mes, lot, "0010")
    assert merge(mes, "M", "L", "K", "J").status == 201
    assert [(run.operation, run.run) for run in Reading(store).lot("M").operations] == [("0010", 2)]
    said = verdicts(mes, "M")
    assert (said["DONE-ONCE"], said["THREE-OPERATIONS"]) == ("fail", "fail"), "three parts are not three operations"


def test_done_again_on_the_whole_it_takes_the_place_of_what_was_done_on_the_parts(mes: Any, store: Store) -> None:
    for lot, speed in (("L", "121"), ("K", "100")):
        mes.receive(lot)
        report(mes, lot, "0010", speed, sequence=1)
    merge(mes, "M", "L", "K")
    report(mes, "M", "0020", sequence=2)
    report(mes, "M", "0010", "110")
    assert [run.operation for run in Reading(store).lot("M").operations] == ["0020", "0010"]
    assert (verdicts(mes, "M")["NOT-TOO-FAST"], verdicts(mes, "M")["DONE-ONCE"]) == ("pass", "fail")


@pytest.mark.parametrize(("of_k", "words"), [
    ([], "lot K lacks operation 0010, speed in rpm at operation 0010, reported of another part"),
    ([("0010", None)], "lot K lacks speed in rpm at operation 0010, reported of another part"),
    ([("0010", "100"), ("0020", None)], "lot L lacks operation 0020, reported of another part"),
])  # fmt: skip
def test_what_was_not_reported_of_one_part_is_not_taken_from_another(
    mes: Any, store: Store, of_k: list[tuple[str, str | None]], words: str
) -> None:
    mes.receive("L")
    mes.receive("K")
    report(mes, "L", "0010", "100")
    for operation, speed in of_k:
        report(mes, "K", operation, speed)
    answer = merge(mes, "M", "L", "K")
    assert names(answer) == ["PRODUCTION-ALIKE"]
    assert words in refused(answer)[0][1]
    assert Reading(store).lot("L").closed is None
    report(mes, "K", "0010", "100")
    report(mes, "K", "0020")
    report(mes, "L", "0020")
    assert merge(mes, "M", "L", "K").status == 201


def test_results_of_the_whole_do_not_take_the_place_of_one_parts(mes: Any, store: Store, references: References) -> None:
    put(references, "IP-10", PLAN)
    for lot, value in (("L", "74.000"), ("K", "74.900")):
        mes.receive(lot)
        report(mes, lot, "0010")
        assert look(mes, line(1, value), line(2), surface(), lot=lot).status == 201
        for record in Reading(store).lot(lot).records:
            for step in ("investigate", "decide"):
                mes.send("quality_record.changed.v1", lot, {"record": record.record, "step": step, "text": "seen"})
    assert merge(mes, "M", "L", "K").status == 201
    before = Reading(store).lot("M").operation_inspections
    assert names(look(mes, line(2, corrects="read again"), lot="M")) == ["OPERATION-OF-WHOLE"]
    assert Reading(store).lot("M").operation_inspections == before
    (shown,) = operations_of(Reading(store).lot("M"), "2026-11-23T08:00:00Z")
    assert shown.inspection is not None
    assert shown.inspection.status == "rejected", "the worst of the parts is shown"
    report(mes, "M", "0010")
    assert look(mes, line(1), line(2), surface(), lot="M").status == 201
    assert len(Reading(store).lot("M").operation_inspections) == 1


def test_more_than_one_lot_may_have_is_not_put_together(mes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_REPORTED", 3)
    for lot, speed in (("L", "100"), ("K", "101"), ("J", "100")):
        mes.receive(lot)
        report(mes, lot, "0010", speed)
    assert names(merge(mes, "M", "L", "K")) == ["PRODUCTION-FITS"]
    assert merge(mes, "M", "L", "J").status == 201, "what is the same is kept once"


RUNS = st.lists(
    st.builds(
        OperationRun, st.sampled_from(["10", "20"]), st.just("completed"), st.integers(1, 9), st.just(""), st.integers(1, 3),
        st.none(), st.lists(st.builds(MeasuredParameter, st.just("t"), st.sampled_from([Decimal(1), Decimal(2)]), st.just("K")), max_size=1).map(tuple),
    ),
    max_size=2, unique_by=lambda run: run.operation,
).map(tuple)  # fmt: skip


@given(st.lists(RUNS, min_size=2, max_size=4))
def test_every_value_of_any_part_is_in_the_whole_and_none_besides(lots: list[tuple[OperationRun, ...]]) -> None:
    whole, each = operation_facts(together(lots)), [operation_facts(runs) for runs in lots]
    measured = [fact for facts in each for fact in facts.get("parameter", [])]
    assert all(fact in measured for fact in whole.get("parameter", []))
    assert all(fact in whole.get("parameter", []) for fact in measured)
    often = {name: max(f["run"] for facts in each for f in facts["operation"] if f["number"] == name)
             for name in {f["number"] for facts in each for f in facts["operation"]}}  # fmt: skip
    assert {f["number"]: f["run"] for f in whole["operation"]} == often
    assert len(whole["operation"]) == len(often)
    assert together([together(lots[:1]), together(lots[1:])]) == together(lots), "in whichever steps it is put together"
