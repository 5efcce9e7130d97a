"""Telling one target: claim from the ledger, call, write down what came of it.

The ledger keeps order and single flight; this room keeps nothing. It may be run by any number of threads, processes
and hosts, and be killed at any moment: what it had claimed comes back when the lease ends.
"""

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from actors.breaker import Breaker, BreakerState
from actors.connectors.answers import AGREED, TROUBLE
from actors.connectors.format import Connector, ConnectorInvalid, load
from actors.connectors.http import Exchange
from actors.connectors.policy import Failure, exhausted_words, late_words, strangers
from actors.connectors.protocols import target_of
from actors.errand import Errand, Told
from actors.onward import delivering
from actors.pace import Helping, Rate, backoff_seconds
from engine.clock import Clock, system_clock
from engine.errors import LotgateError
from engine.ledger import LONGEST_WAIT_SECONDS, Delivery, Ledger
from engine.logs import about
from engine.settings import Settings
from engine.slow import SlowLog
from engine.spans import Spans, proper, trace_of

log = logging.getLogger("lotgate.deliver")

#: A lease is longer than one call by this much. It is renewed while the worker lives, so it can be short: what a
#: dead worker had claimed comes back when it ends.
LEASE_MARGIN_SECONDS = 6.0
#: A process that stops lets calls end for this long, then cuts them off.
DRAIN_SECONDS = 2.0
#: How long a loop that waits for a call goes without looking at leases, the clock and whether it should stop.
TICK_SECONDS = 0.2
#: While there is something under way, the ledger is looked into this often even if nobody rings.
LOOK_SECONDS = 1.0
#: Results are written together: this many, or after this long.
WRITE_TOGETHER, WRITE_SECONDS = 64, 0.02
#: A target that does not accept our key is tried again after this long; somebody has to change the key.
AUTH_REST_SECONDS = 15.0
#: What somebody has to change there first is tried again after twice this long, doubled each time; a task is opened
#: with this attempt.
CONFLICT_SECONDS, CONFLICT_TASK_ATTEMPTS = 3.0, 5
#: When a target asks to slow down and does not say for how long.
THROTTLE_REST_SECONDS = 1.0


class Teller(Protocol):
    """Whoever tells a target: actors.connectors.http.Target, or actors.webhooks.Subscriber."""

    connector: Connector

    def deliver(self, deliveries: Sequence[Delivery], may_call: Callable[[], bool] = ...) -> list[Exchange]:
        """One exchange for each of ``deliveries``; ``may_call`` is asked before every further call."""
        ...

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Deliverer:
    """Delivers for one target with one connector, in this process."""

    def __init__(
        self,
        target: str,
        settings: Settings,
        ledger: Ledger,
        stopping: threading.Event,
        clock: Clock = system_clock,
        told_by: Teller | None = None,
        spans: Spans | None = None,
    ) -> None:
        """``told_by``: how the target is told, where no connector file says it; ``spans``: where traces are kept."""
        told_by = target_of(load(settings.connectors / f"{target}.yaml", settings)) if told_by is None else told_by
        connector = told_by.connector
        rests, limits = connector.breaker, connector.limits
        self.name = target
        self.breaker = Breaker(rests.failures, rests.open_s, rests.longest_s)
        self._target = told_by
        self._limits = limits
        self._policy = connector.policy
        self._together = connector.deliver_batch is not None
        # What a worker that is killed was writing by steps may be under way as long as what nobody answered.
        longest = max(limits.timeout_s, 0.0 if connector.steps is None else limits.settle_s)
        self._lease_seconds = longest + LEASE_MARGIN_SECONDS
        self._rate = Rate(limits.per_second, time.monotonic())
        self._helping = Helping(limits.concurrency, limits.batch)
        self._ledger = ledger
        self._clock = clock
        self._stopping = stopping
        self._worker = f"{socket.gethostname()}/{os.getpid()}"
        self._pool = ThreadPoolExecutor(limits.concurrency, thread_name_prefix=f"deliver-{target}")
        self._running = threading.Lock()
        self._rung = threading.Event()
        self._mail: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._seen: BreakerState | None = None
        self._spans = spans
        self._slow = SlowLog(settings.slow_ms)

    @property
    def lease_seconds(self) -> float:
        """How long what it claims is its own, without being renewed."""
        return self._lease_seconds

    def close(self) -> None:
        """Cut off what is still under way; end the threads and connections."""
        self._target.stop()
        self._pool.shutdown(wait=True)
        self._target.close()

    def run(self) -> int:
        """Deliver until nothing is due, the breaker opens or the process stops; gives how many were settled.

        Only one thread of a process delivers for a target: whoever comes meanwhile is heard and sent away, so that a
        target that hangs takes one thread and its own calls, however often its doorbell rings.
        """
        self._rung.set()
        settled = 0
        while self._rung.is_set() and not self._stopping.is_set():
            if not self._running.acquire(blocking=False):
                self._mail.put(None)
                break
            try:
                self._rung.clear()
                settled += self._errand()
            finally:
                self._running.release()
        return settled

    def _errand(self) -> int:
        self._mail = queue.SimpleQueue()
        errand = Errand(self._mail, self._lease_seconds, self._limits.timeout_s)
        try:
            self._go(errand)
        except SQLAlchemyError as error:
            # What was claimed comes back when the leases end; the same keys make telling it again harmless.
            log.error("deliveries for %s wait for the database: %s", self.name, type(error).__name__)
        return errand.settled

    def _go(self, errand: Errand) -> None:
        look_at, stop_at = 0.0, None
        while True:
            now = time.monotonic()
            if self._stopping.is_set():
                self._give_back(errand)
                stop_at = stop_at or now + DRAIN_SECONDS
                if now >= stop_at:
                    self._target.stop()
            else:
                if now >= look_at or self._rung.is_set():
                    self._rung.clear()
                    errand.may_be_more, look_at = True, now + LOOK_SECONDS
                self._claim(errand)
            wait = self._start_calls(errand)
            if not errand.calling and not errand.waiting:
                break
            self._hear(errand, min(wait, errand.seconds_to_write(WRITE_SECONDS)))
            self._keep_leases(errand)
            if errand.is_time_to_write(WRITE_TOGETHER, WRITE_SECONDS):
                self._write(errand)
        self._report()

    def _claim(self, errand: Errand) -> None:
        """Take what is due, as much as can soon be told, when there is room for it."""
        room = self.breaker.room()
        size = self._helping.size if room is None else room
        if not errand.may_be_more or len(errand.waiting) > size // 2 or not size:
            return
        wanted = size - len(errand.waiting)
        claimed_at = time.monotonic()
        claimed = self._ledger.claim(self.name, self._worker, wanted, self._lease_seconds)
        errand.take(claimed, claimed_at)
        errand.may_be_more = len(claimed) == wanted

    def _start_calls(self, errand: Errand) -> float:
        """Start what may be started now; gives the seconds after which there may be more to start."""
        while errand.waiting and errand.calling < self._limits.concurrency and not self._stopping.is_set():
            wait = self._rate.wait_seconds(time.monotonic())
            if wait > 0:
                return min(wait, TICK_SECONDS)
            trying = self.breaker.room() is not None
            unit = errand.next_unit(self._limits.batch if self._together and not trying else 1)
            if unit and not self.breaker.admit():
                errand.put_back(unit)
                self._give_back(errand)
            elif unit:
                errand.calling += 1
                self._pool.submit(self._tell, unit, errand, self._mail)
        self._ledger.release(errand.take_lapsed())
        return TICK_SECONDS

    def _tell(self, unit: list[Delivery], errand: Errand, mail: "queue.SimpleQueue[Told | None]") -> None:
        """One call, in a thread of the pool: whatever happens, the breaker hears of it and the result is mailed."""
        began = time.perf_counter_ns()
        with about(target=self.name, delivery=unit[0].key), delivering(self._spans, self.name, unit) as part_of:
            try:
                exchanges = self._target.deliver(unit, lambda: errand.may_call(unit))
            except Exception as error:
                # A fault of ours or of the connector file: the delivery carries it, its batch mates go on.
                log.exception("delivery %s could not be prepared", unit[0].key)
                words = f"the request could not be made: {type(error).__name__}: {error}"
                exchanges = [Exchange("permanent", words, []) for _ in unit]
            part_of.told([(exchange.outcome, exchange.detail) for exchange in exchanges])
        spent = time.perf_counter_ns() - began
        if self._slow.is_slow(spent):
            self._say_slow(unit[0], exchanges[0], spent, len(unit))
        self._note(exchanges)
        mail.put(Told(unit, exchanges, time.monotonic()))

    def _say_slow(self, delivery: Delivery, exchange: Exchange, spent_ns: int, together: int) -> None:
        trace = proper(delivery.traceparent)
        self._slow.say(
            "slow delivery", spent_ns, target=self.name, lot=delivery.lot, version=delivery.version, key=delivery.key,
            attempt=delivery.attempts, together=together, outcome=exchange.outcome,
            trace_id=trace and trace_of(trace), calls_ms=[round(call.seconds * 1e3) for call in exchange.calls],
        )  # fmt: skip

    def _note(self, exchanges: list[Exchange]) -> None:
        """What the call says about the target."""
        worst = next((e for e in exchanges if e.outcome in ("auth", "throttle")), exchanges[0])
        rest = worst.retry_after_seconds if worst.outcome in ("retry", "throttle") else None
        if worst.outcome == "auth":
            rest = AUTH_REST_SECONDS
        elif worst.outcome == "throttle" and rest is None:
            rest = THROTTLE_REST_SECONDS
        self.breaker.record(worst.outcome not in TROUBLE)
        if rest is not None:
            self.breaker.rest(min(rest, LONGEST_WAIT_SECONDS))
        self._report(worst)

    def _report(self, exchange: Exchange | None = None) -> None:
        """Let operators see when the breaker opens and closes."""
        state = self.breaker.state
        if state is self._seen or (exchange is None and state is not BreakerState.CLOSED):
            return
        self._seen = state
        detail = None if exchange is None or state is BreakerState.CLOSED else exchange.detail
        try:
            self._ledger.targets.report(self.name, state.value, detail)
        except SQLAlchemyError as error:
            log.warning("the breaker of %s is %s, which could not be noted: %s", self.name, state.value, error)

    def _hear(self, errand: Errand, seconds: float) -> None:
        """Take in what has been told; waits for the first result, a ring, or ``seconds``."""
        try:
            told = self._mail.get(timeout=max(0.001, seconds))
            while True:
                if told is not None:
                    errand.heard(told)
                    self._helping.told(errand.seconds_since_claim(told), errand.may_be_more)
                told = self._mail.get_nowait()
        except queue.Empty:
            return

    def _keep_leases(self, errand: Errand) -> None:
        old = errand.old_leases()
        if old:
            asked_at = time.monotonic()
            errand.renewed(old, self._ledger.renew(old, self._lease_seconds), asked_at)

    def _give_back(self, errand: Errand) -> None:
        """What was claimed and not told is anybody's again."""
        self._ledger.release(errand.drop_waiting())

    def _write(self, errand: Errand) -> None:
        """Write down what came of the calls."""
        told = errand.take_told()
        agreed = [d for d, e in told if e.outcome in AGREED]
        errand.settled += self._ledger.complete_many(agreed)
        for delivery, exchange in told:
            if exchange.outcome == "superseded":
                errand.settled += self._ledger.outdated(delivery, exchange.detail, exchange.kept())
            elif exchange.outcome not in AGREED:
                with about(target=self.name, lot=delivery.lot, delivery=delivery.key):
                    errand.settled += self._failed(delivery, exchange)

    def _failed(self, delivery: Delivery, exchange: Exchange) -> bool:
        failure, why = self._given_up(delivery, exchange)
        if failure is not None:
            return self._give_up(delivery, exchange, failure, why)
        if exchange.outcome == "auth":
            words = f"{self.name} does not accept Lotgate's key; its deliveries wait. {exchange.detail}"
            self._ledger.escalate_once("target-auth", self.name, words)
        if exchange.outcome == "conflict":
            return self._conflict(delivery, exchange)
        wait = max(backoff_seconds(delivery.attempts), min(exchange.retry_after_seconds or 0.0, LONGEST_WAIT_SECONDS))
        log.warning("delivery %s is tried again in %.1f s: %s", delivery.key, wait, exchange.detail)
        return self._ledger.retry(delivery, exchange.detail, wait, exchange.kept())

    def _conflict(self, delivery: Delivery, exchange: Exchange) -> bool:
        """Somebody has to do something there first: asked ever more slowly, and soon with a task."""
        wait = min(LONGEST_WAIT_SECONDS, CONFLICT_SECONDS * 2 ** min(delivery.attempts, 10))
        if delivery.attempts >= CONFLICT_TASK_ATTEMPTS:
            words = f"{self.name} cannot take version {delivery.version} of lot {delivery.lot} yet: {exchange.detail}"
            self._ledger.escalate_once("delivery-refused", delivery.lot, words, self.name)
        log.warning("delivery %s waits for somebody, %.0f s: %s", delivery.key, wait, exchange.detail)
        return self._ledger.retry(delivery, exchange.detail, wait, exchange.kept())

    def _give_up(self, delivery: Delivery, exchange: Exchange, failure: Failure, why: str) -> bool:
        """What the target's policy says for this kind of failure."""
        if self._policy.remedy(failure) == "retry":
            version = f"version {delivery.version} of lot {delivery.lot}"
            words = f"{self.name} does not take {version} and is asked again and again: {why}"
            self._ledger.escalate_once("delivery-refused", delivery.lot, words, self.name)
            return self._ledger.retry(delivery, why, LONGEST_WAIT_SECONDS, exchange.kept())
        log.error("delivery %s is dead: %s", delivery.key, why)
        undo = self._policy.undo_of(failure, delivery.status.stock)
        return self._ledger.dead(delivery, why, exchange.kept(), failure=failure, undo=undo)

    def _given_up(self, delivery: Delivery, exchange: Exchange) -> tuple[Failure | None, str]:
        """How the delivery failed for good, and why; None: it is tried again."""
        if exchange.outcome == "permanent":
            return "permanent", exchange.detail
        waits = exchange.away or exchange.outcome == "conflict"
        if not waits and delivery.attempts >= self._limits.attempts:
            return "exhausted", exhausted_words(delivery.attempts, exchange.detail)
        age = (self._clock() - datetime.fromisoformat(delivery.created_at)).total_seconds()
        if age >= self._limits.give_up_s:
            return "late", late_words(age, exchange.detail)
        return None, ""


def check_connectors(targets: tuple[str, ...], settings: Settings) -> None:
    """Raises ConnectorInvalid when the connector file of a target cannot be used."""
    for target in targets:
        connector = load(settings.connectors / f"{target}.yaml", settings)
        if connector.name != target:
            raise ConnectorInvalid(f"{target}.yaml: name: it says {connector.name}, and is the file of target {target}")
        for where, words in strangers(connector.policy, targets):
            raise ConnectorInvalid(f"{target}.yaml: {where}: {words}")


class Deliverers:
    """The deliverers of one process, one a target."""

    def __init__(
        self, targets: tuple[str, ...], settings: Settings, ledger: Ledger, spans: Spans | None = None
    ) -> None:
        self.stopping = threading.Event()
        self.targets = targets
        self._by_target = {t: Deliverer(t, settings, ledger, self.stopping, spans=spans) for t in targets}

    def run(self, target: str) -> int:
        """Deliver what is due for ``target``; an error of the database is left to the next ring."""
        try:
            return self._by_target[target].run()
        except LotgateError as error:
            log.error("deliveries for %s wait: %s", target, error.detail)
            return 0

    def close(self) -> None:
        """Stop claiming, cut off what is still being called."""
        self.stopping.set()
        for deliverer in self._by_target.values():
            deliverer.close()
