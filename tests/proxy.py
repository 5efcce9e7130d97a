"""A line that breaks: a proxy which loses requests before they arrive, or answers after they had their effect."""

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

Loss = Literal["request", "answer"]
#: Told the request's method and path, and how often one of its kind came before; what is lost, if anything.
Fault = Callable[[str, str, int], Loss | None]


def kind_of(method: str, path: str) -> str:
    """What a request is about: ``POST stock.shipment.internal/do``, ``GET /api/stock/``."""
    model = re.sub(r"/\d+", "", path.partition("?")[0].rpartition("/rest/model/")[2])
    return f"{method} {model}"


def each_once(method: str, path: str, before: int) -> Loss | None:
    """Of every kind of request the first is lost, and the answer to the second."""
    return ("request", "answer")[before] if before < 2 else None


class Proxy:
    """Forwards HTTP to ``upstream`` in a thread of its own; ``fault`` may be changed at any time."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.fault: Fault | None = None
        #: Requests by kind, since they were counted anew.
        self.seen: Counter[str] = Counter()
        #: What was lost, in order: kind of request, and what.
        self.lost: list[tuple[str, Loss]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{parts.path}"

    def count_anew(self, fault: Fault | None = None) -> None:
        self.seen.clear()
        self.lost.clear()
        self.fault = fault

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            loss = self._judge(*head.split(b" ", 2)[:2])
            if loss != "request":
                answer = await self._forward(head + body)
                if loss is None:
                    writer.write(answer)
                    await writer.drain()
        writer.close()

    def _judge(self, method: bytes, path: bytes) -> Loss | None:
        kind = kind_of(method.decode(), path.decode())
        loss = self.fault(method.decode(), path.decode(), self.seen[kind]) if self.fault is not None else None
        self.seen[kind] += 1
        if loss is not None:
            self.lost.append((kind, loss))
        return loss

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
