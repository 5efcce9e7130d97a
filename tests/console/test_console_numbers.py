"""Business numbers in a browser: what the page, the API and the metrics say is the same."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from api.console.render import amount
from engine.store.opening import open_store
from engine.track_record import count
from tests.console.conftest import MAX_PAGE_BYTES
from tests.engine.test_kpi import with_costs

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A service whose plant says what stock is worth."""
    with_costs(tmp_path)
    monkeypatch.setenv("LOTGATE_RULES", str(tmp_path / "packs"))
    return request.getfixturevalue("own")


def event(type_: str, lot: str, **data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"{type_}-{lot}", "source": "mes", "type": type_, "subject": lot, "data": data}


def inspected(lot: str, value: str) -> dict[str, Any]:
    unit = {"characteristic": "diameter", "value": value, "unit": "mm", "conforming": value == "74.000"}
    lines = [unit | {"sample": number} for number in range(1, 6)]
    return event("inspection.recorded.v1", lot, inspection=f"IL-{lot}"[:64], measurements=lines)


def fill(service: Any, receipt: Make, hold: Make) -> None:
    """Something behind every number but the delay of shipments that have left: no target ever acknowledges here."""
    fields = {"value": "2.50", "unit": "ea", "currency": "EUR"}
    cost = {"effective_from": "2026-01-01", "content": {"kind": "standard_cost", "item": "RING-74", "fields": fields}}
    assert service.http.put("/v1/reference/fact/COST-RING-74", json=cost).status_code in (200, 201)
    lots = {name: receipt(name) for name in ("good", "bad", "held", "waiting")}
    for one in lots.values():
        assert service.submit(one).status_code == 201
    good, bad, held, waiting = (one["subject"] for one in lots.values())
    made = {"item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "order": "MO-1",
            "confirmation": "C-1", "inputs": []}  # fmt: skip
    for one in (inspected(good, "74.000"), inspected(bad, "75.000"), hold(held), event("lot.produced.v1", "OWN", **made)):
        assert service.submit(one).status_code == 201
    for lot, shipment in ((good, "S-1"), (waiting, "S-2")):
        assert service.submit(event("lot.shipped.v1", lot, shipment=shipment, customer="CUST")).status_code == 409
    store = open_store("", service.home)
    while count(store):
        pass
    store.close()


def seconds(hours: float | None) -> float:
    return pytest.approx((hours or 0.0) * 3_600)  # type: ignore[no-any-return]  # pytest has no type for it


def test_the_page_the_api_and_the_metrics_say_the_same(service: Any, visitor: Any, receipt: Make, hold: Make) -> None:
    fill(service, receipt, hold)
    kpi = service.http.get("/v1/kpi").json()
    someone = visitor()
    page = someone.open("/console/numbers")

    def bars(chart: str, *values: str) -> None:
        expect(page.locator(f"#chart-{chart} text.value")).to_have_text(list(values))

    def tile(name: str, value: Any) -> None:
        expect(page.locator(f"#{name} b")).to_have_text(str(value))

    for queue in kpi["queues"]:
        name = queue["name"]
        bars(name, *(f"{age['lots']}" for age in queue["ages"]))
        expect(page.locator(f"#title-{name}")).to_contain_text(f"{queue['lots']} lot")
        assert service.metric(f'lotgate_waiting_lots{{queue="{name}"}}') == queue["lots"]
        assert (service.metric(f'lotgate_waiting_age_seconds{{queue="{name}"}}') > 0) == (queue["lots"] > 0)
    assert [queue["lots"] for queue in kpi["queues"]] == [2, 0, 2]

    [value] = kpi["blocked_value"]
    assert (value["currency"], Decimal(value["value"])) == ("EUR", 500)
    bars("value-EUR", *(amount(one) for one in value["by_age"]))
    expect(page.locator("#title-value-EUR")).to_contain_text("500 EUR")
    assert service.metric('lotgate_blocked_value{currency="EUR"}') == 500
    tile("unvalued", kpi["blocked_unvalued"])

    assert kpi["orders"]["orders"] == 1
    tile("orders", kpi["orders"]["orders"])
    assert service.metric("lotgate_unreleased_orders") == kpi["orders"]["orders"]

    passed = kpi["first_pass"]
    assert (passed["lots"], passed["accepted"], passed["percent"]) == (2, 1, 50.0)
    tile("first-pass", f"{passed['percent']} %")
    assert service.metric('lotgate_first_pass_lots{result="accepted"}') == passed["accepted"]
    assert service.metric('lotgate_first_pass_lots{result="rejected"}') == passed["lots"] - passed["accepted"]

    assert [lead["lots"] for lead in kpi["lead_times"]] == [1, 1, 1]
    bars("lead", *(f"{lead[name]:g} h" for lead in kpi["lead_times"] for name in ("median_hours", "p95_hours")))
    for lead in kpi["lead_times"]:
        for quantile, name in (("0.5", "median_hours"), ("0.95", "p95_hours")):
            line = f'lotgate_lead_time_seconds{{quantile="{quantile}",step="{lead["step"]}"}}'
            assert service.metric(line) == seconds(lead[name])

    [acme] = kpi["suppliers"]
    assert (acme["supplier"], acme["lots"], acme["nonconforming"] > 0) == ("ACME", 2, True)
    cells = [acme["supplier"], acme["lots"], acme["units"], acme["nonconforming"], acme["ppm"]]
    expect(page.locator("#supplier-ACME td")).to_have_text([str(one) for one in cells])
    assert service.metric('lotgate_supplier_ppm{supplier="ACME"}') == acme["ppm"]

    delays = kpi["delays"]
    assert (delays["shipments"], delays["by_quality"], delays["waiting"]) == (2, 1, 2)
    assert delays["interfaces"] == {"erp": 1, "wms": 1}
    for name, value in (("delayed", delays["shipments"]), ("still-waiting", delays["waiting"]), ("delay", "–")):
        tile(name, value)
    bars("delays", *(str(number) for number in (delays["by_quality"], delays["by_interfaces"], *delays["interfaces"].values())))
    assert service.metric('lotgate_delayed_shipments{cause="quality",target=""}') == delays["by_quality"]
    for target, number in delays["interfaces"].items():
        assert service.metric(f'lotgate_delayed_shipments{{cause="interface",target="{target}"}}') == number
    assert someone.offences() == []
    assert someone.transferred() < MAX_PAGE_BYTES
    shots = os.environ.get("LOTGATE_SCREENSHOTS")
    if shots:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
            page.screenshot(path=f"{shots}/numbers-{scheme}.png", full_page=True)


@pytest.mark.parametrize("path", ["/console/numbers?colour=red"])
def test_an_address_that_is_not_one_is_said_to_be(visitor: Any, path: str) -> None:
    someone = visitor()
    someone.open(path, 400)
    someone.complaints.clear()
