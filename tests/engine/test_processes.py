"""Processes say that they are alive, and are gone when they end; one that was killed is not seen any more."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from engine.processes import UNSEEN_SECONDS, Processes, memory_bytes
from engine.store.opening import Store
from engine.store.schema.access import processes
from tests.databases import new_store


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = new_store(tmp_path)
    yield opened
    opened.close()


def until(what: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_seen_while_it_lives_and_gone_when_it_ends(store: Store) -> None:
    seen = Processes(store, lambda: datetime.now(UTC))
    with seen.alive("clock"), seen.alive("web"):
        until(lambda: len(seen.all()) == 2)
        assert [one.role for one in seen.all()] == ["clock", "web"]
        assert all(seen.is_seen(one) and one.pid > 0 and one.memory_bytes > 1_000_000 for one in seen.all())
    assert seen.all() == []


def test_one_that_was_killed_is_not_seen_and_forgotten_in_the_end(store: Store) -> None:
    now = [datetime(2026, 11, 27, 3, tzinfo=UTC)]
    seen = Processes(store, lambda: now[0])
    killed = seen.alive("worker")
    killed.__enter__()
    until(lambda: len(seen.all()) == 1)
    [one] = seen.all()
    assert seen.is_seen(one)
    now[0] += timedelta(seconds=UNSEEN_SECONDS + 1)
    assert not seen.is_seen(one)
    with store.engine.begin() as connection:  # as it would be after a day without a word
        connection.execute(update(processes).values(seen_at="2026-11-25T00:00:00.000000Z"))
    with seen.alive("web"):
        until(lambda: {one.role for one in seen.all()} == {"web"})


def test_a_database_that_is_away_ends_no_process(store: Store) -> None:
    seen = Processes(store, lambda: datetime.now(UTC))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE processes")
    with seen.alive("web"):
        time.sleep(0.1)
    assert memory_bytes() > 0
