"""Whose request is begun next when many have come at once: holds, before everything else.

An event loop begins all that has come before it looks at the network again. With a thousand senders that is a fifth of
a second, in which a hold is not even read. So only a few requests are begun at a time, and the network is looked at in
between; what is a hold by the looks of it is begun at once. The looks are a hint and nothing more: what a request is
and may do is found out when it is read.

While no more events are taken, an event that was begun would be refused, and refusing costs as much as deciding: so
events wait in line for room, and only some of them are refused meanwhile. Other requests do not wait for them. What
may not enter: reading requests, deciding.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable

#: Requests that are begun before the network is looked at again; each takes about 0.1 ms.
AT_ONCE = 16
#: While there is no room: seconds between two turns, and events that are refused in each, so that nobody of four
#: thousand in line waits for longer than some seconds.
PAUSE_SECONDS = 0.002
REFUSED_AT_ONCE = 2
#: How holds and recalls look on the wire: ``POST /v1/lots/L/hold``, ``"type":"hold.applied.v1"``, ``/v1/recalls``.
_URGENT = re.compile(rb"/hold\b|\bhold\.applied\.|/recalls\b")
#: As far as is looked: a head and an event.
_LOOK_BYTES = 8 * 1024

Begin = Callable[[], None]


def looks_urgent(data: bytes) -> bool:
    """True when what came looks like a hold or a recall."""
    return _URGENT.search(data, 0, _LOOK_BYTES) is not None


class Turns:
    """Requests that came and were not begun; for the thread of ``loop``. ``full``: no more events are taken now."""

    def __init__(self, loop: asyncio.AbstractEventLoop, full: Callable[[], bool]) -> None:
        self._loop = loop
        self._full = full
        self._events: deque[Begin] = deque()
        self._others: deque[Begin] = deque()
        #: Begun since the network was looked at.
        self._begun = 0
        #: The next turn is due.
        self._due = False

    def take(self, begin: Begin, *, event: bool) -> None:
        """Call ``begin`` at once when few have come, or else when it is its turn; in order among its kind."""
        line = self._events if event else self._others
        if line or self._begun >= AT_ONCE or (event and self._full()):
            line.append(begin)
        else:
            self._begun += 1
            begin()
        if not self._due:
            self._due = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """The network was looked at meanwhile: begin those whose turn it is."""
        full = self._full()
        # Half is for events, where some wait: whoever asks without end would keep them out for ever.
        self._begun = self._begin(self._others, AT_ONCE // 2 if self._events and not full else AT_ONCE)
        self._begun += self._begin(self._events, REFUSED_AT_ONCE if full else AT_ONCE - self._begun)
        self._begun += self._begin(self._others, AT_ONCE - self._begun)
        self._due = self._begun > 0 or bool(self._events)
        if not self._due:
            return
        if full and not self._others:
            self._loop.call_later(PAUSE_SECONDS, self._next)
        else:
            self._loop.call_soon(self._next)

    def _begin(self, line: deque[Begin], most: int) -> int:
        number = max(0, min(most, len(line)))
        for _ in range(number):
            line.popleft()()
        return number
