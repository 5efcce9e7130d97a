"""The fault switch and the request log of a sandbox server: how it misbehaves, and what it was asked.

Both live in memory and are bounded; a restart clears them. They know nothing of lots.
"""

from collections import deque
from typing import Annotated, Literal

import msgspec

_LOG_ENTRIES = 50_000  # about 15 MB; older entries fall out, their numbers are not reused


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to misbehave, for the next `count` requests (None: all) whose path contains `match`.

    slow: wait `seconds`, then work. status: answer `status`, with Retry-After `retry_after` (seconds)
    if given, doing nothing. drop: close the connection, doing and answering nothing.
    lost_answer: do it, then close the connection. off: behave.
    """

    mode: Literal["slow", "status", "drop", "lost_answer", "off"]
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 1.0
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    retry_after: Annotated[int, msgspec.Meta(ge=0, le=86_400)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    match: str = ""


_OFF = Fault(mode="off")


class FaultSwitch:
    """Holds the one active fault and counts it down."""

    def __init__(self) -> None:
        self.active = _OFF

    def set(self, fault: Fault) -> None:
        self.active = fault

    def strike(self, path: str) -> Fault | None:
        """The fault this request meets, if any."""
        fault = self.active
        if fault.mode == "off" or fault.match not in path:
            return None
        if fault.count is not None:
            left = fault.count - 1
            self.active = msgspec.structs.replace(fault, count=left) if left else _OFF
        return fault


class LogEntry(msgspec.Struct, frozen=True):
    """One request. `status` is 0 where no answer was sent; `fault` is the mode that struck, or None."""

    seq: int
    time: str
    method: str
    path: str
    key: str | None
    status: int
    fault: str | None


class RequestLog:
    """The newest requests, numbered from 1 since the process started."""

    def __init__(self) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=_LOG_ENTRIES)
        self._last = 0

    def add(self, time: str, method: str, path: str, key: str | None, status: int, fault: str | None) -> None:
        self._last += 1
        self._entries.append(LogEntry(self._last, time, method, path, key, status, fault))

    def page(self, after: int, limit: int) -> list[LogEntry]:
        """Up to `limit` entries numbered above `after`, oldest first."""
        first = self._entries[0].seq if self._entries else 1
        start = max(0, after - first + 1)
        return [self._entries[i] for i in range(start, min(start + limit, len(self._entries)))]
