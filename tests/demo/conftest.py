"""Sandbox systems as real processes on free ports, for the tests of this folder."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Sandbox:
    """A running sandbox system: its process and an HTTP client for it."""

    process: subprocess.Popen[str]
    http: httpx.Client

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code; fails after 3 s."""
        self.http.close()
        self.process.send_signal(sig)
        return self.process.wait(3)


def start(name: str, storage: Path) -> Sandbox:
    command = [sys.executable, "-m", f"demo.sandbox.{name}", "--port", "0", "--storage", str(storage)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " on http://" in line, f"{name} did not start: {line!r}"
    return Sandbox(process, httpx.Client(base_url=line.split(" on ")[1].strip(), timeout=5))


@pytest.fixture
def start_sandbox() -> Iterator[Callable[[str, Path], Sandbox]]:
    """Starts sandbox systems that the test may kill; whatever is left is killed at the end."""
    started: list[Sandbox] = []

    def run(name: str, storage: Path) -> Sandbox:
        started.append(start(name, storage))
        return started[-1]

    yield run
    for sandbox in started:
        if sandbox.process.poll() is None:
            sandbox.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One well-behaved ERP for all tests; each test uses lots of its own."""
    sandbox = start("erp", tmp_path_factory.mktemp("erp") / "erp.sqlite")
    yield sandbox.http
    sandbox.stop()


@pytest.fixture(scope="session")
def wms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One well-behaved WMS for all tests; each test uses lots of its own."""
    sandbox = start("wms", tmp_path_factory.mktemp("wms") / "wms.sqlite")
    yield sandbox.http
    sandbox.stop()
