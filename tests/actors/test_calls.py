"""HTTP calls: they end in time, whatever the other side does, and tell what happened."""

import socket
import ssl
import threading
import time
from typing import Any

import pytest

from actors.connectors.client import MAX_ANSWER_BYTES, Client, NoAnswer


def drip(connection: socket.socket) -> None:
    """A target that never stops answering, one byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def drip_the_head(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def hang(connection: socket.socket) -> None:
    connection.recv(1)


def chunked(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab")
    connection.sendall(b"cd\r\n0\r\n\r\n")


def until_closed(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")


def half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def half_a_chunk(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")


def nonsense(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1))
    connection.sendall(b"x" * (MAX_ANSWER_BYTES + 1))


def nothing(connection: socket.socket) -> None:
    """Close without a word."""


@pytest.mark.parametrize("behaviour", [drip, drip_the_head, hang])
def test_a_call_ends_in_time_even_if_bytes_keep_coming(talker: Any, behaviour: Any) -> None:
    talker.do(behaviour)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        Client(talker.url, 0.4).call("POST", "/x", {}, b"{}")
    assert time.monotonic() - began < 0.8
    assert caught.value.failure == "late"
    assert caught.value.detail == "it did not answer within 0.4 s"


@pytest.mark.parametrize("behaviour", [half, half_a_chunk, nonsense, flood, nothing])
def test_half_an_answer_is_none(talker: Any, behaviour: Any) -> None:
    talker.do(behaviour)
    with pytest.raises(NoAnswer) as caught:
        Client(talker.url, 2.0).call("GET", "/x", {}, None)
    assert caught.value.failure == "broken"


@pytest.mark.parametrize(("behaviour", "body"), [(chunked, b"abcd"), (until_closed, b"{}")])
def test_every_framing_of_http_is_read(talker: Any, behaviour: Any, body: bytes) -> None:
    talker.do(behaviour)
    assert Client(talker.url, 2.0).call("GET", "/x", {}, None).body == body


def test_a_connection_is_kept_and_replaced_when_the_other_side_closed_it(talker: Any) -> None:
    client = Client(talker.url + "/base", 2.0)
    talker.say(200, {"n": 1})
    talker.say(200, {"n": 2})
    talker.do(until_closed)
    talker.say(200, {"n": 3})
    assert [client.call("GET", "/x", {}, None).body for _ in range(4)] == [b'{"n": 1}', b'{"n": 2}', b"{}", b'{"n": 3}']
    assert {line for line, _, _ in talker.heard} == {"GET /base/x"}
    talker.say(200)
    client.call("GET", "/x", {}, None)
    assert len(client._idle) == 1
    client._idle[0].line.shutdown(socket.SHUT_RD)  # as after a time-out of the other side
    talker.say(200)
    assert client.call("GET", "/x", {}, None).status == 200
    client.close()


def test_what_is_under_way_can_be_cut_off(talker: Any) -> None:
    talker.do(hang)
    client = Client(talker.url, 30.0)
    failures: list[str] = []

    def call() -> None:
        try:
            client.call("GET", "/x", {}, None)
        except NoAnswer as none:
            failures.append(none.failure)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.2)
    client.stop()
    thread.join(1)
    assert failures == ["stopped"]
    with pytest.raises(NoAnswer, match="told to stop before the call was made"):
        client.call("GET", "/x", {}, None)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(NoAnswer, match="it cannot be reached") as caught:
        Client(f"http://127.0.0.1:{port}", 2.0).call("GET", "/x", {}, None)
    assert caught.value.failure == "unreachable"


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(talker: Any) -> None:
    """The talker speaks no TLS at all, which is the same to the caller: no call is made."""
    talker.do(nonsense)
    with pytest.raises(NoAnswer) as caught:
        Client(talker.url.replace("http:", "https:"), 2.0).call("GET", "/x", {}, None)
    assert caught.value.failure in ("unreachable", "broken")
    assert Client("https://x", 1.0)._tls.verify_mode is ssl.CERT_REQUIRED  # type: ignore[union-attr]


def test_a_header_that_cannot_be_written_is_our_fault_and_not_the_targets(talker: Any) -> None:
    with pytest.raises(NoAnswer) as caught:
        Client(talker.url, 2.0).call("GET", "/x", {"X-Lot": "a\r\nb: c"}, None)
    assert caught.value.failure == "unsendable"
    assert talker.heard == []
