"""Logs as JSON: one object a line whatever is logged, with what was being worked on."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.logs import VARIABLE, about, as_json, log_to_stderr
from engine.slow import SlowLog
from tests.api.conftest import Service, receipt  # noqa: F401


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A root logger of its own, and the setting as it was."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setenv(VARIABLE, "text")
    yield logging.getLogger("lotgate.test")
    root.handlers[:] = kept
    root.setLevel(level)


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_what_was_being_worked_on(alone: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()  # pytest listens, too
    log_to_stderr("worker", "json")
    with about(target="erp", lot="L 1"):
        alone.warning("told %s", "ä\n", extra={"attempt": 2})
    try:
        raise ValueError("b\nd")
    except ValueError:
        alone.exception("it failed")
    SlowLog(1).say("slow read", 2e6, route="/v1/lots")
    told, failed, slow = said(capsys)
    assert (told["event"], told["lot"], told["target"], told["attempt"]) == ("told ä\n", "L 1", "erp", 2)
    assert (told["process"], told["level"], told["logger"]) == ("worker", "warning", "lotgate.test")
    assert "lot" not in failed
    assert "ValueError: b\nd" in failed["exception"]
    assert (slow["event"], slow["ms"], slow["route"]) == ("slow read", 2.0, "/v1/lots")
    assert os.environ[VARIABLE] == "json", "processes that are started from here say it alike"


@given(st.text(), st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_logged_is_one_line_and_one_object(text: str, more: Any) -> None:
    record = logging.LogRecord("lotgate", logging.INFO, "", 0, "%s", (text,), None)
    record.more = more
    line = as_json("web").format(record)
    assert "\n" not in line
    assert (json.loads(line)["event"], json.loads(line)["more"]) == (text, more)


def test_every_process_of_a_service_logs_json(tmp_path: Path, receipt: Any) -> None:  # noqa: F811
    running = Service(tmp_path, log_format="json", slow_ms="0.001")
    running.start()
    try:
        assert running.submit(receipt("logged")).status_code == 201
        read = running.http.get("/v1/lots")
        time.sleep(0.5)
    finally:
        running.stop()
    lines = [json.loads(line) for line in (tmp_path / "web.log").read_text().splitlines()]
    assert {"slow decision", "slow read"} <= {line["event"] for line in lines}
    assert {line["process"] for line in lines if line["logger"] == "lotgate.slow"} == {"web", "committer"}
    assert read.headers["x-request-id"] in {line.get("correlation_id") for line in lines}
