"""More connections than there is room for: idle ones make room, and who is connected is served."""

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from api.web import OTHER_FILES, PatientProtocol, files_for
from tests.api.bare import serving

ROOM = 6
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Crowded:
    """A server with room for few, whose application answers when it is let."""

    def __init__(self) -> None:
        self.port = 0
        self.slow = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while scope["path"] == "/slow" and not self.slow.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


def answer(connection: socket.socket, asked: bytes = ASK) -> bytes:
    with contextlib.suppress(ConnectionError):
        connection.sendall(asked)
        return connection.recv(65536)
    return b""


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowded]:
    monkeypatch.setattr(PatientProtocol, "most", ROOM)
    made = Crowded()
    with serving(made) as made.port:
        yield made
        made.slow.set()


def test_the_connection_that_was_idle_for_longest_makes_room(crowded: Crowded) -> None:
    idle = [crowded.connect() for _ in range(ROOM)]
    for connection in idle:
        assert answer(connection).startswith(b"HTTP/1.1 200")
    assert answer(idle[0]).startswith(b"HTTP/1.1 200"), "now the second has been idle for longest"
    assert answer(crowded.connect()).startswith(b"HTTP/1.1 200")
    assert idle[1].recv(100) == b""
    assert [answer(one)[:12] for one in (idle[0], *idle[2:])] == [b"HTTP/1.1 200"] * (ROOM - 1)


def test_when_all_are_at_work_the_new_one_is_told_to_come_again_and_nobody_else_is_hurt(crowded: Crowded) -> None:
    busy = [crowded.connect() for _ in range(ROOM - 1)]
    for connection in busy:
        connection.sendall(ASK.replace(b"GET /", b"GET /slow"))
    kept = crowded.connect()
    assert answer(kept).startswith(b"HTTP/1.1 200")
    kept.sendall(ASK.replace(b"GET /", b"GET /slow"))
    for _ in range(3):
        refused = crowded.connect().recv(65536)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 2" in refused
        assert b'"/problems/overloaded"' in refused
    crowded.slow.set()
    assert [one.recv(100)[:12] for one in (*busy, kept)] == [b"HTTP/1.1 200"] * ROOM
    assert answer(crowded.connect()).startswith(b"HTTP/1.1 200"), "there is room again"


def test_there_are_never_more_connections_than_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert files_for(10) == 10
        resource.setrlimit(resource.RLIMIT_NOFILE, (OTHER_FILES + 50, before[1]))
        assert files_for(100) == 100, "the soft limit is raised"
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == OTHER_FILES + 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
