"""Deliveries, tasks and what waits, in a browser: numbers as the API says them, and the switches work."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from api.console.render import ROOMS
from engine.clock import instant, system_clock
from engine.ledger import Ledger
from engine.store.backlog import Backlog
from engine.store.opening import Store, open_store
from tests.actors.conftest import clock_process
from tests.console.conftest import MAX_PAGE_BYTES

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def store(service: Any) -> Iterator[Store]:
    opened = open_store("", service.home)
    yield opened
    opened.close()


def arrived(service: Any, event: dict[str, Any]) -> str:
    answer = service.submit(event)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["lot"])


def given_up(service: Any, lot: str) -> int:
    """The lot's delivery to the ERP as a worker leaves it that has given up."""
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute(
            "UPDATE deliveries SET state = 'dead', attempts = 3, last_error = 'erp answered 422', "
            "exchange = 'POST /api/lots HTTP/1.1' || char(10) || '422 <unit unknown>' WHERE lot = ? AND target = 'erp'",
            (lot,),
        )
    [line] = service.http.get("/v1/deliveries", params={"lot": lot, "target": "erp"}).json()["data"]
    assert line["state"] == "dead"
    return int(line["id"])


def test_what_was_given_up_is_read_and_sent_again(service: Any, visitor: Any, receipt: Make) -> None:
    page = visitor().open("/console/deliveries")
    erp = page.locator("section.panel", has=page.locator("#target-erp"))
    erp.locator("summary").click()
    erp.locator("input[name=reason]").fill("month end")
    erp.get_by_role("button", name="Tell erp nothing").click()
    expect(erp.locator(".state")).to_have_text("paused")
    paused = next(t for t in service.http.get("/v1/targets").json()["data"] if t["state"]["name"] == "erp")
    assert (paused["state"]["paused_by"], paused["state"]["reason"]) == ("admin", "month end")
    lot = arrived(service, receipt("dead"))
    number = given_up(service, lot)
    page = visitor().open(f"/console/deliveries?state=dead&target=erp&lot={lot}")
    now = next(t for t in service.http.get("/v1/targets").json()["data"] if t["state"]["name"] == "erp")
    for words, value in (("waiting", now["pending"]), ("under way", now["sending"]), ("given up", now["dead"])):
        expect(erp_tile(page, words)).to_have_text(f"{value}{words}")
    expect(page.locator("form.panel")).to_contain_text("1 delivery given up for erp")
    page.locator(f"#delivery-{number} a.id").first.click()
    expect(page.locator("pre").first).to_contain_text("422 <unit unknown>")
    page.get_by_role("button", name="Send it again").click()
    expect(page.locator(".head .state")).to_have_text("waiting")
    assert service.http.get(f"/v1/deliveries/{number}").json()["state"] == "pending"
    again = given_up(service, lot)
    page = visitor().open(f"/console/deliveries?lot={lot}")
    page.get_by_role("button", name="Send 1 delivery again").click()
    expect(page.locator(".flash")).to_contain_text("1 delivery is due again")
    assert service.http.get(f"/v1/deliveries/{again}").json()["state"] == "pending"
    page.get_by_role("button", name="Resume erp").click()
    expect(page.locator("#targets .state.paused")).to_have_count(0)


def erp_tile(page: Any, words: str) -> Any:
    return page.locator("section.panel", has=page.locator("#target-erp")).locator(".tile", has_text=words)


def test_a_task_is_seen_and_done_in_the_browser(service: Any, visitor: Any, store: Store) -> None:
    tasks = Ledger(store, system_clock).tasks
    assert tasks.open_once("notification", "CONSOLE-TASK", "look <here>")
    page = visitor().open("/console/tasks?subject=CONSOLE-TASK")
    row = page.locator("#rows tbody tr")
    expect(row).to_contain_text("look <here>")
    row.locator("summary").click()
    row.locator("input[name=note]").fill("on my way")
    row.get_by_role("button", name="I have seen it").click()
    expect(row).to_contain_text("on my way")
    row.locator("summary").click()
    row.get_by_role("button", name="It is done").click()
    expect(page.locator("#rows")).to_contain_text("Nothing for anybody to look at")
    [task] = service.http.get("/v1/tasks?subject=CONSOLE-TASK&state=closed").json()["data"]
    assert (task["acknowledged_by"], task["note"], task["closed_by"]) == ("admin", "on my way", "admin")


def test_what_waits_is_counted_by_its_age_and_the_oldest_comes_first(
    service: Any, visitor: Any, receipt: Make, hold: Make, store: Store
) -> None:
    backlog, now = Backlog(store), datetime.now(UTC)
    edges = [instant(now - timedelta(days=days)) for days in (1, 7, 30, 90)]
    before = backlog.ages(["blocked"], edges)
    ages = {"a": 400, "b": 45, "c": 44, "d": 0}
    for name, days in ages.items():
        lot = arrived(service, receipt(name))
        arrived(service, hold(lot, "H-OLD"))
        since = instant(now - timedelta(days=days))
        with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
            (there,) = database.execute("SELECT state_since FROM lots WHERE id = ?", (lot,)).fetchone()
            entry = service.http.get(f"/v1/lots/{lot}/journal").json()["data"][-1]
            assert there == entry["recorded_at"]
            database.execute("UPDATE lots SET state_since = ? WHERE id = ?", (since, lot))
    assert [new - old for new, old in zip(backlog.ages(["blocked"], edges), before, strict=True)] == [1, 0, 0, 2, 1]
    page = visitor().open("/console/backlog?queue=blocked")
    shown = [lot for lot in page.locator("#rows tbody td:first-child").all_inner_texts() if lot[-2:] in ("-a", "-b", "-c")]
    assert [lot[-1] for lot in shown] == ["a", "b", "c"]
    expect(page.locator("#rows tbody tr").first).to_contain_text("H-OLD")
    blocked = sum(1 for lot in service.http.get("/v1/lots?state=blocked&limit=500").json()["data"] if not lot["closed"])
    expect(page.locator("#queue-blocked h2")).to_contain_text(f"{blocked} lot")


def test_a_lot_that_stays_in_its_state_has_been_in_it_since_then(service: Any, receipt: Make, hold: Make) -> None:
    lot = arrived(service, receipt("since"))
    arrived(service, hold(lot, "H-1"))
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        first = database.execute("SELECT state_since FROM lots WHERE id = ?", (lot,)).fetchone()
        arrived(service, hold(lot, "H-2"))
        assert database.execute("SELECT state_since FROM lots WHERE id = ?", (lot,)).fetchone() == first


def test_operators_pages_are_accessible_and_light(service: Any, visitor: Any, receipt: Make) -> None:
    arrived(service, receipt("axe"))
    person = visitor()
    for path in ("/console/deliveries?state=pending", "/console/deliveries/1", "/console/tasks",
                 "/console/backlog?queue=blocked"):  # fmt: skip
        page = person.open(path)
        expect(page.locator("#pulse")).to_contain_text("Live")
        assert person.transferred() < MAX_PAGE_BYTES
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert person.offences() == []


#: Room -> what a fresh installation says of it, and the page that it leads to.
BEGINNINGS = {
    "/console": ("No lot has arrived yet", "/console/help/quickstart"),
    "/console/backlog": ("No lot waits for its inspection", "/console/backlog?queue=release"),
    "/console/tasks": ("Nothing for anybody to look at", "/console/help/operations#tasks"),
    "/console/records": ("No record is under way", "/console/help/quality-records"),
    "/console/deliveries": ("Nothing was told to any system yet", "/console/help/connectors"),
    "/console/numbers": ("No lot's inspection is complete yet", "/console/help/kpi"),
    "/console/quality": ("No lot's inspection is complete yet", "/console/help/quality"),
    "/console/readiness": ("Every lot is asked", "/console/help/genealogy#shipment-readiness"),
    "/console/holds": ("No hold was ever placed", "/console/help/genealogy#holds-on-many-lots"),
    "/console/recalls": ("There was never a recall", "/console/help/genealogy#recalls"),
    "/console/rules": ("rules at the gates", "/console/help/rules"),
    "/console/reference": ("No inspection plan is in force", "/console/help/cli#lotgate-reference"),
    "/console/audit": ("None was signed yet", "/console/help/audit#checkpoints-of-everything"),
    "/console/system": ("None yet", "/console/help/runbook#a-process-is-missing"),
    "/console/help": ("New here?", "/console/help/quickstart"),
}


def test_a_fresh_house_says_where_to_begin_and_who_is_alive(own: Any, visitor: Any) -> None:
    person = visitor(own.key)
    person.service = own
    assert [room.path for room in ROOMS] == list(BEGINNINGS)
    for path, (words, there) in BEGINNINGS.items():
        page = person.open(path)
        expect(page.locator("main")).to_contain_text(words)
        assert page.locator(f'main a[href="{there}"], .rooms a[href="{there}"]').count(), path
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.locator("#scan").bounding_box()["width"] > 300, "on a phone, too, a lot can be typed"
    # Nobody has asked them: that they answer is not known.
    assert own.http.get("/console/deliveries").text.count(">nothing told yet<") == 2
    page.set_viewport_size({"width": 1366, "height": 900})
    page = person.open("/console/backlog")
    assert page.evaluate("document.documentElement.scrollHeight") == 900, "what fits is not scrolled"
    page = person.open("/console/system")
    rows = page.locator("#processes tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("alive")
    expect(rows.first).to_contain_text(str(own.process.pid))
    expect(page.locator("#processes")).to_contain_text("No process is seen that is clock")
    with clock_process(own.home):
        expect(rows).to_have_count(2)
        expect(page.locator("#processes .bad-words")).to_have_count(0)
        assert person.offences() == []
