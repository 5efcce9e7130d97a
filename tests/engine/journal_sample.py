"""``python -m tests.engine.journal_sample > tests/data/journals/NAME.sql``: a database as this version writes it.

Run once for a release whose events differ from what the last sample has, and never again: a sample is what an older
version left behind, and every later one must read it.
"""

import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES
from engine.store.migrate import migrate
from engine.store.opening import open_store
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.conftest import Clock, Plant


def story(plant: Any, clock: Clock) -> None:
    """Lots that go every way: released, blocked, split, consumed, produced, shipped, returned, refused."""
    plant.released("S-RELEASED")
    plant.receive("S-WAITS")
    plant.inspect("S-WAITS", "74.000", "74.001")
    plant.receive("S-BAD")
    plant.inspect("S-BAD", *["74.060"] * 5)
    plant.send("quality_record.opened.v1", "S-BAD", {"record": "NC-1", "kind": "nonconformance", "severity": "major", "text": "oval"})
    plant.send("lot.released.v1", "S-BAD", {})
    plant.released("S-HELD")
    plant.hold("S-HELD", "H-1")
    clock.forward(3600)
    plant.lift("S-HELD", "H-1")
    plant.hold("S-HELD", "H-2")
    plant.released("S-SPLIT")
    plant.send("lot.split.v1", "S-SPLIT", {"children": [{"lot": "S-CHILD", "quantity": {"value": "40.5", "unit": "ea"}}]})
    plant.released("S-INPUT")
    plant.send("lot.consumed.v1", "S-INPUT", {"quantity": {"value": "60", "unit": "ea"}, "order": "PO-1", "confirmation": "C-1"})
    made = {"item": "RING-74", "revision": "A", "quantity": {"value": "30", "unit": "ea"}, "order": "PO-1", "confirmation": "P-1",
            "inputs": [{"lot": "S-INPUT", "quantity": {"value": "60", "unit": "ea"}}]}  # fmt: skip
    plant.send("lot.produced.v1", "S-MADE", made)
    plant.released("S-SHIPPED")
    plant.agree()
    plant.send("lot.shipped.v1", "S-SHIPPED", {"order": "SO-1", "customer": "K", "quantity": {"value": "100", "unit": "ea"}, "shipment": "SH-1"})
    plant.send("lot.returned.v1", "S-SHIPPED", {"rma": "RMA-1", "quantity": {"value": "100", "unit": "ea"}, "reason": {"code": "DENTS"}})
    plant.send("reinspection.requested.v1", "S-WAITS", {"reason": {"code": "GAUGE"}})
    plant.inspect("S-NOBODY", "74.000")


def main() -> None:
    """Write the sample to standard output, as SQL."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        store, rulebook = open_store("", Path(folder)), RuleBook.load(SHIPPED_RULES)
        migrate(store)
        RuleSets(store, clock).ensure_first(SHIPPED_RULES)
        judge = TwoChannelJudge(rulebook)
        plant = Plant(store, judge, rulebook, clock)
        try:
            story(plant, clock)
        finally:
            plant.pipeline.stop()
            judge.close()
            store.close()
        connection = sqlite3.connect(Path(folder) / "lotgate.db")
        for line in connection.iterdump():
            print(line)
        connection.close()


if __name__ == "__main__":
    main()
    sys.exit(0)
