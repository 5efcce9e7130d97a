"""The real service for these tests: its own process, a new SQLite database in a temporary home, asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.databases import new_sqlite
from tests.installation import PLAIN, START_SECONDS

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A running web process and the ways to talk to it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        #: More settings, without their prefix, in small letters.
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if "database_url" not in self.settings:
            new_sqlite(self.home)
        dead = f"http://127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            "LOTGATE_HOME": str(self.home),
            "LOTGATE_PORT": str(self.port),
            "LOTGATE_REDIS_URL": "none",
            "LOTGATE_ERP_URL": dead,
            "LOTGATE_WMS_URL": dead,
            **{f"LOTGATE_{name.upper()}": value for name, value in self.settings.items()},
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        self.log = (self.home / "web.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api.web"],
            cwd=self.home,
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(self.url + "/healthz", timeout=1, verify=PLAIN).status_code == 200:
                    self.key = (self.home / "admin.key").read_text().strip()
                    self.http = self.client(self.key)
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError("the service did not start:\n" + (self.home / "web.log").read_text()[-4000:])

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, verify=PLAIN)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.http.close()
        self.process.send_signal(signal_number)
        code = self.process.wait(15)
        self.log.close()
        return code

    # -- what callers do --------------------------------------------------------------

    def submit(self, event: dict[str, Any] | bytes, **headers: str) -> httpx.Response:
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        sent = {
            "Content-Type": "application/cloudevents+json",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        return self.http.post("/v1/events", content=body, headers=sent)

    def metric(self, line: str) -> float:
        """The value of the metric whose name and labels are ``line``; 0 when nothing was counted yet."""
        for found in self.http.get("/metrics").text.splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def raw(self, *pieces: bytes, pause: float = 0.0, wait: float = 15.0) -> bytes:
        """Send bytes as they are; give back what came until the other side closed or fell silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            connection.settimeout(wait)
            answer = b""
            try:
                while b"\r\n\r\n" not in answer:
                    got = connection.recv(65536)
                    if not got:
                        break
                    answer += got
            except (TimeoutError, ConnectionResetError):
                pass
            return answer


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service of the test's own, which it may kill."""
    running = Service(tmp_path)
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def receipt(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Makes receipts of lots that no other test has."""
    prefix = f"{request.node.name[5:30]}-{os.getpid()}"

    def make(lot: str = "1", **data: Any) -> dict[str, Any]:
        lot = lot if lot.startswith("=") else f"{prefix}-{lot}"
        lot = lot.lstrip("=")
        return {
            "specversion": "1.0",
            "id": f"r-{lot}",
            "source": "wms/dock-1",
            "type": "lot.received.v1",
            "subject": lot,
            "time": "2026-11-23T08:00:00Z",
            "data": {
                "item": "RING-74",
                "revision": "A",
                "quantity": {"value": "100", "unit": "ea"},
                "supplier": "ACME",
                "receipt": f"GR/{lot}"[:64],
                **data,
            },
        }

    return make


@pytest.fixture
def hold() -> Callable[..., dict[str, Any]]:
    """Makes hold events for a lot."""

    def make(lot: str, name: str = "H-1", **changes: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"h-{lot}-{name}",
            "source": "qms",
            "type": "hold.applied.v1",
            "subject": lot,
            "data": {"hold": name, "reason": {"code": "SUSPECT"}},
            **changes,
        }

    return make
