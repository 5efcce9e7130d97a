"""Holds on many lots over HTTP, in the terminal and in the roles that lift them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.test_access_http import grant, until


@pytest.fixture(scope="module")
def keys(service: Any) -> dict[str, str]:
    made = {role: grant(service, f"wide-{role}", f'["{role}"]') for role in ("hold", "release", "read")}
    made["both"] = grant(service, "wide-both", '["hold", "release"]')
    with service.client(made["both"]) as last:
        until(lambda: last.get("/v1/lots").status_code == 200)
    return made


def receive(service: Any, lot: str, order: str) -> None:
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "5", "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR-{lot}", "order": order}  # fmt: skip
    answer = service.http.post(f"/v1/lots/{lot}/receive", json=data, headers={"Idempotency-Key": f"wh-{lot}"})
    assert answer.status_code == 201, answer.text


def held(service: Any, lot: str) -> list[str]:
    return [hold["hold"] for hold in service.http.get(f"/v1/lots/{lot}").json()["lot"].get("holds", [])]


def wait(service: Any, hold: str, state: str) -> Any:
    deadline = time.monotonic() + 30
    while (view := service.http.get(f"/v1/holds/{hold}").json())["hold"]["state"] != state:
        assert time.monotonic() < deadline, view
        time.sleep(0.05)
    return view


@pytest.fixture
def work(service: Any) -> Callable[[], None]:
    """What the clock process does: the service of these tests has none."""
    from engine.clock import system_clock
    from engine.pipeline import Pipeline
    from engine.settings import SHIPPED_RULES
    from engine.store.opening import open_store
    from engine.wide_holds import carry_out
    from rules.judge import TwoChannelJudge
    from rules.rulebook import RuleBook

    book = RuleBook.load(SHIPPED_RULES)

    def once() -> None:
        store, judge = open_store("", service.home), TwoChannelJudge(book)
        pipeline = Pipeline(store, judge, book, system_clock)
        while carry_out(store, pipeline, system_clock):
            pass
        pipeline.stop()
        judge.close()
        store.close()

    return once


def test_an_order_is_held_from_the_look_to_the_lift(
    service: Any, keys: dict[str, str], work: Callable[[], None]
) -> None:
    for lot in ("WH-1", "WH-2"):
        receive(service, lot, "PO-WIDE")
    look = service.http.post("/v1/holds/preview", json={"selection": {"order": "PO-WIDE"}}).json()
    assert (look["lots"], look["first"]) == (2, ["WH-1", "WH-2"])
    wanted = {"scope": "order", "selection": {"order": "PO-WIDE"}, "reason": {"code": "SUSPECT"}, "id": "W-HTTP",
              "lift_role": "release", "digest": look["digest"]}  # fmt: skip
    with service.client(keys["hold"]) as caller:
        assert [caller.post("/v1/holds", json=wanted).status_code for _ in range(2)] == [201, 200]
    receive(service, "WH-3", "PO-WIDE")
    assert held(service, "WH-3") == ["wide:W-HTTP"]
    work()
    view = wait(service, "W-HTTP", "placed")
    assert (view["hold"]["done"], view["hold"]["stands"]) == (3, True)
    outdated = service.http.post("/v1/holds", json=wanted | {"id": "W-HTTP-2"})
    assert (outdated.status_code, outdated.json()["type"]) == (409, "/problems/preview-outdated")
    lots = service.http.get("/v1/holds/W-HTTP/lots")
    assert [lot["id"] for lot in lots.json()["data"]] == ["WH-1", "WH-2", "WH-3"]
    sheet = service.http.get("/v1/holds/W-HTTP/lots?format=csv").text.splitlines()
    assert [line.split(",")[0] for line in sheet] == ["lot", "WH-1", "WH-2", "WH-3"]
    lift = {"reason": {"code": "CLEARED"}}
    with service.client(keys["hold"]) as caller:
        refused = caller.post("/v1/holds/W-HTTP/lift", json=lift)
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/lift-role")
        assert caller.post("/v1/holds/W-HTTP/lift", json=lift | {"role": "release"}).status_code == 403
    assert service.http.get("/v1/holds/W-HTTP").json()["steps"][-1]["step"] == "lift-refused"
    with service.client(keys["release"]) as caller:
        assert caller.post("/v1/holds/W-HTTP/lift", json=lift).status_code == 403
        assert caller.post("/v1/holds/W-HTTP/lift", json=lift | {"role": "release"}).status_code == 200
    work()
    wait(service, "W-HTTP", "lifted")
    assert [held(service, f"WH-{n}") for n in (1, 2, 3)] == [[], [], []]


def placed_by_name(service: Any, lots: list[str]) -> str:
    """The address of lots that a hold was placed on, and on the first of them twice."""
    def event(number: int, kind: str, lot: str, **data: Any) -> dict[str, Any]:
        return {"specversion": "1.0", "id": f"pages-{number}", "source": "wms", "type": kind, "subject": lot, "data": data}

    reason = {"code": "SUSPECT"}
    goods = {"item": "RING-74", "revision": "A", "quantity": {"value": "5", "unit": "ea"}, "supplier": "ACME"}
    said = [("lot.received.v1", lot, goods | {"receipt": lot}) for lot in lots]
    first = [("hold.applied.v1", lots[0]), ("hold.lifted.v1", lots[0])]
    held = [*first, *(("hold.applied.v1", lot) for lot in lots)]
    said += [(kind, lot, {"hold": "H-PAGES", "reason": reason}) for kind, lot in held]
    lines = [json.dumps(event(number, kind, lot, **data)) for number, (kind, lot, data) in enumerate(said)]
    headers = {"Content-Type": "application/x-ndjson", "Prefer": "return=minimal"}
    answer = service.http.post("/v1/events/batch", content="\n".join(lines), headers=headers)
    assert {json.loads(line)["status"] for line in answer.text.splitlines()} == {201}
    many = {"lifts": "H-PAGES", "selection": {"lots": lots}, "reason": reason, "id": "W-PAGES"}
    assert service.http.post("/v1/holds/lift", json=many).status_code == 201
    return "/v1/holds/W-PAGES/lots"


def test_lots_of_a_hold_come_whole_or_in_pages_of_lots_and_tables_link_to_the_next(service: Any) -> None:
    lots = [f"PGS-{number:03}" for number in range(501)]
    path = placed_by_name(service, lots)
    expected = [lots[0], *lots]
    whole = service.http.get(path).json()
    assert [row["id"] for row in whole["data"]] == expected
    assert whole["next"] is None
    first = service.http.get(path, params={"limit": 1}).json()
    assert [row["id"] for row in first["data"]] == lots[:1] * 2
    second = service.http.get(path, params={"cursor": first["next"]}).json()
    assert [row["id"] for row in second["data"]] == lots[1:101], "a cursor alone asks for pages, too"
    table = service.http.get(path, params={"format": "csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    head, *lines = table.text.splitlines()
    assert [line.split(",")[0] for line in lines] == expected, "the table is longer than what is read at a time"
    found: list[str] = []
    asked: str | None = f"{path}?format=csv&limit=300"
    while asked is not None:
        answer = service.http.get(asked)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.text.splitlines()[0] == head
        found += answer.text.splitlines()[1:]
        asked = answer.links["next"]["url"] if "link" in answer.headers else None
    assert found == lines
    with service.http.stream("HEAD", path, params={"format": "csv"}) as answer:
        assert (answer.status_code, answer.read()) == (200, b"")
    assert service.http.get("/v1/holds/NEVER/lots?format=csv").status_code == 404
    assert service.http.get(path, params={"format": "csv", "limit": 501}).status_code == 400
    command = [sys.executable, "-m", "api.cli.main", "hold", "show", "W-PAGES", "--csv", "--url", service.url]
    shown = subprocess.run([*command, "--key", service.key], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.splitlines() == [head, *lines]
    command[5] = "NEVER"
    gone = subprocess.run([*command, "--key", service.key], capture_output=True, text=True, timeout=60, check=False)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "There is no wide hold NEVER. (404)" in gone.stderr


def test_one_lot_is_lifted_in_the_role_that_its_hold_names(service: Any, keys: dict[str, str]) -> None:
    receive(service, "WH-R", "PO-R")
    data = {"hold": "H-1", "reason": {"code": "SUSPECT"}, "lift_role": "release"}
    placed = service.http.post("/v1/lots/WH-R/hold", json=data, headers={"Idempotency-Key": "wh-r"})
    assert placed.status_code == 201
    lift = {"hold": "H-1", "reason": {"code": "CLEARED"}}

    def said(key: str, number: int, **more: str) -> Any:
        with service.client(keys[key]) as caller:
            path = "/v1/lots/WH-R/lift-hold"
            return caller.post(path, json=lift | more, headers={"Idempotency-Key": f"wh-r-{number}"})

    assert said("release", 1).status_code == 403
    assert said("hold", 2, role="release").status_code == 403
    refused = said("hold", 3)
    assert (refused.status_code, refused.json()["rules"][0]["rule"]) == (409, "LIFT-ROLE")
    assert service.http.get("/v1/lots/WH-R/journal").json()["data"][-1]["kind"] == "refusal"
    assert said("release", 4, role="release").status_code == 201
    assert service.http.get("/v1/lots/WH-R/holds").json()["data"][0]["lift_role"] == "release"
    assert said("read", 5, role="read").status_code in (403, 422)


def test_only_lotgate_calls_a_hold_as_its_own(service: Any) -> None:
    data = {"hold": "wide:X", "reason": {"code": "SUSPECT"}}
    answer = service.http.post("/v1/lots/WH-1/hold", json=data, headers={"Idempotency-Key": "wide-name"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (403, "/data/hold")


def test_where_reasons_are_declared_people_hold_for_one_of_them(service: Any) -> None:
    receive(service, "WH-C", "PO-C")
    declare = {"effective_from": "2026-01-01", "content": {"text": "Under suspicion"}}
    assert service.http.put("/v1/reference/hold-reason/DECLARED", json=declare).status_code == 201
    try:
        hold = {"hold": "H-1", "reason": {"code": "WHIM"}}
        wrong = service.http.post("/v1/lots/WH-C/hold", json=hold, headers={"Idempotency-Key": "wh-c-1"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/reason/code")
        assert "there are DECLARED" in wrong.json()["detail"]
        wide = {"scope": "order", "selection": {"order": "PO-C"}, "reason": {"code": "WHIM"}}
        assert service.http.post("/v1/holds", json=wide).status_code == 422
        assert held(service, "WH-C") == []
        right = hold | {"reason": {"code": "DECLARED"}}
        assert service.http.post("/v1/lots/WH-C/hold", json=right, headers={"Idempotency-Key": "wh-c-2"}).status_code == 201
        event = {"specversion": "1.0", "id": "wh-c-3", "source": "mes", "type": "hold.applied.v1", "subject": "WH-C",
                 "data": {"hold": "H-2", "reason": {"code": "WHIM"}}}  # fmt: skip
        assert service.http.post("/v1/events", json=event).status_code == 201, "a system's hold lands"
    finally:
        withdrawn = {"effective_from": "2026-01-02", "content": None}
        assert service.http.put("/v1/reference/hold-reason/DECLARED", json=withdrawn).status_code == 201


@pytest.mark.parametrize("body", [
    {}, {"selection": {}}, {"selection": {"lots": ["NEVER-WAS"]}}, {"selection": {"states": ["odd"]}},
    {"selection": {"received_from": "yesterday"}}, {"selection": {"colour": "red"}},
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(service: Any, body: dict[str, Any]) -> None:
    before = service.http.get("/v1/holds").json()
    assert service.http.post("/v1/holds/preview", json=body).status_code == 422
    more = {"scope": "filter", "reason": {"code": "X"}}
    assert service.http.post("/v1/holds", json=more | body).status_code == 422
    assert service.http.get("/v1/holds").json() == before


@pytest.mark.parametrize("words", [["place"], ["show"], ["lift", "--reason", "X"], ["preview", "--lot", "NEVER-WAS"]])
def test_the_terminal_says_what_is_missing(service: Any, words: list[str]) -> None:
    command = [sys.executable, "-m", "api.cli.main", "hold", *words, "--url", service.url, "--key", service.key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("lotgate: ")
    assert "Traceback" not in done.stderr
