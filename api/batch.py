"""Many events in one request: a JSON batch array, or a stream of lines answered line by line.

Order is kept: events are submitted in the order they came, so that two events of one lot see each other's
state. A bad item spoils only itself. However long a stream is, at most ``MAX_IN_FLIGHT`` of its events are
held; when the caller does not read its results, Lotgate stops reading its events. What may not enter:
deciding anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send
from msgspec import Raw, Struct

from api.answers import admit, send_options, send_problem, visit_of, wants_minimal
from api.body import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Gone, Patience, lines, whole
from api.cloudevents import Mode, carrying, mode_of, read_event, require_json
from api.door import Visit
from api.permits import Permits
from api.problems import Refused, explain
from api.rates import Rates
from api.telemetry import REFUSED
from engine.answer import Answer
from engine.committer import Committer
from engine.errors import EventInvalid, Overloaded
from engine.events import Event
from engine.urgency import is_urgent

log = logging.getLogger("lotgate.api")

PATH = "/v1/events/batch"
#: Events of one request that wait for their commit at the same time.
MAX_IN_FLIGHT = 256
#: Bytes of one request that are submitted before the answer to the newest is waited for.
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024
#: Events that one JSON batch array may have; a stream of lines has no such limit.
MAX_BATCH_EVENTS = 10_000
#: Results are sent in pieces of about this size, or at once when nothing else is ready.
_PIECE_BYTES = 32 * 1024
#: A caller that does not take its results for so long is hung up on.
_STALLED_SECONDS = 60.0
#: How often an event of a batch is offered again to a full queue before it is refused, and the pause between.
_OFFERS = 100
_PAUSE_SECONDS = 0.05

_array = msgspec.json.Decoder(list[Raw])


class Result(Struct, omit_defaults=True):
    """What became of one item, in the order of the request."""

    #: Position in the request, from 0; blank lines do not count.
    index: int
    status: int
    id: str | None = None
    source: str | None = None
    lot: str | None = None
    version: int | None = None
    replayed: bool = False
    #: Left out under ``Prefer: return=minimal``.
    decision: Raw | None = None
    #: RFC 9457 members, where the item was refused.
    problem: Raw | None = None


class _Pending(Struct):
    """An event on its way, and where its decision will arrive."""

    index: int
    event: Event
    decided: asyncio.Future[Answer]


class BatchPath:
    """``POST /v1/events/batch``."""

    def __init__(self, committer: Committer, patience: Patience, permits: Permits, rates: Rates) -> None:
        self._committer = committer
        self._permits = permits
        self._rates = rates
        self._patience = patience

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 200 and a result per item, whatever became of each."""
        visit = visit_of(scope)
        try:
            if scope["method"] == "OPTIONS":  # type: ignore[typeddict-item]  # an @asgi route is never a web socket
                await send_options(visit.request_id, send)
                return
            admit(scope, visit)
            if b"if-match" in visit.headers:
                raise Refused("header-invalid", "If-Match belongs to one lot; a batch has many.", "If-Match")
            mode = mode_of(visit.headers)
            if mode is Mode.LINES:
                await self._stream(
                    lines(receive, self._patience, MAX_EVENT_BYTES), visit, scope, send, array=False
                )
            elif mode is Mode.BATCH or mode is Mode.STRUCTURED:
                items = _items(
                    await self._patience.wait(
                        whole(receive, MAX_BATCH_BYTES, visit.headers.get(b"content-length"))
                    )
                )
                await self._stream(_each(items), visit, scope, send, array=True)
            else:
                raise Refused(
                    "unsupported-media-type", "A batch is application/cloudevents-batch+json or NDJSON."
                )
        except Gone:
            return
        except Exception as error:  # becomes a problem; the unforeseen is logged on the way
            await send_problem(error, scope, visit, send)

    async def _stream(
        self, items: AsyncIterator[bytes | None], visit: Visit, scope: Scope, send: Send, *, array: bool
    ) -> None:
        """Submit while answering: one task reads and submits, this one writes results in order."""
        queue: asyncio.Queue[_Pending | Result | None] = asyncio.Queue(MAX_IN_FLIGHT)
        reading = asyncio.create_task(self._submit_all(items, visit, scope["path"], queue))
        media_type = b"application/json" if array else b"application/x-ndjson"
        headers = [(b"content-type", media_type), (b"x-request-id", visit.request_id)]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            minimal = wants_minimal(visit)
            async for piece in self._pieces(queue, visit, scope["path"], minimal=minimal, array=array):
                async with asyncio.timeout(_STALLED_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            await reading
        except TimeoutError:
            # The head is sent; what is left is to cut the answer off, so that it is seen as incomplete.
            log.warning("hung up on %s, which did not read the results of its batch", visit.principal.name)
        finally:
            reading.cancel()

    async def _submit_all(
        self,
        items: AsyncIterator[bytes | None],
        visit: Visit,
        path: str,
        queue: asyncio.Queue[_Pending | Result | None],
    ) -> None:
        index = held = 0
        last: _Pending | None = None
        try:
            async for item in items:
                if item is not None and not item.strip():
                    continue
                if last is not None and visit.principal.plants:
                    # Where a lot is can be looked up only when it is there.
                    await asyncio.wait([last.decided])
                entry = await self._submit(item, index, visit, path)
                last = entry if isinstance(entry, _Pending) else last
                await queue.put(entry)
                held += 0 if item is None else len(item)
                if held > MAX_IN_FLIGHT_BYTES and isinstance(entry, _Pending):
                    # Decided in order: when the newest is answered, so are all before it.
                    await asyncio.wait([entry.decided])
                    held = 0
                index += 1
        except Gone:
            return
        except Refused as refused:
            # The stream stood still: say so in place of the next result, and end the answer.
            await queue.put(_refused(refused, index, path, visit))
        finally:
            await queue.put(None)

    async def _submit(self, item: bytes | None, index: int, visit: Visit, path: str) -> _Pending | Result:
        try:
            if item is None:
                raise Refused("body-too-large", f"The line is longer than {MAX_EVENT_BYTES} bytes.")
            event = carrying(read_event(item), visit.headers)
        except Exception as error:  # becomes a problem; the unforeseen is logged on the way
            return _refused(error, index, path, visit)
        return await self._take(event, index, visit, path)

    async def decide(self, event: Event, index: int, visit: Visit, path: str) -> Result:
        """What becomes of one event that was read already; an answer of 2xx without the decision itself."""
        return await _finish(await self._take(event, index, visit, path), path, visit, minimal=True)

    async def _take(self, event: Event, index: int, visit: Visit, path: str) -> _Pending | Result:
        try:
            await self._permits.check(visit.principal, event)
            while not is_urgent(event) and (wait := self._rates.take(visit.principal.name)) > 0:
                await asyncio.sleep(min(wait, 1.0))  # a batch gives way instead of failing
            return _Pending(index, event, await self._offer(event, visit.principal.name))
        except Exception as error:  # becomes a problem; the unforeseen is logged on the way
            return _refused(error, index, path, visit, event)

    async def _offer(self, event: Event, principal: str) -> asyncio.Future[Answer]:
        """Submit, waiting for room in the queue: a batch gives way to single events instead of failing."""
        for _ in range(_OFFERS):
            try:
                return self._committer.submit(event, principal)
            except Overloaded:
                await asyncio.sleep(_PAUSE_SECONDS)
        return self._committer.submit(event, principal)

    async def _pieces(
        self,
        queue: asyncio.Queue[_Pending | Result | None],
        visit: Visit,
        path: str,
        *,
        minimal: bool,
        array: bool,
    ) -> AsyncIterator[bytes]:
        between = b"," if array else b""
        buffer = bytearray(b"[" if array else b"")
        first = True
        while (entry := await queue.get()) is not None:
            result = await _finish(entry, path, visit, minimal=minimal)
            if not first:
                buffer += between
            first = False
            buffer += msgspec.json.encode(result)
            if not array:
                buffer += b"\n"
            if len(buffer) >= _PIECE_BYTES or queue.empty():
                yield bytes(buffer)
                buffer.clear()
        if array:
            buffer += b"]"
        if buffer:
            yield bytes(buffer)


def _items(body: bytes) -> Iterator[bytes]:
    try:
        raw = _array.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        require_json(body)
        raise EventInvalid("A batch is a JSON array of events.") from None
    if len(raw) > MAX_BATCH_EVENTS:
        raise Refused(
            "body-too-large", f"A JSON batch may have {MAX_BATCH_EVENTS} events; stream more as NDJSON."
        )
    return (bytes(item) for item in raw)


async def _each(items: Iterator[bytes]) -> AsyncIterator[bytes | None]:
    for item in items:
        yield item


async def _finish(entry: _Pending | Result, path: str, visit: Visit, *, minimal: bool) -> Result:
    if isinstance(entry, Result):
        return entry
    event = entry.event
    try:
        decided = await entry.decided
    except Exception as error:  # becomes a problem; the unforeseen is logged on the way
        return _refused(error, entry.index, path, visit, event)
    result = Result(
        entry.index, decided.status, event.id, event.source, decided.lot, decided.version, decided.replayed
    )
    if decided.status >= 400:
        result.problem = Raw(decided.body)
    elif not minimal:
        result.decision = Raw(decided.body)
    return result


def _refused(error: Exception, index: int, path: str, visit: Visit, event: Event | None = None) -> Result:
    made, _ = explain(error, path, visit.request_id.decode())
    REFUSED.labels(made.type.rpartition("/")[2]).inc()
    identity: dict[str, Any] = (
        {} if event is None else {"id": event.id, "source": event.source, "lot": event.subject}
    )
    return Result(index, made.status, problem=Raw(msgspec.json.encode(made)), **identity)
