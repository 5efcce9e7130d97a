"""The worker process: dramatiq actors that deliver, one queue a target; and the same as threads where Redis is not.

One process, one signal handler: the dramatiq command line would be signalled twice under a Procfile runner and kill
what is running.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable

import dramatiq
from dramatiq import Worker

from actors.broker import Doorbell, make_broker
from actors.deliver import Deliverers, check_connectors
from actors.webhooks import Subscribers
from engine.clock import system_clock
from engine.errors import StoreNotMigrated
from engine.ledger import Ledger
from engine.processes import Processes
from engine.settings import Settings
from engine.spans import Spans, open_spans
from engine.store.migrate import check
from engine.store.opening import Store, open_store
from engine.structs import warm_structs

log = logging.getLogger("lotgate.worker")

#: A Procfile runner kills after 5 s; running calls get what is left before.
STOP_MS = 4_000
#: An idle worker asks Redis this often: the time that a ring takes to be heard.
POLL_MS = 100
#: A process manager starts everything at once; the web process migrates the database meanwhile.
MIGRATION_SECONDS = 60.0
#: Without Redis, threads look into the ledger by themselves this often.
LOOK_SECONDS = 0.5
#: Beside Redis, this often: a doorbell that cannot be rung makes deliveries late by this, not later.
LOOK_BESIDE_REDIS_SECONDS = 1.0


def declare(broker: dramatiq.Broker, deliverers: Deliverers, targets: tuple[str, ...]) -> None:
    """The actors ``sync_<target>``, each on the queue of its target."""
    for target in targets:
        dramatiq.actor(actor_name=f"sync_{target}", queue_name=target, broker=broker)(_task(deliverers, target))


def _task(deliverers: Deliverers, target: str) -> Callable[[], None]:
    def sync() -> None:
        deliverers.run(target)

    sync.__name__ = f"sync_{target}"
    return sync


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; running deliveries end first. Gives the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    targets = settings.told_names
    check_connectors(targets, settings)
    warm_structs()
    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    _until_migrated(store, stop)
    ledger = Ledger(store, system_clock)
    spans = open_spans(settings, "worker")
    deliverers = Deliverers(targets, settings, ledger, spans)
    looks = Workers(deliverers, LOOK_BESIDE_REDIS_SECONDS)
    subscribers = Subscribers(settings, ledger, deliverers.stopping, spans)
    broker = make_broker(settings)
    declare(broker, deliverers, targets)
    worker = Worker(broker, worker_threads=max(settings.worker_threads, len(targets)), worker_timeout=POLL_MS)
    worker.start()
    log.info("the worker delivers to %s", ", ".join(targets))
    with Processes(store, system_clock).alive("worker"):
        stop.wait()
    deliverers.stopping.set()
    # Whoever delivers sees that and ends, actor or look: this only waits, for both at the same time.
    worker.stop(timeout=STOP_MS)
    looks.stop()
    subscribers.close()
    broker.close()
    store.close()
    if spans is not None:
        spans.close()
    return 0


def _until_migrated(store: Store, stop: threading.Event) -> None:
    """Wait for the web process, which may be migrating; raises StoreNotMigrated when it takes too long."""
    deadline = time.monotonic() + MIGRATION_SECONDS
    while not stop.is_set():
        try:
            check(store)
            return
        except StoreNotMigrated as error:
            if time.monotonic() >= deadline:
                raise
            log.info("waiting: %s", error.detail)
            stop.wait(1.0)


class Workers:
    """Delivery threads of this process, one a target: woken by a ring, else by looking into the ledger."""

    def __init__(
        self, deliverers: Deliverers, look_seconds: float = LOOK_SECONDS, subscribers: Subscribers | None = None
    ) -> None:
        self._deliverers = deliverers
        self._subscribers = subscribers
        self._look_seconds = look_seconds
        self._wake = {target: threading.Event() for target in deliverers.targets}
        self._threads = [
            threading.Thread(target=self._work, args=(t,), name=f"sync-{t}", daemon=True) for t in deliverers.targets
        ]
        for thread in self._threads:
            thread.start()

    def ring(self, target: str) -> None:
        """There is something for ``target``."""
        self._wake[target].set()

    def stop(self) -> None:
        """Finish what is being called, or cut it off; then end."""
        self._deliverers.stopping.set()
        for event in self._wake.values():
            event.set()
        for thread in self._threads:
            thread.join(5.0)
        self._deliverers.close()
        if self._subscribers is not None:
            self._subscribers.close()

    def _work(self, target: str) -> None:
        while not self._deliverers.stopping.is_set():
            self._wake[target].wait(self._look_seconds)
            self._wake[target].clear()
            try:
                self._deliverers.run(target)
            except Exception:
                # A thread that ended would stop a target for good; the ledger still has everything.
                log.exception("deliveries for %s were interrupted", target)


def run_in_threads(settings: Settings, ledger: Ledger, bell: Doorbell, spans: Spans | None = None) -> Workers:
    """The actors as threads of this process, rung by ``bell``."""
    deliverers = Deliverers(settings.told_names, settings, ledger, spans)
    workers = Workers(deliverers, subscribers=Subscribers(settings, ledger, deliverers.stopping, spans))
    bell.listen(workers.ring)
    return workers
