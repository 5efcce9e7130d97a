"""Broken HTTP on bare sockets against the running service: never a 500, never a hang, no memory kept, and it goes on.

Requests that are right are broken in one to three ways (request line, headers, lengths, chunks, bytes), put behind
each other, cut, and sent in pieces. ``LOTGATE_FUZZ_SECONDS`` and ``LOTGATE_FUZZ_SEED`` make it longer and different.
"""

import contextlib
import json
import os
import random
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.web import HEAD_SECONDS

SECONDS = int(os.environ.get("LOTGATE_FUZZ_SECONDS", "8"))
SEED = int(os.environ.get("LOTGATE_FUZZ_SEED", "74"))
#: Below this it has not really run.
FEWEST_CASES = 300
THREADS = 4
#: Whoever sends half a request and falls silent is cut off within two looks at it, and some for a busy machine.
HUNG_UP_WITHIN_SECONDS = 2 * HEAD_SECONDS + 15
#: What a process may grow by, after it has warmed up.
MOST_GROWTH_KIB = 60_000
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

METHODS = (b"", b"get", b"GET\0", b"G E T", b"PRI", b"CONNECT", b"TRACE", b"M-SEARCH", b"PATCH", b"X" * 9000, b"\xff\xfe", b"\r\n", b"PUT")  # fmt: skip
TARGETS = (
    b"*", b"", b"//", b"http://other/v1/lots", b"http://[::1", b"/v1/lots/%00", b"/v1/lots/%ff", b"/v1/lots/%", b"/v1/lots/%zz",
    b"/../../etc/passwd", b"/v1/lots/..%2f..%2fx", b"/" + b"a" * 70_000, b"/v1/lots?limit=%00", b"/v1/lots?" + b"&" * 5000,
    b"/v1/lots?cursor=%ff", b"/v1/lots\xff", b"/v1/lots/\xc3\xa9", b"/v1/feed?after=x", b"/v1/events/batch", b"/v1/lots/x/\0",
    b"/v1/lots/x/explain?trigger=%00", b"/console/lots/%00", b"/console/../v1", b"/v1/reference/fact/%00", b"/problems/%00",
    b"/v1/lots/%F0%9F%98%80/journal", b"/v1/shipments/%00/readiness", b"/v1/genealogy", b"/schema/openapi.json#x", b"/?",
)  # fmt: skip
VERSIONS = (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1 x", b"", b"http/1.1", b"HTTP/1.", b"\0")
HEADERS = (
    b"X: a\0b", b"X : y", b": y", b"X", b" folded: y", b"X: a\r\n b", b"X: \xff\xfe\xc3", b"Content-Length: -1",
    b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length: 5, 5", b"Content-Length: 1" + b"0" * 40, b"Content-Length: ",
    b"Content-Length: 3", b"Content-Length: 99999", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked\x0b", b"Transfer-Encoding:\tchunked, identity",
    b"Expect: 100-continue", b"Expect: miracles", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Host: a\r\nHost: b", b"Connection: close, keep-alive", b"Connection: \xff", b"X-Filler: " + b"x" * 40_000,
    b"\r\n".join(b"X-%d: y" % n for n in range(600)), b"Content-Type: \xff/\xff", b"Content-Type: application/json; charset=utf-16",
    b"Content-Type: " + b";" * 3000, b"ce-id: %zz", b"ce-\xff: a", b"ce-id: a\r\nce-id: b", b"ce-time: yesterday", b"ce-data: x",
    b"Idempotency-Key: \xff", b'Idempotency-Key: "', b"Idempotency-Key: " + b"k" * 300, b"If-Match: x", b'If-Match: "99999999999999999999"',
    b"If-Match: W/", b"If-None-Match: " + b"," * 5000, b"Prefer: \xff=;;", b"Prefer: return=minimal;;;,", b"traceparent: 00-zz",
    b"traceparent: " + b"\xf0" * 55, b"tracestate: \xff", b"Authorization: Bearer \xff\xff", b"Authorization: Bearer a.b.c", b"X-API-Key: \x01",
    b"Authorization: Basic !!!", b"Cookie: \xff=\xff; ;;=", b"Cookie: " + b"a=b;" * 3000, b"Range: bytes=9-1", b"Accept: \xff/*;q=x",
    b"Last-Event-ID: \xff", b"X-Request-Id: \x1b[31m", b"Forwarded: for=\xff", b"X-Forwarded-Proto: \xff", b"Origin: \xff", b"Content-Encoding: br",
)  # fmt: skip
CHUNKS = (
    b"zz\r\nabc\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab", b"3\r\nabcX\r\n", b"1;" + b"e" * 20_000 + b"\r\na\r\n0\r\n\r\n",
    b"0\r\nTrailer: x\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\n" + b"T: y\r\n" * 3000 + b"\r\n", b"\r\n", b"00000000000000000000001\r\na\r\n0\r\n\r\n",
)  # fmt: skip
BODIES = (
    b"", b"\0" * 100, b"\xff\xfe{", b"[" * 100_000, b'{"a":' * 50_000, b'"' + b"\\ud800" * 100, b"\xef\xbb\xbf{}", b"NaN", b"1e999999", b"\n" * 10_000,
    b'{"specversion":"1.0"}\n' * 200, b"{" * 200_000 + b"\n" + b"}" * 10, b"a=%ff&key=%00", b"x" * 2_000_000,
)  # fmt: skip


def seeds(key: str) -> list[tuple[bytes, bytes, list[bytes], bytes]]:
    """Requests that are right: method, target, headers, body."""
    event = {"specversion": "1.0", "id": "raw-1", "source": "raw", "type": "hold.applied.v1", "subject": "RAW", "data": {"hold": "H", "reason": {"code": "X"}}}  # fmt: skip
    text, who = json.dumps(event).encode(), f"Authorization: Bearer {key}".encode()
    binary = [b"ce-id: b", b"ce-source: raw", b"ce-type: hold.applied.v1", b"ce-specversion: 1.0", b"ce-subject: RAW"]
    return [
        (b"POST", b"/v1/events", [who, b"Content-Type: application/cloudevents+json"], text),
        (b"POST", b"/v1/events", [who, b"Content-Type: application/json", *binary], b'{"hold":"H","reason":{"code":"X"}}'),
        (b"POST", b"/v1/events/batch", [who, b"Content-Type: application/x-ndjson"], text + b"\n{}\n"),
        (b"POST", b"/v1/events/batch", [who, b"Content-Type: application/cloudevents-batch+json"], b"[" + text + b"]"),
        (b"POST", b"/v1/lots/RAW/hold", [who, b"Content-Type: application/json", b"Idempotency-Key: k"], b'{"hold":"H","reason":{"code":"X"}}'),
        (b"POST", b"/v1/epcis/capture", [who, b"Content-Type: application/ld+json"], b'{"@context":[],"type":"EPCISDocument"}'),
        (b"PUT", b"/v1/reference/fact/RAW", [who, b"Content-Type: application/json"], b'{"effective_from":"2026-01-01","content":{}}'),
        (b"POST", b"/v1/reference/fact/import", [who, b"Content-Type: application/x-ndjson"], b"{}\n{}\n"),
        (b"POST", b"/console/sign-in", [b"Content-Type: application/x-www-form-urlencoded"], b"key=lg_x&csrf=y"),
        (b"GET", b"/v1/lots?limit=5", [who], b""),
        (b"GET", b"/v1/changes?after=start&limit=3", [who], b""),
        (b"GET", b"/console/lots", [b"Cookie: lotgate=x"], b""),
        (b"HEAD", b"/healthz", [], b""),
        (b"OPTIONS", b"/v1/events", [who], b""),
    ]  # fmt: skip


class Breaker:
    """Makes cases from one stream of chance."""

    def __init__(self, key: str, chance: random.Random) -> None:
        self.seeds, self.chance = seeds(key), chance

    def request(self) -> bytes:
        chance = self.chance
        method, target, headers, body = chance.choice(self.seeds)
        version, chunked, length = b"HTTP/1.1", chance.random() < 0.3, True
        headers = [b"Host: x", *headers]
        for _ in range(chance.choice((1, 1, 2, 3))):
            what = chance.randrange(7)
            if what == 0:
                method = chance.choice(METHODS)
            elif what == 1:
                target = chance.choice(TARGETS)
            elif what == 2:
                version = chance.choice(VERSIONS)
            elif what == 3:
                headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
            elif what == 4:
                body = chance.choice(BODIES)
            elif what == 5:
                length = False
            else:
                body = self._noise(body)
        if body and chunked:
            headers.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n" % (len(body), body) + chance.choice((b"0\r\n\r\n", *CHUNKS))
        elif body and length:
            headers.append(b"Content-Length: %d" % (len(body) + chance.choice((0, 0, 0, 1, -1, 1000))))
        whole = b" ".join((method, target, version)) + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body
        return self._noise(whole) if chance.random() < 0.2 else whole

    def case(self) -> list[bytes]:
        """What is sent, in pieces."""
        chance = self.chance
        text = b"".join(self.request() for _ in range(chance.choice((1, 1, 1, 2, 5))))
        if chance.random() < 0.15:
            text = text[: chance.randrange(len(text) + 1)]
        if chance.random() < 0.6:
            return [text]
        cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(1, 8)))
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def _noise(self, text: bytes) -> bytes:
        chance, changed = self.chance, bytearray(text)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(changed) + 1)
            kind = chance.randrange(3)
            if kind == 0:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            elif kind == 1:
                del changed[at : at + chance.randrange(1, 30)]
            elif at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
        return bytes(changed)


def ask(port: int, pieces: list[bytes], silence: float) -> bytes:
    """Send the pieces; what came until the other side hung up or was silent for ``silence`` seconds."""
    got = b""
    with (
        contextlib.suppress(TimeoutError, ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        for piece in pieces:
            with contextlib.suppress(ConnectionError):  # refused early: the answer may be there all the same
                connection.sendall(piece)
                time.sleep(0.002 if len(pieces) > 1 else 0)
        connection.settimeout(silence)
        while piece := connection.recv(65536):
            got += piece
    return got


def vital(service: Any) -> tuple[int, int]:
    """(resident memory in KiB, open files) of the web process."""
    process = Path(f"/proc/{service.process.pid}")
    resident = int((process / "status").read_text().split("VmRSS:")[1].split()[0])
    return resident, len(list((process / "fd").iterdir()))


def fuzz(service: Any, seconds: float, seed: int) -> tuple[Counter[int], list[tuple[int, bytes]]]:
    """Cases for ``seconds``: how often each status came, and (status, request) of what must not come."""
    statuses: Counter[int] = Counter()
    bad: list[tuple[int, bytes]] = []
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        breaker = Breaker(service.key, random.Random(seed * 1000 + number))
        while time.monotonic() < until:
            pieces = breaker.case()
            found = [int(status) for status in _STATUS.findall(ask(service.port, pieces, 0.1))]
            statuses.update(found or [0])
            bad.extend((status, b"".join(pieces)[:3000]) for status in found if status >= 500)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
        assert not thread.is_alive(), "somebody hangs"
    return statuses, bad


def halves(key: str) -> list[bytes]:
    """Requests that stop in the middle, everywhere that a middle can be."""
    whole = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n" % key.encode()
    return [
        b"P", b"POST /v1/ev", b"POST /v1/events HTTP/1.1\r\n", b"POST /v1/events HTTP/1.1\r\nHo", whole, whole + b"X",
        whole + b"Content-Length: 50\r\n\r\n", whole + b"Content-Length: 50\r\n\r\n{", whole + b"Transfer-Encoding: chunked\r\n\r\n",
        whole + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", whole + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nTra",
        whole + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea", b"",
    ]  # fmt: skip


def test_whatever_comes_over_the_wire_the_service_answers_and_goes_on(own: Any, receipt: Callable[..., dict[str, Any]]) -> None:
    fuzz(own, 3, SEED + 1)  # warms up
    memory, files = vital(own)
    silent = []
    for half in halves(own.key):
        connection = socket.create_connection(("127.0.0.1", own.port), timeout=5)
        connection.sendall(half)
        silent.append((half, connection))
    began = time.monotonic()
    statuses, bad = fuzz(own, SECONDS, SEED)
    assert not bad, bad[:5]
    assert sum(statuses.values()) >= FEWEST_CASES, statuses
    # What comes by chance, longer runs have all of (LOTGATE_FUZZ_SECONDS).
    assert {200, 400, 401, 404, 405} <= set(statuses), statuses
    assert SECONDS < 20 or {413, 415, 422, 431} <= set(statuses), statuses
    for half, connection in silent:
        _hung_up(connection, began + HUNG_UP_WITHIN_SECONDS, half)
    assert own.submit(receipt()).status_code == 201, "it goes on"
    assert own.http.get("/readyz").status_code == 200
    grown, left = vital(own)
    assert grown - memory < MOST_GROWTH_KIB, f"{grown - memory} KiB more"
    assert left <= files + 5, f"{left - files} more open files"
    log = (own.home / "web.log").read_text(errors="replace")
    assert "Traceback" not in log, log[-4000:]
    assert "\x1b" not in log


def _hung_up(connection: socket.socket, deadline: float, half: bytes) -> None:
    got = b""
    with contextlib.suppress(ConnectionError):
        while True:
            ready = select.select([connection], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"still open: {half!r} (got {got[:200]!r})"
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
    connection.close()
    assert not re.search(rb"HTTP/1\.1 5", got), got[:300]
