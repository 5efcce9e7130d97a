"""Health, readiness, metrics, OpenAPI, overload."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from api.openapi import document
from api.operations import OPERATIONS

Make = Callable[..., dict[str, Any]]


def test_the_process_is_alive_and_ready(service: Any) -> None:
    assert service.http.get("/healthz").text == "ok\n"
    seen = service.http.get("/readyz")
    assert seen.status_code == 200
    checks = seen.json()["checks"]
    assert set(checks) == {"database", "rules", "committer", "judge", "queue", "redis", "draining"}
    assert "sha256:" in checks["rules"]["detail"]


def test_strangers_learn_that_it_is_ready_and_no_more(service: Any) -> None:
    with service.client("wrong") as stranger:
        seen = stranger.get("/readyz").json()
    assert seen["status"] in ("ready", "degraded")
    assert all(check["detail"] == "" for check in seen["checks"].values())


def test_events_and_refusals_are_counted(service: Any, receipt: Make) -> None:
    applied = 'lotgate_events_total{outcome="applied",type="lot.received.v1"}'
    replayed = 'lotgate_events_total{outcome="replayed",type="lot.received.v1"}'
    refused = 'lotgate_refused_requests_total{code="event-invalid"}'
    before = [service.metric(m) for m in (applied, replayed, refused)]
    service.submit(receipt())
    service.submit(receipt())
    service.submit(receipt(colour="red"))
    assert [service.metric(m) for m in (applied, replayed, refused)] == [n + 1 for n in before]
    # In one look: between two, a delivery goes from one state to another.
    owed = [line for line in service.http.get("/metrics").text.splitlines() if line.startswith("lotgate_deliveries{")]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in owed if 'target="erp"' in line) >= 1
    assert service.metric("lotgate_commits_total") >= 1


def test_the_time_of_a_decision_is_measured_by_type(service: Any, receipt: Make) -> None:
    count = 'lotgate_decision_seconds_count{type="lot.received.v1"}'
    least, most = (f'lotgate_decision_seconds_bucket{{le="{le}",type="lot.received.v1"}}' for le in ("0.005", "+Inf"))
    spent = 'lotgate_decision_seconds_sum{type="lot.received.v1"}'
    names = (count, most, least, spent)
    before = [service.metric(name) for name in names]
    event = receipt()
    began = time.perf_counter()
    service.submit(event)
    took = time.perf_counter() - began
    counted, all_of_them, within_5_ms, seconds = (
        after - first for after, first in zip([service.metric(name) for name in names], before, strict=True)
    )
    assert (counted, all_of_them) == (1, 1)
    assert 0 < seconds <= took
    assert within_5_ms == (seconds <= 0.005)


def test_it_is_known_how_old_the_oldest_entry_is_that_no_checkpoint_is_over(service: Any, receipt: Make) -> None:
    service.submit(receipt())
    text = service.http.get("/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("lotgate_unsigned_seconds ")]
    assert 0 <= float(line.split()[1]) < 3_600


def test_no_metric_has_a_lot_for_a_label(service: Any, receipt: Make) -> None:
    service.submit(receipt())
    assert receipt()["subject"] not in service.http.get("/metrics").text


def test_the_document_is_served_and_complete(service: Any) -> None:
    served = service.http.get("/schema/openapi.json")
    assert served.json() == json.loads(msgspec.json.encode(document()))
    text = served.text
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= set(
        served.json()["components"]["schemas"]
    )
    for name in ("Receipt", "Measurement", "HoldOrder", "Replay"):
        assert served.json()["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_documented_call_has_a_route(service: Any, operation: Any) -> None:
    path = re.sub(r"\{[a-z]+\}", "1", operation.path)
    answer = service.http.options(path)
    assert answer.status_code == 204, answer.text
    assert operation.method.upper() in answer.headers["allow"]


def test_an_answer_fits_its_documented_schema(service: Any, receipt: Make) -> None:
    schemas = document()["components"]["schemas"]
    event = receipt()
    decision = service.submit(event).json()
    assert set(decision) <= set(schemas["Decision"]["properties"])
    assert set(schemas["Decision"]["required"]) <= set(decision)
    lot = service.http.get(f"/v1/lots/{event['subject']}").json()
    assert set(lot) == set(schemas["LotView"]["properties"])


def test_a_full_queue_answers_503_and_keeps_nothing(tmp_path: Any, receipt: Make) -> None:
    from api.app import create_app
    from engine.settings import load_settings

    application = create_app(load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_REDIS_URL": "none"}))
    # The committer is not started: what is submitted stays in the queue.
    application.engine.committer._max_waiting = 1
    key = (tmp_path / "admin.key").read_bytes().strip()

    async def ask(n: str) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []
        body = json.dumps(receipt(n)).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/cloudevents+json"), (b"authorization", b"Bearer " + key)]
        scope: Any = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "raw_path": b"/v1/events",
            "headers": headers,
            "query_string": b"",
            "root_path": "",
        }
        await application.door(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def flood() -> tuple[int, dict[bytes, bytes], bytes]:
        waiting = asyncio.create_task(ask("first"))
        await asyncio.sleep(0.05)
        refused = await ask("second")
        waiting.cancel()
        return refused

    try:
        status, headers, body = asyncio.run(flood())
    finally:
        application.engine.close()
    assert status == 503
    assert int(headers[b"retry-after"]) >= 1
    assert json.loads(body)["type"] == "/problems/overloaded"
    assert application.engine.committer.waiting <= 2
