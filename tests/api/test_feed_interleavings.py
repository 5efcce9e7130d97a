"""The feed under any interleaving: every change once, in one order, however readers come, go and change their process.

Hypothesis writes the script: who writes how much to which process, and how a reader reads meanwhile: by stream, cut off
at any byte, or by long poll, at whichever process. What it has seen in the end is what the journal holds, in its order.
"""

import contextlib
import itertools
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.feed import Feed, place_of
from engine.store.opening import open_store
from tests.api.conftest import Service

_lots = itertools.count(1)


class Plant:
    """Web processes on one database, people who write, and the journal itself."""

    def __init__(self, services: list[Service], url: str) -> None:
        self.services = services
        # Each process of a second home has a key of its own; the first one's opens all of them.
        self.key = services[0].key
        self.store = open_store(url, services[0].home)
        self.feed = Feed(self.store)
        self.pool = ThreadPoolExecutor(4)

    def receive(self, process: int, count: int, plant: str) -> int:
        """Write ``count`` lots, two changes each; gives how many were acknowledged."""
        lots = [f"FI-{next(_lots)}" for _ in range(count)]
        lines = "\n".join(json.dumps(_receipt(lot, plant if n % 3 else "ELSEWHERE")) for n, lot in enumerate(lots))
        service = self.services[process % len(self.services)]
        answer = service.http.post(
            "/v1/events/batch", content=lines,
            headers={"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return sum(json.loads(line)["status"] == 201 for line in answer.text.splitlines())

    def truth(self, after: str, plant: str | None) -> list[str]:
        """Ids of all changes after ``after``, as the journal has them."""
        place, ids = place_of(after), []
        assert place is not None
        while rows := self.feed.after(place, 500):
            place = rows[-1][0]
            ids += [change.id for _, change in rows if plant in (None, change.plant)]
        return ids

    def close(self) -> None:
        self.pool.shutdown()
        self.store.close()


def _receipt(lot: str, plant: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": lot, "source": "feed/inter", "type": "lot.received.v1", "subject": lot,
        "data": {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
                 "receipt": lot, "plant": plant},
    }  # fmt: skip


class Reader:
    """Reads as it is told; all that it keeps is the id of the last whole event, as a browser does."""

    def __init__(self, plant: Plant, only: str | None) -> None:
        self.plant, self.only = plant, only
        first = self._get(0, "/v1/changes")
        self.began = self.last = first["next"]
        self.seen: list[str] = []

    def _query(self, **more: str) -> str:
        return urlencode(more | ({} if self.only is None else {"plant": self.only}))

    def _get(self, process: int, path: str) -> dict[str, Any]:
        service = self.plant.services[process % len(self.plant.services)]
        answer = service.http.get(path, headers={"Authorization": f"Bearer {self.plant.key}"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def poll(self, process: int, limit: int) -> int:
        """One long poll; gives how many changes came."""
        page = self._get(process, "/v1/changes?" + self._query(after=self.last, limit=str(limit)))
        assert len(page["data"]) <= limit
        self.seen += [change["id"] for change in page["data"]]
        self.last = page["next"]
        return len(page["data"])

    def stream(self, process: int, most_bytes: int, seconds: float = 1.0) -> None:
        """Read a stream and hang up after ``most_bytes``, wherever that is, or when nothing comes for ``seconds``."""
        service = self.plant.services[process % len(self.plant.services)]
        head = (
            f"GET /v1/feed?{self._query(heartbeat='1')} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self.plant.key}\r\nLast-Event-ID: {self.last}\r\n\r\n"
        )
        got = b""
        with (
            contextlib.suppress(TimeoutError, ConnectionError),
            socket.create_connection(("127.0.0.1", service.port), timeout=seconds) as connection,
        ):
            connection.sendall(head.encode())
            while len(got) < most_bytes:
                piece = connection.recv(min(4096, most_bytes - len(got)))
                if not piece:
                    break
                got += piece
        head_end = got.find(b"\r\n\r\n")
        if head_end >= 0:
            assert got.startswith(b"HTTP/1.1 200"), got[:400]
            self._take(_unchunked(got[head_end + 4 :]).decode("utf-8", "ignore"))

    def _take(self, text: str) -> None:
        for block in text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line and line[0] != ":")
            if fields.get("event") == "change":
                assert json.loads(fields["data"])["id"] == fields["id"]
                self.seen.append(fields["id"])
            self.last = fields.get("id", self.last)


def _unchunked(text: bytes) -> bytes:
    """The body as far as it came: cut off anywhere."""
    body = b""
    while b"\r\n" in text:
        size, _, text = text.partition(b"\r\n")
        length = int(size, 16)
        body, text = body + text[:length], text[length + 2 :]
    return body


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def plant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One process on SQLite, two on PostgreSQL."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("new_postgres")()
    services = [
        Service(tmp_path_factory.mktemp(f"feed-{n}"), **({"database_url": url} if url else {}))
        for n in range(2 if url else 1)
    ]
    services[0].start()
    for other in services[1:]:
        (other.home / "admin.key").write_text(services[0].key)
        other.start()
    running = Plant(services, url)
    yield running
    running.close()
    for service in services:
        service.stop()


PROCESS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PROCESS, st.integers(1, 12)),
        st.tuples(st.just("stream"), PROCESS, st.integers(0, 9_000)),
        st.tuples(st.just("poll"), PROCESS, st.integers(1, 5)),
    ),
    min_size=4,
    max_size=14,
)


@settings(
    max_examples=12,
    deadline=None,
    # Not made smaller: where something is missing, each try waits for it.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, filtered=st.booleans())
def test_any_interleaving_gives_every_change_once_and_in_order(
    plant: Plant, steps: list[tuple[str, int, int]], filtered: bool
) -> None:
    reader = Reader(plant, "P-FEED" if filtered else None)
    writing: list[Future[int]] = []
    for what, process, amount in steps:
        if what == "write":
            writing.append(plant.pool.submit(plant.receive, process, amount, "P-FEED"))
        elif what == "stream":
            reader.stream(process, amount, seconds=0.3)
        else:
            reader.poll(process, amount)
    assert all(future.result(30) >= 0 for future in writing)
    expected = plant.truth(reader.began, reader.only)
    _until(lambda: (reader.poll(len(steps), 500), len(reader.seen) >= len(expected))[1])
    assert reader.seen == expected


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "the feed did not give everything within 30 s"
        time.sleep(0.05)


def test_readers_of_processes_that_are_killed_miss_nothing_and_get_nothing_twice(
    new_postgres: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    url, seed = new_postgres(), int(time.time())
    chance = random.Random(seed)
    services = [Service(tmp_path_factory.mktemp(f"killed-{n}"), database_url=url) for n in range(2)]
    services[0].start()
    (services[1].home / "admin.key").write_text(services[0].key)
    services[1].start()
    plant = Plant(services, url)
    readers = [Reader(plant, only) for only in (None, None, "P-FEED")]
    over = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        while not over.is_set():
            with contextlib.suppress(Exception):  # the process is down: its answer is not needed, the journal tells
                plant.receive(chance.randrange(2), 5, "P-FEED")
            time.sleep(0.02)

    def read(reader: Reader) -> None:
        while not over.is_set():
            try:
                reader.stream(chance.randrange(2), chance.randrange(200, 60_000), seconds=0.5)
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=write)] + [threading.Thread(target=read, args=(one,)) for one in readers]
    for thread in threads:
        thread.start()
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        time.sleep(1)
        victim = chance.choice(services)
        victim.stop(how)
        victim.start()
    over.set()
    for thread in threads:
        thread.join(30)
    assert not failures, f"seed {seed}: {failures}"
    for reader in readers:
        expected = plant.truth(reader.began, reader.only)
        assert len(expected) > 50, "too little was written to show anything"
        _until(lambda reader=reader, expected=expected: (reader.poll(0, 500), len(reader.seen) >= len(expected))[1])  # type: ignore[misc]
        assert reader.seen == expected, f"seed {seed}"
    plant.close()
    for service in services:
        service.stop()
