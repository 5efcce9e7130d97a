"""A regraded lot goes on as what it has become: without the production of another item, and never around its gate."""

import json
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from engine import events as ev
from engine import in_process
from engine.explaining import explain
from engine.production import AssignedRouting, RoutingStep
from engine.store.reading import Reading
from engine.surroundings import Surroundings
from tests.engine.test_operation_inspections import decide, line, look, names, refused, report, start, surface
from tests.engine.test_operation_inspections import mes as mes
from tests.engine.test_operation_inspections import references as references

TODAY = date(2026, 11, 23).toordinal()


def produced(mes: Any, *operations: str) -> None:
    """L, of which these operations were done and inspected, rejected for its diameter."""
    start(mes)
    for operation in operations:
        assert report(mes, operation).status == 201
        if operation == "0010":
            assert look(mes, line(1), line(2), surface()).status == 201
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "order": "MO-7"}
    assert mes.send("lot.produced.v1", "L", data | {"confirmation": "C"}).status == 201
    mes.inspect("L", *["75.000"] * 5)
    assert Reading(mes.store).lot("L").state == "blocked"


def regrade(mes: Any, item: str = "WAFER-FLOW", revision: str = "A", lot: str = "L", child: str = "G") -> Any:
    data = {"decision": "regrade", "reason": {"code": "MRB"}, "item": item, "revision": revision, "child": child}
    return mes.send("lot.dispositioned.v1", lot, data)


def test_a_lot_of_another_item_has_no_production_of_the_old_one_and_can_be_released(mes: Any) -> None:
    produced(mes, "0010", "0020", "0030")
    assert regrade(mes).status == 201
    made = Reading(mes.store).lot("G")
    assert (made.item, made.state, made.routing, made.operations, made.operation_inspections, made.results_from) == (
        "WAFER-FLOW", "quarantined", None, (), (), None,
    )  # fmt: skip
    assert refused(look(mes, line(), lot="G")) == [
        ("OPERATION-REPORTED", "operation 0010 of lot G was not reported; reported are: none")
    ]
    assert report(mes, "0010", "started", lot="G").status == 201, "it may be worked on as what it is"
    width = {"characteristic": "flow_width", "value": "1.5", "unit": "micron"}
    found = {"inspection": "FW", "measurements": [width | {"sample": sample} for sample in range(1, 6)]}
    assert mes.send("inspection.recorded.v1", "G", found).status == 201
    assert names(mes.send("lot.released.v1", "G", {})) == ["OPERATIONS-COMPLETED"]
    assert report(mes, "0010", lot="G").status == 201
    assert mes.send("lot.released.v1", "G", {}).status == 201


@pytest.mark.parametrize(("operations", "rule"), [
    (("0010",), "OPERATIONS-COMPLETED"), (("0010", "0020", "0030"), "DEVIATION-DECIDED"),
])  # fmt: skip
@pytest.mark.parametrize(("item", "revision"), [("WAFER-FLOW", "A"), ("RING-74", "B")])
def test_a_regrade_is_no_way_around_the_gate_of_production(
    mes: Any, operations: tuple[str, ...], rule: str, item: str, revision: str
) -> None:
    produced(mes, *operations)
    if rule == "DEVIATION-DECIDED":
        assert look(mes, line(1, "74.9", corrects="read again")).status == 201
    answer = regrade(mes, item, revision)
    assert (answer.status, names(answer)) == (409, [rule])
    assert Reading(mes.store).lot("L").closed is None
    for operation in {"0020", "0030"} - set(operations):
        assert report(mes, operation).status == 201
    decide(mes)
    assert regrade(mes, item, revision).status == 201, "what is cleared first may be regraded"


def test_a_lot_of_another_revision_keeps_what_was_done_and_found_of_it(mes: Any) -> None:
    produced(mes, "0010", "0020", "0030")
    assert regrade(mes, "RING-74", "B").status == 201
    made = Reading(mes.store).lot("G")
    assert made.routing is not None
    assert (made.revision, made.routing.routing, [run.operation for run in made.operations]) == (
        "B", "R-9", ["0010", "0020", "0030"],
    )  # fmt: skip
    assert look(mes, line(2, "74.9", corrects="read again"), lot="G").status == 201

    def asked() -> Any:
        return explain(mes.store, mes.pipeline.rulebook, mes.pipeline._clock, "G", "release", TODAY)

    assert [guard.rule for guard in asked().guards] == ["DEVIATION-DECIDED"]
    decide(mes, "G")
    assert report(mes, "0020", lot="G").status == 201, "an operation may be done again"
    assert asked().guards == ()
    assert "NOTHING-REJECTED" in [rule.rule for rule in asked().rules if rule.verdict == "fail"], "rules see what was found"


def test_a_routing_that_is_not_known_is_said_and_is_no_error(mes: Any) -> None:
    mes.receive("W")
    around = Surroundings("2026-11-23T08:00:00Z", TODAY, mes.pipeline.rulebook)
    lot = replace(Reading(mes.store).lot("W"), routing=AssignedRouting("GONE", 1, (RoutingStep("0010"),)))
    (found,) = in_process.guards(around, lot, ev.OperationReport(operation="0010", status="completed"))
    assert (found.rule, found.verdict.value) == ("ROUTING-KNOWN", "unknown")
    assert "the routing GONE of lot W is none of item RING-74" in found.message
    assert json.loads(report(mes, "0010", lot="W").body)["outcome"] == "applied"
