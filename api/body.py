"""Request bodies: bounded while they are read, in size and in time.

What may not enter: what the bytes mean. Litestar's own body handling is not used on the event path, because
it decodes leniently and waits for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.types import Receive

from api.problems import Refused

#: One event, or one line of NDJSON.
MAX_EVENT_BYTES = 1024 * 1024
#: One JSON batch array.
MAX_BATCH_BYTES = 4 * 1024 * 1024
#: A body, or the next piece of a stream, must arrive within this time.
READ_SECONDS = 10.0

T = TypeVar("T")


class Gone(Exception):
    """The caller hung up; there is nobody to answer."""


def answer_nobody(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar exception handler for :class:`Gone`: no fault of ours, and what is answered nobody gets."""
    return Response(b"", status_code=400)


class Patience:
    """Ends waits that last too long, for all requests at once.

    A timer per request costs more than reading the body; one sweep a second over the few that wait costs
    nothing.
    """

    def __init__(self, seconds: float = READ_SECONDS) -> None:
        self._seconds = seconds
        self._since: dict[asyncio.Task[object], float] = {}
        self._ended: set[asyncio.Task[object]] = set()

    async def sweep(self) -> None:
        """End what waits too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            deadline = loop.time() - self._seconds
            for task in [task for task, since in self._since.items() if since < deadline]:
                self._ended.add(task)
                task.cancel()

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """The result of ``awaitable``; raises Refused (408) when it takes too long."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = asyncio.get_running_loop().time()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            self._ended.discard(task)
            task.uncancel()
            raise Refused(
                "body-timeout", f"No complete body came within {self._seconds:g} seconds."
            ) from None
        finally:
            del self._since[task]


async def whole(receive: Receive, limit_bytes: int, announced: bytes | None) -> bytes:
    """The body; raises Refused (413) as soon as it is clear that it is longer than ``limit_bytes``."""
    if announced is not None and announced.isdigit() and int(announced[:19]) > limit_bytes:
        raise _too_large(limit_bytes)
    message = await receive()
    if message["type"] != "http.request":
        raise Gone
    body = message["body"]
    if not message["more_body"]:
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body
    pieces = [body]
    size = len(body)
    while message["more_body"]:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        size += len(message["body"])
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(message["body"])
    return b"".join(pieces)


async def lines(receive: Receive, patience: Patience, limit_bytes: int) -> AsyncIterator[bytes | None]:
    """The lines of a stream, without their line ends; None for one that is longer than ``limit_bytes``.

    Holds at most one line and one piece from the network, however long the stream is.
    """
    rest = b""
    skipping = False
    more = True
    while more:
        message = await patience.wait(receive())
        if message["type"] != "http.request":
            raise Gone
        more = message["more_body"]
        *complete, rest = (rest + message["body"]).split(b"\n")
        for line in complete:
            if skipping or len(line) > limit_bytes:
                skipping = False
                yield None
            else:
                yield line
        if len(rest) > limit_bytes:
            rest, skipping = b"", True
    if skipping:
        yield None
    elif rest:
        yield rest


def _too_large(limit_bytes: int) -> Refused:
    return Refused(
        "body-too-large", f"The body is longer than {limit_bytes} bytes, the most that is read here."
    )
