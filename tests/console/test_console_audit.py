"""The audit page: the record is verified in the browser with progress, a broken one is named, evidence is taken away."""

import io
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import expect

from api.console.jobs import Jobs
from api.console.render import thousands
from api.problems import Refused
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


def test_one_verification_at_a_time_with_progress_and_an_end_whatever_happens() -> None:
    jobs = Jobs(lambda: datetime.now(UTC))

    go, seen = threading.Event(), threading.Event()

    def work(progress: Any) -> str:
        progress(3)
        seen.set()
        assert go.wait(10)
        return "done"

    job = jobs.start("verify", "", "anna", 10, work)
    assert seen.wait(10)
    assert (job.running, job.done, job.total) == (True, 3, 10)
    with pytest.raises(Refused, match="under way"):
        jobs.start("verify", "other", "bela", 1, work)
    go.set()
    while job.running:
        pass
    assert (jobs.of("verify"), job.result, job.problem) == (job, "done", "")

    def broken(progress: Any) -> None:
        raise KeyError("secret")

    job = jobs.start("verify", "", "anna", 1, broken)
    while job.running:
        pass
    assert job.result is None
    assert "KeyError" in job.problem
    assert "secret" not in job.problem
    for number in range(50):
        one = jobs.start("backtest", str(number), "x", 1, lambda progress: None)
        while one.running:
            pass
    assert jobs.of("backtest", "0") is None, "a process remembers the last ones only"
