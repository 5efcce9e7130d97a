"""The web process's side of the committer: events go to a process of its own, decisions come back.

Reading requests and deciding are both work for Python, and one Python runs one thread at a time: in two processes
they run side by side, and a crash while deciding never takes the web server with it. The committer process is
started again when it ends; whoever waited is told that nothing is known of the event and sends it again, which
is harmless.
"""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from engine import wire
from engine.answer import Answer
from engine.errors import Overloaded, StoreUnavailable
from engine.events import Event
from engine.pipeline import MAX_WAITING, Counts
from engine.settings import Settings, as_json
from engine.spans import SERVING
from engine.urgency import RESERVED_BYTES, RESERVED_EVENTS, is_urgent
from rules.judge import JudgeStatus

log = logging.getLogger("lotgate.committer")

#: Bytes of events that may wait; beyond that a sender is told to come back.
MAX_WAITING_BYTES = 64 * 1024 * 1024
#: Opening the database, migrating it and compiling thousands of rules takes a while.
START_SECONDS = 90.0
#: Pause before a committer process that ended is started again.
START_AGAIN_SECONDS = 0.5

_RECEIVE_BYTES = 256 * 1024
Promise = asyncio.Future[Answer]


class _Sent(msgspec.Struct):
    """An event on its way."""

    promise: Promise
    size: int
    kind: str
    #: When it was sent, in seconds of the performance counter.
    at: float


class CommitterFailed(StoreUnavailable):
    """The committer process does not start; the message says why."""


class Committer:
    """Takes events from the event loop's thread; the promises it gives are kept by another process."""

    def __init__(
        self,
        settings: Settings,
        targets: tuple[str, ...],
        *,
        ring: Callable[[Sequence[str]], None] | None = None,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self.targets = targets
        self.counts = Counts()
        self.judge = JudgeStatus((), None, 0, 0, "the committer process has not reported yet")
        #: Digest of the rule set in force; empty while no process runs.
        self.rule_set = ""
        #: Told the type of each event that is decided, and the seconds from its acceptance to its durable answer.
        self.timed: Callable[[str, float], None] = lambda kind, seconds: None
        self._settings = settings
        self._ring = ring
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._number = 0
        #: By number.
        self._waiting: dict[int, _Sent] = {}
        self._waiting_bytes = 0
        self._outbox: list[bytes] = []
        self._flushing = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: asyncio.Transport | None = None
        self._process, self._socket = self._spawn()

    # -- the door ----------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Events that were sent and not answered."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """True when no more events are taken, but for holds."""
        return self._has_no_room(0, 0)

    def _has_no_room(self, more: int, more_bytes: int) -> bool:
        full = len(self._waiting) >= self._max_waiting + more
        return full or self._waiting_bytes >= self._max_waiting_bytes + more_bytes

    @property
    def pid(self) -> int | None:
        """The committer process, None when it does not run."""
        return self._process.pid if self._process.poll() is None else None

    def submit(self, event: Event, principal: str, if_match: int | None = None) -> Promise:
        """Send ``event``; the promise gives its Answer, or StoreUnavailable. Raises Overloaded at once.

        A hold is taken when nothing else is: room is kept for it. For the thread of the running event loop only.
        """
        if self._stopping:
            raise Overloaded("Lotgate is shutting down; send the event again.", retry_after_seconds=5)
        more, more_bytes = (RESERVED_EVENTS, RESERVED_BYTES) if is_urgent(event) else (0, 0)
        if self._has_no_room(more, more_bytes):
            raise Overloaded(f"{len(self._waiting)} events are waiting already; send the event again.")
        loop = asyncio.get_running_loop()
        self._number = number = self._number + 1
        serving = SERVING.get()
        trace = None if serving is None else serving.parent_of(event.traceparent)
        if trace is not None and event.traceparent is None:
            event = msgspec.structs.replace(event, traceparent=trace)
        item = wire.encode((number, principal, if_match, trace, event))
        promise: Promise = loop.create_future()
        self._waiting[number] = _Sent(promise, len(item), str(event.__struct_config__.tag), time.perf_counter())
        self._waiting_bytes += len(item)
        self._outbox.append(item)
        if not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush)
        return promise

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or not self._outbox:
            return  # sent when the process is there
        items, self._outbox = self._outbox, []
        self._transport.write(wire.frame_of(items, len(items)))

    # -- the process -------------------------------------------------------------------------------------------

    def wait_until_open(self) -> None:
        """Block until the process has said hello. Raises CommitterFailed with the reason when it cannot work."""
        frames, hello = wire.Frames(), list[bytes]()
        deadline = time.monotonic() + START_SECONDS
        while not hello:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                # One frame at a time: what comes after it belongs to the event loop.
                head = self._exactly(wire.HEAD.size)
                hello = frames.feed(head + self._exactly(wire.HEAD.unpack(head)[0]))
            except (OSError, EOFError) as error:
                self._end()
                raise CommitterFailed(f"The committer process did not start: {error}") from None
        self._greet(hello[0])

    def _exactly(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            if not part:
                raise EOFError("it ended; its last words are in the log")
            parts += part
        return parts

    def _greet(self, frame: bytes) -> None:
        hello = wire.decode_hello(frame)
        if hello.problem:
            self._end()
            raise CommitterFailed(hello.problem)
        self.rule_set = hello.rule_set

    async def start(self) -> None:
        """Listen to the process from the running event loop."""
        self._loop = asyncio.get_running_loop()
        await self._listen(greeted=True)

    async def _listen(self, *, greeted: bool) -> None:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        _, protocol = await loop.create_unix_connection(lambda: _Line(self, greeted), sock=self._socket)
        if greeted:
            self._opened(protocol)

    def _opened(self, line: "_Line") -> None:
        self._transport = line.transport
        self._flush()

    def _spawn(self) -> tuple["subprocess.Popen[bytes]", socket.socket]:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BYTES)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine.committer_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, close_fds=True,
            )  # fmt: skip
        ours.sendall(wire.frame(as_json(self._settings)))
        return process, ours

    def _lost(self, line: "_Line") -> None:
        """The process ended: tell everybody, and start another."""
        if self._transport is line.transport:
            self._transport = None
        waiting, self._waiting, self._waiting_bytes, self._outbox = self._waiting, {}, 0, []
        for sent in waiting.values():
            if not sent.promise.done():
                sent.promise.set_exception(
                    StoreUnavailable("The committer ended before it answered. Send the event again.", 1)
                )
        if self._stopping or self._loop is None:
            return
        self.rule_set = ""
        self.judge = JudgeStatus((), None, 0, 0, "the committer process ended; it is started again")
        log.error("the committer process %d ended; it is started again", self._process.pid)
        self._loop.call_later(START_AGAIN_SECONDS, self._start_again)

    def _start_again(self) -> None:
        if self._stopping or self._loop is None:
            return
        self._end()
        self._process, self._socket = self._spawn()
        self._task = self._loop.create_task(self._listen(greeted=False))

    def _report(self, frame: bytes) -> None:
        report = wire.decode_report(frame)
        events, now = self.counts.events, time.perf_counter()
        for number, answer in report.settled:
            sent = self._waiting.pop(number)
            self._waiting_bytes -= sent.size
            name = (sent.kind, "replayed" if answer.replayed else answer.outcome)
            events[name] = events.get(name, 0) + 1
            self.timed(sent.kind, now - sent.at)
            if not sent.promise.done():  # the client may have gone away
                sent.promise.set_result(answer)
        for failed in report.failed:
            sent = self._waiting.pop(failed.number)
            self._waiting_bytes -= sent.size
            if not sent.promise.done():
                sent.promise.set_exception(StoreUnavailable(failed.detail, failed.retry_after_seconds))
        self._note(report.figures)
        if report.judge is not None:
            self.judge = report.judge
        if report.rule_set:
            self.rule_set = report.rule_set
        if report.told and self._ring is not None:
            self._ring(self.targets)

    def _note(self, figures: wire.Figures) -> None:
        counts = self.counts
        counts.batches, counts.conflicts = figures.batches, figures.conflicts
        counts.failures, counts.commit_seconds = figures.failures, figures.commit_seconds

    async def stop(self, timeout_seconds: float = 3.0) -> None:
        """Take no more, wait for the answers that are due, end the process."""
        self._stopping = True
        self._flush()
        deadline = time.monotonic() + timeout_seconds
        while self._waiting and self._transport is not None and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        await asyncio.sleep(0)
        await asyncio.to_thread(self._end)

    def close(self) -> None:
        """End the process at once; for callers without an event loop."""
        self._stopping = True
        self._end()

    def _end(self) -> None:
        with suppress(OSError):
            self._socket.close()
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Line(asyncio.Protocol):
    """The socket to the process, as the event loop sees it."""

    def __init__(self, committer: Committer, greeted: bool) -> None:
        self._committer = committer
        self._frames = wire.Frames()
        self._greeted = greeted
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if self._greeted:
                self._committer._report(frame)
                continue
            self._greeted = True
            try:
                self._committer._greet(frame)
            except CommitterFailed as error:
                log.error("%s", error.detail)
                return
            self._committer._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._committer._lost(self)
