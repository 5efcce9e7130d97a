"""What other systems say of a lot, over HTTP: a system that hangs is its own trouble."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service


@pytest.fixture
def silent() -> Iterator[str]:
    """An ERP that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def waiting(tmp_path: Path, silent: str) -> Iterator[Service]:
    running = Service(tmp_path, erp_url=silent)
    running.start()
    yield running
    running.stop()


def test_a_silent_system_delays_neither_the_other_systems_nor_other_callers(waiting: Service, receipt: Any) -> None:
    lot = waiting.submit(receipt("quiet")).json()["lot"]
    answers: list[Any] = []
    begun = threading.Barrier(13)

    def ask() -> None:
        with waiting.client(waiting.key) as http:
            begun.wait()
            answers.append(http.get(f"/v1/lots/{lot}/systems"))

    asking = [threading.Thread(target=ask) for _ in range(12)]
    for one in asking:
        one.start()
    begun.wait()
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert waiting.http.get(f"/v1/lots/{lot}").status_code == 200
        took.append(time.monotonic() - began)
    for one in asking:
        one.join(20)
    assert max(took) < 1.0, took
    assert {a.status_code for a in answers} <= {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["type"] == "/problems/overloaded"
            assert int(answer.headers["retry-after"]) >= 1
            continue
        erp, wms = answer.json()["systems"]
        assert (erp["outcome"], wms["outcome"]) == ("not-read", "not-read")
        assert "did not answer within" in erp["problem"]
        assert "did not answer within" not in wms["problem"], "it refused at once"
    assert any(a.status_code == 200 for a in answers)
    assert waiting.http.get("/v1/lots/NONE/systems").status_code == 404
