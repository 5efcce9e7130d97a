"""Sizes and times: nobody can make the service hold or wait for more than it says."""

import json
import re
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Make = Callable[..., dict[str, Any]]


def head(service: Any, *more: str, path: str = "/v1/events") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/cloudevents+json",
        f"Authorization: Bearer {service.key}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer_on(connection: socket.socket) -> bytes:
    """One whole answer: its head, and as much body as the head announces; less when the other side hung up."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        got = connection.recv(65536)
        if not got:
            return answer
        answer += got
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer)
    whole = answer.index(b"\r\n\r\n") + 4 + (0 if found is None else int(found[1]))
    while len(answer) < whole and (got := connection.recv(65536)):
        answer += got
    return answer


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413(service: Any, receipt: Make) -> None:
    text = json.dumps(receipt()).encode()
    padded = text + b" " * (1024 * 1024 - len(text))
    assert service.submit(padded).status_code == 201
    answer = service.submit(padded + b" ")
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/body-too-large"


def test_an_announced_length_is_refused_before_the_body_comes(service: Any) -> None:
    answer = service.raw(head(service, "Content-Length: 10000000"))
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_chunked_body_is_refused_before_it_ends(service: Any) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = service.raw(head(service, "Transfer-Encoding: chunked"), chunk * 17)
    assert answer.startswith(b"HTTP/1.1 413")


def test_ten_megabytes_are_413_and_leave_no_memory_behind(service: Any) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    service.submit(b"x" * 10_000_000)
    before = resident_kib()
    for _ in range(5):
        assert service.submit(b"x" * 10_000_000).status_code == 413
    assert resident_kib() - before < 20_000


def test_headers_over_the_limit_are_431_and_much_larger_ones_are_cut_off(service: Any) -> None:
    assert service.raw(head(service, "X-Filler: " + "x" * 40_000)).startswith(b"HTTP/1.1 431")
    assert service.raw(head(service, *(f"X-{n}: y" for n in range(5000)))).startswith(b"HTTP/1.1 431")
    try:
        answer = service.raw(b"GET / HTTP/1.1\r\nX-Filler: ", *[b"x" * 1_000_000] * 5)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    assert answer == b"" or b" 4" in answer[:15]


def test_content_length_with_chunked_is_refused(service: Any) -> None:
    answer = service.raw(head(service, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_bodies_that_stand_still_are_given_up_and_hold_up_nobody(service: Any, receipt: Make) -> None:
    stalled = []
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
        connection.sendall(head(service, "Content-Length: 500") + b'{"specversion"')
        stalled.append(connection)
    assert service.submit(receipt()).status_code == 201
    # The youngest of them has not been given up yet: nobody waited for it.
    assert not select.select([stalled[-1]], [], [], 0)[0]
    first = answer_on(stalled[0])
    assert first.startswith(b"HTTP/1.1 408")
    assert b"/problems/body-timeout" in first
    for connection in stalled:
        connection.close()


def test_a_head_that_never_ends_is_cut_off(service: Any) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=90) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - started > 5
