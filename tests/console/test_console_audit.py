"""The audit page: the record is verified in the browser with progress, a broken one is named, evidence is taken away."""

import io
import sqlite3
import zipfile
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from api.console.render import thousands
from engine.audit import verify_archive
from engine.store.opening import open_store
from engine.store.reading import Reading
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.test_console_lots import reader, submit

Make = Callable[..., dict[str, Any]]


def test_an_auditor_verifies_the_record_and_finds_what_was_changed(own: Any, visitor: Any, receipt: Make) -> None:
    for number in range(30):
        submit(own, receipt(str(number), receipt=f"GR-{number}"))
    person = visitor(reader(own, "auditor", '["read"]'))
    person.service = own
    page = person.open("/console/audit")
    assert person.offences() == []
    expect(page.locator("#verification")).to_contain_text("Nobody has asked")
    page.get_by_role("button", name="Verify everything").click()
    expect(page.locator("#verification .state")).to_have_text("whole")
    store = open_store("", own.home)
    journals = list(Reading(store).journals())
    store.close()
    expect(page.locator("#lots")).to_have_text(thousands(len(journals)))
    expect(page.locator("#entries")).to_have_text(thousands(sum(len(entries) for _, entries, _ in journals)))
    expect(page.locator("#broken")).to_have_text("0")
    lot = journals[7][0]
    with sqlite3.connect(own.home / "lotgate.db", timeout=10) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'journal'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE journal SET principal = 'nobody' WHERE lot = ? AND version = 1", (lot,))
    page.get_by_role("button", name="Verify everything again").click()
    expect(page.locator("#verification .state")).to_have_text("broken")
    expect(page.locator("#broken")).to_have_text("1")
    expect(page.locator("#verification table")).to_contain_text(lot)
    expect(page.locator("#verification table")).to_contain_text("its content was changed")
    assert person.offences() == []
    assert person.transferred() < MAX_PAGE_BYTES
    page.get_by_role("link", name="What to do").click()
    page.wait_for_url("**/console/help/runbook#a-journal-was-changed")


def test_the_evidence_of_a_lot_is_taken_away_and_holds(service: Any, visitor: Any, receipt: Make) -> None:
    lot = submit(service, receipt())["lot"]
    page = visitor().open("/console/audit")
    page.locator("input[name=lot]").fill(lot)
    with page.expect_download() as coming:
        page.get_by_role("button", name="Export").click()
    archive = coming.value.path().read_bytes()
    report = verify_archive(archive)
    assert (report.lot, report.problems) == (lot, [])
    assert "journal.ndjson" in zipfile.ZipFile(io.BytesIO(archive)).namelist()
    missing = service.http.get("/console/audit/export?lot=NOBODY")
    assert missing.status_code == 404
    assert "There is no lot NOBODY" in missing.text


def test_checkpoints_are_shown_and_held_against_the_journal(own: Any, visitor: Any, receipt: Make) -> None:
    for number in range(5):
        submit(own, receipt(str(number), receipt=f"GR-{number}"))
    assert own.http.post("/v1/checkpoints").status_code == 201
    person = visitor(reader(own, "auditor", '["read"]'))
    person.service = own
    page = person.open("/console/audit")
    assert person.offences() == []
    expect(page.locator("#checkpoints tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Hold against the journal").click()
    expect(page.locator("#checkpoints .state")).to_have_text("as signed")
    with sqlite3.connect(own.home / "lotgate.db", timeout=10) as database:
        database.execute("DROP TRIGGER journal_no_delete")
        database.execute("DELETE FROM journal WHERE version = 2")
    page.get_by_role("button", name="Hold against the journal again").click()
    expect(page.locator("#checkpoints .state")).to_have_text("differs")
    expect(page.locator("#checkpoints li")).to_contain_text("10 entries were signed, there are 5")
    assert person.offences() == []
    assert person.transferred() < MAX_PAGE_BYTES
