"""``python -m bench.delivery``: how fast what was decided reaches a target, beside a straightforward version.

Drains a full ledger into the sandbox ERP with one and two worker processes, one call a lot and in batches, and with
one dramatiq message a delivery (bench/plain_delivery.py); then measures the time from commit to agreement under a
steady load. Prints a table and writes var/bench-delivery.json. Everything runs on this machine, sandbox included.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml
from sqlalchemy import text

from api.cli.up import redis_command, redis_program
from bench.processes import ROOT, Started, free_port, wait_for
from engine.clock import instant, system_clock
from engine.effects import StockStatus, encode_status
from engine.settings import SHIPPED_CONNECTORS
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store


class Place:
    """One fresh installation: directory, ports, processes."""

    def __init__(self, folder: Path, *, single: bool = False, database_url: str = "") -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.ports = {name: free_port() for name in ("web", "erp", "wms")}
        self._log = folder / "log.txt"
        self._started: list[Started] = []
        self.environment = {
            "LOTGATE_HOME": str(folder), "LOTGATE_CONNECTORS": str(folder / "connectors"),
            "LOTGATE_PORT": str(self.ports["web"]),
        }  # fmt: skip
        for name in ("erp", "wms"):
            self.environment[f"LOTGATE_{name.upper()}_URL"] = self.url(name)
        (folder / "connectors").mkdir()
        for name in ("erp", "wms"):
            tree = yaml.safe_load((SHIPPED_CONNECTORS / f"{name}.yaml").read_text())
            if single:
                del tree["deliver_batch"], tree["register_batch"]
            (folder / "connectors" / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        if database_url:
            self.environment["LOTGATE_DATABASE_URL"] = database_url
        self.store: Store = open_store(database_url, folder)
        migrate(self.store)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, *command: str, **environment: str) -> Started:
        one = Started([sys.executable, "-m", *command], self.environment | environment, self._log)
        self._started.append(one)
        return one

    def redis(self) -> None:
        program = redis_program()
        if program is None:
            raise SystemExit("bench: there is no Redis server here")
        self._started.append(Started(redis_command(program, self.folder), {}, self._log))
        time.sleep(0.3)

    def sandbox(self, name: str) -> None:
        storage = str(self.folder / f"{name}.sqlite")
        self.start(f"demo.sandbox.{name}", "--port", str(self.ports[name]), "--storage", storage)
        wait_for(f"{self.url(name)}/healthz")

    def close(self) -> None:
        for one in reversed(self._started):
            one.stop()
        self.store.close()

    def owe(self, number: int) -> None:
        """Fill the ledger: a status of ``number`` lots for the ERP."""
        now = system_clock()
        rows = []
        for n in range(number):
            status = StockStatus(
                f"B-{n}", 1, "RING-74", "A", "released", "unrestricted", True, "10", "ea", None, None, [], []
            )
            rows.append({"lot": f"B-{n}", "payload": encode_status(status).decode(), "due": now.timestamp(),
                         "now": instant(now)})  # fmt: skip
        insert = text(
            "INSERT INTO deliveries (lot, version, target, payload, due_at, created_at)"
            " VALUES (:lot, 1, 'erp', :payload, :due, :now)"
        )
        with self.store.engine.begin() as connection:
            connection.execute(insert, rows)

    def delivered(self) -> int:
        with self.store.reads.connect() as connection:
            query = text("SELECT count(*) FROM deliveries WHERE state = 'delivered'")
            return int(connection.execute(query).scalar_one())


#: Lotgate's own ways, beside the plain one.
OURS = ("one_call_a_lot", "batched", "batched_two_workers", "batched_four_workers")


def drain(place: Place, number: int, workers: list[Started]) -> dict[str, float]:
    """Until everything is delivered; counted from the first delivery on, so that starting costs nothing."""
    while not (first := place.delivered()):
        time.sleep(0.01)
    began, cpu = time.monotonic(), sum(w.cpu_seconds() for w in workers)
    while (done := place.delivered()) < number:
        time.sleep(0.05)
        if time.monotonic() - began > 300:
            raise SystemExit(f"bench: only {done} of {number} were delivered in 300 s")
    seconds = time.monotonic() - began
    used = sum(w.cpu_seconds() for w in workers) - cpu
    return {
        "per_second": (number - first) / seconds,
        "cpu_us": 1e6 * used / (number - first),
        "peak_rss_mb": max(_peak_mb(pid) for w in workers for pid in w.tree()),
    }


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def ours(folder: Path, number: int, workers: int, *, single: bool) -> dict[str, float]:
    """The product's worker processes."""
    place = Place(folder, single=single)
    try:
        place.owe(number)
        place.redis()
        place.sandbox("erp")
        return drain(place, number, [place.start("api.cli.main", "worker") for _ in range(workers)])
    finally:
        place.close()


def plain(folder: Path, number: int) -> dict[str, float]:
    """One dramatiq message a delivery."""
    place = Place(folder)
    try:
        place.owe(number)
        place.redis()
        place.sandbox("erp")
        redis_url = f"unix://{(place.folder / 'redis.sock').resolve()}"
        environment = {"PLAIN_REDIS": redis_url, "PLAIN_HOME": str(place.folder), "PLAIN_ERP": place.url("erp")}
        os.environ.update(environment)
        from bench.plain_delivery import deliver

        for n in range(1, number + 1):
            deliver.send(n)
        command = ("dramatiq", "bench.plain_delivery", "--processes", "1", "--threads", "8")
        return drain(place, number, [place.start(*command, **environment)])
    finally:
        place.close()


def steady(folder: Path, per_second: int, seconds: int) -> dict[str, float]:
    """Receipts at a steady rate through the whole system; from commit to agreement of ERP and WMS."""
    place = Place(folder)
    try:
        place.redis()
        for name in ("erp", "wms"):
            place.sandbox(name)
        place.start("api.cli.main", "web")
        wait_for(f"{place.url('web')}/healthz")
        for name in ("worker", "clock"):
            place.start("api.cli.main", name)
        time.sleep(2.0)
        _send(place, per_second, seconds)
        while place.delivered() < 2 * per_second * seconds:
            time.sleep(0.1)
        with place.store.reads.connect() as connection:
            rows = connection.execute(text("SELECT created_at, delivered_at FROM deliveries")).all()
        took = sorted((datetime.fromisoformat(d) - datetime.fromisoformat(c)).total_seconds() for c, d in rows)
        return {"p50_ms": 1000 * statistics.median(took), "p99_ms": 1000 * took[int(len(took) * 0.99)]}
    finally:
        place.close()


def _send(place: Place, per_second: int, seconds: int) -> None:
    key = (place.folder / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
    limits = httpx.Limits(max_connections=16)
    with httpx.Client(base_url=place.url("web"), headers=headers, limits=limits, trust_env=False) as http:

        def send(number: int) -> None:
            lot = f"S-{number}"
            data = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
                    "receipt": f"GR/{lot}"}  # fmt: skip
            event = {"specversion": "1.0", "id": lot, "source": "bench", "type": "lot.received.v1", "subject": lot,
                     "data": data}  # fmt: skip
            http.post("/v1/events", content=msgspec.json.encode(event)).raise_for_status()

        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            sent = []
            for number in range(per_second * seconds):
                time.sleep(max(0.0, began + number / per_second - time.monotonic()))
                sent.append(pool.submit(send, number))
            for one in sent:
                one.result()


def measure(number: int) -> dict[str, Any]:
    """Every figure, with ``number`` deliveries waiting (fewer for the slow ones)."""
    figures: dict[str, Any] = {"cores": os.cpu_count(), "deliveries": number}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        at = Path(folder)
        figures["plain"] = plain(at / "p", number // 5)
        figures["one_call_a_lot"] = ours(at / "s", number // 2, 1, single=True)
        figures["batched"] = ours(at / "b", number, 1, single=False)
        figures["batched_two_workers"] = ours(at / "b2", number, 2, single=False)
        figures["batched_four_workers"] = ours(at / "b4", number, 4, single=False)
        figures["steady_200"] = steady(at / "t", 200, 8)
    for name in OURS:
        figures[f"{name}_over_plain"] = figures[name]["per_second"] / figures["plain"]["per_second"]
    return figures


def report(figures: dict[str, Any]) -> None:
    """The table."""
    base = figures["plain"]["per_second"]
    print(f"{'':<22}{'per second':>12}{'× plain':>10}{'CPU µs':>10}{'RSS MB':>9}")
    for name in ("plain", *OURS):
        line = figures[name]
        print(f"{name:<22}{line['per_second']:>12.0f}{line['per_second'] / base:>10.1f}"
              f"{line['cpu_us']:>10.0f}{line['peak_rss_mb']:>9.0f}")  # fmt: skip
    took = figures["steady_200"]
    print(f"commit to agreement at 200 events/s: p50 {took['p50_ms']:.0f} ms, p99 {took['p99_ms']:.0f} ms")


def main() -> int:
    """Run everything; gives the exit code."""
    parser = argparse.ArgumentParser(prog="bench.delivery", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000, help="how many wait (20000)")
    figures = measure(parser.parse_args().deliveries)
    report(figures)
    target = ROOT / "var" / "bench-delivery.json"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
