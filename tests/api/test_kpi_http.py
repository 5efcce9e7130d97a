"""Business numbers over HTTP."""

from collections.abc import Callable
from typing import Any

Make = Callable[..., dict[str, Any]]


def blocked(service: Any) -> int:
    [queue] = [q for q in service.http.get("/v1/kpi").json()["queues"] if q["name"] == "blocked"]
    assert sum(age["lots"] for age in queue["ages"]) == queue["lots"]
    return int(queue["lots"])


def test_a_hold_shows_at_once_and_only_readers_see_it(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt("kpi")
    assert service.submit(event).status_code == 201
    before = blocked(service)
    assert service.submit(hold(event["subject"])).status_code == 201
    assert blocked(service) == before + 1
    assert service.http.get("/v1/kpi", params={"colour": "red"}).status_code == 400
    assert service.client("wrong").get("/v1/kpi").status_code == 401


def test_a_target_that_kept_no_shipment_waiting_has_a_figure_that_an_increase_can_be_seen_in(service: Any) -> None:
    lines = service.http.get("/metrics").text.splitlines()
    for target in ("erp", "wms"):
        assert sum(line.startswith(f'lotgate_delayed_shipments{{cause="interface",target="{target}"}} ') for line in lines) == 1
