"""The in-process gate over HTTP and on the command line: asked before, refused after, open when it is decided."""

from typing import Any

import pytest

OPERATIONS = [
    {"operation": "10"},
    {"operation": "20", "parameters": [{"parameter": "pressure", "unit": "bar", "lower": "2.1", "upper": "2.4"}]},
    {"operation": "30"},
]


@pytest.fixture(scope="module")
def order(service: Any) -> str:
    """A production order of two lots, both in production by a routing."""
    body = {"effective_from": "2026-01-01", "content": {"item": "GATED", "operations": OPERATIONS}}
    assert service.http.put("/v1/reference/routing/RT-GATED", json=body).status_code == 201
    for lot in ("GATED-1", "GATED-2"):
        begun = {"item": "GATED", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "order": "MO/GATED"}
        assert command(service, lot, "start-production", begun).status_code == 201
    return "MO/GATED"


def command(service: Any, lot: str, name: str, body: Any) -> Any:
    command.number += 1  # type: ignore[attr-defined]
    key = {"Idempotency-Key": f"gated-{command.number}"}  # type: ignore[attr-defined]
    return service.http.post(f"/v1/lots/{lot}/{name}", json=body, headers=key)


command.number = 0  # type: ignore[attr-defined]


def report(service: Any, lot: str, operation: str, pressure: str | None = None) -> Any:
    measured = [] if pressure is None else [{"parameter": "pressure", "value": pressure, "unit": "bar"}]
    return command(service, lot, "report-operation", {"operation": operation, "status": "completed", "parameters": measured})


def test_the_gate_answers_with_reasons_for_a_lot_and_for_an_order(service: Any, order: str) -> None:
    first = service.http.get("/v1/lots/GATED-1/operations/20/gate").json()
    assert (first["open"], [g["rule"] for g in first["guards"]]) == (False, ["OPERATIONS-BEFORE-IT"])
    assert service.http.get("/v1/lots/GATED-1/operations/10/gate").json()["open"] is True
    early = report(service, "GATED-2", "20", "2.2")
    assert (early.status_code, early.json()["waits_for"]) == (202, "operation:GATED-2|10")
    for lot in ("GATED-1", "GATED-2"):
        assert report(service, lot, "10").status_code == 201
    assert report(service, "GATED-1", "20", "2.5").status_code == 201
    both = service.http.get("/v1/production-orders/MO%2FGATED/operations/30/gate").json()
    assert (both["open"], [lot["open"] for lot in both["lots"]]) == (False, [False, True])
    assert both["lots"][0]["guards"][0]["rule"] == "DEVIATION-DECIDED"
    refused = report(service, "GATED-1", "30")
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/gate-failed"
    lines = service.http.get("/v1/lots/GATED-1/operations").json()["data"]
    assert [(line["operation"], line["open"]) for line in lines] == [("10", True), ("20", False), ("30", False)]
    (record,) = lines[1]["deviations"]
    for step in ("investigate", "decide"):
        said = {"record": record, "step": step, "text": "tried again"}
        assert command(service, "GATED-1", "change-record", said).status_code == 201
    assert service.http.get("/v1/production-orders/MO%2FGATED/operations/30/gate").json()["open"] is True
    assert report(service, "GATED-1", "30").status_code == 201


def test_what_nobody_knows_is_not_found(service: Any, order: str) -> None:
    for path in ("/v1/lots/NO-LOT/operations", "/v1/lots/NO-LOT/operations/10/gate",
                 "/v1/production-orders/NO-ORDER/operations/10/gate"):  # fmt: skip
        assert service.http.get(path).status_code == 404
    assert service.http.get("/v1/lots/GATED-2/operations/99/gate").json()["guards"][0]["rule"] == "OPERATION-ON-ROUTING"


def test_a_value_that_cannot_be_kept_exactly_is_refused(service: Any, order: str) -> None:
    answer = report(service, "GATED-2", "20", "2.1234567")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/parameters/0/value")
