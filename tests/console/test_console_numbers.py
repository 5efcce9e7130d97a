"""Business numbers in a browser: what the page, the API and the metrics say is the same."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.console.conftest import MAX_PAGE_BYTES

Make = Callable[..., dict[str, Any]]


def test_the_page_the_api_and_the_metrics_say_the_same(service: Any, visitor: Any, receipt: Make, hold: Make) -> None:
    for lot in ("1", "2"):
        assert service.submit(receipt(lot)).status_code == 201
    held, waiting = receipt("1")["subject"], receipt("2")["subject"]
    assert service.submit(hold(held)).status_code == 201
    shipping = {
        "specversion": "1.0", "id": f"s-{waiting}", "source": "wms", "type": "lot.shipped.v1", "subject": waiting,
        "data": {"shipment": f"S-{os.getpid()}", "customer": "CUST"},
    }  # fmt: skip
    assert service.submit(shipping).status_code == 409
    kpi = service.http.get("/v1/kpi").json()
    someone = visitor()
    page = someone.open("/console/numbers")
    for queue in kpi["queues"]:
        values = page.locator(f"#chart-{queue['name']} text.value")
        expect(values).to_have_text([f"{age['lots']}" for age in queue["ages"]])
        expect(page.locator(f"#title-{queue['name']}")).to_contain_text(f"{queue['lots']} lot")
        name = f'lotgate_waiting_lots{{queue="{queue["name"]}"}}'
        assert service.metric(name) == queue["lots"]
    delays = kpi["delays"]
    assert delays["by_quality"] >= 1
    expect(page.locator("#delayed b")).to_have_text(str(delays["shipments"]))
    expect(page.locator("#still-waiting b")).to_have_text(str(delays["waiting"]))
    expect(page.locator("#orders b")).to_have_text(str(kpi["orders"]["orders"]))
    causes = [delays["by_quality"], delays["by_interfaces"], *delays["interfaces"].values()]
    expect(page.locator("#chart-delays text.value")).to_have_text([str(number) for number in causes])
    assert service.metric('lotgate_delayed_shipments{cause="quality",target=""}') == delays["by_quality"]
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
