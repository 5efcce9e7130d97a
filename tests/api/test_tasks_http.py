"""Tasks over HTTP and on the command line: seen, acknowledged by whom and why, closed."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.cli.main import main
from engine.clock import system_clock
from engine.store.opening import open_store
from engine.tasks import Tasks


@pytest.fixture
def tasks(service: Any) -> Iterator[Tasks]:
    store = open_store("", service.home)
    yield Tasks(store, system_clock)
    store.close()


def opened(service: Any, tasks: Tasks, subject: str) -> int:
    assert tasks.open_once("delivery-dead", subject, "erp answered 422", "erp")
    [task] = service.http.get("/v1/tasks", params={"subject": subject}).json()["data"]
    assert (task["state"], task["target"], task["notices"]) == ("open", "erp", 0)
    return int(task["id"])


def test_a_task_is_acknowledged_with_who_and_why_and_closed(service: Any, tasks: Tasks) -> None:
    number = opened(service, tasks, "TASK-1")
    assert service.metric('lotgate_tasks{kind="delivery-dead",state="open"}') >= 1
    said = {"who": "Pat", "note": "calling the ERP team"}
    seen = service.http.post(f"/v1/tasks/{number}/acknowledge", json=said)
    assert seen.status_code == 200
    assert (seen.json()["acknowledged_by"], seen.json()["note"]) == ("Pat (admin)", "calling the ERP team")
    again = service.http.post(f"/v1/tasks/{number}/acknowledge", json={"who": "Kim"})
    assert again.json() == seen.json() == service.http.get(f"/v1/tasks/{number}").json()
    closed = service.http.post(f"/v1/tasks/{number}/close")
    assert (closed.json()["state"], closed.json()["closed_by"]) == ("closed", "admin")
    assert service.http.get("/v1/tasks", params={"subject": "TASK-1"}).json()["data"] == []
    assert service.http.get("/v1/tasks", params={"subject": "TASK-1", "state": "closed"}).json()["data"] == [
        closed.json()
    ]


def test_a_remark_that_cannot_be_read_changes_nothing(service: Any, tasks: Tasks) -> None:
    number = opened(service, tasks, "TASK-2")
    path = f"/v1/tasks/{number}/close"
    assert service.http.post(path, json={"whoever": "Pat"}).status_code == 422
    assert service.http.post(path, json={"note": "x" * 1001}).status_code == 422
    assert service.http.post(path, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert service.http.post("/v1/tasks/999999/close").status_code == 404
    assert service.http.get("/v1/tasks", params={"state": "forgotten"}).status_code == 400
    assert service.http.get(f"/v1/tasks/{number}").json()["state"] == "open"


def test_the_command_line_lists_acknowledges_and_closes(
    service: Any, tasks: Tasks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    monkeypatch.setenv("LOTGATE_PORT", str(service.port))
    number = str(opened(service, tasks, "TASK-3"))
    assert main(["tasks", "acknowledge", number, "--who", "Pat", "--note", "on it"]) == 0
    assert capsys.readouterr().out == f"task {number} (delivery-dead, TASK-3) is acknowledged, by Pat (admin)\n"
    assert main(["tasks"]) == 0
    shown = capsys.readouterr().out
    assert "delivery-dead       TASK-3 (erp), since" in shown
    assert "acknowledged by Pat (admin): on it" in shown
    assert main(["tasks", "close", number, "--who", "Pat"]) == 0
    assert main(["tasks", "list", "--state", "closed", "--json"]) == 0
    assert '"closed_by": "Pat (admin)"' in capsys.readouterr().out
    assert main(["tasks", "close"]) == 2
    assert main(["tasks", "close", "999999"]) == 1
