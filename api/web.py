"""The web process: uvicorn with the limits that a plant network needs.

What may not enter: routes. Run through :func:`run`; stops on SIGTERM within ``GRACEFUL_SECONDS``.
"""

import asyncio
import functools
import gc
import os
import resource
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.turns import Turns, looks_urgent

if TYPE_CHECKING:
    from engine.settings import Settings

#: Requests in flight get this long after SIGTERM; process managers kill after 5 s.
GRACEFUL_SECONDS = 4
#: Connections at once, as far as the machine gives files for them. For one more the connection is closed that has
#: asked nothing for longest; when all are at work the new one is answered 503. Who is connected is always served.
MAX_CONNECTIONS = 4096
#: Files that are no connections of callers: the database, the log, what the process asks of others.
OTHER_FILES = 256
#: A caller that found no room comes back after this.
CROWDED_RETRY_SECONDS = 2
#: A request's head must be complete within this time after its first byte, or after the connection was made.
HEAD_SECONDS = 15.0
#: Bytes of a first request's head before the connection is cut. The door refuses from 32 KiB on.
MAX_HEAD_BYTES = 256 * 1024
#: Bytes thrown away behind a request that was answered early (413), before the connection is cut.
MAX_DISCARD_BYTES = 16 * 1024 * 1024
#: What is posted to addresses that begin so are events: api.events.PATH and api.batch.PATH.
EVENTS = b"/v1/events"


class _Once:
    """What is called once, however often it is called."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds on the head of a request, and an end for all that a connection has asked.

    By itself it has no bounds, and tells only the newest of pipelined requests that nobody is left to answer: the
    others write to a closed connection and fill the log with what a stranger makes them.
    """

    #: Connections at once.
    most: ClassVar[int] = MAX_CONNECTIONS
    #: Connections that have been answered and ask nothing, longest first.
    _idle: ClassVar[dict["PatientProtocol", None]] = {}
    #: Of each server, what came and was not begun.
    _turns: ClassVar[WeakKeyDictionary[object, Turns]] = WeakKeyDictionary()

    @staticmethod
    def full() -> bool:
        """True while no more events are taken."""
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        self._begun: object = None
        self._unclaimed_bytes = 0
        self._stood_still: object = self
        #: Requests of this connection that may not be answered yet.
        self._open: list[RequestResponseCycle] = []
        self._watch = self.loop.call_later(HEAD_SECONDS, self._look)
        #: Does what came last look like a hold?
        self._urgent = False
        #: Begins what came last, unless that is begun.
        self._waits: _Once | None = None
        if len(self.connections) > self.most:
            self._make_room()

    def _make_room(self) -> None:
        for idle in self._idle:
            if not idle.transport.is_closing():
                idle._hang_up()
                return
        self.transport.write(_crowded())
        self._hang_up()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._idle[self] = None

    def _unset_keepalive_if_required(self) -> None:
        super()._unset_keepalive_if_required()
        self._idle.pop(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)
        self._idle.pop(self, None)
        self._forsake()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._open = [cycle for cycle in (*self._open, self.cycle) if not cycle.response_complete]

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._forsake()

    def _hang_up(self) -> None:
        self._idle.pop(self, None)
        self.transport.close()
        self._forsake()

    def _forsake(self) -> None:
        """Nobody is left to answer: whoever still writes does so in vain, and whoever still reads learns it."""
        for cycle in self._open:
            cycle.disconnected = True
            cycle.message_event.set()
        self._open = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        begin = functools.partial(super()._start_asgi_task, cycle, app)
        self._waits = None
        if self._urgent:
            begin()
            return
        self._waits = once = _Once(begin)
        turns = self._turns.get(self.server_state)
        if turns is None:
            turns = self._turns[self.server_state] = Turns(self.loop, self.full)
        scope = cycle.scope
        turns.take(once, event=scope["method"] == "POST" and scope["raw_path"].startswith(EVENTS))

    def data_received(self, data: bytes) -> None:
        self._urgent = looks_urgent(data)
        super().data_received(data)
        if self._urgent and self._waits is not None:
            self._waits()  # its head came before it, as many senders have it
        cycle = self.cycle
        if cycle is not self._begun:
            self._begun = cycle
            self._unclaimed_bytes = 0
        elif cycle is None or cycle.response_complete:
            self._unclaimed_bytes += len(data)
            if self._unclaimed_bytes > (MAX_HEAD_BYTES if cycle is None else MAX_DISCARD_BYTES):
                self._hang_up()

    def _look(self) -> None:
        """Cut a connection whose head has stood incomplete since the last look."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        waiting = (cycle is None or cycle.response_complete) and self.timeout_keep_alive_task is None
        if waiting and (cycle is None or self._stood_still is cycle):
            self._hang_up()
            return
        self._stood_still = cycle if waiting else self
        self._watch = self.loop.call_later(HEAD_SECONDS, self._look)


@functools.cache
def _crowded() -> bytes:
    """What a connection is told for which there is no room."""
    from api.problems import encode

    _, body = encode("overloaded", f"{PatientProtocol.most} callers are being answered; come again.", "", "")
    return (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: %d\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (CROWDED_RETRY_SECONDS, len(body), body)
    )


def files_for(connections: int) -> int:
    """Have the machine give files for ``connections``; gives how many connections there can be."""
    wanted, (soft, hard) = connections + OTHER_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - OTHER_FILES))


def configuration(app: Any, host: str, port: int, full: Callable[[], bool] = PatientProtocol.full) -> uvicorn.Config:
    """How uvicorn runs ``app``; ``full``: no more events are taken now."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=type("Protocol", (PatientProtocol,), {"full": staticmethod(full)}),
        ws="none",
        lifespan="on",
        # 47 us a request; the journal is the record of what was asked and answered.
        access_log=False,
        log_level="warning",
        server_header=False,
        # Nobody in front is trusted to say who is calling; the key says it.
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which tells readiness as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stopping()
        super().handle_exit(sig, frame)


#: The committer gives Python's lock away at every call into the database; with the default of 5 ms it would wait
#: that long behind the event loop each time, which costs more than everything else together.
SWITCH_SECONDS = 0.0002
#: Garbage is mostly gone by reference counts; looking for cycles among tens of thousands of live objects is waste.
GC_THRESHOLDS = (50_000, 20, 50)


def tune() -> None:
    """Make the interpreter fit two busy threads and many short-lived objects."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def run(settings: "Settings") -> None:
    """Serve until SIGTERM or SIGINT."""
    # What is imported and made until it serves stays: looking for garbage there takes a seventh of a start.
    gc.disable()
    # Imported here: the application pulls in everything, and the command line asks for little of it.
    from api.app import create_app
    from engine.logs import log_to_stderr

    log_to_stderr("web", settings.log_format)
    PatientProtocol.most = files_for(MAX_CONNECTIONS)
    application = create_app(settings)
    tune()
    committer = application.engine.committer
    config = configuration(application.door, settings.host, settings.port, lambda: committer.is_full)
    Server(config, application.health.start_draining).run()


if __name__ == "__main__":
    from engine.settings import load_settings

    run(load_settings(os.environ))
