"""Shipment readiness over HTTP."""

from typing import Any

import pytest


def test_every_lot_is_answered_for(service: Any, receipt: Any) -> None:
    event = receipt()
    assert service.submit(event).status_code == 201
    lot = event["subject"]
    question = {"shipment": "S-1", "customer": "BOLT-CO", "lines": [{"lot": lot}, {"lot": "NEVER-WAS"}]}
    answer = service.http.post("/v1/shipments/readiness", json=question)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["shipment"], found["readiness"]) == ("S-1", "not_ready")
    assert [(line["lot"], line["readiness"]) for line in found["lines"]] == [(lot, "not_ready"), ("NEVER-WAS", "unknown")]
    assert found["lines"][0]["against"][0]["rule"] == "RELEASED"


@pytest.mark.parametrize("body", [
    "{}", "[", '{"shipment": "S", "customer": "C", "lines": []}', '{"shipment": "S", "customer": "C", "lines": [{"lot": 5}]}',
    '{"shipment": "S", "customer": "C", "lines": [{"lot": "A"}, {"lot": "A"}]}',
    '{"shipment": "S", "customer": "C", "lines": [{"lot": "A"}], "deliver_on": "soon"}',
    '{"shipment": "S", "customer": "C", "lines": [{"lot": "A"}], "colour": "red"}',
])  # fmt: skip
def test_a_question_that_is_none_is_refused(service: Any, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = service.http.post("/v1/shipments/readiness", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
