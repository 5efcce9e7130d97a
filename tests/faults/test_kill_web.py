"""kill -9 of the web process in the middle of load: nothing acknowledged is lost, nothing is half done."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.journal import verify
from engine.settings import load_settings
from engine.store.opening import open_store
from engine.store.reading import Reading
from tests.installation import PLAIN, START_SECONDS

ROOT = Path(__file__).resolve().parents[2]
SENDERS = 8


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, port: int) -> dict[str, str]:
    dead = f"http://127.0.0.1:{free_port()}"
    return {
        **os.environ,
        "LOTGATE_HOME": str(home),
        "LOTGATE_PORT": str(port),
        "LOTGATE_REDIS_URL": "none",
        "LOTGATE_ERP_URL": dead,
        "LOTGATE_WMS_URL": dead,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


def start(home: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "api.web"], cwd=home, env=environment(home, port))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1, verify=PLAIN).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the service did not start")


def story(sender: int, number: int) -> list[dict[str, Any]]:
    lot = f"K-{sender}-{number}"
    head = {"specversion": "1.0", "source": f"sender-{sender}", "subject": lot}
    return [
        {
            **head,
            "id": f"{lot}-r",
            "type": "lot.received.v1",
            "data": {
                "item": "RING-74",
                "revision": "A",
                "quantity": {"value": "10", "unit": "ea"},
                "supplier": "ACME",
                "receipt": f"GR/{lot}",
            },
        },
        {
            **head,
            "id": f"{lot}-h",
            "type": "hold.applied.v1",
            "data": {"hold": "H-1", "reason": {"code": "SUSPECT"}},
        },
    ]


class Sender(threading.Thread):
    """Sends stories until the service is gone; remembers what was acknowledged, and what was left open."""

    def __init__(self, number: int, port: int, key: str) -> None:
        super().__init__(daemon=True)
        self.number, self.port, self.key = number, port, key
        self.acknowledged: list[tuple[dict[str, Any], bytes]] = []
        self.open: dict[str, Any] | None = None

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/cloudevents+json"}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=20) as http:
            for number in range(100_000):
                for event in story(self.number, number):
                    self.open = event
                    try:
                        answer = http.post("/v1/events", content=json.dumps(event))
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        self.acknowledged.append((event, answer.content))


@pytest.mark.parametrize(
    ("signal_number", "after_seconds"), [(signal.SIGKILL, 0.1), (signal.SIGKILL, 0.8), (signal.SIGTERM, 0.1)]
)
def test_however_the_web_process_ends_nothing_acknowledged_is_lost(
    tmp_path: Path, signal_number: signal.Signals, after_seconds: float
) -> None:
    port = free_port()
    process = start(tmp_path, port)
    key = (tmp_path / "admin.key").read_text().strip()
    senders = [Sender(n, port, key) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 30
    while sum(len(sender.acknowledged) for sender in senders) < 30:
        assert time.monotonic() < deadline, "the service decides nothing"
        time.sleep(0.01)
    time.sleep(after_seconds)
    process.send_signal(signal_number)
    # A process manager kills what has not ended 5 s after SIGTERM.
    process.wait(5)
    for sender in senders:
        sender.join(10)
    acknowledged = [pair for sender in senders for pair in sender.acknowledged]
    assert len(acknowledged) >= 30

    process = start(tmp_path, port)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as http,
            ThreadPoolExecutor(4) as pool,
        ):

            def again(pair: tuple[dict[str, Any], bytes]) -> None:
                event, answered = pair
                answer = http.post("/v1/events", content=json.dumps(event))
                assert (answer.status_code, answer.content) == (200, answered), event["id"]

            list(pool.map(again, acknowledged))
            # What was under way is either there or not, and can be sent again either way.
            for sender in senders:
                assert sender.open is not None
                assert http.post("/v1/events", content=json.dumps(sender.open)).status_code in (200, 201)
    finally:
        process.terminate()
        process.wait(10)
    verify_everything(tmp_path, port)


def verify_everything(home: Path, port: int) -> None:
    settings = load_settings(environment(home, port))
    store = open_store(settings.database_url, settings.home)
    try:
        report = verify(Reading(store).journals())
        assert report.breaks == ()
        assert report.entries > report.lots > 0
    finally:
        store.close()
