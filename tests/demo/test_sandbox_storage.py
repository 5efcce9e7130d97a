"""What a sandbox answered is in its database, and its invariants would show a fault of its own."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

Start = Callable[[str, Path], Any]
STATUS = {"stock": "quality", "state": "received", "quantity": "10", "unit": "ea", "reasons": []}


def register(erp: httpx.Client, name: str) -> httpx.Response:
    body = {"lot": name, "item": "RING-74", "revision": "A", "quantity": "10", "unit": "ea"}
    return erp.post("/api/lots", json=body)


def send(erp: httpx.Client, name: str, version: int) -> httpx.Response:
    headers = {"Idempotency-Key": f"{name}:{version}"}
    return erp.post(f"/api/lots/{name}/status", json={**STATUS, "version": version}, headers=headers)


def test_nothing_acknowledged_is_lost_by_kill_9_in_the_middle_of_load(
    start_sandbox: Start, tmp_path: Path
) -> None:
    sandbox = start_sandbox("erp", tmp_path / "erp.sqlite")
    register(sandbox.http, "L")
    acknowledged = [0]

    def load() -> None:
        try:
            for version in range(1, 100_000):
                if send(sandbox.http, "L", version).status_code == 200:
                    acknowledged.append(version)
        except (httpx.TransportError, RuntimeError):  # the connection breaks, or stop() closed the client
            return

    loader = threading.Thread(target=load)
    loader.start()
    time.sleep(0.4)
    sandbox.process.send_signal(signal.SIGKILL)
    loader.join(5)
    sandbox.process.wait(3)
    assert len(acknowledged) > 10

    again = start_sandbox("erp", tmp_path / "erp.sqlite").http
    assert again.get("/api/lots/L").json()["version"] in (acknowledged[-1], acknowledged[-1] + 1)
    assert send(again, "L", acknowledged[-1]).json()["duplicate"] is True
    invariants = again.get("/_invariants").json()
    assert invariants["applications"] in (acknowledged[-1], acknowledged[-1] + 1)
    assert (invariants["duplicate_applications"], invariants["version_regressions"]) == (0, 0)


def test_sigterm_ends_the_process_cleanly_within_two_seconds(start_sandbox: Start, tmp_path: Path) -> None:
    sandbox = start_sandbox("wms", tmp_path / "wms.sqlite")
    slow = {"mode": "slow", "seconds": 30}
    sandbox.http.post("/_faults", json=slow)
    waiting = threading.Thread(target=_ask_and_be_cut_off, args=(str(sandbox.http.base_url),))
    waiting.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert sandbox.stop() == 0
    assert time.monotonic() - began < 2
    waiting.join(3)


def _ask_and_be_cut_off(url: str) -> None:
    answer = None
    try:
        answer = httpx.get(f"{url}/stock", timeout=5)
    except httpx.TransportError:
        return
    assert answer.status_code >= 500


def test_the_invariants_count_what_was_answered(start_sandbox: Start, tmp_path: Path) -> None:
    erp = start_sandbox("erp", tmp_path / "erp.sqlite").http
    register(erp, "A")
    register(erp, "B")
    for version in (1, 2, 2, 1):
        send(erp, "A", version)
    erp.post("/api/lots/A/status", json={**STATUS, "version": 1}, headers={"Idempotency-Key": "late"})
    assert erp.get("/_invariants").json() == {
        "lots": 2, "applications": 2, "duplicate_applications": 0, "version_regressions": 0,
        "lots_out_of_step": 0, "lots_by_status": {"none": 1, "quality": 1},
        "duplicates_answered": 2, "stale_refused": 1,
    }  # fmt: skip


def test_the_invariants_show_a_fault_in_the_storage_itself(start_sandbox: Start, tmp_path: Path) -> None:
    erp = start_sandbox("erp", tmp_path / "erp.sqlite").http
    register(erp, "A")
    for version in (1, 2):
        send(erp, "A", version)
    row = "insert into applications (lot, version, key, digest, applied_at) values ('A', ?, ?, x'00', '')"
    with sqlite3.connect(tmp_path / "erp.sqlite") as database:
        database.execute(row, (1, "A:1"))  # the same request twice, out of order
        database.execute(row, (3, "new"))  # never shown
    invariants = erp.get("/_invariants").json()
    assert invariants["duplicate_applications"] == 1
    assert invariants["version_regressions"] == 1
    assert invariants["lots_out_of_step"] == 1
