"""Many workers on PostgreSQL: each lot is told once, and a database that goes away is waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.store.opening import Store
from tests.databases import new_store


@pytest.fixture
def store(tmp_path: Path, new_postgres: Callable[[], str]) -> Iterator[Store]:
    """In place of SQLite: everything that is made from it works on PostgreSQL."""
    opened = new_store(tmp_path, new_postgres())
    yield opened
    opened.close()


def test_four_workers_and_a_database_that_hangs_up_tell_each_lot_once(
    owing: Any, erp: Any, deliverer: Any, lot: str, store: Store
) -> None:
    before = erp.http.get("/_invariants").json()
    lots = [f"{lot}-{n}" for n in range(300)]
    for name in lots:
        owing.owe(name, 1, stock="quality")
        owing.owe(name, 2)
    limits = {"concurrency": 2, "timeout_s": 2.0, "batch": 8}
    workers = [deliverer(erp.url, limits=limits) for _ in range(4)]
    running = [threading.Thread(target=one.run) for one in workers]
    for thread in running:
        thread.start()
    while owing.ledger.counts()["erp"]["pending"] > 2 * len(lots) - 60:
        time.sleep(0.01)
    # In the middle of it, what a restart of the database does to its clients.
    with store.engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE pid <> pg_backend_pid() AND datname = current_database()")
        )  # fmt: skip
    assert owing.ledger.counts()
    for thread in running:
        thread.join(20)
        assert not thread.is_alive()
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET lease_until = 0 WHERE state = 'sending'"))
    deadline = time.monotonic() + 20
    while owing.ledger.counts():
        assert time.monotonic() < deadline, owing.ledger.counts()
        workers[0].run()
    assert {owing.line(name, 2).state for name in lots} == {"delivered"}
    assert {owing.line(name, 1).state for name in lots} == {"superseded"}
    after = erp.http.get("/_invariants").json()
    assert after["applications"] - before["applications"] == len(lots)
    assert (after["duplicate_applications"], after["version_regressions"]) == (0, 0)
