"""A circuit breaker: a target that is down is tried now and then, not hammered."""

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
    """Opens after ``failures`` in a row; thread-safe.

    It stays open for ``open_seconds``, then lets one call through; each time that one fails, it stays open twice as
    long, up to ``longest_seconds``. A target that asks for a rest gets it (:meth:`rest`).
    """

    def __init__(
        self,
        failures: int = 5,
        open_seconds: float = 2.0,
        longest_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._open_seconds = open_seconds
        self._longest_seconds = longest_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._openings = 0
        self._open_until: float | None = None
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """As it stands now."""
        with self._lock:
            return self._state()

    def room(self) -> int | None:
        """How many calls could be started now: None for any number. Promises nothing; :meth:`admit` decides."""
        with self._lock:
            state = self._state()
            if state is BreakerState.CLOSED:
                return None
            return 1 if state is BreakerState.HALF_OPEN and not self._trying else 0

    def admit(self) -> bool:
        """May a call be started? Whoever is told yes must call :meth:`record` when it has ended."""
        with self._lock:
            state = self._state()
            if state is BreakerState.HALF_OPEN and not self._trying:
                self._trying = True
                return True
            return state is BreakerState.CLOSED

    def record(self, success: bool) -> None:
        """A call ended."""
        with self._lock:
            tried, self._trying = self._trying, False
            if success:
                self._failed, self._openings, self._open_until = 0, 0, None
                return
            self._failed += 1
            if self._failed >= self._limit or tried:
                self._open(min(self._longest_seconds, self._open_seconds * 2**self._openings))

    def rest(self, seconds: float) -> None:
        """Open for ``seconds``: the target asked for it, or every call would fail in the same way."""
        with self._lock:
            self._trying = False
            self._open(seconds)

    def _open(self, seconds: float) -> None:
        if self._state() is not BreakerState.OPEN:
            self._openings = min(self._openings + 1, 20)
        until = self._clock() + seconds
        self._open_until = until if self._open_until is None else max(self._open_until, until)

    def _state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._open_until else BreakerState.HALF_OPEN
