"""Reference data in a browser: the records of the API, each with its revisions, its owner, and what rests on it."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import expect

from api.console.reference import content_of, in_force
from engine.reference import Record
from tests.api.conftest import Service
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.test_console_lots import submit

Make = Callable[..., dict[str, Any]]
DIAMETER = {"characteristic": "diameter", "unit": "mm", "lower": "73.95", "upper": "74.05"}


def plan(service: Any, key: str, first: str = "2026-01-01", aql: str = "1.0", **more: Any) -> None:
    content = {"item": "RING-74", "characteristics": [DIAMETER], "sampling": {"aql": aql}, **more}
    wanted = {"effective_from": first, "content": content}
    answer = service.http.put(f"/v1/reference/inspection-plan/{key}", json=wanted)
    assert answer.status_code == 201, answer.text


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path, record_owners="inspection-plan=admin|qms, order.status=credit")
    running.start()
    yield running
    running.stop()


def test_a_record_shows_its_revisions_its_owner_and_what_a_change_touches(
    owned: Any, visitor: Any, receipt: Make
) -> None:
    lots = [submit(owned, receipt(str(number), receipt=f"GR-{number}"))["lot"] for number in range(3)]
    plan(owned, "IP-RING")
    plan(owned, "IP-RING", "2026-02-01", "0.65")
    plan(owned, "IP-FUTURE", "2027-01-01", kind="final")
    person = visitor(owned.key)
    person.service = owned
    page = person.open("/console/reference")
    listed = owned.http.get("/v1/reference/inspection-plan").json()["data"]
    rows = page.locator("#rows tbody tr")
    assert rows.locator("td:nth-child(1)").all_inner_texts() == [row["key"] for row in listed]
    assert rows.locator("td:nth-child(2)").all_inner_texts() == [str(row["revision"]) for row in listed]
    expect(page.locator("main")).to_contain_text("admin or qms")
    assert person.offences() == []
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/reference/inspection-plan/IP-RING")
    revisions = owned.http.get("/v1/reference/inspection-plan/IP-RING").json()["data"]
    expect(page.locator(".timeline > li")).to_have_count(len(revisions))
    expect(page.locator(".head .state")).to_contain_text("revision 2")
    expect(page.locator("#revision-2 dl")).to_contain_text("0.65")
    page.locator("#content-1 summary").click()
    expect(page.locator("#revision-1 dl")).to_contain_text("1.0")
    expect(page.locator("#whose")).to_contain_text("admin or qms")
    dry = owned.http.put(
        "/v1/reference/inspection-plan/IP-RING?dry_run=yes",
        json={"effective_from": "2026-03-01", "content": {"item": "RING-74", "characteristics": [DIAMETER], "sampling": {"aql": "0.4"}}},
    ).json()["affects"]
    expect(page.locator("#lots-number")).to_have_text(str(dry["lots_number"]))
    assert dry["lots_number"] == len(lots)
    for name in (*lots, *dry["plans"], *dry.get("rules", [])):
        expect(page.locator("#affects")).to_contain_text(name)
    assert person.offences() == []
    page = person.open("/console/reference/inspection-plan/IP-FUTURE")
    expect(page.locator(".head .state")).to_have_text("not in force today")
    page = person.open("/console/reference?kind=inspection-plan&on=2027-06-01&key=IP-F")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page = person.open("/console/reference?kind=order")
    expect(page.locator("main")).to_contain_text("credit for status")
    expect(page.locator("#rows")).to_contain_text("No order is in force")
    assert owned.http.get("/console/reference/inspection-plan/NONE").status_code == 404
    assert owned.http.get("/console/reference?kind=secrets").status_code == 400


def test_many_records_are_pages_that_miss_none_and_are_quick(service: Any, visitor: Any) -> None:
    for number in range(250):
        content = {"item": f"I-{number:04}", "characteristics": [DIAMETER], "sampling": {"aql": "1.0"}}
        wanted = {"effective_from": "2026-01-01", "content": content}
        answer = service.http.put(f"/v1/reference/inspection-plan/P-{number:04}", json=wanted)
        assert answer.status_code == 201, answer.text
    person = visitor()
    page = person.open("/console/reference?key=P-")
    assert person.transferred() < MAX_PAGE_BYTES
    seen = page.locator("#rows tbody td:first-child").all_inner_texts()
    while page.locator("a[rel=next]").count():
        page.locator("a[rel=next]").click()
        page.wait_for_load_state()
        seen += page.locator("#rows tbody td:first-child").all_inner_texts()
    assert seen == [f"P-{number:04}" for number in range(250)]
    began = time.monotonic()
    assert service.http.get("/console/reference?key=P-").status_code == 200
    assert time.monotonic() - began < 1
    found = service.http.get("/console/reference?key=P-00%25").text
    assert not re.search(r'id="record-', found), "a percent sign is no wildcard"


def test_a_content_becomes_lines_and_tables_and_a_withdrawn_one_none() -> None:
    def record(text: str, first: str = "2026-01-01", last: str | None = None, number: int = 1) -> Record:
        return Record("fact", "K", number, first, last, msgspec.Raw(text.encode()), "2026-01-01T00:00:00Z", "x")

    said = content_of(record('{"a": 1, "b": {"c": true, "d": null}, "g_h": ["p", "q"], "i": [], "fields": {"value": "2.50", "per": "ea"},'
                             ' "lines": [{"f": "x", "quantity": {"value": "10", "unit": "ea"}}, {"f": "y", "j": [1, 2]}]}'))  # fmt: skip
    assert {line.name: line.value for line in said.lines} == {"a": "1", "b · c": "yes", "g h": "p, q", "value": "2.50", "per": "ea"}
    [lines] = said.listings
    assert (lines.name, lines.columns, lines.left_out) == ("lines", ["f", "quantity", "j"], 0)
    assert lines.rows == [["x", "10 ea", "–"], ["y", "–", "1, 2"]]
    [many] = content_of(record(msgspec.json.encode({"e": [{"f": n} for n in range(250)]}).decode())).listings
    assert (len(many.rows), many.left_out) == (200, 50)
    assert content_of(record("null")).withdrawn
    # Nothing is said of it beyond that it is there, which is not that it is gone.
    assert not content_of(record("{}")).withdrawn
    rows = [record("{}"), record("{}", "2026-03-01", "2026-03-31", 2), record("null", "2026-06-01", None, 3)]
    assert [in_force(rows, day, live=False) for day in ("2025-12-31", "2026-02-01", "2026-03-15", "2026-04-15", "2026-07-01")] == [
        None, 1, 2, None, None,
    ]  # fmt: skip
    assert in_force(rows, "2026-01-01", live=True) == 3
