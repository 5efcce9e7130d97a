"""HTTP calls that end in time, whatever the other side does. One pool of kept-alive connections a target.

A timeout here is for the whole call, from the first byte sent to the last one received: a target that drips its
answer byte by byte is cut off like one that hangs. Calls under way can be cut off from another thread, so that a
process can stop. What may not enter: what an answer means.
"""

import contextlib
import http.client
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from actors.onward import calling
from engine.outbound import Guard, OutboundRefused

#: An answer that is longer is none of the target's.
MAX_ANSWER_BYTES = 1_000_000
#: A connection that takes longer to open would take too long for everything else, too.
CONNECT_SECONDS = 3.0

Failure = Literal["unreachable", "late", "broken", "unsendable", "refused", "stopped"]


class Answer(Struct, frozen=True):
    """What came back, complete. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    #: Every ``Set-Cookie``: the one header that may not be joined.
    cookies: list[str] = []


class NoAnswer(Exception):
    """The call ended without an answer.

    Except for ``unreachable``, ``unsendable`` and ``refused`` (the guard lets nobody call there), it may have had its
    effect.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure: Failure = failure
        self.detail = detail


class Client:
    """Calls to one base URL; thread-safe.

    With a ``guard`` it connects only where that allows: for URLs that somebody typed. The connector files' own come
    from the operator, and lead into the plant.
    """

    def __init__(self, base_url: str, timeout_seconds: float, guard: Guard | None = None) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout_seconds = timeout_seconds
        self._guard = guard
        self._lock = threading.Lock()
        self._idle: list[_Link] = []
        self._busy: set[_Link] = set()
        self._stopped = False

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request. Redirects are answers like any other. Raises NoAnswer."""
        with calling(method, self._host, self._port, self._prefix + path) as part_of:
            if part_of.traceparent is not None:
                headers = {**headers, "traceparent": part_of.traceparent}
            try:
                answer = self._call(method, path, headers, body)
            except NoAnswer as none:
                part_of.failed(none.failure, none.detail)
                raise
            part_of.answered(answer.status)
            return answer

    def _call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        deadline = time.monotonic() + self._timeout_seconds
        link = self._connect(deadline)
        keep = False
        try:
            link.line.deadline = deadline
            link.connection.request(method, self._prefix + path, body=body, headers=dict(headers))
            response = link.connection.getresponse()
            read = response.read(MAX_ANSWER_BYTES + 1)
            if len(read) > MAX_ANSWER_BYTES:
                raise NoAnswer("broken", f"it answered more than {MAX_ANSWER_BYTES} bytes")
            if response.length:
                raise NoAnswer("broken", "it broke off in the middle of its answer")
            keep = not response.will_close
            headers = {k.lower(): v for k, v in response.getheaders()}
            return Answer(response.status, headers, read, response.headers.get_all("set-cookie") or [])
        except TimeoutError:
            words = f"it did not answer within {self._timeout_seconds:g} s"
            raise NoAnswer("late", words) from None
        except (OSError, http.client.HTTPException) as error:
            if self._stopped:
                raise NoAnswer("stopped", "this process was told to stop before the answer came") from None
            words = f"it broke off without an answer ({error or type(error).__name__})"
            raise NoAnswer("broken", words) from None
        except ValueError as error:
            # Its words have the header in them, and that may be a key.
            words = "a header or its address has characters that may not stand there"
            raise NoAnswer(
                "unsendable", f"the request cannot be written as HTTP: {words} ({type(error).__name__})"
            ) from None
        finally:
            self._done(link, keep)

    def stop(self) -> None:
        """Cut off what is under way, and call no more."""
        with self._lock:
            self._stopped = True
            for link in self._busy:
                with contextlib.suppress(OSError):
                    link.line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.end()

    def _connect(self, deadline: float) -> "_Link":
        while True:
            with self._lock:
                if self._stopped:
                    raise NoAnswer("stopped", "this process was told to stop before the call was made")
                link = self._idle.pop() if self._idle else None
                if link is not None:
                    self._busy.add(link)
            if link is None:
                return self._open(deadline)
            if not select.select([link.line], [], [], 0)[0]:
                return link
            self._done(link, False)  # closed by the other side meanwhile

    def _open(self, deadline: float) -> "_Link":
        seconds = max(0.001, min(CONNECT_SECONDS, deadline - time.monotonic()))
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=seconds)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        )
        try:
            if self._guard is None:
                connection.connect()
            else:
                connection.sock = self._guarded(self._guard, connection, seconds)
        except OutboundRefused as refused:
            raise NoAnswer("refused", refused.detail) from None
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer("unreachable", f"it cannot be reached ({error})") from None
        link = _Link(connection)
        with self._lock:
            self._busy.add(link)
        return link

    def _guarded(self, guard: Guard, connection: http.client.HTTPConnection, seconds: float) -> socket.socket:
        """Connected to an address that was judged; the certificate is checked against the name."""
        plain = guard.connect(self._host, connection.port, seconds)
        # As http.client does when it connects itself: a body must not wait for the other side to acknowledge the head.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise

    def _done(self, link: "_Link", keep: bool) -> None:
        with self._lock:
            self._busy.discard(link)
            if keep and not self._stopped:
                self._idle.append(link)
                return
        link.end()


class _Link:
    """A connection of http.client and the line under it, which outlives what http.client thinks of it."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.line = _Line(connection.sock)
        connection.sock = self.line

    def end(self) -> None:
        self.connection.close()
        self.line.end()


class _Line:
    """A connected socket on which every wait ends at ``deadline``; what http.client needs of a socket, no more."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.deadline = 0.0

    def sendall(self, data: Any) -> None:
        self._arm()
        self._socket.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        self._arm()
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), 65536)

    def fileno(self) -> int:
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        """Nothing yet: http.client closes before the body of a last answer has been read."""

    def end(self) -> None:
        self._socket.close()

    def _arm(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class _Reader(io.RawIOBase):
    """Reads from a line; closing it leaves the line open for the next call."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.recv_into(buffer)
