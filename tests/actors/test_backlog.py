"""Workers come back to a ledger full of what happened meanwhile."""

import threading
import time
from typing import Any

from sqlalchemy import text

WAITING = 3000
BATCH, CONCURRENCY = 64, 4


def fill(owing: Any, head: str, target: str) -> None:
    """As many rows as one, made older by a millisecond each."""
    owing.owe(f"{head}-0", 1, target)
    copies = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
        " INSERT INTO deliveries (lot, version, target, payload, due_at, created_at)"
        " SELECT :head || '-' || i, 1, target, replace(payload, :first, :head || '-' || i), due_at - i * 0.001,"
        " created_at FROM deliveries, n WHERE lot = :first AND target = :target"
    )
    values = {"last": WAITING - 1, "head": head, "first": f"{head}-0", "target": target}
    with owing.store.engine.begin() as connection:
        connection.execute(copies, values)


def test_a_long_backlog_is_told_oldest_first_in_bounded_pieces_and_fairly(
    owing: Any, erp: Any, wms: Any, deliverer: Any
) -> None:
    head = f"B{time.time_ns()}"
    limits = {"concurrency": CONCURRENCY, "timeout_s": 5.0, "batch": BATCH}
    workers = {"erp": deliverer(erp.url, limits=limits), "wms": deliverer(wms.url, "wms", limits=limits)}
    for target in workers:
        fill(owing, head, target)
    running = [threading.Thread(target=one.run) for one in workers.values()]
    for thread in running:
        thread.start()
    most, shares = 0, []
    while any(thread.is_alive() for thread in running):
        counts = owing.ledger.counts()
        most = max([most, *(states.get("sending", 0) for states in counts.values())])
        waiting = {target: counts.get(target, {}).get("pending", 0) for target in workers}
        shares.append((waiting["erp"], waiting["wms"]))
        _oldest_first(owing)
        time.sleep(0.05)
    assert owing.ledger.counts() == {}
    # Claimed are the batches under way, and those for which a call is about to become free.
    assert 0 < most <= BATCH * (CONCURRENCY + 1)
    # While both have work, neither waits for the other to end.
    assert any(0 < a < WAITING - 500 and 0 < b < WAITING - 500 for a, b in shares)


def _oldest_first(owing: Any) -> None:
    """Whatever was begun is older than everything that waits."""
    query = text(
        "SELECT target, max(CASE WHEN state <> 'pending' THEN due_at END) AS begun,"
        " min(CASE WHEN state = 'pending' THEN due_at END) AS waits FROM deliveries GROUP BY target"
    )
    with owing.store.reads.connect() as connection:
        for row in connection.execute(query):
            assert row.begun is None or row.waits is None or row.begun <= row.waits
