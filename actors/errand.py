"""One stretch of delivering: what was claimed and until when, what is being told, what is not written down yet.

What may not enter: the ledger, calls, decisions. One thread owns an errand; only :meth:`Errand.may_call` is asked by
others.
"""

import queue
import time
from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from actors.connectors.http import Exchange
from engine.ledger import Delivery

#: A lease is renewed when it is this much older than new.
RENEW_SECONDS = 2.0
#: A call is started only if the lease outlives it by this much.
SAFE_SECONDS = 1.0


class Told(Struct):
    """A call that ended: one exchange for each delivery of its unit."""

    unit: list[Delivery]
    exchanges: list[Exchange]
    #: Monotonic.
    at: float


class Errand:
    """Claimed deliveries on their way. Times are monotonic seconds."""

    def __init__(self, mail: "queue.SimpleQueue[Told | None]", lease_seconds: float, call_seconds: float) -> None:
        self.waiting: deque[Delivery] = deque()
        #: Calls under way.
        self.calling = 0
        self.settled = 0
        #: More may be due than was claimed.
        self.may_be_more = True
        self._mail = mail
        self._lease_seconds = lease_seconds
        self._call_seconds = call_seconds
        self._until: dict[int, float] = {}
        self._claimed_at: dict[int, float] = {}
        self._under_way: dict[int, Delivery] = {}
        self._lapsed: list[Delivery] = []
        self._told: list[tuple[Delivery, Exchange]] = []
        self._first_told_at = 0.0

    def take(self, claimed: list[Delivery], claimed_at: float) -> None:
        """``claimed`` is ours until the lease that began at ``claimed_at`` ends."""
        for delivery in claimed:
            self.waiting.append(delivery)
            self._until[delivery.id] = claimed_at + self._lease_seconds
            self._claimed_at[delivery.id] = claimed_at
            self._under_way[delivery.id] = delivery

    def next_unit(self, most: int) -> list[Delivery]:
        """Up to ``most`` deliveries to tell together, whose leases last long enough."""
        unit: list[Delivery] = []
        while self.waiting and len(unit) < most:
            delivery = self.waiting.popleft()
            if self.may_call([delivery]):
                unit.append(delivery)
            else:
                self._forget(delivery)
                self._lapsed.append(delivery)
        return unit

    def put_back(self, unit: list[Delivery]) -> None:
        """``unit`` is not told now after all."""
        self.waiting.extendleft(reversed(unit))

    def may_call(self, unit: Iterable[Delivery]) -> bool:
        """Do the leases outlive one more call?"""
        enough = time.monotonic() + self._call_seconds + SAFE_SECONDS
        return all(self._until.get(delivery.id, 0.0) >= enough for delivery in unit)

    def heard(self, told: Told) -> None:
        """A call ended."""
        self.calling -= 1
        if not self._told:
            self._first_told_at = told.at
        self._told += zip(told.unit, told.exchanges, strict=True)

    def seconds_since_claim(self, told: Told) -> float:
        """How long the oldest of ``told`` took from its claim on."""
        return told.at - min(self._claimed_at.get(d.id, told.at) for d in told.unit)

    def seconds_to_write(self, seconds: float) -> float:
        """How long to wait for more at the most: what has been told should be written ``seconds`` after."""
        return max(0.0, self._first_told_at + seconds - time.monotonic()) if self._told else 60.0

    def is_time_to_write(self, most: int, seconds: float) -> bool:
        """Are there results that should not wait for others any longer?"""
        if not self._told:
            return False
        return len(self._told) >= most or not self.calling or time.monotonic() - self._first_told_at >= seconds

    def take_told(self) -> list[tuple[Delivery, Exchange]]:
        """What has been told and is not written down; the caller writes it down."""
        told, self._told = self._told, []
        for delivery, _ in told:
            self._forget(delivery)
        return told

    def drop_waiting(self) -> list[Delivery]:
        """What was claimed and not told."""
        dropped = list(self.waiting)
        self.waiting.clear()
        for delivery in dropped:
            self._forget(delivery)
        return dropped

    def take_lapsed(self) -> list[Delivery]:
        """What was not told because its lease ends too soon."""
        lapsed, self._lapsed = self._lapsed, []
        return lapsed

    def old_leases(self) -> list[Delivery]:
        """What is still under way, when the oldest lease wants renewing; else nothing."""
        if not self._until:
            return []
        fresh = time.monotonic() + self._lease_seconds - RENEW_SECONDS
        return list(self._under_way.values()) if min(self._until.values()) < fresh else []

    def renewed(self, asked: list[Delivery], held: set[int], asked_at: float) -> None:
        """The leases of ``held`` begin anew at ``asked_at``; the others of ``asked`` are lost."""
        for delivery in asked:
            if delivery.id in held:
                self._until[delivery.id] = asked_at + self._lease_seconds
            else:
                self._until[delivery.id] = 0.0

    def _forget(self, delivery: Delivery) -> None:
        for known in (self._until, self._claimed_at, self._under_way):
            known.pop(delivery.id, None)
