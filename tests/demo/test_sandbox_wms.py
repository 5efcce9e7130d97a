"""The sandbox WMS is as strict as the ERP, in words of its own."""

from urllib.parse import quote

import httpx
import pytest

STOCK = {"item": "RING-74", "revision": "A", "quantity": "10", "unit": "ea"}
CLOSED = {
    "revision_no": 1, "allocatable": False, "pick": False, "ship": False, "status": "QUALITY", "reasons": []
}  # fmt: skip
OPEN = {"allocatable": True, "pick": True, "ship": True, "status": "AVAILABLE"}


def register(wms: httpx.Client, name: str) -> str:
    """Register a lot; returns the path of its availability."""
    path = f"/stock/{quote(name, safe='')}"
    assert wms.put(path, json=STOCK).status_code == 201
    return f"{path}/availability"


def send(wms: httpx.Client, path: str, key: str, **other: object) -> httpx.Response:
    return wms.patch(path, json={**CLOSED, **other}, headers={"X-Request-Id": key})


def test_registering_the_same_lot_again_is_no_error_and_another_item_is_refused(wms: httpx.Client) -> None:
    register(wms, "REG")
    assert wms.put("/stock/REG", json=STOCK).status_code == 200
    assert wms.put("/stock/REG", json={**STOCK, "revision": "B"}).status_code == 409
    assert wms.put("/stock/TAB%09", json=STOCK).status_code == 422


def test_availability_moves_forward_once_per_key(wms: httpx.Client) -> None:
    path = register(wms, "W/1 €")
    assert send(wms, path, "w1").json()["applied"] is True
    assert send(wms, path, "w2", revision_no=2, **OPEN).json()["applied"] is True
    assert send(wms, path, "w1").json()["duplicate"] is True
    outdated = send(wms, path, "w3", revision_no=2)
    assert outdated.status_code == 409
    assert (outdated.json()["error"], outdated.json()["current"]) == ("outdated", 2)
    shown = wms.get("/stock/W%2F1%20%E2%82%AC").json()
    assert (shown["lot"], shown["status"], shown["pick"], shown["revision_no"]) == (
        "W/1 €",
        "AVAILABLE",
        True,
        2,
    )


def test_no_key_and_no_lot_are_refused(wms: httpx.Client) -> None:
    assert wms.patch(register(wms, "NOKEY"), json=CLOSED).status_code == 400
    assert send(wms, "/stock/NEVER/availability", "n1").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "available"},
        {"revision_no": 0},
        {"pick": "yes"},
        {"pick": 1},
        {"extra": 1},
        {"reasons": None},
    ],
)
def test_an_availability_that_does_not_fit_is_refused(wms: httpx.Client, wrong: dict[str, object]) -> None:
    wms.put("/stock/STRICT", json=STOCK)
    assert send(wms, "/stock/STRICT/availability", "strict", **wrong).status_code == 422


@pytest.mark.parametrize("status", ["QUALITY", "BLOCKED", "SHIPPED", "NONE"])
def test_stock_that_is_not_available_cannot_be_picked(wms: httpx.Client, status: str) -> None:
    wms.put("/stock/SHUT", json=STOCK)
    answer = send(wms, "/stock/SHUT/availability", f"shut-{status}", status=status, pick=True)
    assert answer.status_code == 422
    assert status in answer.json()["detail"]


def test_a_batch_answers_each_item_by_itself(wms: httpx.Client) -> None:
    register(wms, "B-1")
    base = {**CLOSED, "lot": "B-1", "key": "b1", "item": "RING-74", "revision": "A"}
    items = [
        base, base, {**base, "key": "b2"}, {**base, "lot": "B-0", "key": "b3"},
        {**base, "key": "b4", "ship": True}
    ]  # fmt: skip
    results = wms.post("/stock/availability-batch", json={"items": items}).json()["results"]
    outcomes = [r["outcome"] for r in results]
    assert outcomes == ["applied", "duplicate", "outdated", "unknown-lot", "invalid"]
    assert [s["lot"] for s in wms.get("/stock", params={"after": "B-", "limit": 1}).json()["stock"]] == [
        "B-1"
    ]
