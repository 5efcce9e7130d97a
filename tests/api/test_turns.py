"""Requests are begun in turns: each once, in order among its kind, a hold at once, and nobody waits for ever."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import turns
from api.batch import PATH as BATCH
from api.events import PATH
from api.turns import AT_ONCE, Turns, looks_urgent
from api.web import EVENTS
from tests.api.bare import serving

SENDERS = 300


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_each_is_begun_once_in_order_and_few_before_the_network_is_looked_at(
    sent: list[tuple[bool, bool]], full_for: int
) -> None:
    """``sent``: (is it an event, does the network get a look before the next comes); the queue is full at first."""
    began: dict[bool, list[int]] = {True: [], False: []}
    per_turn: list[int] = []

    async def run() -> None:
        loop, asked = asyncio.get_running_loop(), 0

        def full() -> bool:
            nonlocal asked
            asked += 1
            return asked <= full_for

        line = Turns(loop, full)

        def look() -> None:
            per_turn.append(0)

        def begin(event: bool, number: int) -> None:
            per_turn[-1] += 1
            began[event].append(number)

        look()
        for number, (event, pause) in enumerate(sent):
            line.take(lambda event=event, number=number: begin(event, number), event=event)  # type: ignore[misc]
            if pause:
                await asyncio.sleep(0)
                look()
        until = time.monotonic() + 10
        while sum(map(len, began.values())) < len(sent) and time.monotonic() < until:
            look()
            await asyncio.sleep(0)

    asyncio.run(run())
    for kind, numbers in began.items():
        assert numbers == [number for number, (event, _) in enumerate(sent) if event is kind]
    # A turn and what comes right behind it are begun between two looks.
    assert max(per_turn) <= 2 * AT_ONCE


def test_whoever_asks_without_end_keeps_no_event_out() -> None:
    began: list[int] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        line = Turns(loop, lambda: False)

        def ask() -> None:
            loop.call_soon(lambda: line.take(ask, event=False))

        for _ in range(10 * AT_ONCE):
            line.take(ask, event=False)
        for number in range(10):
            line.take(lambda number=number: began.append(number), event=True)  # type: ignore[misc]
        for _ in range(20):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert began == list(range(10))


def test_holds_are_known_by_their_looks_on_both_ways_in() -> None:
    assert looks_urgent(b'POST /v1/lots/L%2F1/hold HTTP/1.1\r\n\r\n{"hold": "H"}')
    assert looks_urgent(b'POST /v1/events HTTP/1.1\r\n\r\n{"type": "hold.applied.v1"}')
    assert looks_urgent(b"POST /v1/events HTTP/1.1\r\nce-type: hold.applied.v1\r\n")
    assert looks_urgent(b"POST /v1/recalls/R-1/execute HTTP/1.1\r\n")
    assert not looks_urgent(b'POST /v1/events HTTP/1.1\r\n\r\n{"type": "lot.received.v1", "item": "household"}')
    assert not looks_urgent(b"GET /v1/holds HTTP/1.1\r\n")
    assert PATH.encode().startswith(EVENTS)
    assert BATCH.encode().startswith(EVENTS)


class Gate:
    """A server whose queue of events is full until it is opened; it notes in which order it answers."""

    def __init__(self) -> None:
        self.port = 0
        self.full = True
        self.answered: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        self.answered.append(body.decode() or scope["path"])
        time.sleep(0.001)
        status = 503 if self.full and body == b"receipt" else 201
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    # Ten times as long as in life: what is sent meanwhile comes in time on a busy machine, too.
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.02)
    made = Gate()
    with serving(made, lambda: made.full) as made.port:
        yield made


def posted(path: str, body: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def status_of(connection: socket.socket) -> int:
    connection.settimeout(20)
    return int(connection.recv(65536)[9:12])


@pytest.fixture
def crowd(gate: Gate) -> Iterator[list[socket.socket]]:
    """Senders, connected."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", gate.port), timeout=10)) for _ in range(SENDERS)
        ]


def test_in_a_flood_a_hold_and_a_question_pass_and_every_event_is_answered(
    gate: Gate, crowd: list[socket.socket]
) -> None:
    *senders, holder, asker = crowd
    for sender in senders:
        sender.sendall(posted("/v1/events", "receipt"))
    while not gate.answered:
        time.sleep(0.001)
    holder.sendall(posted("/v1/events", "hold.applied.v1"))
    asker.sendall(b"GET /v1/events/question HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(holder) == 201
    assert status_of(asker) == 201
    behind = max(gate.answered.index("hold.applied.v1"), gate.answered.index("/v1/events/question"))
    assert behind < SENDERS / 2, "they did not wait for the whole crowd"
    assert {status_of(sender) for sender in senders[: SENDERS // 3]} == {503}, "who waits is told so in the end"
    gate.full = False
    assert 201 in {status_of(sender) for sender in senders[SENDERS // 3 :]}, "who still waited gets in"
    assert gate.answered.count("receipt") == len(senders)


def test_a_hold_whose_body_comes_behind_its_head_passes_too(gate: Gate, crowd: list[socket.socket]) -> None:
    *senders, holder = crowd
    for sender in senders:
        sender.sendall(posted("/v1/events", "receipt"))
    while not gate.answered:
        time.sleep(0.001)
    request = posted("/v1/events", "hold.applied.v1")
    holder.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    holder.sendall(request[: request.index(b"hold")])
    time.sleep(0.05)
    holder.sendall(request[request.index(b"hold") :])
    assert status_of(holder) == 201
    assert gate.answered.index("hold.applied.v1") < SENDERS / 2, "it did not wait for the whole crowd"
    assert gate.answered.count("hold.applied.v1") == 1
