"""Drift over HTTP and in the metrics: what a target says, what it ought to, since when."""

from datetime import timedelta
from typing import Any

from engine.clock import system_clock
from engine.drift import Drift, DriftLine, Reading
from engine.store.opening import open_store

WHEN = "2026-11-23T08:00:00.000000Z"


def test_drift_is_listed_by_target_with_what_was_expected_and_seen(service: Any) -> None:
    store = open_store("", service.home)
    drift = Drift(store, system_clock)
    for lot, kind in (("DRIFT-1", "changed-by-hand"), ("DRIFT-2", "unknown-lot"), ("DRIFT-3", "changed-by-hand")):
        drift.found(DriftLine("wms", lot, kind, 3, {"status": "BLOCKED"}, {"status": "AVAILABLE"}, WHEN, WHEN, 0))
    first = service.http.get("/v1/targets/wms/drift", params={"kind": "changed-by-hand", "limit": 1}).json()
    assert first["data"] == [
        {"target": "wms", "lot": "DRIFT-1", "kind": "changed-by-hand", "version": 3, "expected": {"status": "BLOCKED"},
         "observed": {"status": "AVAILABLE"}, "since": WHEN, "seen_at": WHEN, "repairs": 0}
    ]  # fmt: skip
    more = {"kind": "changed-by-hand", "cursor": first["next"]}
    assert [line["lot"] for line in service.http.get("/v1/targets/wms/drift", params=more).json()["data"]] == ["DRIFT-3"]
    assert service.metric('lotgate_drift_lots{kind="changed-by-hand",target="wms"}') == 2
    assert service.http.get("/v1/targets/wms/drift", params={"lot": "DRIFT-2"}).json()["data"][0]["kind"] == "unknown-lot"
    assert drift.over("wms", ["DRIFT-1", "DRIFT-2", "DRIFT-3", "DRIFT-4"]) == ["DRIFT-1", "DRIFT-2", "DRIFT-3"]
    assert service.http.get("/v1/targets/wms/drift").json()["data"] == []
    assert service.http.get("/v1/targets/mes/drift").status_code == 404
    store.close()


def test_a_reading_can_be_asked_for(service: Any) -> None:
    store = open_store("", service.home)
    drift = Drift(store, system_clock)
    assert drift.begin("erp", 3600, if_due=True)
    assert not drift.begin("erp", 3600, if_due=True)
    asked = service.http.post("/v1/targets/erp/reconcile")
    assert (asked.status_code, asked.json()["target"]) == (202, "erp")
    assert drift.is_due("erp", 3600)
    store.close()


def test_a_target_that_cannot_be_read_back_is_seen_to_be_read_back_ever_longer_ago(own: Any) -> None:
    line = 'lotgate_read_back_age_seconds{target="erp"}'
    assert line not in own.http.get("/metrics").text  # nobody reads it back
    store = open_store("", own.home)
    ago = {days: Drift(store, lambda days=days: system_clock() - timedelta(days=days)) for days in (3, 2, 1)}  # type: ignore[misc]
    ago[3].begin("erp", 3600, if_due=False)
    assert own.metric(line) > 2.9 * 86_400  # under way for long
    ago[2].end(Reading("erp"))
    assert 1.9 * 86_400 < own.metric(line) < 2.1 * 86_400
    ago[1].begin("erp", 3600, if_due=False)
    ago[1].end(Reading("erp", problem="it does not answer"))
    assert 1.9 * 86_400 < own.metric(line) < 2.1 * 86_400
    store.close()
