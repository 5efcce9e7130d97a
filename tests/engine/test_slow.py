"""What is slow is said once, with all that somebody needs to find out why, and never floods the log."""

import json
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.flight import Phases
from engine.slow import LINES_PER_S, SlowLog
from tests.api.conftest import Service, own, receipt  # noqa: F401  # fixtures


def lines(text: str, what: str) -> list[dict[str, Any]]:
    found = [json.loads(line[line.index("{") :]) for line in text.splitlines() if '"event": "slow ' in line]
    return [line for line in found if line["event"] == what]


def test_only_what_reaches_the_limit_is_slow() -> None:
    slow = SlowLog(5)
    assert [slow.is_slow(ms * 1e6) for ms in (0, 4.999, 5, 900)] == [False, False, True, True]
    assert not SlowLog(0).is_slow(1e15)


def test_a_flood_is_a_few_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    slow = SlowLog(1, lambda: now)
    with caplog.at_level(logging.WARNING, "lotgate.slow"):
        for number in range(100):
            slow.say("slow read", 2e6, number=number)
        now = 101.5
        slow.say("slow read", 2e6, number=100)
    said = [json.loads(record.message) for record in caplog.records]
    assert [line["number"] for line in said] == [*range(LINES_PER_S), 100]
    assert said[-1]["left_out"] == 100 - LINES_PER_S
    assert "left_out" not in said[0]


def test_phases_add_up_to_the_whole() -> None:
    ms = 1_000_000
    phases = Phases(10 * ms, 12 * ms, 20 * ms, 21 * ms, 28 * ms)
    spent = phases.spent(3 * ms, 29 * ms)
    assert spent == {"queue": 7, "load": 2, "judge": 8, "wait": 1, "commit": 7, "answer": 1}
    assert sum(spent.values()) == 26


def test_a_decision_that_waits_for_the_database_is_logged_with_where_the_time_went(
    tmp_path: Path,
    receipt: Any,  # noqa: F811
) -> None:
    running = Service(tmp_path, slow_ms="400")
    running.start()
    try:
        event = receipt("quick")
        assert running.submit(event).status_code == 201
        late = receipt("late", receipt="GR-late") | {"correlationid": "order-7"}
        other = sqlite3.connect(tmp_path / "lotgate.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.8, lambda: other.execute("COMMIT")).start()
        assert running.submit(late).status_code == 201
        time.sleep(0.3)
    finally:
        running.stop()
    [line] = lines((tmp_path / "web.log").read_text(), "slow decision")
    assert (line["lot"], line["correlation_id"], line["outcome"]) == (late["subject"], "order-7", "applied")
    assert line["phases_ms"]["commit"] > 300
    assert line["phases_ms"]["commit"] <= line["ms"]


def test_a_slow_read_and_a_slow_delivery_say_whose_they_are(tmp_path: Path, receipt: Any) -> None:  # noqa: F811
    running = Service(tmp_path, slow_ms="0.001")  # everything is
    running.start()
    try:
        event = receipt("x")
        running.submit(event)
        time.sleep(1.2)
        read = running.http.get(f"/v1/lots/{event['subject']}")
        time.sleep(1.5)
    finally:
        running.stop()
    text = (tmp_path / "web.log").read_text()
    assert read.headers["x-request-id"] in {line["correlation_id"] for line in lines(text, "slow read")}
    assert {line["route"] for line in lines(text, "slow read")} >= {"/v1/lots/{lot}"}
    told = lines(text, "slow delivery")
    assert {line["lot"] for line in told} == {event["subject"]}
    assert {line["target"] for line in told} <= {"erp", "wms"}
