"""One trace from the event to the target's answer, through every process, seen by a collector on a real socket."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.settings import load_settings
from engine.spans import open_spans, proper
from tests.api.conftest import Service, free_port
from tests.faults.conftest import free_port as another_port
from tests.installation import Installation
from tests.otlp import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENDER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SENDER}-01"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    running = Collector(free_port(), tmp_path / "heard.jsonl")
    yield running
    running.process.kill()
    running.process.wait()


def receipt(lot: str, **more: Any) -> dict[str, Any]:
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR/{lot}"}  # fmt: skip
    return {"specversion": "1.0", "id": f"r-{lot}", "source": "wms/dock-1", "type": "lot.received.v1", "subject": lot,
            "data": data, **more}  # fmt: skip


def test_one_trace_from_the_event_to_the_answer_of_the_target(tmp_path: Path, collector: Collector) -> None:
    home = tmp_path / "plant"
    home.mkdir()
    plant = Installation(home, LOTGATE_OTLP_ENDPOINT=collector.url, LOTGATE_ERP_URL=collector.url,
                         OTEL_BSP_SCHEDULE_DELAY="200")  # fmt: skip
    plant.start()
    try:
        with plant.client() as http:
            headers = {"Content-Type": "application/cloudevents+json", "traceparent": TRACEPARENT}
            answer = http.post("/v1/events", content=json.dumps(receipt("L-1")), headers=headers)
            assert answer.status_code == 201
            http.get("/v1/lots/L-1")
            journal = http.get("/v1/lots/L-1/journal").json()["data"]
        spans = collector.until(
            "span",
            # Each process sends its own, in its own time.
            lambda found: {"erp", "wms"} <= {s["attributes"].get("lotgate.target") for s in found if s["trace"] == TRACE}
            and {"POST /v1/events", "COMMIT", "GET /v1/lots/{lot}"} <= {s["name"] for s in found},
        )
        calls = collector.until("call", lambda found: found)
    finally:
        plant.end()
    assert {entry["traceparent"] for entry in journal} == {TRACEPARENT}
    mine = {span["name"]: span for span in spans if span["trace"] == TRACE}
    by_id = {span["span"]: span for span in spans}
    server, decided = mine["POST /v1/events"], mine["CloudEvents Process lot.received.v1"]
    assert (server["kind"], server["parent"]) == (2, SENDER)
    assert server["attributes"] | {"http.route": "/v1/events", "http.response.status_code": 201} == server["attributes"]
    assert (decided["kind"], decided["parent"]) == (5, server["span"])
    assert decided["attributes"]["cloudevents.event_id"] == "r-L-1"
    assert {mine["COMMIT"]["parent"], mine["judge"]["parent"]} == {decided["span"]}
    assert mine["COMMIT"]["attributes"]["db.system.name"] == "sqlite"
    assert server["start"] <= decided["start"] <= mine["COMMIT"]["start"] <= mine["COMMIT"]["end"] <= decided["end"]
    told = mine["deliver erp"]
    assert told["parent"] == SENDER
    assert told["attributes"]["lotgate.lot"] == "L-1"
    [call] = [span for span in spans if span["parent"] == told["span"]]
    assert (call["name"], call["kind"], call["attributes"]["http.response.status_code"]) == ("POST", 3, 200)
    # Across processes: each said who it is, and they are three.
    assert {by_id[s["span"]]["resource"]["lotgate.process"] for s in (server, decided, told)} == {
        "web", "committer", "worker",
    }  # fmt: skip
    assert len({s["resource"]["process.pid"] for s in (server, decided, told)}) == 3
    # What the target heard is part of the call's span.
    assert f"00-{TRACE}-{call['span']}-01" in [one["headers"].get("traceparent") for one in calls]
    read = next(span for span in spans if span["name"] == "GET /v1/lots/{lot}")
    assert read["trace"] != TRACE


@pytest.fixture
def traced(tmp_path: Path, collector: Collector) -> Iterator[Service]:
    home = tmp_path / "home"
    home.mkdir()
    running = Service(home, otlp_endpoint=collector.url, erp_url=collector.url)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


def test_an_event_that_names_its_trace_itself_is_part_of_it_and_one_that_names_none_begins_one(
    traced: Service, collector: Collector
) -> None:
    traced.submit(receipt("A", traceparent=TRACEPARENT))
    traced.submit(receipt("B"))
    traced.submit(receipt("C"), traceparent="00-nonsense")
    key = {"Idempotency-Key": "k-1", "traceparent": TRACEPARENT}
    traced.http.post("/v1/lots/B/hold", json={"hold": "H", "reason": {"code": "X"}}, headers=key)
    lines = [receipt("D", traceparent=TRACEPARENT), receipt("E")]
    traced.http.post("/v1/events/batch", content="\n".join(map(json.dumps, lines)),
                     headers={"Content-Type": "application/x-ndjson"})  # fmt: skip
    spans = collector.until(
        "span",
        lambda found: sum(s["name"].startswith("CloudEvents") for s in found) >= 6
        and sum(s["name"].startswith("POST /v1/") for s in found) >= 5,
    )
    decided = {s["attributes"]["cloudevents.event_id"]: s for s in spans if s["name"].startswith("CloudEvents")}
    served = {s["span"]: s for s in spans if s["kind"] == 2}
    assert decided["r-A"]["trace"] == decided["k-1"]["trace"] == decided["r-D"]["trace"] == TRACE
    assert served[decided["r-A"]["parent"]]["parent"] == served[decided["k-1"]["parent"]]["parent"] == SENDER
    assert decided["r-D"]["parent"] == SENDER, "one event of a batch is part of its own trace"
    for name in ("r-B", "r-C", "r-E"):
        assert decided[name]["trace"] == served[decided[name]["parent"]]["trace"] != TRACE
    assert served[decided["r-E"]["parent"]]["name"] == "POST /v1/events/batch"
    journal = traced.http.get("/v1/lots/B/journal").json()["data"]
    assert proper(journal[0]["traceparent"]) is not None
    assert decided["r-B"]["trace"] in journal[0]["traceparent"]


def test_what_nobody_samples_is_passed_on_and_not_sent(traced: Service, collector: Collector) -> None:
    unsampled = f"00-{'c' * 32}-{SENDER}-00"
    traced.submit(receipt("A"), traceparent=unsampled)
    calls = collector.until("call", lambda found: found)
    traced.submit(receipt("B"))
    collector.until("span", lambda found: found)
    assert calls[0]["headers"]["traceparent"].startswith(f"00-{'c' * 32}-")
    assert calls[0]["headers"]["traceparent"].endswith("-00")
    assert "c" * 32 not in {span["trace"] for span in collector.heard("span")}


def test_without_a_collector_what_came_is_passed_on_as_it_was(tmp_path: Path, collector: Collector) -> None:
    home = tmp_path / "plain"
    home.mkdir()
    running = Service(home, erp_url=collector.url)
    running.start()
    try:
        running.submit(receipt("A"), traceparent=TRACEPARENT)
        calls = collector.until("call", lambda found: found)
    finally:
        running.stop()
    assert {one["headers"].get("traceparent") for one in calls} == {TRACEPARENT}
    assert collector.heard("span") == []


def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{another_port()}"
    running = Service(tmp_path, otlp_endpoint=away)
    running.start()
    took = []
    for number in range(300):
        began = time.monotonic()
        assert running.submit(receipt(f"L-{number}")).status_code == 201
        took.append(time.monotonic() - began)
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 5, "a process manager kills after 5 s"
    assert sorted(took)[len(took) // 2] < 0.5
    log = (tmp_path / "web.log").read_text()
    assert log.count("Failed to export") + log.count("Transient error") < 20, "it does not fill the log"


def test_waiting_spans_are_bounded() -> None:
    """In a process of its own: the exporter's thread tries for long, and other tests would have it among them."""
    program = f"""
import subprocess
import sys
import time
from engine.spans import Spans
spans = Spans("http://127.0.0.1:{another_port()}/v1/traces", "test")
for _ in range(20_000):
    spans.begin("x", "INTERNAL").end()
(processor,) = spans._provider._active_span_processor._span_processors
print(len(processor._batch_processor._queue))
began = time.monotonic()
spans.close()
print(time.monotonic() - began)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    waiting, closing = ran.stdout.split()
    assert 0 < int(waiting) <= 4096
    assert float(closing) < 2


@pytest.mark.parametrize(
    ("environment", "there"),
    [
        ({}, ""),
        ({"LOTGATE_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"LOTGATE_OTLP_ENDPOINT": "http://c:4318/v1/traces"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/in"}, "http://c/in"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_it_is_off_unless_somebody_says_where_to(environment: dict[str, str], there: str) -> None:
    settings = load_settings(environment)
    assert settings.otlp_endpoint == there
    assert (open_spans(load_settings({}), "test") is None) is True
