"""Reads that may take many seconds, in threads of their own: traces, recalls, evidence, business numbers, EPCIS pages.

Everything else that waits for the database shares the event loop's few threads and takes milliseconds there; a handful
of traces of twenty seconds would hold up every one of those calls. Here they hold up each other, and no more of them
wait than the queue has room for. What may not enter: anything that decides or writes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from engine.errors import Overloaded

#: At once; each takes a connection to the database while it lasts.
AT_ONCE = 3
#: Those at work and those that wait, together.
MOST = 24
#: A slow read seldom ends sooner.
RETRY_SECONDS = 5

P = ParamSpec("P")
T = TypeVar("T")


class Slowly:
    """Threads for slow reads, and a bounded queue before them."""

    def __init__(self, at_once: int = AT_ONCE, most: int = MOST) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="slow-read")
        self._most = most
        #: At work or waiting.
        self.under_way = 0

    async def __call__(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What ``call`` gives, from one of these threads; raises Overloaded when too many wait.

        For the thread of the running event loop. A caller who goes leaves the queue; what has begun ends by itself.
        """
        if self.under_way >= self._most:
            raise Overloaded(f"{self.under_way} long reads are under way already.", retry_after_seconds=RETRY_SECONDS)
        loop = asyncio.get_running_loop()

        def ended(_: Future[T]) -> None:
            try:
                loop.call_soon_threadsafe(self._ended)
            except RuntimeError:  # the loop is closed: nobody counts any more
                return

        self.under_way += 1
        future = self._threads.submit(call, *arguments, **named)
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def _ended(self) -> None:
        self.under_way -= 1


#: Of this process.
slowly = Slowly()
