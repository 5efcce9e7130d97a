"""Target systems over HTTP: how they do, and the switch that stops telling one of them."""

from collections.abc import Callable
from typing import Any

Make = Callable[..., dict[str, Any]]


def of(service: Any, name: str) -> dict[str, Any]:
    lines = service.http.get("/v1/targets").json()["data"]
    return next(line for line in lines if line["state"]["name"] == name)


def test_every_target_says_what_it_is_owed(service: Any, receipt: Make) -> None:
    service.submit(receipt())
    assert [line["state"]["name"] for line in service.http.get("/v1/targets").json()["data"]] == ["erp", "wms"]
    line = of(service, "erp")
    assert line["pending"] + line["sending"] >= 1
    assert line["oldest_open"] is not None
    assert service.metric('lotgate_delivery_age_seconds{target="erp"}') > 0


def test_a_pause_says_by_whom_and_why_until_it_is_over(service: Any) -> None:
    paused = service.http.post("/v1/targets/wms/pause", json={"reason": "stocktaking"})
    assert paused.status_code == 200
    assert of(service, "wms")["state"] == paused.json()
    assert (paused.json()["reason"], paused.json()["paused_by"]) == ("stocktaking", "admin")
    assert service.metric('lotgate_target_paused{target="wms"}') == 1
    again = service.http.post("/v1/targets/wms/pause", json={"reason": "another"})
    assert again.json() == paused.json()
    resumed = service.http.post("/v1/targets/wms/resume")
    assert service.metric('lotgate_target_paused{target="wms"}') == 0
    assert (resumed.status_code, resumed.json()["paused_at"]) == (200, None)
    assert of(service, "erp")["state"]["paused_at"] is None


def test_a_pause_needs_a_reason_a_target_and_an_administrator(service: Any) -> None:
    assert service.http.post("/v1/targets/wms/pause", json={}).status_code == 422
    assert service.http.post("/v1/targets/wms/pause", json={"reason": ""}).status_code == 422
    assert service.http.post("/v1/targets/wms/pause", content=b"{").status_code in (400, 415)
    nobody = service.http.post("/v1/targets/mes/pause", json={"reason": "x"})
    assert nobody.status_code == 404
    assert nobody.json()["detail"] == "There is no target mes; there are erp, wms."
    with service.client("wrong") as stranger:
        assert stranger.post("/v1/targets/wms/pause", json={"reason": "x"}).status_code == 401
        assert stranger.post("/v1/targets/wms/resume").status_code == 401
