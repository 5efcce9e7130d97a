"""The life of a rule set as people live it: over HTTP and on the command line, against a running service."""

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.people import hash_of
from rules.rulebook import RuleBook

ROOT = Path(__file__).resolve().parents[2]
RULES = """\
rulefile: 1
owner: QC
reference: SOP-1
rules:
  - id: QUANTITY
    title: Not too much
    gate: [receive]
    severity: block
    rationale: Typing errors
    require: [lot.quantity <= 100]
    message: "{lot.quantity} is more than 100"
  - id: NO-RECALL
    title: Not recalled
    gate: [release, ship]
    severity: block
    rationale: SOP-2
    require: [lot.recall_open = no]
    message: "recalled"
tests:
  - name: little
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: received, quantity: 1, unit: ea, recall_open: no}}
    expect: {QUANTITY: pass, NO-RECALL: pass}
  - name: much
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: received, quantity: 9999999, unit: ea}}
    expect: {QUANTITY: fail, NO-RECALL: unknown}
"""


def at_most(quantity: int) -> str:
    return RULES.replace("<= 100", f"<= {quantity}").replace("more than 100", f"more than {quantity}")


class Plant:
    """A service with rule files of its own, and two people who hold keys."""

    def __init__(self, service: Any, folder: Path) -> None:
        self.service, self.folder = service, folder
        self.anna: httpx.Client = service.http
        self.bela_key = "lotgate_test_bela"
        with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
            for name, key, roles in (("bela", self.bela_key, '["admin"]'), ("clerk", "lotgate_test_clerk", '["edit-rules"]')):
                database.execute(
                    "INSERT INTO api_keys (id, secret_hash, name, roles, created_at) VALUES (?, ?, ?, ?, '2026-01-01')",
                    (name, hash_of(key), name, roles),
                )
        self.bela = service.client(self.bela_key)
        self.clerk = service.client("lotgate_test_clerk")
        until(lambda: self.bela.get("/v1/rules").status_code == 200)
        self._numbers = itertools.count(1)

    def receive(self, quantity: int) -> httpx.Response:
        lot = f"L{next(self._numbers)}"
        amount = {"value": str(quantity), "unit": "ea"}
        data = {"item": "X", "revision": "A", "quantity": amount, "receipt": lot, "supplier": "ACME"}
        envelope = {"specversion": "1.0", "id": lot, "source": "test", "type": "lot.received.v1", "subject": lot}
        answer: httpx.Response = self.service.submit(envelope | {"data": data})
        return answer

    def stage(self, text: str) -> str:
        answer = self.anna.post("/v1/rules/stage", json={"files": {"quantity.yaml": text}, "comment": "why not"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["line"]["digest"])

    def adopt(self, text: str) -> str:
        digest = self.stage(text)
        assert self.bela.post(f"/v1/rules/{digest}/approve").status_code == 200
        assert self.anna.post(f"/v1/rules/{digest}/activate").json()["state"] == "active"
        until(lambda: self.judges_by(digest))
        return digest

    def judges_by(self, digest: str) -> bool:
        detail = self.rules_check()["detail"]
        return detail.startswith(digest) and "changing over" not in detail

    def ensure(self, text: str) -> str:
        """``text`` is in force."""
        active = self.anna.get("/v1/rules/active").json()
        return str(active["line"]["digest"]) if active["files"]["quantity.yaml"] == text else self.adopt(text)

    def rules_check(self) -> dict[str, str]:
        found: dict[str, str] = self.anna.get("/readyz").json()["checks"]["rules"]
        return found

    def lotgate(self, *words: str, key: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "LOTGATE_HOME": str(self.service.home), "LOTGATE_PORT": str(self.service.port),
            "LOTGATE_RULES": str(self.folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200",
        }  # fmt: skip
        more = ["--key", key] if key else []
        return subprocess.run(
            [sys.executable, "-m", "api.cli.main", *words, *more], env=environment, capture_output=True, text=True, timeout=60
        )


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Plant]:
    service_type: Any = type(request.getfixturevalue("service"))
    home, folder = tmp_path_factory.mktemp("rules-home"), tmp_path_factory.mktemp("rules")
    (folder / "quantity.yaml").write_text(RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOTGATE_RULES", str(folder))
        running = service_type(home)
        running.start()
    yield Plant(running, folder)
    running.stop()


@pytest.fixture(autouse=True)
def the_files_on_disk(plant: Plant) -> Iterator[None]:
    """Every test starts with usable files."""
    yield
    (plant.folder / "quantity.yaml").write_text(RULES)


def test_a_change_of_rules_from_the_file_to_the_next_receipt(plant: Plant) -> None:
    plant.ensure(RULES)
    assert plant.receive(50).status_code == 201
    refused = plant.receive(200)
    assert refused.json()["rules"][0]["message"] == "200 is more than 100"
    digest = plant.stage(at_most(10))
    changes = plant.anna.get(f"/v1/rules/{digest}/diff").json()["changes"]
    assert [c["words"] for c in changes if c["what"] == "rule QUANTITY"] == [
        'message was "{lot.quantity} is more than 100", is "{lot.quantity} is more than 10"',
        "no longer requires: lot.quantity <= 100",
        "now requires: lot.quantity <= 10",
    ]
    own = plant.anna.post(f"/v1/rules/{digest}/approve")
    assert (own.status_code, own.json()["type"]) == (409, "/problems/rule-set-refused")
    assert plant.receive(50).status_code == 201
    plant.adopt(at_most(10))
    assert plant.receive(50).status_code == 409
    active = plant.anna.get("/v1/rules/active").json()
    assert active["line"]["digest"] == digest
    assert [(s["step"], s["by"]) for s in active["steps"]] == [
        ("staged", "admin"), ("approved", "bela"), ("activated", "admin"),
    ]  # fmt: skip
    assert plant.bela.post("/v1/rules/rollback", json={"expected": digest}).json()["state"] == "active"
    until(lambda: plant.receive(50).status_code == 201)


def test_every_event_is_answered_while_the_rules_change(plant: Plant) -> None:
    plant.ensure(RULES)
    digest = plant.stage(at_most(20))
    assert plant.bela.post(f"/v1/rules/{digest}/approve").status_code == 200
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(plant.receive, 50) for _ in range(50)]
        plant.bela.post(f"/v1/rules/{digest}/activate")
        while not plant.judges_by(digest):
            sent += [pool.submit(plant.receive, 50) for _ in range(20)]
        sent += [pool.submit(plant.receive, 50) for _ in range(20)]
        answers = [future.result() for future in sent]
    assert {answer.status_code for answer in answers} == {201, 409}
    assert {answer.status_code for answer in answers[-20:]} == {409}
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["rules"][0]["message"] == "50 is more than 20"


def test_a_decision_is_explained_as_it_was_decided(plant: Plant) -> None:
    plant.adopt(at_most(60))
    receipt = plant.receive(55).json()
    plant.adopt(at_most(61))
    lot = receipt["lot"]
    then = plant.anna.get(f"/v1/lots/{lot}/explain", params={"trigger": "receive", "as_decided": "last"}).json()
    assert (then["reproduced"], then["open"]) == (True, True)
    assert then["rule_set"] != plant.anna.get("/v1/rules/active").json()["line"]["digest"]
    assert [c["right"] for r in then["rules"] for c in r["conditions"]] == ["60"]
    said = plant.lotgate("lot", "explain", lot, "--trigger", "receive", "--as-decided")
    assert said.returncode == 0, said.stderr
    assert "was carried out" in said.stdout
    assert "the same verdicts" in said.stdout
    assert plant.anna.get(f"/v1/lots/{lot}/explain?as_decided=7").status_code == 404
    assert plant.anna.get(f"/v1/lots/{lot}/explain?as_decided=soon").status_code == 400


def test_files_on_disk_that_are_not_active_are_told_of(plant: Plant) -> None:
    digest = plant.ensure(RULES)
    until(lambda: plant.rules_check()["status"] == "ok")
    assert plant.service.metric("lotgate_rule_files_active") == 1
    (plant.folder / "quantity.yaml").write_text(at_most(7))
    until(lambda: "the files on disk are others" in plant.rules_check()["detail"])
    assert plant.service.metric("lotgate_rule_files_active") == 0
    (plant.folder / "quantity.yaml").write_text(RULES[:200])
    until(lambda: "cannot be used and are not active: quantity.yaml:" in plant.rules_check()["detail"])
    assert plant.rules_check()["status"] == "degraded"
    assert plant.service.metric("lotgate_rule_files_usable") == 0
    assert plant.receive(50).status_code == 201
    (plant.folder / "quantity.yaml").unlink()
    until(lambda: "there is no rule file here" in plant.rules_check()["detail"])
    assert plant.receive(500).status_code == 409
    assert plant.rules_check()["detail"].startswith(digest)


def test_a_scheduled_set_waits_for_its_day(plant: Plant) -> None:
    digest = plant.stage(at_most(3))
    assert plant.bela.post(f"/v1/rules/{digest}/approve", json={"comment": "seen"}).json()["approved_by"] == "bela"
    line = plant.bela.post(f"/v1/rules/{digest}/activate", json={"at": "2099-01-01"}).json()
    assert (line["state"], line["effective_at"]) == ("scheduled", "2099-01-01T00:00:00.000000Z")
    assert plant.bela.post(f"/v1/rules/{digest}/withdraw").json()["state"] == "withdrawn"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/rules/stage", {"files": {"a.yaml": "rules: ["}}, 422, "rule-files-invalid"),
        ("/v1/rules/stage", {"files": {}}, 422, "rule-files-invalid"),
        ("/v1/rules/stage", {"files": {"../a.yaml": RULES}}, 422, "rule-files-invalid"),
        ("/v1/rules/stage", {"files": {"a.yaml": 7}}, 422, "event-invalid"),
        ("/v1/rules/stage", {"file": {}}, 422, "event-invalid"),
        ("/v1/rules/abcdef12345/approve", {}, 404, "not-found"),
        ("/v1/rules/active/activate", {"at": "yesterday"}, 422, "event-invalid"),
        ("/v1/rules/active/activate", {"at": "2020-01-01"}, 409, "rule-set-refused"),
        ("/v1/rules/active/withdraw", {}, 409, "rule-set-refused"),
        ("/v1/rules/rollback", {"expected": "sha256:00"}, 409, "rule-set-refused"),
    ],
)
def test_what_cannot_be_done_is_a_problem_that_says_why(
    plant: Plant, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    plant.stage(RULES)
    answer = plant.bela.post(path, json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}"), answer.text


def test_every_mistake_of_a_file_comes_with_its_place(plant: Plant) -> None:
    broken = RULES.replace("severity: block", "severity: blokc").replace("lot.quantity <=", "lot.quantty <=")
    answer = plant.anna.post("/v1/rules/stage", json={"files": {"quantity.yaml": broken}})
    places = [fault["pointer"] for fault in answer.json()["errors"]]
    assert places == ["quantity.yaml:8:15", "quantity.yaml:10:15", "quantity.yaml:15:15"]
    assert 'did you mean "lot.quantity"?' in answer.json()["errors"][1]["detail"]


def test_only_administrators_approve_and_activate(plant: Plant) -> None:
    digest = plant.stage(at_most(4))
    assert plant.clerk.get("/v1/rules").status_code == 200
    for step in (f"{digest}/approve", f"{digest}/activate", f"{digest}/withdraw", "rollback"):
        assert plant.clerk.post(f"/v1/rules/{step}").status_code == 403


def test_a_broken_file_on_disk_does_not_keep_the_service_from_starting(plant: Plant) -> None:
    digest = plant.ensure(RULES)
    (plant.folder / "quantity.yaml").write_text("rules: [")
    plant.service.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOTGATE_RULES", str(plant.folder))
        plant.service.start()
    plant.anna = plant.service.http
    plant.bela, plant.clerk = plant.service.client(plant.bela_key), plant.service.client("lotgate_test_clerk")
    assert plant.receive(50).status_code == 201
    assert plant.receive(500).status_code == 409
    assert plant.rules_check()["status"] == "degraded"
    assert plant.rules_check()["detail"].startswith(digest)


# -- the command line --------------------------------------------------------------------------------------------


def test_the_command_line_takes_a_change_from_file_to_force(plant: Plant) -> None:
    (plant.folder / "quantity.yaml").write_text(at_most(80))
    compared = plant.lotgate("rules", "diff")
    assert compared.returncode == 1, compared.stderr
    assert "~ rule QUANTITY: now requires: lot.quantity <= 80" in compared.stdout
    staged = plant.lotgate("rules", "stage", "-m", "eighty is enough")
    assert staged.returncode == 0, staged.stdout + staged.stderr
    assert "nothing stands between it and an approval" in staged.stdout
    digest = staged.stdout[:12]
    refused = plant.lotgate("rules", "approve", digest)
    assert refused.returncode == 1
    assert "somebody else has to approve it" in refused.stderr
    assert plant.lotgate("rules", "approve", digest, key=plant.bela_key).returncode == 0
    assert "active" in plant.lotgate("rules", "activate", digest).stdout
    listed = plant.lotgate("rules", "list").stdout.splitlines()
    assert listed[0].startswith(f"{digest}  active")
    assert "eighty is enough" in plant.lotgate("rules", "show", digest).stdout
    assert plant.lotgate("rules", "rollback", "-m", "ninety after all").returncode == 0


def test_a_stored_set_can_be_written_to_files_again(plant: Plant, tmp_path: Path) -> None:
    assert plant.lotgate("rules", "show", "--to", str(tmp_path)).returncode == 0
    active = plant.anna.get("/v1/rules/active").json()
    assert RuleBook.load(tmp_path).digest == active["line"]["digest"]


def test_lint_shows_the_line_and_answers_tools_in_their_forms(plant: Plant) -> None:
    file = plant.folder / "quantity.yaml"
    file.write_text(RULES.replace("severity: block", "severity: blokc", 1))
    people = plant.lotgate("rules", "lint")
    assert people.returncode == 1
    assert "quantity.yaml:8:15: error:" in people.stdout
    assert "8 |     severity: blokc\n" in people.stdout
    assert 'did you mean "block"?' in people.stdout
    assert "1 error, 0 warnings" in people.stdout
    assert plant.lotgate("rules", "lint", "--format", "github").stdout.startswith(f"::error file={file},line=8,col=15")
    assert json.loads(plant.lotgate("rules", "lint", "--format", "sarif").stdout)["runs"][0]["results"]
    assert json.loads(plant.lotgate("rules", "lint", "--json").stdout)[0]["column"] == 15
    assert plant.lotgate("rules", "lint", "/nowhere").returncode == 2


def test_rule_tests_run_with_coverage_and_an_exit_code(plant: Plant) -> None:
    good = plant.lotgate("rules", "test", "--coverage")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "sides of conditions shown" in good.stdout
    (plant.folder / "quantity.yaml").write_text(RULES.replace("QUANTITY: fail", "QUANTITY: pass"))
    bad = plant.lotgate("rules", "test")
    assert bad.returncode == 1
    assert "much: QUANTITY is fail, expected pass" in bad.stdout


def test_the_schema_is_printed_for_editors(plant: Plant) -> None:
    assert json.loads(plant.lotgate("rules", "schema").stdout)["title"] == "Lotgate rule file"
    assert json.loads(plant.lotgate("rules", "schema", "--vocabulary").stdout)["title"] == "Lotgate vocabulary"


def test_a_backtest_tells_what_would_have_been_refused(plant: Plant) -> None:
    lot = plant.receive(42).json()["lot"]
    (plant.folder / "quantity.yaml").write_text(at_most(41))
    told = plant.lotgate("rules", "backtest", "--since", "2020-01-01")
    assert told.returncode == 1, told.stderr
    assert "by rule" in told.stdout
    assert "QUANTITY" in told.stdout
    report = json.loads(plant.lotgate("rules", "backtest", "--json").stdout)
    assert report["by_rule"][0]["name"] == "QUANTITY"
    assert lot in {e["lot"] for e in report["examples"]} or report["stricter"] > 3
    assert plant.lotgate("rules", "backtest", "--since", "soon").returncode == 2
