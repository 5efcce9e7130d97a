"""A whole installation as people have it: `lotgate up` in a directory of its own, every process real."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
#: For httpx's ``verify`` where it speaks to this machine, without TLS: else each client reads the certificates of the
#: world, which takes as long as twenty requests.
PLAIN = False
#: A service starts within two seconds; a machine that others use is given time. One that ended is noticed at once.
START_SECONDS = 90
#: Ports are looked for below the range that systems give to clients.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


def free_ports() -> int:
    """The first of three free ports in a row: service, sandbox ERP, sandbox WMS."""
    start = _FIRST_PORT + (os.getpid() * 7) % (_LAST_PORT - _FIRST_PORT)
    for port in [*range(start, _LAST_PORT, 3), *range(_FIRST_PORT, start, 3)]:
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for number in range(3):
                probe = probes.enter_context(socket.socket())
                probe.bind(("127.0.0.1", port + number))
            return port
    raise AssertionError("no three free ports in a row")


class Installation:
    """`lotgate up` in ``directory``, and a terminal beside it."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.port = free_ports()
        self.url, self.erp, self.wms = (f"http://127.0.0.1:{self.port + n}" for n in range(3))
        #: In the environment of every process of this installation and of no other.
        self.mark = f"INSTALLATION={uuid.uuid4().hex}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOTGATE_")}
        self.environment = {
            **kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
            "LOTGATE_PORT": str(self.port), "COLUMNS": "120", **settings, **dict([self.mark.split("=")]),
        }  # fmt: skip
        # What documents name: programs in .venv/bin, rule files in rules/packs.
        for name, there in ((".venv", Path(sys.prefix)), ("rules", ROOT / "rules"), ("actors", ROOT / "actors")):
            (directory / name).symlink_to(there)

    @property
    def log(self) -> str:
        return (self.directory / "up.log").read_text(errors="replace")

    @property
    def key(self) -> str:
        return (self.directory / "var" / "admin.key").read_text().strip()

    def start(self, seconds: float = START_SECONDS, words: tuple[str, ...] = ()) -> None:
        """Start everything and wait until it says that it is up; ``words``: options of `lotgate up`."""
        with (self.directory / "up.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["lotgate", "up", *words], executable=str(Path(sys.executable).parent / "lotgate"), cwd=self.directory,
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + seconds
        while "Lotgate is up at" not in self.log:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise AssertionError(f"it did not start:\n{self.log[-4000:]}")
            time.sleep(0.1)

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def end(self) -> None:
        """Nothing stays behind, whatever the test did."""
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.interrupt(signal.SIGTERM)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> dict[int, str]:
        """Every live process of this installation: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ProcessLookupError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    if words:  # a process without one has ended and waits to be noticed
                        found[int(entry.name)] = words
        return found

    def run(self, *arguments: str, given: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
        """One `lotgate` command, in the second terminal."""
        done = subprocess.run(
            ["lotgate", *arguments], executable=str(Path(sys.executable).parent / "lotgate"), cwd=self.directory,
            env=self.environment | settings, input=given, capture_output=True, timeout=120,
        )  # fmt: skip
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def client(self) -> httpx.Client:
        """HTTP with the administrator's key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, verify=PLAIN)
