"""Traces over HTTP and in the terminal."""

import csv
import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def family(service: Any) -> str:
    """A supplier's lot, named like a formula, that went into two others."""
    def send(number: int, type_: str, lot: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "id": f"family-{number}", "source": "mes", "type": type_, "subject": lot}
        answer = service.submit({**event, "data": data})
        assert answer.status_code == 201, answer.text

    amount = {"value": "1.50", "unit": "ea"}
    made = {"item": "RING-74", "revision": "A", "quantity": amount, "order": "MO-F"}
    parts = [{"lot": "=FAMILY", "quantity": amount}]
    send(1, "lot.received.v1", "=FAMILY", {
        "item": "RING-74", "revision": "A", "quantity": amount, "supplier": "ACME", "receipt": "GR-F",
    })  # fmt: skip
    send(2, "lot.produced.v1", "F-1", {**made, "confirmation": "F1", "inputs": parts})
    send(3, "lot.produced.v1", "F-2", {**made, "order": "MO-G", "confirmation": "F2",
                                       "inputs": [{"lot": "F-1", "quantity": amount}]})  # fmt: skip
    return "=FAMILY"


def test_a_trace_goes_forward_and_backward(service: Any, family: str) -> None:
    found = service.http.get("/v1/lots/%3DFAMILY/genealogy").json()
    assert [(n["id"], n["depth"]) for n in found["nodes"]] == [("=FAMILY", 0), ("F-1", 1), ("F-2", 2)]
    assert found["links"][0] == {
        "kind": "input", "from": "lot:=FAMILY", "to": "lot:F-1", "quantity": "1.50", "unit": "ea"
    }  # fmt: skip
    assert found["truncated"] is None
    back = service.http.get("/v1/lots/F-2/genealogy", params={"direction": "backward"}).json()
    assert {n["id"] for n in back["nodes"]} == {"F-2", "F-1", "MO-G", "MO-F", "=FAMILY"}
    short = service.http.get("/v1/lots/%3DFAMILY/genealogy", params={"depth": "1"}).json()
    assert short["truncated"] == "depth"


def test_the_table_for_the_recall_team_holds_no_formula(service: Any, family: str) -> None:
    answer = service.http.get("/v1/lots/%3DFAMILY/genealogy", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["lot"] for row in rows] == ["'=FAMILY", "F-1", "F-2"]
    assert rows[0]["supplier"] == "ACME"
    assert rows[2]["item"] == "RING-74"


@pytest.mark.parametrize("query", ["direction=sideways", "depth=0", "depth=1001", "nodes=x", "format=pdf", "deep=1"])
def test_what_cannot_be_walked_is_refused(service: Any, family: str, query: str) -> None:
    assert service.http.get(f"/v1/lots/F-1/genealogy?{query}").status_code == 400


def test_nothing_is_known_of_a_lot_that_never_was(service: Any) -> None:
    assert service.http.get("/v1/lots/NEVER-WAS/genealogy").status_code == 404


def test_the_terminal_shows_a_tree(service: Any, family: str) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "api.cli.main", "trace", *words, "--url", service.url, "--key", service.key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        return done.stdout

    lines = run(family).splitlines()
    assert lines[0].startswith("=FAMILY  RING-74")
    assert lines[1].startswith("    1.50 ea  input  F-1  RING-74  quarantined")
    assert lines[2].startswith("        1.50 ea  input  F-2")
    assert lines[-1] == "2 other lots"
    assert json.loads(run(family, "--json"))["direction"] == "forward"
    assert "order MO-G" in run("F-2", "--backward")
    assert run("F-1", "--csv").startswith("depth,lot,")
