"""``python -m bench.spc_history``: charts of a characteristic with a million results, beside a rescan of its history.

Fills a SQLite database with completed inspections of one item from one supplier, five values a lot, and lets the clock
process's counting take them up. What a chart costs is measured with 10,000 results and again with a million: asked
over the API's function, and seen by a decision; so is what one more lot costs to count. The rescan is the query that
one would write first: every result of the item and supplier, decoded, added up. Prints ratios, writes
var/bench-spc-history.json.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from sqlalchemy import text

from bench.processes import ROOT
from engine.clock import system_clock
from engine.journal import GENESIS
from engine.quality.series import Series, chart_fact, extended, point_of
from engine.scorecards import Scorecards
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.track_record import count
from engine.tracks import pair_of, series_of

ITEM, SUPPLIER, CHARACTERISTIC, PER_LOT = "RING-74", "ACME", "diameter", 5
#: Series of other items that stand beside it.
OTHERS = 20_000
_LOT = (
    "id", "version", "state", "item", "revision", "supplier", "quantity", "unit", "received_at", "changed_at", "head",
    "snapshot",
)  # fmt: skip
_JOURNAL = (
    "lot", "version", "kind", "trigger", "type", "source", "event_id", "recorded_at", "principal", "state_before",
    "state_after", "rule_set", "data", "evidence", "prev_hash", "hash",
)  # fmt: skip
_RESULT = ("lot", "version", "inspection", "measurements")
_encode = msgspec.json.Encoder().encode


def rows(first: int, last: int) -> Iterator[tuple[tuple[Any, ...], list[tuple[Any, ...]], tuple[Any, ...]]]:
    """A lot, its journal and its results, one after the other."""
    chance, start = Random(first), datetime(2020, 1, 1, tzinfo=UTC)
    for n in range(first, last):
        lot, at = f"L{n:08}", (start + timedelta(minutes=n)).isoformat().replace("+00:00", "Z")
        values = [
            {"characteristic": CHARACTERISTIC, "value": f"{chance.gauss(74, 0.01):.3f}", "unit": "mm", "sample": s}
            for s in range(1, PER_LOT + 1)
        ]
        journal = [
            (lot, version, kind, trigger, kind_of, "bench", f"{lot}/{version}", at, "bench", "quarantined", after, "-",
             "{}", "{}", GENESIS, GENESIS)
            for version, kind, trigger, kind_of, after in (
                (1, "event", "record_inspection", "inspection.recorded.v1", "quarantined"),
                (2, "consequence", "inspect", "inspection.completed.v1", "inspected"),
            )
        ]  # fmt: skip
        yield (
            (lot, 2, "released", ITEM, "A", SUPPLIER, "10", "ea", at, at, GENESIS, "{}"),
            journal,
            (lot, 1, "IL", _encode(values).decode()),
        )


def fill(store: Store, first: int, last: int) -> None:
    """Put lots into the database, by the quickest way that it has."""
    connection = store.raw()
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    for lot, journal, result in rows(first, last):
        parts = (("lots", _LOT, [lot]), ("journal", _JOURNAL, journal), ("results", _RESULT, [result]))
        for table, columns, lines in parts:
            names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", lines)
    cursor.execute("COMMIT")
    connection.close()


def among_others(store: Store, number: int) -> None:
    """Put as many series of other items beside it."""
    with store.engine.begin() as connection:
        connection.execute(text(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)"
            " INSERT INTO series (pair, characteristic, item, supplier, content, limits, changed_at)"
            " SELECT 'other-' || i, characteristic, 'OTHER-' || i, supplier, content, limits, changed_at FROM n, series"
            " WHERE item = :item"
        ), {"number": number, "item": ITEM})  # fmt: skip


def counted(store: Store) -> float:
    """Count whatever is not yet; gives seconds."""
    start = time.perf_counter()
    while count(store):
        pass
    return time.perf_counter() - start


def milliseconds(ask: Callable[[], Any], times: int) -> float:
    """The median of ``times`` askings."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found)


def chart(store: Store) -> None:
    """As `GET /v1/quality/charts` does."""
    (line,) = Scorecards(store, system_clock).charts(ITEM, SUPPLIER, CHARACTERISTIC)
    if line.kind != "xbar":
        raise AssertionError(f"a chart of {line.kind}")


def seen(store: Store) -> None:
    """As a decision does: read the series, make the fact with the lot as its last point."""
    with store.reads.connect() as connection:
        row = connection.execute(
            text("SELECT content, limits FROM series WHERE pair = :pair AND characteristic = :characteristic"),
            {"pair": pair_of(ITEM, SUPPLIER), "characteristic": CHARACTERISTIC},
        ).one()
    chart_fact(CHARACTERISTIC, series_of(*row), point_of("NEW", "2026-11-01T08:00:00Z", [74.0] * PER_LOT))


def rescan(store: Store) -> None:
    """Every result of the item and supplier, decoded and added up."""
    decode, series = msgspec.json.Decoder(list[dict[str, Any]]).decode, Series()
    query = text(
        "SELECT r.lot, l.received_at, r.measurements FROM results r JOIN lots l ON l.id = r.lot"
        " WHERE l.item = :item AND l.supplier = :supplier ORDER BY l.received_at"
    )
    with store.reads.connect() as connection:
        for lot, at, measurements in connection.execute(query, {"item": ITEM, "supplier": SUPPLIER}):
            values = [float(m["value"]) for m in decode(measurements) if m["characteristic"] == CHARACTERISTIC]
            series = extended(series, point_of(lot, at, values))
    if not series.values:
        raise AssertionError("nothing was found")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.spc_history", description=__doc__)
    parser.add_argument("--results", type=int, default=1_000_000, help="results of the characteristic (1,000,000)")
    options = parser.parse_args()
    few, many = 10_000, options.results
    with tempfile.TemporaryDirectory() as place:
        store = open_store("", Path(place))
        migrate(store)
        found: dict[str, dict[str, float]] = {}
        done = 0
        for results in (few, many):
            lots = results // PER_LOT
            fill(store, done, lots)
            seconds = counted(store)
            (line,) = Scorecards(store, system_clock).charts(ITEM, SUPPLIER, CHARACTERISTIC)
            if line.values != results:
                raise AssertionError(f"{line.values} results were counted, not {results}")
            found[str(results)] = {
                "count_ms_per_lot": seconds * 1000 / (lots - done),
                "chart_ms": milliseconds(lambda: chart(store), 50),
                "decision_ms": milliseconds(lambda: seen(store), 50),
                "rescan_ms": milliseconds(lambda: rescan(store), 3),
            }
            done = lots
        among_others(store, OTHERS)
        found[str(many)]["chart_among_others_ms"] = milliseconds(lambda: chart(store), 50)
        store.close()
    small, large = found[str(few)], found[str(many)]
    print(f"{'':<26}{few:>12,}{many:>14,}   ratio")
    among = large.pop("chart_among_others_ms")
    for name, value in large.items():
        print(f"{name:<26}{small[name]:>12.3f}{value:>14.3f}   {value / small[name]:.2f}")
    print(f"a chart is {large['rescan_ms'] / large['chart_ms']:,.0f} times as fast as a rescan of {many:,} results")
    print(f"among {OTHERS:,} other series it takes {among:.3f} ms, {among / large['chart_ms']:.2f} times as long")
    target = ROOT / "var" / "bench-spc-history.json"
    target.parent.mkdir(exist_ok=True)
    Path(target).write_bytes(msgspec.json.format(_encode(found), indent=2))


if __name__ == "__main__":
    main()
