"""Work asked for in the console: any web process shows it, and one that dies takes only its own work with it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import Struct
from sqlalchemy import text

from api.console.jobs import Jobs, Shown
from engine import jobs as kept
from engine.errors import Overloaded
from engine.processes import UNSEEN_SECONDS, Processes
from engine.store.opening import Store
from tests.api.conftest import Service
from tests.databases import new_store


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("new_postgres")())
    opened = new_store(tmp_path, url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Found(Struct):
    """What a piece of work found."""

    words: str


def jobs(store: Store, clock: Clock, process: str) -> Jobs:
    return Jobs(kept.Jobs(store, clock, process))


def alive(store: Store, clock: Clock, process: str) -> None:
    Processes(store, clock)._beat({"id": process, "role": "web", "host": "h", "pid": 1, "release": "1", "began_at": "x"})


def of(of_: Jobs, kind: str, about: str = "") -> Shown:
    found = of_.of(kind, about, found=Found)
    assert found is not None
    return found


def test_another_process_shows_how_far_it_is_and_what_came_of_it(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.console.jobs._TOLD_SECONDS", 0.0)
    one, other = jobs(store, clock, "one"), jobs(store, clock, "other")
    alive(store, clock, "one")
    go, seen = threading.Event(), threading.Event()

    def work(progress: Any) -> Found:
        progress(3)
        seen.set()
        assert go.wait(10)
        return Found("done")

    thread = one.start("verify", "", "anna", 10, work)
    assert seen.wait(10)
    there = of(other, "verify")
    assert (there.running, there.by, there.done, there.total) == (True, "anna", 3, 10)
    with pytest.raises(Overloaded, match="under way"):
        other.start("verify", "other", "bela", 1, work)
    go.set()
    thread.join(10)
    assert (of(other, "verify").result, of(other, "verify").problem) == (Found("done"), "")

    def broken(progress: Any) -> None:
        raise KeyError("secret")

    one.start("verify", "", "anna", 1, broken).join(10)
    assert of(other, "verify").result is None
    assert "KeyError" in of(other, "verify").problem
    assert "secret" not in of(other, "verify").problem


def test_one_whose_process_died_has_ended_and_another_may_begin(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.console.jobs._TOLD_SECONDS", 0.0)
    one, other = jobs(store, clock, "one"), jobs(store, clock, "other")
    alive(store, clock, "one")
    go = threading.Event()
    stopped: list[str] = []

    def work(progress: Any) -> Found:
        assert go.wait(10)
        progress(5)
        stopped.append("never")
        return Found("late")

    thread = one.start("verify", "", "anna", 10, work)
    clock.now += timedelta(seconds=UNSEEN_SECONDS - 1)
    assert of(other, "verify").running
    clock.now += timedelta(seconds=2)
    assert of(one, "verify").running, "who does it knows that it is alive"
    ended = of(other, "verify")
    assert (ended.running, ended.result) == (False, None)
    assert "ended before it was done" in ended.problem
    other.start("verify", "", "bela", 1, lambda progress: Found("new")).join(10)
    go.set()
    thread.join(10)
    assert stopped == [], "one that was given up while it lived stops"
    assert of(one, "verify").result == Found("new")


def test_they_are_bounded_in_number_age_and_size(store: Store, clock: Clock) -> None:
    mine = jobs(store, clock, "one")
    mine.start("verify", "", "anna", 1, lambda progress: Found("x" * kept.MAX_RESULT_BYTES)).join(10)
    assert "more than is kept here" in of(mine, "verify").problem
    for number in range(kept.KEPT + 2):
        mine.start("backtest", str(number), "x", 1, lambda progress: Found("")).join(10)
    assert mine.of("backtest", "0", found=Found) is None
    assert mine.of("backtest", str(kept.KEPT), found=Found) is not None
    clock.now += timedelta(days=kept.KEPT_DAYS + 1)
    mine.start("verify", "", "x", 1, lambda progress: Found("")).join(10)
    with store.reads.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 1


def test_a_result_that_another_release_wrote_is_said_to_be_one(store: Store, clock: Clock) -> None:
    mine = jobs(store, clock, "one")
    mine.start("verify", "", "anna", 1, lambda progress: 7).join(10)
    assert "Another release" in of(mine, "verify").problem


# -- two real web processes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, new_postgres: Callable[[], str]
) -> Iterator[tuple[Service, Service, str]]:
    """Two web processes on one PostgreSQL, as behind a balancer."""
    url, made, tmp_path = new_postgres(), list[Service](), tmp_path_factory.mktemp("two")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shared = {"webhook_key": "x" * 32, "database_url": url, "channel": "reference"}
        if made:
            (tmp_path / name / "admin.key").write_text(made[0].key)
        made.append(Service(tmp_path / name, **shared))
        made[-1].start()
    yield made[0], made[1], url
    for service in made:
        if service.process.poll() is None:
            service.stop()


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_checkpoint_that_takes_long_is_promised_and_comes(
    two: tuple[Service, Service, str], receipt: Callable[..., dict[str, Any]]
) -> None:
    one, other, url = two
    assert one.submit(receipt()).status_code == 201
    with psycopg.connect(url) as database:
        database.execute("LOCK TABLE checkpoint_blocks IN ACCESS EXCLUSIVE MODE")
        promised = one.http.post("/v1/checkpoints")
        assert (promised.status_code, promised.headers["retry-after"]) == (202, "5")
        assert other.http.get("/v1/checkpoints").json()["data"] == []
        database.rollback()
    until(lambda: [c["number"] for c in other.http.get("/v1/checkpoints").json()["data"]] == [1])


def test_a_killed_web_process_takes_its_work_with_it_and_the_other_says_so(
    two: tuple[Service, Service, str], receipt: Callable[..., dict[str, Any]]
) -> None:
    one, other, url = two
    assert one.submit(receipt()).status_code == 201
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def page(service: Service) -> str:
        return service.http.get("/console/audit").text

    assert one.http.post("/console/audit/verify", content="token=t1", headers=form).status_code in (200, 303)
    until(lambda: ">whole<" in page(other))
    with psycopg.connect(url) as database:
        # Whoever verifies reads the rule sets, and waits here until the end.
        database.execute("LOCK TABLE rule_sets IN ACCESS EXCLUSIVE MODE")
        assert one.http.post("/console/audit/verify", content="token=t2", headers=form).status_code in (200, 303)
        until(lambda: "data-busy" in page(other))
        refused = other.http.post("/console/audit/verify", content="token=t3", headers=form)
        assert refused.status_code == 503
        os.kill(one.process.pid, signal.SIGKILL)
        one.process.wait(10)
        assert "data-busy" in page(other), "nobody knows yet"
        with psycopg.connect(url) as later:  # as it is after half a minute without a word
            later.execute("UPDATE processes SET seen_at = '2026-01-01T00:00:00.000000Z' WHERE pid = %s", (one.process.pid,))
        until(lambda: "ended before it was done" in page(other))
        database.rollback()
    assert other.http.post("/console/audit/verify", content="token=t4", headers=form).status_code in (200, 303)
    until(lambda: ">whole<" in page(other))
