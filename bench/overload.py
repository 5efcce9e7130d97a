"""More than the service can take: ``python -m bench.overload`` floods it at four times the rate that it sustains.

First the sustainable rate is measured: as many senders as connections of the other benchmarks, each sending the next
event when the last is answered. Then four times that is offered for a minute, on a timetable that does not wait for
answers: a sender whose last event is not answered when its next is due has met a queue, and the event counts as
offered and not sent. Meanwhile somebody else holds lots, twenty a second. Reported are what was accepted and refused,
how long holds took beside the flood, the memory of all processes together, how soon the service is itself again, and
whether everything that was acknowledged is in the journal. Sender and service share the machine's cores, and the
service goes first. Ends with 1 when an acknowledged event is missing, a hold was not taken, or the 99th percentile of
holds misses its goal.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from bench.processes import Started, free_port, wait_for

#: Offered, as a multiple of what is sustained.
FACTOR = 4
HOLDS_PER_SECOND = 20
#: The 99th percentile of a hold, from sent to answered, whatever else is offered; docs/monitoring/alerts.yaml has it.
HOLD_GOAL_MS = 100.0
#: The service is itself again when an event is answered within this many times what it took before the flood, ...
ITSELF_FACTOR = 3
#: ... or within this, for a quiet machine takes next to nothing.
ITSELF_MS = 50.0


class Sender(Struct):
    """What one kind of sender has seen."""

    offered: int = 0
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    latencies_ms: list[float] = []
    #: Subjects of what was acknowledged.
    acknowledged: list[str] = []
    #: 429 and 503 that did not say when to come again.
    silent_refusals: int = 0

    def percentile(self, share: float) -> float:
        """Milliseconds within which ``share`` of the answers came."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Connection:
    """One HTTP/1.1 connection that sends an event and reads its answer."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, event: bytes) -> tuple[int, bool]:
        """(status, does it say when to come again); 0 when the connection was lost."""
        try:
            if self._ends is None:
                self._ends = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._ends
            writer.write(
                b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\n"
                b"Prefer: return=minimal\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                % (self._key.encode(), len(event), event)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            if b"connection: close" in head:
                await self.close()
            return int(head[9:12]), b"\r\nretry-after:" in head
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return 0, True

    async def close(self) -> None:
        """Hang up."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None


def receipt(lot: str) -> bytes:
    """A lot comes in."""
    event = {
        "specversion": "1.0", "id": lot, "source": "bench/flood", "type": "lot.received.v1", "subject": lot,
        "data": {"item": "TEN-POINT", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
                 "receipt": lot},
    }  # fmt: skip
    return json.dumps(event).encode()


def hold(lot: str) -> bytes:
    """A lot is held."""
    event = {
        "specversion": "1.0", "id": f"hold-{lot}", "source": "bench/qms", "type": "hold.applied.v1", "subject": lot,
        "data": {"hold": "H", "reason": {"code": "SUSPECT"}},
    }  # fmt: skip
    return json.dumps(event).encode()


async def _one(connection: Connection, seen: Sender, lot: str, event: bytes) -> None:
    began = time.perf_counter()
    status, told = await connection.send(event)
    seen.statuses[status] += 1
    if status in (200, 201):
        seen.latencies_ms.append((time.perf_counter() - began) * 1000)
        seen.acknowledged.append(lot)
    elif status in (429, 503) and not told:
        seen.silent_refusals += 1


async def closed_loop(port: int, key: str, prefix: str, senders: int, seconds: float) -> Sender:
    """Each of ``senders`` sends the next event when the last is answered."""
    seen, until = Sender(), time.perf_counter() + seconds

    async def run(number: int) -> None:
        connection, count = Connection(port, key), 0
        while time.perf_counter() < until:
            lot = f"{prefix}-{number}-{count}"
            await _one(connection, seen, lot, receipt(lot))
            count += 1
        await connection.close()

    await asyncio.gather(*(run(number) for number in range(senders)))
    return seen


async def timetable(
    port: int, key: str, prefix: str, senders: int, rate: float, seconds: float, event: Callable[[str], bytes],
    lots: list[str] | None = None,
) -> Sender:  # fmt: skip
    """``rate`` events a second are offered, whatever becomes of them; ``lots``: of these, one after the other."""
    seen, began = Sender(), time.perf_counter()

    async def run(number: int) -> None:
        connection, due, count = Connection(port, key), number / rate, 0
        while due < seconds:
            wait = began + due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            seen.offered += 1
            # Its last event may have been answered long after this one was due: then this one met a queue.
            if wait > -senders / rate:
                lot = f"{prefix}-{number}-{count}" if lots is None else lots[(number + count * senders) % len(lots)]
                await _one(connection, seen, lot, event(lot))
            due += senders / rate
            count += 1
        await connection.close()

    await asyncio.gather(*(run(number) for number in range(senders)))
    return seen


def holding(port: int, key: str, seconds: float, lots: list[str]) -> Sender:
    """Hold ``lots``, twenty a second; for a process of its own, so that it waits for nothing but the service."""
    return uvloop.run(timetable(port, key, "", 8, HOLDS_PER_SECOND, seconds, hold, lots))


def resident_mb(started: Started) -> float:
    """Memory of the web process and all that it started, MB."""
    total = 0.0
    for pid in started.tree():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if "VmRSS:" in status:
            total += int(status.split("VmRSS:")[1].split()[0]) / 1024
    return total


class Watch(threading.Thread):
    """Looks at the memory twice a second."""

    def __init__(self, started: Started) -> None:
        super().__init__(daemon=True)
        self._service, self._over = started, threading.Event()
        self.peak_mb = resident_mb(started)

    def run(self) -> None:
        """Look until :meth:`end`."""
        while not self._over.wait(0.5):
            self.peak_mb = max(self.peak_mb, resident_mb(self._service))

    def end(self) -> float:
        """The most that there was, MB."""
        self._over.set()
        self.join()
        return self.peak_mb


class Found(Struct):
    """What one run has shown."""

    sustained_per_s: float
    usual_ms: float
    offered_per_s: float
    flood: Sender
    holds: Sender
    usual_hold_p99_ms: float
    memory_before_mb: float
    memory_peak_mb: float
    recovery_seconds: float
    #: Acknowledged, and not in the journal.
    lost: list[str]

    @property
    def goals_met(self) -> bool:
        """Is nothing lost, and was every hold taken in time?"""
        taken = len(self.holds.acknowledged) == sum(self.holds.statuses.values())
        return not self.lost and taken and self.holds.percentile(0.99) <= HOLD_GOAL_MS


async def overload(
    port: int, key: str, started: Started, *, warm_seconds: float, seconds: float, senders: int, usual_senders: int,
    give_way: bool,
) -> Found:  # fmt: skip
    """Measure, flood, wait until it is itself again; what is in the journal is for later to find.

    ``give_way``: in a plant senders have machines of their own, so this process, for the rest of its life, takes of the
    machine only what the service leaves.
    """
    process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    loop = asyncio.get_running_loop()

    def elsewhere(seconds: float, lots: list[str]) -> Awaitable[Sender]:
        return loop.run_in_executor(process, holding, port, key, seconds, lots)

    await elsewhere(0, [])  # the process is there before anything is measured
    if give_way:
        os.nice(10)
    held = [f"HELD-{number}" for number in range(int((warm_seconds + seconds) * HOLDS_PER_SECOND) + 50)]
    connection = Connection(port, key)
    for lot in held:
        status, _ = await connection.send(receipt(lot))
        if status not in (200, 201):
            raise SystemExit(f"bench: a receipt was answered {status} before there was any load")
    count = int(warm_seconds * HOLDS_PER_SECOND)
    usual, calm = await asyncio.gather(
        closed_loop(port, key, "WARM", usual_senders, warm_seconds), elsewhere(warm_seconds, held[:count])
    )
    sustained = len(usual.acknowledged) / warm_seconds
    quiet = Sender()
    for number in range(20):
        await _one(connection, quiet, f"QUIET-{number}", receipt(f"QUIET-{number}"))
    usual_ms = statistics.median(quiet.latencies_ms)
    before, watch = resident_mb(started), Watch(started)
    watch.start()
    rate = FACTOR * sustained
    flood, holds = await asyncio.gather(
        timetable(port, key, "FLOOD", senders, rate, seconds, receipt),
        elsewhere(seconds, held[count:]),
    )
    over, good = time.perf_counter(), 0
    for number in range(100_000):
        probe = Sender()
        await _one(connection, probe, f"AFTER-{number}", receipt(f"AFTER-{number}"))
        quick = probe.percentile(1.0) < max(ITSELF_MS, ITSELF_FACTOR * usual_ms)
        good = good + 1 if quick and probe.acknowledged else 0
        if good == 10:
            break
        await asyncio.sleep(0.02)
    recovery, peak = time.perf_counter() - over, watch.end()
    await connection.close()
    process.shutdown()
    return Found(
        sustained, usual_ms, flood.offered / seconds, flood, holds, calm.percentile(0.99), before, peak, recovery, []
    )


def not_in_journal(home: Path, lots: list[str], kind: str) -> list[str]:
    """Those of ``lots`` of which the journal of a service on SQLite has no applied event of type ``kind``."""
    connection = sqlite3.connect(home / "lotgate.db")
    try:
        query = "SELECT lot FROM journal WHERE type = ? AND kind = 'event'"
        there = {lot for (lot,) in connection.execute(query, (kind,))}
    finally:
        connection.close()
    return [lot for lot in lots if lot not in there]


def measure(
    seconds: float, *, warm_seconds: float, senders: int, usual_senders: int, give_way: bool = False, **settings: str
) -> Found:
    """One run against a service of its own, on SQLite; ``settings``: of the service, in small letters."""
    home, port = Path(tempfile.mkdtemp(prefix="lotgate-overload-")), free_port()
    environment = {
        "LOTGATE_HOME": str(home), "LOTGATE_PORT": str(port), "LOTGATE_REDIS_URL": "none",
        "LOTGATE_ERP_URL": f"http://127.0.0.1:{free_port()}", "LOTGATE_WMS_URL": f"http://127.0.0.1:{free_port()}",
        **{f"LOTGATE_{name.upper()}": value for name, value in settings.items()},
    }  # fmt: skip
    started = Started([sys.executable, "-m", "api.web"], environment, home / "web.log")
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        key = (home / "admin.key").read_text().strip()
        run = overload(
            port, key, started, warm_seconds=warm_seconds, seconds=seconds, senders=senders,
            usual_senders=usual_senders, give_way=give_way,
        )  # fmt: skip
        found = uvloop.run(run)
    finally:
        started.stop()
    found.lost = not_in_journal(home, found.flood.acknowledged, "lot.received.v1")
    found.lost += not_in_journal(home, found.holds.acknowledged, "hold.applied.v1")
    shutil.rmtree(home, ignore_errors=True)
    return found


def report(found: Found) -> str:
    """The figures as a table."""
    flood, holds = found.flood, found.holds
    refused = sum(count for status, count in flood.statuses.items() if status in (429, 503))
    rows = (
        ("sustained, events/s", f"{found.sustained_per_s:,.0f}"),
        ("offered in the flood, events/s", f"{found.offered_per_s:,.0f}"),
        ("sent in the flood", f"{sum(flood.statuses.values()):,}"),
        ("accepted", f"{len(flood.acknowledged):,}"),
        ("refused, come again", f"{refused:,}"),
        ("other answers", f"{dict(flood.statuses)}"),
        ("holds sent / accepted", f"{sum(holds.statuses.values())} / {len(holds.acknowledged)}"),
        ("a hold took, p50 / p99, ms", f"{holds.percentile(0.5):.0f} / {holds.percentile(0.99):.0f}"),
        ("goal for the p99 of a hold, ms", f"{HOLD_GOAL_MS:.0f}"),
        ("p99 of a hold at the sustained rate, ms", f"{found.usual_hold_p99_ms:.0f}"),
        ("memory before / most, MB", f"{found.memory_before_mb:.0f} / {found.memory_peak_mb:.0f}"),
        ("itself again after, s", f"{found.recovery_seconds:.1f}"),
        ("acknowledged and not in the journal", str(len(found.lost))),
        ("refusals without Retry-After", str(flood.silent_refusals + holds.silent_refusals)),
    )
    return "\n".join(f"{name:<42}{value}" for name, value in rows)


def main() -> None:
    """Measure as the command line says; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of the flood")
    parser.add_argument("--senders", type=int, default=1500, help="connections of the flood")
    parser.add_argument("--max-waiting", type=int, default=1000, help="LOTGATE_MAX_WAITING of the service")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, shared by sender and service", flush=True)
    found = measure(
        options.seconds, warm_seconds=8, senders=options.senders, usual_senders=64, give_way=True,
        max_waiting=str(options.max_waiting),
    )  # fmt: skip
    print(report(found))
    sys.exit(0 if found.goals_met else 1)


if __name__ == "__main__":
    main()
