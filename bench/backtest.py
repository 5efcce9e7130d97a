"""``python -m bench.backtest``: a history judged again, beside reading it alone.

Lots are received and inspected by the real pipeline until the journal has the asked number of decisions; then a
candidate (the shipped packs, one limit narrower) judges all of them again. The peer is the same walk over the journal
without a judgement: what is above it is what judging costs. Prints a table, writes nothing else.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.backtesting import backtest
from engine.clock import system_clock
from engine.decoding import decode_event
from engine.history import decisions
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.submission import submission
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

#: "A few minutes" for 100,000 decisions.
DECISIONS, GOAL_S = 100_000, 180.0
BATCH = 200


def _event(type_: str, lot: str, data: dict[str, Any]) -> Any:
    envelope = {"specversion": "1.0", "id": f"{type_}/{lot}", "source": "bench", "type": type_, "subject": lot}
    return submission(decode_event(json.dumps(envelope | {"data": data}).encode()), "bench")


def _lot(number: int) -> tuple[Any, Any]:
    lot = f"L-{number:06}"
    value = f"{73.96 + number % 97 / 1000:.3f}"
    received = {"item": "RING-74", "revision": "A", "quantity": {"value": "100", "unit": "ea"},
                "supplier": ("ACME", "RINGCO")[number % 2], "receipt": lot}  # fmt: skip
    lines = [{"characteristic": "diameter", "value": value, "unit": "mm", "sample": n} for n in range(1, 6)]
    return (
        _event("lot.received.v1", lot, received),
        _event("inspection.recorded.v1", lot, {"inspection": f"IL-{lot}", "measurements": lines}),
    )


def _count(store: Store) -> int:
    return sum(len(chunk) for chunk in decisions(store, UTC, None, None))


def _fill(store: Store, wanted: int) -> int:
    judge = TwoChannelJudge(RuleBook.load(SHIPPED_RULES), channel="reference")
    pipeline = Pipeline(store, judge, RuleBook.load(SHIPPED_RULES), system_clock)
    number, made = 0, 0
    while made < wanted:
        some = [_lot(n) for n in range(number, number + BATCH)]
        number += BATCH
        for events in zip(*some, strict=True):
            pipeline.process(list(events))
        if number == BATCH:
            each = _count(store) / BATCH
        made = int(number * each)
    judge.close()
    return number


def _candidate(folder: Path) -> RuleBook:
    for path in Path(SHIPPED_RULES).rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(SHIPPED_RULES)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text(encoding="utf-8").replace("74.050, mm]", "74.040, mm]"), encoding="utf-8")
    return RuleBook.load(folder)


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--decisions", type=int, default=DECISIONS)
    wanted = options.parse_args().decisions
    with tempfile.TemporaryDirectory() as place:
        store = open_store("", Path(place))
        migrate(store)
        began = time.monotonic()
        lots = _fill(store, wanted)
        filled = time.monotonic() - began
        _count(store)
        began = time.monotonic()
        number = _count(store)
        read = time.monotonic() - began
        book = _candidate(Path(place) / "rules")
        began = time.monotonic()
        report = backtest(store, UTC, book, datetime.now(UTC).date())
        judged = time.monotonic() - began
        store.close()
    print(f"{number} decisions about {lots} lots, made in {filled:.0f} s")
    print(f"  read alone          {read:7.1f} s  {read / number * 1e6:6.1f} µs a decision")
    print(f"  read, judged again  {judged:7.1f} s  {judged / number * 1e6:6.1f} µs a decision, {judged / read:.2f} x")
    print(f"  {report.judged} judged, {report.changed} would change; goal {GOAL_S * number / DECISIONS:.0f} s")


if __name__ == "__main__":
    main()
