"""``python -m bench.archive``: a database full of shipped lots is archived, while others go on.

Lots are received, inspected and shipped by the real pipeline, on a clock that stands half a year back; then they are
archived by a process of its own, while this one decides holds and lifts, one at a time, on lots of today. The peers
are the same traffic alone, and the journal of a lot in the database. Prints a table, writes nothing else.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.archive import Archiver
from engine.checkpoints import signer_of
from engine.clock import instant, system_clock
from engine.decoding import decode_event
from engine.family import pass_holds_on
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES, Settings
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from engine.submission import submission
from engine.track_record import count
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

LOTS, BATCH, AGE_DAYS = 20_000, 200, 180
#: Holds and lifts that are decided alone, for comparison.
ALONE = 2_000


def _event(type_: str, lot: str, data: dict[str, Any], identity: str) -> Any:
    head = {"specversion": "1.0", "id": identity, "source": "bench", "type": type_, "subject": lot, "data": data}
    return submission(decode_event(json.dumps(head).encode()), "bench")


def _life(number: int) -> tuple[Any, Any, Any]:
    lot = f"L-{number:07}"
    received = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"},
                "supplier": "ACME", "receipt": lot}  # fmt: skip
    values = [f"{73.99 + (number * 7 + n * 3) % 20 / 1000:.3f}" for n in range(5)]
    lines = [{"characteristic": "diameter", "value": v, "unit": "mm", "sample": n} for n, v in enumerate(values, 1)]
    return (
        _event("lot.received.v1", lot, received, f"r{number}"),
        _event("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines}, f"i{number}"),
        _event("lot.shipped.v1", lot, {"shipment": f"SH-{number // 20}", "customer": "BOLT-CO"}, f"s{number}"),
    )


def _agree(store: Store) -> None:
    with store.engine.begin() as connection:
        done = "UPDATE deliveries SET state = 'delivered', delivered_at = created_at WHERE state = 'pending'"
        connection.execute(text(done))


def _fill(store: Store, book: RuleBook, judge: TwoChannelJudge, lots: int) -> None:
    then = system_clock() - timedelta(days=AGE_DAYS)
    RuleSets(store, lambda: then).ensure_first(SHIPPED_RULES)
    pipeline = Pipeline(store, judge, book, lambda: then)
    for start in range(0, lots, BATCH):
        received, inspected, shipped = zip(*(_life(n) for n in range(start, min(lots, start + BATCH))), strict=True)
        pipeline.process(received)
        pipeline.process(inspected)
        while pass_holds_on(store, pipeline):
            pass
        _agree(store)
        pipeline.process(shipped)
        _agree(store)
    today = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"}, "supplier": "ACME",
             "receipt": "TODAY"}  # fmt: skip
    Pipeline(store, judge, book, system_clock).process([_event("lot.received.v1", "TODAY", today, "today")])
    _agree(store)
    while count(store):
        pass


def _traffic(pipeline: Pipeline, go_on: Callable[[int], bool], begin: int) -> list[float]:
    """Seconds that each hold or lift took, one after the other."""
    took: list[float] = []
    while go_on(len(took)):
        number = begin + len(took)
        what = ("hold.applied.v1", "hold.lifted.v1")[number % 2]
        data = {"hold": f"H{number // 2}", "reason": {"code": "R"}}
        event = _event(what, "TODAY", data, f"t{number}")
        began = time.perf_counter()
        pipeline.process([event])
        took.append(time.perf_counter() - began)
        time.sleep(0.002)
    return took


def _size(home: Path) -> int:
    return sum(file.stat().st_size for file in home.glob("lotgate.db*"))


def _vacuum(home: Path) -> float:
    began = time.perf_counter()
    connection = sqlite3.connect(home / "lotgate.db")
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return time.perf_counter() - began


def _percentiles(took: list[float]) -> str:
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49] * 1e3:5.1f} ms  p99 {cuts[98] * 1e3:5.1f} ms  longest {max(took) * 1e3:5.1f} ms"


def _reads(store: Store, lots: list[str]) -> float:
    reading = Reading(store)
    took = []
    for lot in lots:
        began = time.perf_counter()
        reading.journal(lot)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def archive(home: str) -> None:
    """What the process of its own does: archive everything, and say how long that took."""
    store = open_store("", Path(home))
    began = time.perf_counter()
    before = instant(system_clock() - timedelta(days=31))
    report = Archiver(store, system_clock, signer_of(Settings(home=Path(home)))).run(before, "bench", limit=10**9)
    print(json.dumps({"seconds": time.perf_counter() - began, "lots": report.lots, "bytes": report.bytes,
                      "entries": report.entries, "segments": len(report.segments)}))  # fmt: skip


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lots", type=int, default=LOTS)
    options.add_argument("--home", help=argparse.SUPPRESS)
    said = options.parse_args()
    if said.home:
        archive(said.home)
        return
    book = RuleBook.load(SHIPPED_RULES)
    judge = TwoChannelJudge(book, channel="reference")
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        store = open_store("", home)
        migrate(store)
        _fill(store, book, judge, said.lots)
        _vacuum(home)
        full = _size(home)
        chance = random.Random(1)
        some = [f"L-{chance.randrange(said.lots):07}" for _ in range(500)]
        hot = _reads(store, some)
        pipeline = Pipeline(store, judge, book, system_clock)
        alone = _traffic(pipeline, lambda n: n < ALONE, 0)
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.archive", "--home", place], stdout=subprocess.PIPE, env=os.environ
        )
        beside = _traffic(pipeline, lambda n: process.poll() is None or n % 2 == 1, ALONE)
        done = json.loads(process.communicate()[0])
        stopped = _size(home)
        cold = _reads(store, some)
        began = time.perf_counter()
        whole = verify(Reading(store).journals())
        verified = time.perf_counter() - began
        vacuum = _vacuum(home)
        small = _size(home)
        store.close()
    judge.close()
    lots, entries, segments = done["lots"], done["entries"], done["segments"]
    sizes = f"{full / 1e6:.1f} MB before, {stopped / 1e6:.1f} after, {small / 1e6:.1f} vacuumed ({vacuum:.1f} s)"
    packed = done["bytes"] / lots
    a_lot = f"{full / said.lots:.0f} bytes before, {small / said.lots:.0f} after, {packed:.0f} in a segment"
    read = f"{hot * 1e3:.2f} ms in the database, {cold * 1e3:.2f} ms in the archive, {cold / hot:.1f} x"
    print(f"{lots} of {said.lots} lots, {entries} entries into {segments} segments")
    print(f"  archived          {lots / done['seconds']:.0f} lots a second, beside the traffic")
    print(f"  database          {sizes}")
    print(f"  a lot             {a_lot}")
    print(f"  its journal       {read}")
    print(f"  verified          {whole.lots / verified:.0f} lots a second, {'intact' if whole.intact else 'BROKEN'}")
    print(f"  a hold alone      {_percentiles(alone)}")
    print(f"  a hold beside it  {_percentiles(beside)}")


if __name__ == "__main__":
    main()
