"""The clock process: what is due is rung for, parked events are met or given up, shelf life ends.

The sweeper is what makes losing Redis harmless: every second it looks into the ledger and rings for what it finds.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from actors.broker import Doorbell
from engine.errors import LotgateError
from engine.ledger import Ledger
from engine.runtime import Engine, open_engine
from engine.settings import Settings
from engine.upkeep import rounds

log = logging.getLogger("lotgate.clock")

SWEEP_SECONDS = 1.0
UPKEEP_SECONDS = 5.0
#: A target that is behind by more than this is somebody's business.
LATE_SECONDS = 900.0
LATE_LOOK_SECONDS = 30.0


class Task(Struct):
    """Something done every so often."""

    name: str
    every_seconds: float
    do: Callable[[], None]
    next_at: float = 0.0


def sweep(ledger: Ledger, bell: Doorbell) -> None:
    """Ring for every target that has something due: lost messages, ended leases, an emptied Redis."""
    due = ledger.due()
    if due:
        bell.ring(due)


def escalate_late(ledger: Ledger, now: datetime) -> None:
    """Tell somebody, once, of a target that has not agreed to something for ``LATE_SECONDS``."""
    for target, since in ledger.oldest_open().items():
        age = (now - datetime.fromisoformat(since)).total_seconds()
        state = ledger.targets.state(target)
        if age < LATE_SECONDS:
            continue
        why = f"it is paused by {state.paused_by}: {state.reason}" if state.paused_at else state.breaker_detail
        words = f"{target} has not agreed to what was decided at {since}" + (f"; {why}" if why else "")
        if ledger.escalate_once("deliveries-late", target, words):
            log.error("%s", words)


def upkeep(engine: Engine) -> None:
    """What time brings about."""
    for what, number in rounds(engine.store, engine.pipeline, engine.clock, engine.today()):
        if number:
            log.info("%s: %d", what, number)


def run(tasks: list[Task], stop: threading.Event) -> None:
    """Run ``tasks`` until ``stop``; one that fails is tried again at its next time."""
    while not stop.is_set():
        now = time.monotonic()
        for task in tasks:
            if now >= task.next_at:
                task.next_at = now + task.every_seconds
                _do(task)
        stop.wait(min(t.next_at for t in tasks) - time.monotonic() if tasks else 1.0)


def _do(task: Task) -> None:
    try:
        task.do()
    except LotgateError as error:
        log.error("%s: %s", task.name, error.detail)
    except Exception:
        log.exception("%s failed; it is tried again in %.0f s", task.name, task.every_seconds)


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Gives the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bell = Doorbell(settings)
    engine = open_engine(settings, ring=bell.ring)
    tasks = [
        Task("sweep", SWEEP_SECONDS, lambda: sweep(engine.ledger, bell)),
        Task("late", LATE_LOOK_SECONDS, lambda: escalate_late(engine.ledger, engine.clock())),
        Task("upkeep", UPKEEP_SECONDS, lambda: upkeep(engine)),
    ]
    run(tasks, stop)
    bell.close()
    engine.close()
    return 0
