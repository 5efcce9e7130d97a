"""Recalls over HTTP and in the terminal, carried out by the clock process of a whole installation."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.installation import Installation


def test_a_recall_from_preview_to_the_end(tmp_path: Path) -> None:
    works = Installation(tmp_path)
    works.start()
    try:
        http = works.client()

        def send(number: int, type_: str, lot: str, data: dict[str, Any]) -> None:
            event = {"specversion": "1.0", "id": f"r-{number}", "source": "mes", "type": type_, "subject": lot, "data": data}
            answer = http.post("/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
            assert answer.status_code == 201, answer.text

        amount = {"value": "5", "unit": "ea"}
        made = {"item": "RING-74", "revision": "A", "quantity": amount}
        send(1, "lot.received.v1", "RAW", {**made, "supplier": "ACME", "receipt": "GR-1"})
        send(2, "lot.produced.v1", "=MADE", {
            **made, "order": "MO-1", "confirmation": "C-1", "inputs": [{"lot": "RAW", "quantity": amount}],
        })  # fmt: skip
        extent = http.post("/v1/recalls/preview", json={"supplier": "ACME"}).json()
        assert (extent["selected"], extent["lots"], extent["states"]) == (1, 2, {"quarantined": 2})
        assert extent["balance"][0]["made"] == "10"
        wanted = {"selection": {"supplier": "ACME"}, "reason": {"code": "CRACKS"}, "id": "R-1"}
        assert [http.post("/v1/recalls", json=wanted).status_code for _ in range(2)] == [201, 200]
        deadline = time.monotonic() + 60
        while (view := http.get("/v1/recalls/R-1").json())["recall"]["state"] != "open":
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        assert view["extent"]["states"] == {"blocked": 2}
        assert http.get("/v1/lots/%3DMADE").json()["lot"]["holds"][0]["hold"] == "recall:R-1"
        table = works.run("recall", "show", "R-1", "--csv").stdout
        assert [line.split(",")[1] for line in table.splitlines()] == ["lot", "'=MADE", "RAW"]
        assert works.run("recall", "close", "R-1", "--note", "all found").returncode == 0
        while http.get("/v1/recalls/R-1").json()["recall"]["state"] != "closed":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "holds" not in http.get("/v1/lots/RAW").json()["lot"]
        assert [line["id"] for line in http.get("/v1/recalls").json()["data"]] == ["R-1"]
    finally:
        works.end()


@pytest.mark.parametrize("body", [
    "{}", '{"supplier": 5}', '{"lots": ["NEVER-WAS"]}', '{"received_from": "yesterday"}', '{"colour": "red"}', "[",
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(service: Any, body: str) -> None:
    before = service.http.get("/v1/recalls").json()
    answer = service.http.post("/v1/recalls/preview", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    strange = f'{{"selection": {body}, "reason": {{"code": "X"}}}}'
    answer = service.http.post("/v1/recalls", content=strange, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert [line["id"] for line in service.http.get("/v1/recalls").json()["data"]] == [r["id"] for r in before["data"]]


@pytest.mark.parametrize("words", [["open"], ["show"], ["close", "R-1"], ["preview", "--lot", "NEVER-WAS"]])
def test_the_terminal_says_what_is_missing(service: Any, words: list[str]) -> None:
    command = [sys.executable, "-m", "api.cli.main", "recall", *words, "--url", service.url, "--key", service.key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("lotgate: ")
    assert "Traceback" not in done.stderr
