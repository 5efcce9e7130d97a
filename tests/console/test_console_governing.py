"""Rules, recalls, readiness and the system, in a browser: written, tried, approved, and watched while they work."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from api.console.holds import _selection
from api.console.readiness import _question
from engine.errors import EventInvalid
from rules.lint.drafts import look_at
from rules.rulebook import SHIPPED, RuleBook
from tests.console.conftest import MAX_PAGE_BYTES
from tests.console.test_console_lots import inspect, page_of, reader, submit

Make = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]


def test_a_rule_is_written_staged_approved_put_in_force_and_rolled_back(service: Any, visitor: Any) -> None:
    first = visitor()
    anna = first.open("/console/rules/active/edit?file=release/release.yaml")
    was = service.http.get("/v1/rules/active").json()["line"]["digest"]
    text = anna.locator("#content")
    expect(anna.locator("#findings .summary")).to_contain_text("expectations met, 0 not; 0 errors")
    source = text.input_value()
    assert source == service.http.get("/v1/rules/active").json()["files"]["release/release.yaml"]
    text.fill(source.replace("lot.expires_on >= today", "lot.expires_onn >= today"))
    line = source[: source.index("lot.expires_on >= today")].count("\n") + 1
    spot = anna.locator("#findings .spots li").first
    expect(spot).to_contain_text(f"line {line}, column")
    expect(spot).to_contain_text("expires_on")
    expect(anna.locator(".gutter .bad").first).to_have_text(str(line))
    spot.locator("button").click()
    at = anna.evaluate("document.getElementById('content').selectionStart")
    assert source[:at].count("\n") + 1 == line
    text.fill(source.replace("title: No hold stands on the lot", "title: No hold stands"))
    expect(anna.locator("#findings .summary")).to_contain_text("0 errors")
    anna.locator("input[name=comment]").fill("shorter")
    anna.get_by_role("button", name="Stage the set").click()
    expect(anna.locator(".head .state").first).to_have_text("staged")
    expect(anna.locator("main")).to_contain_text("rule NO-ACTIVE-HOLD")
    expect(anna.locator("#act-approve")).to_be_attached()
    staged = anna.url.split("?")[0].rpartition("/")[2]
    anna.locator("#act-approve summary").click()
    anna.locator("#act-approve button").click()
    expect(anna.locator("main")).to_contain_text("somebody else has to approve it")
    bela = visitor(reader(service, "console-bela", '["approve-rules"]'))
    page = bela.open(f"/console/rules/{staged}")
    page.locator("#act-approve summary").click()
    page.locator("#act-approve button").click()
    expect(page.locator(".head .state").first).to_have_text("approved")
    page.locator("#act-activate summary").click()
    page.locator("#act-activate button").click()
    expect(page.locator(".head .state").first).to_have_text("active")
    now = service.http.get("/v1/rules/active").json()
    assert now["line"]["digest"] != was
    assert now["line"]["approved_by"] == "console-bela"
    assert [s["by"] for s in now["steps"]] == ["admin", "console-bela", "console-bela"]
    page = bela.open("/console/rules")
    page.locator("#roll-back summary").click()
    page.locator("#roll-back input[name=comment]").fill("back")
    page.locator("#roll-back button").click()
    expect(page.locator(".flash")).to_contain_text("in force again")
    assert service.http.get("/v1/rules/active").json()["line"]["digest"] == was
    # The author's own approval was answered 409, of which the browser complains.
    assert [c for c in first.complaints if "409" not in c] == []
    first.complaints.clear()


def test_a_set_that_cannot_be_loaded_is_not_stored_and_says_what_to_mend(service: Any) -> None:
    before = len(service.http.get("/v1/rules").json()["data"])
    form = {"token": "t", "file": "release/release.yaml", "content": "rulefile: 1\nrules:\n  - idd: X\n"}
    answer = service.http.post("/console/rules/active/stage", data=form)
    assert answer.status_code == 422
    assert "It cannot be loaded" in answer.text
    assert "idd: X" in answer.text
    assert len(service.http.get("/v1/rules").json()["data"]) == before
    key = reader(service, "console-looker", '["read"]')
    with service.client(key) as http:
        assert http.post("/console/rules/active/stage", data=form).status_code == 403


def test_a_look_at_a_draft_finds_what_loading_lint_and_tests_find() -> None:
    files = RuleBook.load(SHIPPED).sources
    good = look_at(files)
    assert (good.loads, good.good, good.failed) == (True, True, ())
    broken = look_at(files | {"release/release.yaml": "rulefile: 1\nrules: [{id: X}]\n"})
    assert (broken.loads, broken.good) == (False, False)
    assert all(remark.location.line for remark in broken.remarks)
    name, text = "release/release.yaml", files["release/release.yaml"]
    failing = look_at(files | {name: text.replace("SHELF-LIFE-LEFT: fail", "SHELF-LIFE-LEFT: pass")})
    assert failing.loads
    assert not failing.good
    [test] = failing.failed
    assert (test.file, "expected pass" in test.words) == (name, True)


@pytest.fixture
def clock(service: Any) -> Iterator[None]:
    """The clock process beside the service."""
    environment = {**os.environ, "LOTGATE_HOME": str(service.home), "LOTGATE_REDIS_URL": "none",
                   "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}  # fmt: skip
    with (service.home / "clock.log").open("ab") as log:
        program = [sys.executable, "-m", "api.cli.main", "clock"]
        process = subprocess.Popen(program, cwd=service.home, env=environment, stdout=log, stderr=log)
    yield
    process.terminate()
    process.wait(20)


def test_a_recall_is_previewed_opened_and_watched_until_all_is_held(
    service: Any, visitor: Any, receipt: Make, clock: None
) -> None:
    raw = submit(service, receipt("raw", supplier_lot="HEAT-7", order="PO-RECALL"))["lot"]
    amount = {"value": "10", "unit": "ea"}
    made = {"item": "RING-74", "revision": "A", "quantity": amount, "order": f"MO-{raw}"[:64], "confirmation": "C-1",
            "inputs": [{"lot": raw, "quantity": amount}]}  # fmt: skip
    child = f"{raw}-child"
    submit(service, {"specversion": "1.0", "id": f"p-{raw}", "source": "mes", "type": "lot.produced.v1",
                     "subject": child, "data": made})  # fmt: skip
    person = visitor()
    page = person.open("/console/recalls?order=PO-NOBODY&preview=yes")
    expect(page.locator("#preview")).to_contain_text("nothing can be recalled")
    expect(page.locator("#open-recall")).to_have_count(0)
    page = person.open("/console/recalls?order=PO-RECALL&preview=yes")
    extent = service.http.post("/v1/recalls/preview", json={"order": "PO-RECALL"}).json()
    assert (extent["selected"], extent["lots"]) == (1, 2)
    expect(page.locator("#preview .tile").nth(0)).to_have_text("1lot selected")
    expect(page.locator("#preview .tile").nth(1)).to_have_text("2with what was made of them")
    expect(page.locator("#preview table")).to_contain_text(f"{extent['balance'][0]['made']} ea")
    assert person.offences() == []
    page.locator("#open-recall summary").click()
    page.locator("#open-recall input[name=reason]").fill("CRACKS")
    page.locator("#open-recall button").click()
    expect(page.locator(".head .state").first).to_have_text("open")
    expect(page.locator("#recall table.rows")).to_contain_text(child)
    identity = page.url.rpartition("/")[2]
    lots = service.http.get(f"/v1/recalls/{identity}/lots").json()["data"]
    assert {lot["id"]: lot["state"] for lot in lots} == {raw: "blocked", child: "blocked"}
    with service.client(service.key) as http:
        sheet = http.get(f"/console/recalls/{identity}/lots.csv")
        assert sheet.text == http.get(f"/v1/recalls/{identity}/lots?format=csv").text
    page.locator("#close-recall summary").click()
    page.locator("#close-recall input[name=note]").fill("false alarm")
    page.locator("#close-recall button").click()
    expect(page.locator(".head .state").first).to_have_text("closed")
    assert service.http.get(f"/v1/recalls/{identity}").json()["recall"]["note"] == "false alarm"


def test_what_is_wrong_with_a_question_is_said_as_people_say_it() -> None:
    with pytest.raises(EventInvalid, match="Say which lots"):
        _question({"shipment": "S", "customer": "C", "lots": " \n "})
    with pytest.raises(EventInvalid, match="in the state bloked: say some of received"):
        _selection({"states": "blocked, bloked"})
    assert _selection({"states": "blocked received"}) == {"states": ["blocked", "received"]}


def test_many_lots_are_looked_at_held_and_lifted(service: Any, visitor: Any, receipt: Make, clock: None) -> None:
    first = submit(service, receipt("wide-1", order="PO-WIDE-PAGE"))["lot"]
    person = visitor()
    page = person.open("/console/holds?order=PO-NOBODY&preview=yes")
    expect(page.locator("#preview")).to_contain_text("nothing can be held")
    expect(page.locator("#open-hold")).to_have_count(0)
    page = person.open("/console/holds?scope=order&order=PO-NOBODY&preview=yes")  # stands for what comes in later
    expect(page.locator("#open-hold summary")).to_have_text("Hold what comes in …")
    page = person.open("/console/holds?scope=order&order=PO-WIDE-PAGE&preview=yes")
    expect(page.locator("#preview .tile").nth(0)).to_have_text("1lot")
    assert person.offences() == []
    page.locator("#open-hold summary").click()
    page.locator("#open-hold input[name=reason]").fill("SUSPECT")
    page.locator("#open-hold select[name=lift_role]").select_option("release")
    page.locator("#open-hold button").click()
    expect(page.locator(".head .state").first).to_have_text("placed")
    expect(page.locator("#hold table.rows")).to_contain_text(first)
    page.reload()  # what has just changed is marked for a moment
    assert person.offences() == []
    later = submit(service, receipt("wide-2", order="PO-WIDE-PAGE"))["lot"]
    page = person.open(f"/console/lots/{later}")
    expect(page.locator("#holds")).to_contain_text("lifted in the role release")
    page.locator("#holds a.id").click()
    page.locator("#lift-hold summary").click()
    page.locator("#lift-hold input[name=reason]").fill("CLEARED")
    page.locator("#lift-hold button").click()
    expect(page.locator(".head .state").first).to_have_text("lifted")
    for lot in (first, later):
        assert "holds" not in service.http.get(f"/v1/lots/{lot}").json()["lot"]


def test_a_part_is_held_from_the_page_of_its_lot(service: Any, visitor: Any, receipt: Make) -> None:
    lot = submit(service, receipt("part"))["lot"]
    page = visitor().open(f"/console/lots/{lot}")
    page.locator("#act-hold summary").click()
    page.locator("#act-hold input[name=reason]").fill("DENT")
    page.locator("#act-hold input[name=part]").fill("3")
    page.locator("#act-hold input[name=hold]").fill("H-PART")
    page.locator("#act-hold button").click()
    expect(page.locator(".flash")).to_contain_text("Done")
    part = service.http.get(f"/v1/lots/{lot}-H-PART").json()["lot"]
    assert (part["quantity"], part["state"], part["parent"]) == ("3", "blocked", lot)


def test_the_lot_page_shows_certificates_beside_results_and_where_its_days_come_from(
    service: Any, visitor: Any, receipt: Make
) -> None:
    rule = {"item": "RING-74", "supplier": "ACME", "counts_from": "receipt", "days": 365}
    body = {"effective_from": "2026-01-01", "content": rule}
    assert service.http.put("/v1/reference/shelf-life/SL-PAGE", json=body).status_code in (200, 201)
    lot = submit(service, receipt("certified", supplier_lot="HEAT-9"))["lot"]
    data = {"certificate": "CoA-9", "kind": "coa", "issuer": "LAB", "supplier_lot": "HEAT-9", "issued_on": "2026-01-01",
            "values": [{"characteristic": "diameter", "value": "74.001", "unit": "mm"}]}  # fmt: skip
    headers = {"Idempotency-Key": f"{lot}-cert"}
    assert service.http.post(f"/v1/lots/{lot}/record-certificate", json=data, headers=headers).status_code == 201
    inspect(service, lot, *["74.000"] * 5)
    person = visitor()
    page = person.open(f"/console/lots/{lot}")
    expect(page.locator("#certificates")).to_contain_text("CoA-9")
    expect(page.locator("#certificates table")).to_contain_text("74.000")
    expect(page.locator("#certificates table")).to_contain_text("0.001")
    expect(page.locator("#facts")).to_contain_text("SL-PAGE@1: 365 days from receipt")
    assert person.offences() == []
    withdrawn = {"effective_from": "2026-01-02", "content": None}
    assert service.http.put("/v1/reference/shelf-life/SL-PAGE", json=withdrawn).status_code == 201


def test_readiness_on_the_page_is_that_of_the_api(service: Any, visitor: Any, receipt: Make) -> None:
    lot = submit(service, receipt("ready"))["lot"]
    inspect(service, lot, *["74.000"] * 5)
    asked = {"shipment": "S-1", "customer": "C-1", "lines": [{"lot": lot}, {"lot": "nobody"}]}
    answer = service.http.post("/v1/shipments/readiness", json=asked).json()
    page = visitor().open("/console/readiness")
    page.locator("input[name=shipment]").fill("S-1")
    page.locator("input[name=customer]").fill("C-1")
    page.locator("textarea[name=lots]").fill(f"{lot}\nnobody")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer .head .state")).to_have_text(answer["readiness"].replace("_", " "))
    rows = page.locator("#answer tbody tr")
    for row, line in zip(rows.all(), answer["lines"], strict=True):
        for one in line["against"]:
            expect(row).to_contain_text(one["rule"])
            expect(row).to_contain_text(one["message"])
    page.goto(service.url + f"/console/readiness?shipment=S&customer=C&lots={quote(lot)}%0A{quote(lot)}")
    expect(page.locator("[role=alert]")).to_contain_text("twice")


def test_the_system_page_says_what_readyz_says(service: Any, visitor: Any) -> None:
    page = visitor().open("/console/system")
    ready = service.http.get("/readyz").json()
    for name, check in ready["checks"].items():
        expect(page.locator("#system tr", has_text=name).first).to_contain_text(check["status"])
    key = reader(service, "console-plain", '["read"]')
    with service.client(key) as http:
        assert "settings, secrets masked" not in http.get("/console/system").text
    assert "settings, secrets masked" in service.http.get("/console/system").text
    assert service.key not in service.http.get("/console/system").text


def test_governing_pages_are_accessible_and_light(service: Any, visitor: Any) -> None:
    person = visitor()
    for path in ("/console/rules", "/console/rules/active", "/console/rules/active/edit?file=release/release.yaml",
                 "/console/readiness", "/console/quality", "/console/system", "/console/audit", "/console/reference",
                 "/console/reference?kind=order", "/console/help"):  # fmt: skip
        page = person.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert person.transferred() < MAX_PAGE_BYTES
        assert person.offences() == [], path


def test_charts_and_scorecards_on_the_page_are_those_of_the_api(
    service: Any, visitor: Any, receipt: Make, clock: None
) -> None:
    for n in range(4):
        lot = submit(service, receipt(str(n)))["lot"]
        inspect(service, lot, *[f"{74 + n / 1000 + k / 10000:.4f}" for k in range(5)])
    asked = {"item": "RING-74", "supplier": "ACME"}
    deadline = time.monotonic() + 60
    while not (cards := service.http.get("/v1/quality/scorecards", params=asked).json()["data"]) or (
        cards[0]["scorecard"]["lots"] < 4
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    person = visitor()
    page = person.open("/console/quality?item=RING-74&supplier=ACME")
    [chart] = service.http.get("/v1/quality/charts", params=asked).json()["data"]
    row = page.locator("#rows tbody tr")
    expect(row.locator("td.number").first).to_have_text(str(cards[0]["scorecard"]["lots"]))
    drawing = page.locator("svg.control")
    signals = sum(1 for p in chart["points"] if p["signals"])
    assert drawing.locator("circle").count() + drawing.locator("rect.out").count() == len(chart["points"])
    assert drawing.locator("rect.out").count() >= signals
    expect(page.locator("details table")).to_contain_text(chart["points"][-1]["lot"])
    assert person.offences() == []


def test_a_lot_is_signed_and_a_record_lives_in_the_browser(service: Any, visitor: Any, receipt: Make) -> None:
    lot = submit(service, receipt("sign"))["lot"]
    key = reader(service, "console-signer", '["sign", "release", "inspect"]')
    person = visitor(key)
    page = person.open(page_of(lot))
    shown = service.http.get(f"/v1/lots/{lot}").json()["lot"]
    page.locator("#act-sign summary").click()
    page.locator("#act-sign input[name=key]").fill(service.key)
    page.get_by_role("button", name="Sign lot").click()
    expect(page.locator("#refused")).to_contain_text("is not one that console-signer signs with")
    assert page.locator("#act-sign input[name=key]").input_value() == ""
    page.locator("#act-sign select").select_option("review")
    page.locator("#act-sign input[name=key]").fill(key)
    page.get_by_role("button", name="Sign lot").click()
    expect(page.locator("#signatures")).to_contain_text("console-signer: review")
    [signature] = service.http.get(f"/v1/lots/{lot}").json()["lot"]["signatures"]
    assert (signature["version"], signature["digest"]) == (shown["version"], shown["head"])
    expect(page.locator("#signatures .place")).to_have_text(shown["head"])
    page.locator("#act-record summary").click()
    page.locator("#act-record input[name=text]").fill("scratches on 3 of 100")
    page.locator("#act-record input[name=record]").fill("NC-7")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#records .state")).to_have_text("open")
    page.locator("#records summary").click()
    page.locator("#records select[name=step]").select_option("contain")
    page.locator("#records input[name=text]").fill("sorted")
    page.get_by_role("button", name="Go on with NC-7").click()
    expect(page.locator("#records .state")).to_have_text("contained")
    page = person.open(f"/console/records?lot={lot}")
    [line] = service.http.get("/v1/quality/records", params={"lot": lot}).json()["data"]
    expect(page.locator("#rows tbody tr")).to_contain_text(line["record"]["record"])
    expect(page.locator("#rows .state")).to_have_text(line["record"]["status"])
    assert person.offences() == []
    # The wrong key was answered 422, of which the browser complains.
    assert [c for c in person.complaints if "422" not in c] == []
    person.complaints.clear()


def test_a_set_is_tried_on_the_past_with_progress(
    own: Any, visitor: Any, receipt: Make
) -> None:
    lots = [submit(own, receipt(str(number), receipt=f"GR-{number}"))["lot"] for number in range(5)]
    active = own.http.get("/v1/rules/active").json()["line"]["digest"]
    person = visitor(own.key)
    person.service = own
    page = person.open(f"/console/rules/{active}")
    page.locator("#backtest select").select_option("all")
    page.get_by_role("button", name="Judge again").click()
    expect(page.locator("#judged b")).to_have_text(re.compile(r"\d+"))
    assert int(page.locator("#judged b").inner_text()) >= len(lots)
    expect(page.locator("#changed b")).to_have_text("0")
    assert person.offences() == []
    said = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "rules", "backtest", "--json"], cwd=own.home, capture_output=True,
        text=True, env={**os.environ, "LOTGATE_HOME": str(own.home), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    report = json.loads(said.stdout)
    assert str(report["judged"]) == page.locator("#judged b").inner_text(), "the command line counts the same"
    only_reads = reader(own, "console-reads", '["read"]')
    with own.client(only_reads) as http:
        assert http.post(f"/console/rules/{active}/backtest", data={"token": "t"}).status_code == 403
