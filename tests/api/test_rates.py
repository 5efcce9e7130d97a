"""Rates and a full queue: the careless are slowed down, a hold gets in, and nothing acknowledged is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.problems import Refused
from api.rates import Rates
from tests.engine.test_epcis import of, received

Make = Callable[..., dict[str, Any]]
ROOM = 20
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Time()
    rates = Rates(2.0, 5, clock)
    assert [rates.take("a") for _ in range(5)] == [0.0] * 5
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("b") == 0.0, "another's bucket is another's"
    clock.now += 0.5
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0
    clock.now += 60
    assert [rates.take("a") for _ in range(6)].count(0.0) == 5


def test_what_is_told_of_a_bucket_is_true() -> None:
    clock = Time()
    rates = Rates(2.0, 5, clock)
    assert dict(rates.headers("a")) == {b"ratelimit-policy": b'"default";q=5;w=3', b"ratelimit": b'"default";r=5;t=0'}
    rates.take("a")
    rates.take("a")
    assert dict(rates.headers("a"))[b"ratelimit"] == b'"default";r=3;t=1'
    for _ in range(3):
        rates.take("a")
    assert dict(rates.headers("a"))[b"ratelimit"] == b'"default";r=0;t=3'
    with pytest.raises(Refused) as refused:
        rates.charge("a")
    assert refused.value.headers == {"retry-after": "1"}
    assert "2 requests and events a second, and 5 at once" in refused.value.detail


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.1, 50), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_pauses_gets_more_than_the_rate_allows(pauses: list[float], rate: float, burst: int) -> None:
    clock = Time()
    rates, taken = Rates(rate, burst, clock), 0
    for pause in pauses:
        clock.now += pause
        left = int(dict(rates.headers("a"))[b"ratelimit"].split(b"r=")[1].split(b";")[0])
        got = rates.take("a") == 0.0
        taken += got
        assert got == (left > 0)
    assert taken <= burst + rate * (clock.now - 1000.0) + 1e-6


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A service whose principals may ask five times at once, and then once in a thousand seconds."""
    monkeypatch.setenv("LOTGATE_RATE_PER_S", "0.001")
    monkeypatch.setenv("LOTGATE_RATE_BURST", "5")
    return request.getfixturevalue("own")


def test_who_asks_too_fast_gets_429_and_a_hold_gets_in(slow: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    first = slow.submit(event)
    assert first.status_code == 201
    assert first.headers["ratelimit-policy"] == '"default";q=5;w=5000'
    assert first.headers["ratelimit"].startswith('"default";r=4;t=')
    assert [slow.http.get("/v1/lots").status_code for _ in range(5)] == [200] * 4 + [429]
    refused = slow.submit(event)
    assert refused.status_code == 429
    assert refused.json()["type"] == "/problems/rate-limited"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')
    path = f"/v1/lots/{event['subject']}/release"
    assert slow.http.post(path, json={}, headers={"Idempotency-Key": "1"}).status_code == 429
    # What keeps bad goods from moving costs nothing, in any form.
    lot = event["subject"]
    assert slow.submit(hold(lot)).status_code == 201
    by_command = slow.http.post(
        f"/v1/lots/{lot}/hold", json=hold(lot, "H-2")["data"], headers={"Idempotency-Key": "2"}
    )
    assert by_command.status_code == 201
    batch = slow.http.post("/v1/events/batch", json=[hold(lot, "H-3")], headers=BATCH)
    assert batch.json()[0]["status"] == 201
    listed = {"bizStep": "holding", "quantityList": [{"epcClass": f"urn:lotgate:lot:{lot}"}]}
    as_epcis = {"Content-Type": "application/json"}
    captured = slow.http.post("/v1/epcis/capture", content=of(received(**listed)), headers=as_epcis, timeout=5)
    assert captured.json()["events"][0]["results"][0]["status"] == 201
    assert slow.http.get("/healthz").status_code == 200


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A service with room for few waiting events."""
    monkeypatch.setenv("LOTGATE_MAX_WAITING", str(ROOM))
    return request.getfixturevalue("own")


def committer_of(service: Any) -> int:
    for child in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split():
        if b"engine.committer_process" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("there is no committer process")


def waiting(service: Any) -> int:
    return int(service.http.get("/readyz").json()["checks"]["queue"]["detail"].split()[0])


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hold_is_taken_when_nothing_else_is(narrow: Any, receipt: Make, hold: Make) -> None:
    held = receipt("held")
    assert narrow.submit(held).status_code == 201
    committer = committer_of(narrow)
    os.kill(committer, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(ROOM + 1) as senders:
            bulk = [senders.submit(narrow.submit, receipt(str(n))) for n in range(ROOM)]
            until(lambda: waiting(narrow) == ROOM)
            refused = narrow.submit(receipt("more"))
            assert refused.status_code == 503
            assert refused.headers["retry-after"].isdigit()
            urgent = senders.submit(narrow.submit, hold(held["subject"]))
            until(lambda: waiting(narrow) == ROOM + 1)
            os.kill(committer, signal.SIGCONT)
            assert urgent.result(60).status_code == 201
            assert {answer.result(60).status_code for answer in bulk} == {201}
    finally:
        os.kill(committer, signal.SIGCONT)
    assert narrow.submit(receipt("more")).status_code == 201


def test_under_overload_holds_get_in_and_nothing_acknowledged_is_lost(
    narrow: Any, receipt: Make, hold: Make
) -> None:
    """Twice as many senders as there is room for, without a pause; a hold each moment from somebody else."""
    lots = [receipt(f"held-{n}") for n in range(40)]
    for lot in lots:
        assert narrow.submit(lot).status_code == 201
    over, acknowledged, refused = threading.Event(), set[str](), [0]

    def flood(sender: int) -> None:
        with narrow.client(narrow.key) as http:
            number = 0
            while not over.is_set():
                event = receipt(f"{sender}-{number}")
                answer = http.post("/v1/events", json=event)
                if answer.status_code == 503:
                    refused[0] += 1
                    continue
                assert answer.status_code in (200, 201), answer.text
                acknowledged.add(event["subject"])
                number += 1

    with ThreadPoolExecutor(2 * ROOM) as senders:
        running = [senders.submit(flood, n) for n in range(2 * ROOM)]
        try:
            until(lambda: refused[0] > 0)
            statuses = [narrow.submit(hold(lot["subject"])).status_code for lot in lots]
        finally:
            over.set()
        for done in running:
            done.result(60)
    assert statuses == [201] * len(lots)
    known, cursor = set[str](), ""
    while cursor is not None:
        page = narrow.http.get("/v1/lots", params={"limit": 500} | ({"cursor": cursor} if cursor else {})).json()
        known |= {row["id"] for row in page["data"]}
        cursor = page["next"]
    assert acknowledged <= known
    assert waiting(narrow) == 0
