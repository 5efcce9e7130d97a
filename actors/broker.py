"""The doorbell: dramatiq on Redis. A message says "there is something for this target" and nothing more.

Redis may be slow, down or emptied at any moment: ringing never fails a committed event and never blocks the
committer, and whatever a lost message should have woken is found by the sweeper.
"""

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dramatiq
from msgspec import Struct

from engine.settings import Settings

if TYPE_CHECKING:
    from dramatiq.brokers.redis import RedisBroker

log = logging.getLogger("lotgate.broker")

#: Prefix of every key in Redis.
NAMESPACE = "lotgate"
#: Rings closer together than this are one: a worker that is awake empties the ledger anyway.
RING_SECONDS = 0.025
#: After a failure the doorbell rests; the sweeper rings meanwhile.
REST_SECONDS = 1.0
#: Rings that wait unheard are enough at this many: while no worker runs, Redis does not fill.
RINGS_ENOUGH = 8
#: A dead worker's messages come back at the next look, not by chance (dramatiq counts in millionths).
MAINTENANCE_CHANCE = 1_000_000


class BellState(Struct, frozen=True):
    """How the doorbell is doing: ok, degraded (deliveries come late, nothing is lost), or off."""

    status: str
    detail: str = ""


def redis_url(settings: Settings) -> str:
    """The Redis of this installation: the setting, or the one that ``lotgate up`` starts in ``home``."""
    return settings.redis_url or f"unix://{(settings.home / 'redis.sock').resolve()}"


def make_broker(settings: Settings) -> "RedisBroker":
    """A broker with only the middleware that a doorbell needs: the ledger retries, not dramatiq."""
    # Imported here: Redis' client is a tenth of a start, and some installations have no Redis.
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq's types stop here
        url=redis_url(settings),
        namespace=NAMESPACE,
        # Nothing that interrupts a running actor: it ends by itself when the process stops (actors/deliver.py).
        middleware=[],
        maintenance_chance=MAINTENANCE_CHANCE,
        heartbeat_timeout=10_000,
        dead_message_ttl=3_600_000,
        socket_timeout=2.0,
        socket_connect_timeout=1.0,
    )
    dramatiq.set_broker(broker)
    return broker


class Doorbell:
    """Rings for targets, from a thread of its own."""

    def __init__(self, settings: Settings, *, targets: Sequence[str] | None = None) -> None:
        self._off = settings.redis_url == "none"
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._problem = ""
        self._listeners: list[Any] = []
        self._broker = None if self._off else make_broker(settings)
        for target in (settings.told_names if targets is None else targets) if self._broker is not None else ():
            self._broker.declare_queue(target)  # type: ignore[union-attr]
        self._thread = threading.Thread(target=self._work, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self, targets: Sequence[str]) -> None:
        """There is something for ``targets``. Returns at once; never raises."""
        with self._lock:
            self._wanted.update(targets)
        if not self._wake.is_set():
            self._wake.set()

    def listen(self, listener: Any) -> None:
        """Where there is no Redis: call ``listener(target)`` in this process instead."""
        self._listeners.append(listener)

    def state(self) -> BellState:
        """For /readyz."""
        if self._off:
            return BellState("ok", "no Redis: the actors run in this process")
        return BellState("degraded", self._problem) if self._problem else BellState("ok")

    def close(self) -> None:
        """Ring what is waiting, then end."""
        self._closing = True
        self._wake.set()
        self._thread.join(5.0)
        if self._broker is not None:
            self._broker.close()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                wanted, self._wanted = self._wanted, set()
            for target in sorted(wanted):
                self._send(target)
            if self._closing and not self._wanted:
                return
            threading.Event().wait(REST_SECONDS if self._problem else RING_SECONDS)

    def _send(self, target: str) -> None:
        for listener in self._listeners:
            listener(target)
        if self._broker is None:
            return
        message: dramatiq.Message[Any] = dramatiq.Message(
            queue_name=target, actor_name=f"sync_{target}", args=(), kwargs={}, options={}
        )
        try:
            if self._broker.client.llen(f"{NAMESPACE}:{target}") < RINGS_ENOUGH:
                self._broker.enqueue(message)
        except Exception as error:  # whatever the client raises: the commit stands, the sweeper will ring
            if not self._problem:
                log.warning("the doorbell cannot be rung, deliveries will be late: %s", error)
            self._problem = f"Redis cannot be reached: {error}"
        else:
            self._problem = ""
