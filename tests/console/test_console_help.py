"""Help at hand: whatever is refused, stuck or given up leads to words about it, and they are there."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from actors.connectors.policy import exhausted_words, failure_of, late_words
from api import runbook
from api.console import handbook
from api.problem_types import CATALOGUE
from engine.clock import system_clock
from engine.store.opening import open_store
from engine.tasks import Tasks
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.test_console_lots import submit

Make = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]
ALERTS = (ROOT / "docs" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")


def anchors(name: str) -> set[str]:
    return {section.anchor for section in handbook.document(name).sections}


def links_of(html: str) -> list[str]:
    return re.findall(r'<a [^>]*href="([^"]+)"', html)


def led_to(page: str) -> Iterator[str]:
    """The sections of the runbook that a page leads to."""
    for link in links_of(page):
        if link.startswith(f"{runbook.HELP}/runbook#"):
            yield link.partition("#")[2]


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_problem_leads_to_a_section_of_the_runbook(service: Any, code: str) -> None:
    assert code in anchors("problems")
    assert runbook.of_problem(code) in anchors("runbook")
    html = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert service.http.get(f"/problems/{code}").headers["content-type"].startswith("text/markdown")
    answer = service.http.get(f"/problems/{code}", headers=html)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/help/problems#{code}")
    [section] = set(re.findall(r"/console/help/runbook#([\w-]+)", service.http.get(f"/problems/{code}").text))
    assert section == runbook.of_problem(code)


def test_no_problem_is_in_two_sections() -> None:
    placed = [code for codes in runbook._PROBLEMS.values() for code in codes]
    assert sorted(placed) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", handbook.names())
def test_every_link_of_every_document_leads_to_an_anchor_that_exists(service: Any, name: str) -> None:
    with httpx.Client(base_url=service.url) as stranger:  # without any key: whoever cannot sign in needs help, too
        page = stranger.get(f"{runbook.HELP}/{name}")
        assert page.status_code == 200
        found = 0
        for link in links_of(page.text):
            if re.match(r"https?://", link) or "/static/" in link:
                continue
            path, _, section = urljoin(f"{runbook.HELP}/{name}", link).partition("#")
            if not path.startswith(runbook.HELP):
                continue
            found += 1
            target = path.removeprefix(runbook.HELP).strip("/")
            if section and section != "main":
                assert section in anchors(target), f"{name} links to {link}"
            elif target and not section:
                assert stranger.get(path).status_code == 200, f"{name} links to {link}"
        assert found


def test_every_help_that_a_page_offers_is_a_section_that_exists() -> None:
    pages = "".join(path.read_text() for path in sorted((ROOT / "api" / "console" / "templates").glob("*.html")))
    found = set(re.findall(r"/console/help/([\w-]+)(?:#([\w-]+))?[\"']", pages))
    assert len(found) > 10
    for name, section in found:
        assert name in handbook.names()
        assert not section or section in anchors(name), f"{name}#{section}"


def test_every_alert_leads_to_its_section_here_and_where_it_is_published() -> None:
    urls = [rule["annotations"]["runbook_url"] for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    assert len(urls) > 10
    for url in urls:
        assert url.startswith(f"{handbook.PUBLISHED}runbook.md#")
        assert url.partition("#")[2] in anchors("runbook")


def test_the_alerts_of_an_installation_that_has_an_address_lead_to_it(tmp_path: Path) -> None:
    from tests.api.conftest import Service

    running = Service(tmp_path, public_url="https://lotgate.plant.example")
    running.start()
    try:
        text = running.http.get(f"{runbook.HELP}/monitoring/alerts.yaml").text
    finally:
        running.stop()
    urls = [rule["annotations"]["runbook_url"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert {url.partition("#")[0] for url in urls} == {"https://lotgate.plant.example/console/help/runbook"}


def test_every_kind_of_task_has_its_section() -> None:
    ours = "".join(p.read_text() for room in ("engine", "actors") for p in sorted((ROOT / room).rglob("*.py")))
    kinds = set(re.findall(r"""(?:escalate_once\(|open_once\(|opened\(|kind=)"([a-z-]+)\"""", ours))
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    kinds |= set(re.findall(r"^\| a task `([a-z-]+)`", operations, re.MULTILINE)) | {"record-overdue"}
    assert len(kinds) > 12
    assert {kind for kind in kinds if runbook.of_task(kind) not in anchors("runbook")} == set()


@given(st.integers(1, 10_000), st.floats(0, 1e9), st.text())
def test_why_a_delivery_was_given_up_can_be_told_from_its_words(attempts: int, seconds: float, last: str) -> None:
    assert failure_of(exhausted_words(attempts, last)) == "exhausted"
    assert failure_of(late_words(seconds, last)) == "late"
    assert failure_of(f"HTTP 422: {last}") == "permanent"


def test_every_failure_and_every_drift_has_its_section() -> None:
    for words in (exhausted_words(50, "x"), late_words(9e5, "x"), "HTTP 422", None):
        assert runbook.of_given_up(words) in anchors("runbook")
    for kind in ("differs", "unknown-lot", "changed-by-hand", "left-while-blocked"):
        assert runbook.of_drift(kind) in anchors("runbook")
    assert {"lotgatetargetrests", "lotgatetargetpaused", "a-journal-was-changed"} <= anchors("runbook")


def test_every_check_of_readiness_has_its_section(service: Any) -> None:
    checks = service.http.get("/readyz").json()["checks"]
    assert len(checks) > 5
    for name in checks:
        assert runbook.of_check(name) in anchors("runbook")


def test_what_is_stuck_leads_to_what_to_do(own: Any, visitor: Any, receipt: Make) -> None:
    """Refused, given up, paused, not answering: on the page itself, each with its own section."""
    lot = submit(own, receipt())["lot"]
    store = open_store("", own.home)
    with store.engine.begin() as connection:
        words = "given up after 50 attempts; the last: HTTP 500"
        connection.exec_driver_sql("UPDATE deliveries SET state = 'dead', last_error = ? WHERE target = 'erp'", (words,))
    Tasks(store, system_clock).open_once("target-auth", "erp", "no key")
    store.close()
    own.http.post("/v1/targets/wms/pause", content=json.dumps({"reason": "inventory"}),
                  headers={"Content-Type": "application/json"})  # fmt: skip
    page = own.http.get("/console/deliveries").text
    assert {"given-up-exhausted", "lotgatetargetpaused"} <= set(led_to(page))
    number = re.search(r'href="/console/deliveries/(\d+)"', page)
    assert number is not None
    assert list(led_to(own.http.get(f"/console/deliveries/{number[1]}").text)) == ["given-up-exhausted"]
    assert "task-target-auth" in set(led_to(own.http.get("/console/tasks").text))
    form = {"token": "t", "version": str(own.http.get(f"/v1/lots/{lot}").json()["lot"]["version"]), "reason": "OK"}
    refused = own.http.post(f"/console/lots/{lot}/release", data=form)
    assert refused.status_code == 409
    assert set(led_to(refused.text)) == {"the-lot-cannot-take-this-step"}
    for section in {*led_to(page), *led_to(refused.text)}:
        assert section in anchors("runbook")
    person = visitor(own.key)
    person.service = own
    shown = person.open("/console/deliveries")
    shown.get_by_role("link", name="What to do").last.click()
    shown.wait_for_url("**/console/help/runbook#given-up-exhausted")
    assert shown.locator("#given-up-exhausted").is_visible()


def test_documents_are_pages_that_everybody_can_read(service: Any, visitor: Any) -> None:
    person = visitor()
    for path in ("/console/help", "/console/help/runbook", "/console/help/operations", "/console/help/cli"):
        page = person.open(path)
        assert person.offences() == []
        assert person.transferred() < MAX_PAGE_BYTES
        assert page.locator("h1").first.is_visible()
    page = person.open("/console/help/runbook")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url("**/console/help")
    assert service.http.get("/console/help/nothing").status_code == 404
    assert service.http.get("/console/help/..%2Fengine%2Fsettings").status_code in (400, 404)
    assert service.http.get("/console/help/%2e%2e/pyproject.toml").status_code in (400, 404)


def test_a_document_runs_nothing() -> None:
    text = "# A\n\n<script>alert(1)</script> [x](javascript:alert(1))\n\n## A\n\n| a | b |\n|--|--:|\n| 1 | 2 |\n"
    made = handbook.rendered("x", text)
    assert "<script" not in made.html
    assert 'href="javascript' not in made.html
    assert "style=" not in made.html
    assert [one.anchor for one in made.sections] == ["a", "a-1"]


def test_what_is_drawn_elsewhere_is_folded_up_as_text() -> None:
    made = handbook.rendered("x", "# A\n\n```mermaid\na --> b\n```\n\n```sh\nls\n```\n")
    before, drawing = made.html.split("<details>")
    assert "a --&gt; b" in drawing.partition("</details>")[0]
    assert "ls" in drawing.partition("</details>")[2]
    assert "<pre" not in before


def test_every_document_is_as_wide_as_its_page(visitor: Any) -> None:
    """At a desk no table of any document goes on to the right, where nobody looks."""
    person = visitor()
    hidden = "[...document.querySelectorAll('.prose .scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    wide = [name for name in handbook.names() if person.open(f"{runbook.HELP}/{name}").evaluate(hidden)]
    assert wide == []
