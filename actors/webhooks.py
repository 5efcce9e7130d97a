"""Subscribers by webhook: every journal entry is told them, in order per lot, signed as Standard Webhooks asks.

A subscription is a target of the ledger like any other: leases, retries, breaker and replay are the same. It gets its
own threads and connections, calls only addresses that the guard lets it, follows no redirect, and is disabled, with a
task for somebody, when it takes nothing for long or says 410. What may not enter: order and leases.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Raw, Struct, json
from sqlalchemy.exc import SQLAlchemyError

from actors import signing
from actors.connectors.answers import retry_after_seconds
from actors.connectors.client import Answer, Client, NoAnswer
from actors.connectors.format import Connector, Limits, Request, Rests
from actors.connectors.http import KEPT_CHARACTERS, SHOWN_CHARACTERS, Call, Exchange
from actors.deliver import Deliverer
from engine.clock import Clock, system_clock
from engine.errors import ArchiveUnavailable, LotgateError, NotFound
from engine.journal import Entry
from engine.ledger import Delivery, Ledger
from engine.outbound import Guard, destination
from engine.settings import Settings
from engine.spans import Spans
from engine.subscriptions import Subscription, Subscriptions, is_subscription, signing_key, signing_secrets
from engine.upcasts import current

log = logging.getLogger("lotgate.webhooks")

#: One call; the standard recommends 15 to 30 s.
CALL_SECONDS = 15.0
#: Calls at the same time for one subscriber, per worker process.
AT_ONCE = 4
#: A subscriber that has taken nothing for this long is disabled.
DISABLE_AFTER_SECONDS = 86_400.0
#: Whoever tells subscribers looks this often for who is owed something.
LOOK_SECONDS = 0.5
#: Not given up by themselves: the subscription is disabled before.
NEVER = 10**9
#: How long a subscription's secrets and state are taken to be what they were.
KNOWN_SECONDS = 1.0


class Told(Struct, frozen=True):
    """``data`` of a message: one journal entry, without what only verification needs."""

    lot: str
    version: int
    #: event, consequence, refusal
    kind: str
    trigger: str
    source: str
    event: str
    causation: str | None
    correlation: str | None
    time: str | None
    recorded_at: str
    state_before: str
    state_after: str
    #: The event's own data block.
    data: Raw
    hash: str


def message(entry: Entry) -> bytes:
    """The body of the message about ``entry``."""
    type_, data = current(entry.type, entry.data.encode())
    told = Told(
        entry.lot, entry.version, entry.kind, entry.trigger, entry.source, entry.event_id, entry.causation_id,
        entry.correlation_id, entry.time, entry.recorded_at, entry.state_before, entry.state_after,
        Raw(data), entry.hash,
    )  # fmt: skip
    return json.encode({"type": type_, "timestamp": entry.recorded_at, "data": told})


def message_id(delivery: Delivery) -> str:
    """The same for every attempt, and for every replay."""
    return "msg_" + hashlib.sha256(delivery.key.encode()).hexdigest()[:32]


class Subscriber:
    """Tells one subscription."""

    def __init__(
        self,
        line: Subscription,
        ledger: Ledger,
        key: bytes,
        guard: Guard,
        clock: Clock = system_clock,
        disable_after_seconds: float = DISABLE_AFTER_SECONDS,
    ) -> None:
        found = destination(line.url)
        self.connector = Connector(
            connector=1, name=line.id, base_url=found.base_url, stock={}, classify=[],
            deliver=Request(method="POST", path="/"),
            limits=Limits(concurrency=AT_ONCE, timeout_s=CALL_SECONDS, attempts=NEVER, give_up_s=float(NEVER)),
            breaker=Rests(failures=5, open_s=2.0, longest_s=60.0),
        )  # fmt: skip
        self._id, self._path = line.id, found.path
        self._client = Client(found.base_url, CALL_SECONDS, guard)
        self._ledger = ledger
        self._key = key
        self._clock = clock
        self._disable_after_seconds = disable_after_seconds
        self._lock = threading.Lock()
        self._line, self._read_at = line, time.monotonic()

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        self._client.stop()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def deliver(self, deliveries: Sequence[Delivery], may_call: Callable[[], bool] = lambda: True) -> list[Exchange]:
        """One message for each of ``deliveries``."""
        return [self._tell(delivery) for delivery in deliveries]

    def _tell(self, delivery: Delivery) -> Exchange:
        try:
            entry = self._subscriptions.entry(delivery.lot, delivery.version)
        except ArchiveUnavailable as error:
            return Exchange("retry", error.detail, [])
        if entry is None:
            return Exchange("permanent", f"lot {delivery.lot} has no journal entry {delivery.version}", [])
        line = self._known()
        if line is None or line.disabled_at is not None:
            return Exchange("retry", f"{self._id} is told nothing any more", [], away=True)
        body, now = message(entry), self._clock()
        secrets = signing_secrets(self._key, line, now)
        headers = signing.headers(secrets, message_id(delivery), int(now.timestamp()), body)
        headers |= {"Content-Type": "application/json", "User-Agent": "Lotgate-Webhooks"}
        shown = headers | {"webhook-signature": "***"}
        call, began = Call("POST", self._path, shown, Raw(body), None, "", 0.0), time.monotonic()
        try:
            answer = self._client.call("POST", self._path, headers, body)
        except NoAnswer as none:
            call.seconds = round(time.monotonic() - began, 3)
            return self._not_taken(none, call)
        call.seconds, call.status = round(time.monotonic() - began, 3), answer.status
        call.answer = answer.body.decode("utf-8", "replace")[:KEPT_CHARACTERS]
        return self._answered(answer, call)

    def _not_taken(self, none: NoAnswer, call: Call) -> Exchange:
        if none.failure == "refused":
            self._disable(none.detail)
        elif none.failure != "stopped":
            self._failed(none.detail)
        return Exchange("retry", f"{self._id}: {none.detail}", [call], away=True)

    def _answered(self, answer: Answer, call: Call) -> Exchange:
        words = f"{self._id} answered {answer.status}: {call.answer[:SHOWN_CHARACTERS]}"
        if 200 <= answer.status < 300:
            if self._line.failing_since is not None:
                self._subscriptions.working(self._id)
                self._forget()
            return Exchange("applied", words, [call])
        if answer.status == 410:
            self._disable("it answered 410: it is gone")
            return Exchange("retry", words, [call], away=True)
        self._failed(words)
        wait = retry_after_seconds(answer, time.time())
        slow = answer.status in (429, 503) and wait is not None
        return Exchange("throttle" if slow else "retry", words, [call], wait, away=True)

    @property
    def _subscriptions(self) -> Subscriptions:
        return self._ledger.subscriptions

    def _known(self) -> Subscription | None:
        """The subscription, at most ``KNOWN_SECONDS`` old: for how long a rotated secret may go unnoticed."""
        with self._lock:
            if time.monotonic() - self._read_at > KNOWN_SECONDS:
                try:
                    self._line, self._read_at = self._subscriptions.get(self._id), time.monotonic()
                except NotFound:
                    return None
            return self._line

    def _forget(self) -> None:
        with self._lock:
            self._read_at = float("-inf")

    def _failed(self, words: str) -> None:
        since = self._subscriptions.failing(self._id) if self._line.failing_since is None else _moment(self._line)
        self._forget()
        seconds = (self._clock() - since).total_seconds()
        if seconds >= self._disable_after_seconds:
            self._disable(f"it has taken nothing for {seconds / 3600:.1f} hours; the last: {words}")

    def _disable(self, why: str) -> None:
        """Tell it nothing more, and tell somebody."""
        if self._subscriptions.disable(self._id, why):
            log.error("subscription %s is disabled: %s", self._id, why)
            words = f"the webhook of {self._line.name} ({self._id}) is disabled: {why}"
            self._ledger.tasks.open_once("webhook-disabled", self._id, words, self._id)
        self._forget()


def _moment(line: Subscription) -> datetime:
    return datetime.fromisoformat(line.failing_since or line.created_at)


def drain(deliverer: Deliverer, stopping: threading.Event) -> int:
    """Tell everything that can be told now; gives how much. A lot's next entry is due only when the last was taken."""
    told = 0
    while not stopping.is_set() and (more := deliverer.run()):
        told += more
    return told


class Subscribers:
    """A thread that looks who is owed something, and a thread for each that is."""

    def __init__(
        self, settings: Settings, ledger: Ledger, stopping: threading.Event, spans: Spans | None = None
    ) -> None:
        self._settings = settings
        self._spans = spans
        self._ledger = ledger
        self._stopping = stopping
        self._guard = Guard.of(settings.outbound_allow)
        self._deliverers: dict[str, Deliverer] = {}
        self._running: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._work, name="subscribers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """After ``stopping`` was set: cut off what is still being called."""
        self._thread.join(5.0)
        for deliverer in self._deliverers.values():
            deliverer.close()

    def _work(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._look()
            except (LotgateError, SQLAlchemyError) as error:
                log.error("subscribers wait: %s", error)
            except Exception:
                log.exception("subscribers could not be looked after; they wait")

    def _look(self) -> None:
        on = {line.id: line for line in self._ledger.subscriptions.on()}
        for gone in self._deliverers.keys() - on.keys():
            if not self._is_running(gone):
                self._deliverers.pop(gone).close()
        if not on:
            return
        for identity in self._ledger.due():
            if identity in on and is_subscription(identity) and not self._is_running(identity):
                self._start(on[identity])

    def _is_running(self, identity: str) -> bool:
        thread = self._running.get(identity)
        return thread is not None and thread.is_alive()

    def _start(self, line: Subscription) -> None:
        deliverer = self._deliverers.get(line.id)
        if deliverer is None:
            told_by = Subscriber(line, self._ledger, signing_key(self._settings), self._guard)
            deliverer = Deliverer(
                line.id, self._settings, self._ledger, self._stopping, told_by=told_by, spans=self._spans
            )
            self._deliverers[line.id] = deliverer
        thread = threading.Thread(target=drain, args=(deliverer, self._stopping), name=f"tell-{line.id}", daemon=True)
        self._running[line.id] = thread
        thread.start()
