"""A circuit breaker: a target that is down is probed now and then, not hammered."""

import enum
import threading
import time
from collections.abc import Callable


class BreakerState(enum.Enum):
    """Closed: calls go through. Open: none. Half-open: one, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after ``failures`` in a row, lets one call through after ``open_seconds``; thread-safe."""

    def __init__(
        self, failures: int = 5, open_seconds: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """As it stands now."""
        with self._lock:
            if self._opened_at is None:
                return BreakerState.CLOSED
            if self._clock() - self._opened_at < self._open_seconds:
                return BreakerState.OPEN
            return BreakerState.HALF_OPEN

    def allows(self) -> int | None:
        """How many calls may be made now: None for any number, 1 for a probe, 0 for none."""
        with self._lock:
            if self._opened_at is None:
                return None
            if self._clock() - self._opened_at < self._open_seconds or self._probing:
                return 0
            self._probing = True
            return 1

    def record(self, success: bool) -> None:
        """A call ended."""
        with self._lock:
            self._probing = False
            if success:
                self._failed, self._opened_at = 0, None
                return
            self._failed += 1
            if self._failed >= self._limit:
                self._opened_at = self._clock()

    def nothing_to_probe(self) -> None:
        """The probe that was allowed had nothing to send."""
        with self._lock:
            self._probing = False
