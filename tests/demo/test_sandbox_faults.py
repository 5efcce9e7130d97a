"""Every fault switch does what it says, over real HTTP, and only to the requests it was set for."""

import time
from collections.abc import Iterator

import httpx
import pytest

LOT = {"item": "RING-74", "revision": "A", "quantity": "10", "unit": "ea"}


@pytest.fixture
def wms_with_faults(wms: httpx.Client) -> Iterator[httpx.Client]:
    yield wms
    wms.post("/_faults", json={"mode": "off"})


def put(wms: httpx.Client, name: str) -> httpx.Response:
    return wms.put(f"/stock/{name}", json=LOT)


def newest_log_entry(wms: httpx.Client) -> dict[str, object]:
    after, entry = 0, {}
    while entries := wms.get("/_log", params={"after": after, "limit": 1000}).json()["entries"]:
        entry, after = entries[-1], entries[-1]["seq"]
    return dict(entry)


def test_slow_waits_and_then_works_as_usual(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "slow", "seconds": 0.3, "count": 1})
    began = time.monotonic()
    assert put(wms_with_faults, "SLOW").status_code == 201
    assert time.monotonic() - began >= 0.3
    assert newest_log_entry(wms_with_faults)["fault"] == "slow"


def test_status_answers_without_doing_anything(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "status", "status": 429, "retry_after": 7})
    answer = put(wms_with_faults, "FAULTY")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    wms_with_faults.post("/_faults", json={"mode": "status", "status": 500})
    answer = put(wms_with_faults, "FAULTY")
    assert answer.status_code == 500
    assert "retry-after" not in answer.headers
    wms_with_faults.post("/_faults", json={"mode": "off"})
    assert put(wms_with_faults, "FAULTY").status_code == 201


def test_drop_closes_the_connection_and_nothing_was_done(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "drop", "count": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        put(wms_with_faults, "DROP")
    assert put(wms_with_faults, "DROP").status_code == 201


def test_a_lost_answer_was_applied(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "lost_answer", "count": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        put(wms_with_faults, "LOST")
    entry = newest_log_entry(wms_with_faults)
    assert (entry["status"], entry["fault"], entry["path"]) == (0, "lost_answer", "/stock/LOST")
    assert put(wms_with_faults, "LOST").status_code == 200


def test_a_fault_strikes_only_matching_paths_and_only_so_often(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "status", "match": "/HIT-", "count": 2})
    codes = [put(wms_with_faults, name).status_code for name in ("MISS-1", "HIT-1", "HIT-2", "HIT-3")]
    assert codes == [201, 503, 503, 201]
    assert wms_with_faults.get("/_faults").json()["mode"] == "off"


def test_the_sandboxs_own_calls_are_spared(wms_with_faults: httpx.Client) -> None:
    wms_with_faults.post("/_faults", json={"mode": "drop"})
    for path in ("/healthz", "/_log", "/_invariants", "/_faults"):
        assert wms_with_faults.get(path).status_code == 200


@pytest.mark.parametrize("wrong", [{"mode": "explode"}, {"mode": "status", "status": 200}, {"seconds": 1}])
def test_an_unknown_fault_is_refused(wms_with_faults: httpx.Client, wrong: dict[str, object]) -> None:
    assert wms_with_faults.post("/_faults", json=wrong).status_code == 422
    assert wms_with_faults.get("/_faults").json()["mode"] == "off"


def test_the_log_names_each_request_with_its_key(wms: httpx.Client) -> None:
    wms.patch("/stock/LOGGED/availability", json={}, headers={"X-Request-Id": "log-key"})
    entry = newest_log_entry(wms)
    assert (entry["method"], entry["path"], entry["key"], entry["status"]) == (
        "PATCH", "/stock/LOGGED/availability", "log-key", 422
    )  # fmt: skip
