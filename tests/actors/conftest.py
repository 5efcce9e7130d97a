"""A real ERP and WMS in processes, a real ledger, and a target that says whatever it is told to say."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from sqlalchemy import text

from actors.deliver import Deliverer
from engine.clock import instant, system_clock
from engine.delivery_lines import DeliveryLine
from engine.effects import StockStatus, encode_status
from engine.ledger import Ledger
from engine.settings import SHIPPED_CONNECTORS, Settings, load_settings
from engine.store.opening import Store
from tests.databases import new_store

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Sandbox:
    """A sandbox system in a process of its own."""

    name: str
    process: subprocess.Popen[str]
    url: str
    http: httpx.Client

    def fault(self, mode: str, **more: Any) -> None:
        self.http.post("/_faults", json={"mode": mode, **more}).raise_for_status()

    def log(self, part: str = "") -> list[dict[str, Any]]:
        """Every request so far whose path contains ``part``, the sandbox's own calls aside."""
        found: list[dict[str, Any]] = []
        after = 0
        while page := self.http.get("/_log", params={"after": after, "limit": 1000}).json()["entries"]:
            found += [entry for entry in page if part in entry["path"]]
            after = page[-1]["seq"]
        return found

    def lot(self, lot: str) -> dict[str, Any] | None:
        path = "/api/lots" if self.name == "erp" else "/stock"
        answer = self.http.get(f"{path}/{quote(lot, safe='')}")
        return None if answer.status_code == 404 else dict(answer.json())


@contextlib.contextmanager
def running(name: str, storage: Path, port: int = 0) -> Iterator[Sandbox]:
    command = [sys.executable, "-m", f"demo.sandbox.{name}", "--port", str(port), "--storage", str(storage)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " on http://" in line, f"{name} did not start: {line!r}"
    url = line.split(" on ")[1].strip()
    with httpx.Client(base_url=url, timeout=5, trust_env=False) as http:
        yield Sandbox(name, process, url, http)
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    process.stdout.close()


@pytest.fixture(scope="session")
def erp_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running("erp", tmp_path_factory.mktemp("erp") / "erp.sqlite") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def wms_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running("wms", tmp_path_factory.mktemp("wms") / "wms.sqlite") as sandbox:
        yield sandbox


@pytest.fixture
def erp(erp_process: Sandbox) -> Iterator[Sandbox]:
    """The ERP, well-behaved at the start and the end of each test."""
    erp_process.fault("off")
    yield erp_process
    erp_process.fault("off")


@pytest.fixture
def own_erp(tmp_path: Path) -> Iterator[Sandbox]:
    """An ERP in which nobody but this test has changed anything."""
    with running("erp", tmp_path / "own-erp.sqlite") as sandbox:
        yield sandbox


@pytest.fixture
def wms(wms_process: Sandbox) -> Iterator[Sandbox]:
    wms_process.fault("off")
    yield wms_process
    wms_process.fault("off")


@pytest.fixture
def lot() -> str:
    """The id of a lot that no other test knows; awkward on purpose."""
    return f"L {uuid.uuid4().hex[:8]}/ü%"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


class Owing:
    """The ledger, and what the committer writes into it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ledger = Ledger(store, system_clock)

    def owe(self, lot: str, version: int, /, target: str = "erp", **changes: Any) -> None:
        known = {
            "lot": lot, "version": version, "item": "RING-74", "revision": "A", "state": "released",
            "stock": "unrestricted", "allocatable": True, "quantity": "10", "unit": "ea", "plant": None,
            "location": None, "reasons": [], "restrictions": [],
        }  # fmt: skip
        now = system_clock()
        row = {
            "lot": lot, "version": version, "target": target, "due": now.timestamp(), "now": instant(now),
            "payload": encode_status(StockStatus(**(known | changes))).decode(),
        }  # fmt: skip
        with self.store.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO deliveries (lot, version, target, payload, due_at, created_at)"
                     " VALUES (:lot, :version, :target, :payload, :due, :now)"), row)  # fmt: skip

    def line(self, lot: str, version: int, target: str = "erp") -> DeliveryLine:
        return next(d for d in self.ledger.lines(lot=lot, target=target) if d.version == version)

    def make_due(self) -> None:
        """What waits for its next attempt is due now."""
        with self.store.engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET due_at = 0 WHERE state = 'pending'"))


@pytest.fixture
def owing(store: Store) -> Owing:
    return Owing(store)


#: The shipped connector file of a target with other limits, in a directory of its own.
Adapt = Callable[..., Path]


@pytest.fixture
def adapt(tmp_path: Path) -> Adapt:
    def write(target: str = "erp", **changes: Any) -> Path:
        tree = yaml.safe_load((SHIPPED_CONNECTORS / f"{target}.yaml").read_text())
        for name, value in changes.items():
            if value is None:
                tree.pop(name, None)
            else:
                tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value
        folder = tmp_path / "connectors"
        folder.mkdir(exist_ok=True)
        (folder / f"{target}.yaml").write_text(yaml.safe_dump(tree))
        return folder

    return write


#: Fast enough for a test: a failure is tried again soon, a breaker opens late.
BRISK = {"limits": {"timeout_s": 1.0}, "breaker": {"failures": 50, "open_s": 0.1, "longest_s": 0.2}}


@pytest.fixture
def deliverer(owing: Owing, adapt: Adapt) -> Iterator[Callable[..., Deliverer]]:
    """Makes deliverers that end with the test."""
    made: list[tuple[Deliverer, threading.Event]] = []

    def make(url: str, target: str = "erp", secrets: dict[str, str] | None = None, **changes: Any) -> Deliverer:
        folder = adapt(target, **(BRISK | changes))
        environment = {f"LOTGATE_{target.upper()}_URL": url, "LOTGATE_CONNECTORS": str(folder)}
        environment |= {f"LOTGATE_SECRET_{name.upper()}": value for name, value in (secrets or {}).items()}
        stopping = threading.Event()
        settings: Settings = load_settings(environment)
        made.append((Deliverer(target, settings, owing.ledger, stopping), stopping))
        return made[-1][0]

    yield make
    for one, stopping in made:
        stopping.set()
        one.close()


@contextlib.contextmanager
def clock_process(home: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """The real clock process over the store in ``home``, with more settings."""
    environment = {
        **os.environ, "LOTGATE_HOME": str(home), "LOTGATE_REDIS_URL": "none", "LOTGATE_CHANNEL": "reference",
        "PYTHONPATH": str(ROOT), **settings,
    }  # fmt: skip
    command = [sys.executable, "-m", "api.cli.main", "clock"]
    with subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.DEVNULL) as clock:
        try:
            yield clock
        finally:
            clock.kill()


def seconds_to_stop(process: subprocess.Popen[bytes]) -> float:
    """Ask it to stop, and see that it ends well."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    return time.monotonic() - began


@dataclass
class Talker:
    """A target on a real socket that answers each request with the next of its lines, and keeps what it heard."""

    lines: list[Any] = field(default_factory=list)
    heard: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    #: What it heard, byte for byte.
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    def say(self, status: int, body: Any = None, **headers: str) -> None:
        """The next answer. ``body``: bytes as they are, else JSON."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        start = f"HTTP/1.1 {status} Word\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode()
        self.lines.append(start + content)

    def do(self, what: Callable[[socket.socket], None]) -> None:
        """Instead of the next answer: ``what``; the connection is closed after it."""
        self.lines.append(what)

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            while head := stream.readline():
                headers = {}
                while (line := stream.readline()).strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                self.bodies.append(body)
                self.heard.append((head.decode().rsplit(" ", 1)[0], headers, json.loads(body) if body[:1] in (b"{", b"[") else None))
                line = (
                    self.lines.pop(0)
                    if self.lines
                    else b"HTTP/1.1 500 Nothing left to say\r\nContent-Length: 0\r\n\r\n"
                )
                if callable(line):
                    line(connection)
                    return
                connection.sendall(line)


@pytest.fixture
def talker() -> Iterator[Talker]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Talker(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=target.serve, args=(listener,), daemon=True).start()
        yield target
        listener.shutdown(socket.SHUT_RDWR)
