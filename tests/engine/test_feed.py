"""The change feed against both databases: no gaps, no repeats, whoever writes at the same time."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.feed import START, Feed, Interest, id_of, place_of
from engine.store.feed import settle_order
from engine.store.opening import Store
from tests.databases import new_store

_ROW = text(
    'INSERT INTO journal (lot, version, kind, "trigger", type, source, event_id, recorded_at, principal, state_before,'
    " state_after, rule_set, data, evidence, prev_hash, hash) VALUES (:lot, :version, 'event', 'receive',"
    " 'lot.received.v1', 's', :id, '2026-11-23', 'p', 'absent', 'received', 'r', '{}', '{}', '', :id)"
)


def entry(connection: Any, lot: str, version: int) -> None:
    connection.execute(_ROW, {"lot": lot, "version": version, "id": f"{lot}-{version}"})


def read_all(feed: Feed, after: tuple[int, int] = START, piece: int = 3) -> list[tuple[str, int]]:
    seen = []
    while rows := feed.after(after, piece):
        after = rows[-1][0]
        seen += [(change.lot, change.version) for _, change in rows]
    return seen


def test_a_change_says_what_the_journal_says(plant: Any, store: Store) -> None:
    plant.receive("L1")
    feed = Feed(store)
    changes = [change for _, change in feed.after(START, 10)]
    assert [(c.lot, c.version, c.kind, c.type, c.state_after) for c in changes] == [
        ("L1", 1, "event", "lot.received.v1", "received"),
        ("L1", 2, "consequence", "lot.quarantined.v1", "quarantined"),
    ]
    assert changes[0].item == "RING-74"
    assert b'"RING-74"' in bytes(changes[0].data)
    assert place_of(changes[-1].id) == feed.newest()


def test_whoever_goes_on_after_any_change_gets_the_rest(plant: Any, store: Store) -> None:
    for number in range(4):
        plant.receive(f"L{number}")
    feed = Feed(store)
    whole = feed.after(START, 100)
    for index, (place, _) in enumerate(whole):
        assert feed.after(place, 100) == whole[index + 1 :]
        assert place_of(id_of(place)) == place


def test_what_is_committed_late_is_shown_before_what_comes_after_it(
    new_postgres: Callable[[], str], tmp_path: Path
) -> None:
    """On PostgreSQL; SQLite has one writer, and nothing can be committed late."""
    store = new_store(tmp_path, new_postgres())
    feed = Feed(store)
    slow, quick = store.engine.connect(), store.engine.connect()
    entry(slow, "SLOW", 1)
    entry(quick, "QUICK", 1)
    quick.commit()
    early = feed.after(START, 10)
    slow.commit()
    late = feed.after(early[-1][0] if early else START, 10)
    slow.close()
    quick.close()
    store.close()
    assert early == []  # not shown while something may yet come before it
    assert [change.lot for _, change in late] == ["SLOW", "QUICK"]


def test_transactions_that_fail_leave_no_hole_that_anybody_waits_for(store: Store) -> None:
    with store.engine.connect() as connection:
        entry(connection, "NEVER", 1)
        connection.rollback()
    with store.engine.begin() as connection:
        entry(connection, "L1", 1)
    assert read_all(Feed(store)) == [("L1", 1)]


def test_readers_miss_nothing_and_get_nothing_twice_while_many_write(store: Store) -> None:
    writers, each = (4, 40) if store.dialect == "postgresql" else (2, 40)
    seed = int(datetime.now(UTC).timestamp())
    failures: list[BaseException] = []

    def write(number: int) -> None:
        chance = random.Random(seed + number)
        try:
            for version in range(1, each + 1):
                with store.engine.begin() as connection:
                    entry(connection, f"L{number}", version)
                    time.sleep(chance.random() * 0.004)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    feed, place, seen = Feed(store), START, []
    deadline = time.monotonic() + 60
    while len(seen) < writers * each and time.monotonic() < deadline and not failures:
        for at, change in feed.after(place, 7):
            assert at > place
            place = at
            seen.append((change.lot, change.version))
    for thread in threads:
        thread.join()
    assert not failures, f"seed {seed}"
    assert len(seen) == len(set(seen)) == writers * each, f"seed {seed}"
    for number in range(writers):
        versions = [version for lot, version in seen if lot == f"L{number}"]
        assert versions == list(range(1, each + 1)), f"seed {seed}"


def test_a_database_that_was_restored_into_a_younger_cluster_goes_on(store: Store) -> None:
    with store.engine.begin() as connection:
        entry(connection, "L1", 1)
    if store.dialect == "postgresql":
        with store.engine.begin() as connection:
            # As a dump from a cluster that had seen a million million transactions.
            connection.execute(text("ALTER TABLE journal ALTER COLUMN commit_order SET DEFAULT 1000000000000"))
            entry(connection, "L1", 2)
            connection.execute(
                text("ALTER TABLE journal ALTER COLUMN commit_order SET DEFAULT lotgate_commit_order()")
            )
    else:
        with store.engine.begin() as connection:
            entry(connection, "L1", 2)
    settle_order(store)
    settle_order(store)
    with store.engine.begin() as connection:
        entry(connection, "L1", 3)
    assert read_all(Feed(store)) == [("L1", 1), ("L1", 2), ("L1", 3)]


def test_interest_is_exact(plant: Any, store: Store) -> None:
    plant.receive("L1")
    plant.receive("L2", plant="P9")
    changes = [change for _, change in Feed(store).after(START, 10)]
    assert {c.lot for c in changes if Interest(plant="P9").takes(c)} == {"L2"}
    assert {c.kind for c in changes if Interest(kind="consequence").takes(c)} == {"consequence"}
    assert not [c for c in changes if Interest(lot="L1", plant="P9").takes(c)]
    assert not [c for c in changes if Interest(item="PLATE-9").takes(c)]


@pytest.mark.parametrize("identity", ["", "1", "1.", ".1", "1.2.3", "-1.2", "1.2 ", "٣.1", "9" * 19 + ".1", "1.2\n"])
def test_what_is_no_id_is_no_place(identity: str) -> None:
    assert place_of(identity) is None
