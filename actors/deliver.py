"""Telling one target: claim from the ledger, call, write down what came of it.

The ledger keeps order and single flight; this room keeps nothing. It may be run by any number of threads, processes
and hosts, and be killed at any moment: what it had claimed comes back when the lease ends.
"""

import logging
import os
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actors.breaker import Breaker
from actors.connectors.format import load
from actors.connectors.http import Exchange, Target
from engine.errors import LotgateError
from engine.ledger import Delivery, Ledger
from engine.settings import Settings

log = logging.getLogger("lotgate.deliver")

CONNECTORS = Path(__file__).resolve().parent / "connectors"
#: A lease outlives the slowest call of its batch; a dead worker's deliveries come back after it.
LEASE_SECONDS = 30.0
#: Backoff: full jitter below base x 2**attempts, up to the ceiling.
BACKOFF_BASE_SECONDS = 0.25
BACKOFF_CEILING_SECONDS = 60.0
#: A target may not ask us to wait longer than this.
RETRY_AFTER_CEILING_SECONDS = 3600.0


def backoff_seconds(attempts: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after the ``attempts``-th failure: full jitter (AWS Architecture Blog, 2015)."""
    ceiling = min(BACKOFF_CEILING_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempts, 20))
    return float(max(0.05, ceiling * chance()))


class Deliverer:
    """Delivers for one target with one connector, in this process."""

    def __init__(self, target: str, settings: Settings, ledger: Ledger, stopping: threading.Event) -> None:
        self.name = target
        self.breaker = Breaker()
        connector = load(CONNECTORS / f"{target}.yaml", settings)
        self._target = Target(connector)
        self._limits = connector.limits
        self._ledger = ledger
        self._stopping = stopping
        self._worker = f"{socket.gethostname()}/{os.getpid()}"
        self._pool = ThreadPoolExecutor(connector.limits.concurrency, thread_name_prefix=f"deliver-{target}")

    def close(self) -> None:
        """End the threads and connections."""
        self._pool.shutdown(wait=True)
        self._target.close()

    def run(self) -> int:
        """Deliver until nothing is due, the breaker opens or the process stops; gives how many were settled."""
        settled = 0
        while not self._stopping.is_set():
            room = self.breaker.allows()
            if room == 0:
                break
            batch = self._ledger.claim(self.name, self._worker, room or self._limits.batch, LEASE_SECONDS)
            if not batch:
                if room == 1:
                    self.breaker.nothing_to_probe()
                break
            settled += self._deliver(batch)
        return settled

    def _deliver(self, batch: list[Delivery]) -> int:
        exchanges = list(self._pool.map(self._one, batch))
        done, settled = [], 0
        for delivery, exchange in zip(batch, exchanges, strict=True):
            if exchange is None:
                continue
            if exchange.outcome in ("applied", "duplicate", "superseded"):
                done.append(delivery)
            else:
                self._failed(delivery, exchange)
                settled += 1
        settled += self._ledger.complete_many(done) if done else 0
        untouched = [d for d, exchange in zip(batch, exchanges, strict=True) if exchange is None]
        if untouched:
            self._ledger.release(untouched)
        return settled

    def _one(self, delivery: Delivery) -> Exchange | None:
        """One call; None when the process stops or the breaker opened before it was made."""
        if self._stopping.is_set() or (self.breaker.allows() == 0 and delivery.attempts == 0):
            return None
        exchange = self._target.deliver(delivery)
        self.breaker.record(exchange.outcome != "retry")
        return exchange

    def _failed(self, delivery: Delivery, exchange: Exchange) -> None:
        if exchange.outcome == "permanent":
            log.error("delivery %s is dead: %s", delivery.key, exchange.detail)
            self._ledger.dead(delivery, exchange.detail, exchange.kept())
            return
        asked = exchange.retry_after_seconds
        wait = backoff_seconds(delivery.attempts)
        if asked is not None:
            wait = max(wait, min(asked, RETRY_AFTER_CEILING_SECONDS))
        log.warning("delivery %s is tried again in %.1f s: %s", delivery.key, wait, exchange.detail)
        self._ledger.retry(delivery, exchange.detail, wait, exchange.kept())


class Deliverers:
    """The deliverers of one process, one a target."""

    def __init__(self, targets: tuple[str, ...], settings: Settings, ledger: Ledger) -> None:
        self.stopping = threading.Event()
        self._by_target = {t: Deliverer(t, settings, ledger, self.stopping) for t in targets}

    def run(self, target: str) -> int:
        """Deliver what is due for ``target``; an error of the database is left to the next ring."""
        try:
            return self._by_target[target].run()
        except LotgateError as error:
            log.error("deliveries for %s wait: %s", target, error.detail)
            return 0

    def close(self) -> None:
        """Stop claiming, finish what is being called."""
        self.stopping.set()
        for deliverer in self._by_target.values():
            deliverer.close()
