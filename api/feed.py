"""The changes as they happen: a stream of server-sent events, and a long poll for those who cannot have one.

One task a process looks for new changes and keeps the latest in memory; readers who are further behind read the
journal for themselves, in pieces. A reader that does not take what it is sent is hung up on and holds up nobody: it
has the id of the last change that it took, and goes on from there. What may not enter: SQL, what a change means.
"""

import asyncio
import bisect
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Request, Response, get
from litestar.types import Receive, Scope, Send
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from api.access import Principal
from api.answers import send_options, send_problem, visit_of
from api.pages import json_answer
from api.problems import Headers, Refused
from api.queries import limit_of, one_of, read_query
from engine.errors import ArchiveUnavailable, Overloaded
from engine.feed import START, Change, Feed, Interest, Place, encode_change, id_of, place_of

log = logging.getLogger("lotgate.api")

PATH = "/v1/feed"
#: How often one process looks for changes while somebody reads. What is committed shows after this, at the latest.
LOOK_SECONDS = 0.2
#: Changes read at a time.
PIECE = 200
#: Latest changes kept for readers that keep up.
KEPT = 2_000
#: Readers of one process.
MAX_READERS = 500
#: A reader that takes nothing for so long is hung up on.
STALLED_SECONDS = 15.0
#: A sign of life after so long without changes, unless the reader asks for another time.
HEARTBEAT_SECONDS = 15
#: How long a long poll may wait.
MAX_WAIT_SECONDS = 30
#: How soon a reader whose stream ended should come back.
_RETRY_MS = 1000
_ALLOWED = "GET, OPTIONS"
_PARAMETERS = ("lot", "type", "kind", "item", "plant")
_KINDS = ("event", "consequence", "refusal")

Piece = list[tuple[Place, Change]]


class Changes(Struct):
    """One answer of the long poll."""

    data: list[Change]
    #: Send it as ``after`` next time; given also when there was nothing.
    next: str


class Tail:
    """The newest changes, for every reader of this process."""

    def __init__(self, feed: Feed, stopping: Callable[[], bool]) -> None:
        self._feed = feed
        self._stopping = stopping
        self._latest: deque[tuple[Place, Change]] = deque(maxlen=KEPT)
        #: Everything after this place is in memory; None: nothing is.
        self._since: Place | None = None
        self._news = asyncio.Event()
        self.readers = 0

    @property
    def stopping(self) -> bool:
        """Is the process about to end?"""
        return self._stopping()

    async def run(self) -> None:
        """Look for changes while somebody reads."""
        while not self.stopping:
            found = False
            if self.readers:
                try:
                    found = await self._look()
                except SQLAlchemyError:
                    log.exception("the change feed could not read the journal; it goes on trying")
                    self._forget()
            else:
                self._forget()
            if not found:
                await asyncio.sleep(LOOK_SECONDS)
        self._wake()

    def _forget(self) -> None:
        self._since = None
        self._latest.clear()

    async def _look(self) -> bool:
        if self._since is None:
            self._since = await asyncio.to_thread(self._feed.newest)
            self._wake()
            return False
        last = self._latest[-1][0] if self._latest else self._since
        piece = await asyncio.to_thread(self._feed.after, last, PIECE)
        for one in piece:
            if len(self._latest) == KEPT:
                self._since = self._latest[0][0]
            self._latest.append(one)
        if piece:
            self._wake()
        return bool(piece)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, place: Place) -> Piece:
        """The next changes after ``place``: from memory, or from the journal for who is behind."""
        if self._since is not None and place >= self._since:
            latest = list(self._latest)
            start = bisect.bisect_right(latest, place, key=lambda one: one[0])
            return latest[start : start + PIECE]
        return await self.read(place)

    async def read(self, place: Place) -> Piece:
        """As :meth:`after`, from the journal itself: for who does not stay."""
        return await asyncio.to_thread(self._feed.after, place, PIECE)

    async def wait(self, seconds: float) -> None:
        """Until there may be something new, at most ``seconds``."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return

    async def newest(self) -> Place:
        """Where a reader begins who wants only what comes."""
        return await asyncio.to_thread(self._feed.newest)

    def enter(self) -> None:
        """One reader more; raises Overloaded."""
        if self.readers >= MAX_READERS:
            raise Overloaded(f"{MAX_READERS} readers follow the feed of this process already.", retry_after_seconds=10)
        self.readers += 1

    def leave(self) -> None:
        """One reader less."""
        self.readers -= 1


class FeedPath:
    """``GET /v1/feed``: an ASGI application of its own, for it knows when its reader has gone."""

    def __init__(self, tail: Tail, authenticate: Callable[[dict[bytes, bytes]], Principal | None]) -> None:
        self._tail = tail
        self._authenticate = authenticate

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the reader goes, stalls, or the process ends."""
        request: Any = scope
        visit = visit_of(scope)
        if request["method"] == "OPTIONS":
            await send_options(visit.request_id, send, _ALLOWED)
            return
        try:
            if request["method"] != "GET":
                raise Refused("method-not-allowed", f"Use one of {_ALLOWED} here.", headers={"allow": _ALLOWED})
            query = read_query(request, (*_PARAMETERS, "after", "heartbeat"))
            interest = _interest(query)
            heartbeat = _seconds(query, "heartbeat", 1, 60, HEARTBEAT_SECONDS)
            resumed = visit.headers.get(b"last-event-id")
            asked = query.get("after") if resumed is None else resumed.decode("latin-1")
            place = await _begin(self._tail, asked, "after" if resumed is None else "Last-Event-ID")
            if asked is not None:
                # What cannot be read is said before anything is sent.
                await self._tail.after(place)
            self._tail.enter()
        except Exception as error:  # becomes a problem; the unforeseen is logged on the way
            await send_problem(error, scope, visit, send)
            return
        try:
            headers: Headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                # nginx would keep the events to itself until its buffer is full.
                (b"x-accel-buffering", b"no"),
                (b"x-request-id", visit.request_id),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})


            def opens() -> bool:
                # What a key may can change while its stream is open: revoked, expired, limited.
                return self._authenticate(visit.headers) == visit.principal

            await self._stream(interest, place, heartbeat, opens, receive, send)
        finally:
            self._tail.leave()

    async def _stream(
        self,
        interest: Interest,
        place: Place,
        heartbeat: float,
        opens: Callable[[], bool],
        receive: Receive,
        send: Send,
    ) -> None:
        gone = asyncio.create_task(_gone(receive))
        try:
            async for text in self._events(interest, place, heartbeat, opens, gone):
                async with asyncio.timeout(STALLED_SECONDS):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.warning("a reader of the feed took nothing for %d s and was hung up on", STALLED_SECONDS)
        finally:
            gone.cancel()

    async def _events(
        self,
        interest: Interest,
        place: Place,
        heartbeat: float,
        opens: Callable[[], bool],
        gone: asyncio.Task[None],
    ) -> AsyncIterator[bytes]:
        yield b"retry: %d\nid: %s\nevent: ready\ndata: {}\n\n" % (_RETRY_MS, id_of(place).encode())
        quiet_since = time.monotonic()
        while not gone.done() and not self._tail.stopping and opens():
            try:
                piece = await self._tail.after(place)
            except ArchiveUnavailable as error:
                # Whoever comes back with the last id is told why.
                log.error("a reader of the feed was hung up on: %s", error.detail)
                return
            if piece:
                place = piece[-1][0]
                wanted = [_event(change) for _, change in piece if interest.takes(change)]
                if wanted:
                    quiet_since = time.monotonic()
                    yield b"".join(wanted)
            elif (left := quiet_since + heartbeat - time.monotonic()) > 0:
                await self._tail.wait(min(left, 1.0))
            else:
                quiet_since = time.monotonic()
                # An id without data moves the reader on and is no event: what it does not want is not read again.
                yield b": alive\nid: %s\n\n" % id_of(place).encode()


def _event(change: Change) -> bytes:
    return b"id: %s\nevent: change\ndata: %s\n\n" % (change.id.encode(), encode_change(change))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _interest(query: dict[str, str]) -> Interest:
    one_of(query, "kind", _KINDS)
    return Interest(**{name: query.get(name) for name in _PARAMETERS})


def _seconds(query: dict[str, str], name: str, least: int, most: int, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and least <= int(text) <= most):
        raise Refused("parameter-invalid", f"{name} must be {least} to {most} seconds.", name)
    return int(text)


async def _begin(tail: Tail, asked: str | None, name: str) -> Place:
    if asked is None:
        return await tail.newest()
    place = START if asked == "start" else place_of(asked)
    if place is None:
        raise Refused("parameter-invalid", f"{name} must be an id that the feed gave, or start.", name)
    return place


def feed_routes(tail: Tail) -> list[Any]:
    """The long poll, for Litestar."""

    @get("/v1/changes")
    async def poll(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The changes after ``after``; waits up to ``wait`` seconds for the first."""
        query = read_query(request.scope, (*_PARAMETERS, "after", "limit", "wait"))
        interest, limit = _interest(query), limit_of(query)
        until = time.monotonic() + _seconds(query, "wait", 0, MAX_WAIT_SECONDS, 0)
        place = await _begin(tail, query.get("after"), "after")
        tail.enter()
        try:
            found: list[Change] = []
            while True:
                piece = await tail.read(place)
                for at, change in piece:
                    place = at
                    if interest.takes(change):
                        found.append(change)
                        if len(found) == limit:
                            break
                left = until - time.monotonic()
                if len(found) == limit or (not piece and (found or left <= 0 or tail.stopping)):
                    return json_answer(Changes(found, id_of(place)))
                if not piece:
                    await tail.wait(min(left, 1.0))
        finally:
            tail.leave()

    return [poll]
