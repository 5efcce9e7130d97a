"""A line in the log for what took longer than it should: once each, never a flood. What may not enter: measuring."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

#: Lines a second that one process writes; what is beyond is counted, and the next line says how many.
LINES_PER_S = 5


class SlowLog:
    """One process's. Thread-safe."""

    def __init__(self, slow_ms: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``slow_ms``: what takes as long or longer is slow; 0: nothing is. ``clock`` gives seconds."""
        self._limit_ns = slow_ms * 1e6
        self._clock = clock
        self._lock = threading.Lock()
        self._second, self._lines, self._left_out = 0.0, 0, 0
        self._log = structlog.wrap_logger(
            logging.getLogger("lotgate.slow"), processors=[structlog.processors.JSONRenderer(default=str)],
            wrapper_class=structlog.BoundLogger,
        )  # fmt: skip

    def is_slow(self, spent_ns: float) -> bool:
        """Is that worth a line?"""
        return spent_ns >= self._limit_ns > 0

    def say(self, what: str, spent_ns: float, **fields: Any) -> None:
        """Write one line, unless there were too many in this second."""
        with self._lock:
            now = self._clock()
            if now - self._second >= 1.0:
                self._second, self._lines = now, 0
            self._lines += 1
            if self._lines > LINES_PER_S:
                self._left_out += 1
                return
            left_out, self._left_out = self._left_out, 0
        more = {"left_out": left_out} if left_out else {}
        self._log.warning(what, ms=round(spent_ns / 1e6, 1), **fields, **more)
