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


def test_a_lot_as_it_was(service: Any, receipt: Any, hold: Any) -> None:
    event = receipt()
    answer = service.submit(event)
    lot, then = event["subject"], answer.json()["recorded_at"]
    assert service.submit(hold(lot)).status_code == 201
    found = service.http.get(f"/v1/lots/{lot}", params={"as_of": then}).json()
    now = service.http.get(f"/v1/lots/{lot}").json()
    assert (found["lot"]["state"], now["lot"]["state"]) == ("quarantined", "blocked")
    assert found["until"] == now["lot"]["changed_at"]
    assert service.http.get(f"/v1/lots/{lot}", params={"as_of": "2001-01-01T00:00:00Z"}).status_code == 404
    for wrong in ("yesterday", "2026-11-23T08:00:00", ""):
        assert service.http.get(f"/v1/lots/{lot}", params={"as_of": wrong}).status_code == 400


def test_an_order_is_answered_for_and_the_answer_kept(service: Any, receipt: Any) -> None:
    event = receipt()
    lot = event["subject"]
    assert service.submit(event).status_code == 201
    amount = {"value": "100", "unit": "ea"}
    told = {
        "order/SO-HTTP": {"customer": "HTTP-CO", "status": "releasable", "lines": [{"line": "1", "item": "RING-74", "quantity": amount}]},
        "allocation/SO-HTTP": {"lines": [{"line": "1", "lot": lot, "quantity": amount}]},
        "customer/HTTP-CO": {},
    }  # fmt: skip
    for path, content in told.items():
        put = service.http.put(f"/v1/reference/{path}", json={"effective_from": "2026-01-01", "content": content})
        assert put.status_code == 201, put.text
    found = service.http.get("/v1/shipments/SO-HTTP/readiness").json()
    assert (found["number"], found["answer"]["readiness"]) == (1, "not_ready")
    assert found["answer"]["lots"][0]["against"][0]["rule"] == "RELEASED"
    batch = service.http.post("/v1/shipments/readiness/batch", json={"orders": ["SO-HTTP", "SO-NOBODY"]}).json()["orders"]
    assert [(one["number"], one["answer"]["readiness"]) for one in batch] == [(1, "not_ready"), (None, "unknown")]
    kept = service.http.get("/v1/shipments/SO-HTTP/answers").json()["data"]
    assert [(one["number"], one["recorded_by"], one["hash"]) for one in kept] == [(1, "admin", found["hash"])]
    assert service.http.get("/v1/shipments/SO-NOBODY/answers").status_code == 404
    assert service.http.post("/v1/shipments/readiness/batch", json={"orders": []}).status_code == 422
