"""The delivery ledger on both databases: single flight, order, fencing, nothing forgotten."""

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text

from engine.effects import StockStatus, encode_status
from engine.ledger import Delivery, Ledger
from engine.store.opening import Store
from engine.store.reading import Reading
from tests.databases import new_store


def owe(store: Store, now: float, lot: str, version: int, target: str = "erp") -> None:
    """What the committer writes when a lot changed."""
    status = StockStatus(lot, version, "I", "A", "released", "unrestricted", True, "1", "ea", None, None, [], [])
    with store.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO deliveries (lot, version, target, payload, due_at, created_at)"
                 " VALUES (:lot, :version, :target, :payload, :due, 'now')"),
            {"lot": lot, "version": version, "target": target, "payload": encode_status(status).decode(), "due": now},
        )  # fmt: skip


@pytest.fixture
def ledger(store: Store, clock: Any) -> Ledger:
    return Ledger(store, clock)


def states(store: Store) -> dict[tuple[str, int], str]:
    with store.reads.connect() as connection:
        return {(r[0], r[1]): r[2] for r in connection.execute(text("SELECT lot, version, state FROM deliveries"))}


def test_the_newest_status_of_a_lot_is_delivered_and_older_ones_are_superseded(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    for version in (2, 3, 5):
        owe(store, clock().timestamp(), "L", version)
    claimed = ledger.claim("erp", "w", 10, 30)
    assert [d.version for d in claimed] == [5]
    assert ledger.complete(claimed[0])
    assert states(store) == {("L", 2): "superseded", ("L", 3): "superseded", ("L", 5): "delivered"}


def test_a_lot_in_flight_is_not_claimed_again_even_for_a_newer_version(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    owe(store, clock().timestamp(), "L", 2)
    first = ledger.claim("erp", "a", 10, 30)
    owe(store, clock().timestamp(), "L", 3)
    assert ledger.claim("erp", "b", 10, 30) == []
    assert ledger.complete(first[0])
    assert [d.version for d in ledger.claim("erp", "b", 10, 30)] == [3]


def test_targets_do_not_wait_for_each_other(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 2, "erp")
    owe(store, clock().timestamp(), "L", 2, "wms")
    assert len(ledger.claim("erp", "a", 10, 30)) == len(ledger.claim("wms", "a", 10, 30)) == 1


def test_a_worker_that_lost_its_lease_writes_nothing(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 2)
    slow = ledger.claim("erp", "slow", 10, 30)[0]
    clock.forward(31)
    quick = ledger.claim("erp", "quick", 10, 30)[0]
    assert quick.fence == slow.fence + 1
    assert not ledger.complete(slow)
    assert not ledger.retry(slow, "late", 1)
    assert not ledger.dead(slow, "late")
    assert ledger.complete(quick)
    assert slow.key == quick.key


def test_a_retry_waits_its_time(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 2)
    ledger.retry(ledger.claim("erp", "w", 1, 30)[0], "503", 10)
    assert ledger.claim("erp", "w", 1, 30) == []
    clock.forward(10.1)
    assert ledger.claim("erp", "w", 1, 30)[0].attempts == 2


def test_a_dead_delivery_is_escalated_and_can_be_replayed(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 2)
    ledger.dead(ledger.claim("erp", "w", 1, 30)[0], "422: no such item", '{"status":422}')
    assert Reading(store).escalations()[0].kind == "delivery-dead"
    assert ledger.due() == []
    assert ledger.replay(target="erp", dry_run=True) == 1
    assert ledger.counts()["erp"] == {"dead": 1}
    assert ledger.replay(identity=ledger.lines()[0].id) == 1
    assert ledger.due() == ["erp"]


def test_oldest_first(store: Store, ledger: Ledger, clock: Any) -> None:
    now = clock().timestamp()
    for lot, age in (("B", 5.0), ("A", 1.0), ("C", 9.0)):
        owe(store, now - age, lot, 1)
    assert [d.lot for d in ledger.claim("erp", "w", 2, 30)] == ["C", "B"]


def test_what_was_sent_and_what_was_acknowledged(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 2)
    ledger.complete(ledger.claim("erp", "w", 1, 30)[0])
    owe(store, clock().timestamp(), "L", 4)
    seen = ledger.acknowledged("L")[0]
    assert (seen.sent_version, seen.acknowledged_version) == (4, 2)


def test_a_lease_can_be_held_on_to_and_a_lost_one_cannot(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "A", 1)
    owe(store, clock().timestamp(), "B", 1)
    held = ledger.claim("erp", "w", 2, 30)
    clock.forward(20)
    assert ledger.renew(held, 30) == {d.id for d in held}
    clock.forward(20)
    assert ledger.claim("erp", "other", 2, 30) == []
    clock.forward(11)
    taken = ledger.claim("erp", "other", 1, 30)[0]
    assert ledger.renew(held, 30) == {d.id for d in held} - {taken.id}


def test_what_a_stopping_worker_gives_back_is_due_at_once_and_was_no_attempt(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    owe(store, clock().timestamp(), "L", 1)
    assert ledger.release(ledger.claim("erp", "stopping", 1, 30)) == 1
    again = ledger.claim("erp", "w", 1, 30)[0]
    assert (again.attempts, again.fence) == (1, 2)


def test_nothing_of_a_paused_target_is_due(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 1)
    owe(store, clock().timestamp(), "L", 1, "wms")
    ledger.targets.pause("erp", "pat", "closing")
    assert ledger.due() == ["wms"]
    assert ledger.claim("erp", "w", 1, 30) == []
    assert ledger.targets.pause("erp", "kim", "another").paused_by == "pat"
    assert ledger.targets.resume("erp").paused_by is None
    assert ledger.targets.resume("never-paused").paused_at is None
    assert len(ledger.claim("erp", "w", 1, 30)) == 1


def test_outdated_is_superseded_only_where_something_newer_was_decided(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    owe(store, clock().timestamp(), "A", 1)
    old = ledger.claim("erp", "w", 1, 30)[0]
    owe(store, clock().timestamp(), "A", 2)
    assert ledger.outdated(old, "409")
    owe(store, clock().timestamp(), "B", 1)
    assert not ledger.outdated(next(d for d in ledger.claim("erp", "w", 9, 30) if d.lot == "B"), "409")
    assert states(store) == {("A", 1): "superseded", ("A", 2): "sending", ("B", 1): "dead"}


def test_a_newer_decision_takes_the_place_of_a_dead_one(store: Store, ledger: Ledger, clock: Any) -> None:
    owe(store, clock().timestamp(), "L", 1)
    ledger.dead(ledger.claim("erp", "w", 1, 30)[0], "422")
    owe(store, clock().timestamp(), "L", 2)
    assert [d.version for d in ledger.claim("erp", "w", 9, 30)] == [2]
    assert states(store) == {("L", 1): "superseded", ("L", 2): "sending"}
    assert ledger.replay() == 0


def test_a_replay_takes_what_fits_and_a_dry_run_takes_nothing(store: Store, ledger: Ledger, clock: Any) -> None:
    for lot, target in (("A", "erp"), ("B", "erp"), ("A", "wms")):
        owe(store, clock().timestamp(), lot, 1, target)
        ledger.dead(ledger.claim(target, "w", 1, 30)[0], "422")
    assert ledger.replay(dry_run=True) == 3
    assert ledger.counts() == {"erp": {"dead": 2}, "wms": {"dead": 1}}
    assert ledger.given_up_for(None, None, 5) == [("422", 3)]
    assert ledger.given_up_for("wms", "A", 5) == [("422", 1)]
    assert ledger.replay(target="erp", lot="A") == 1
    assert ledger.replay(lot="A") == 1
    assert ledger.replay() == 1
    assert all(d.attempts == 1 for t in ("erp", "wms") for d in ledger.claim(t, "w", 9, 30))


def test_an_escalation_of_a_kind_is_open_once(store: Store, ledger: Ledger, clock: Any) -> None:
    assert ledger.escalate_once("target-auth", "erp", "first")
    assert not ledger.escalate_once("target-auth", "erp", "second")
    task = Reading(store).escalations()[0].id
    ledger.tasks.acknowledge(task, "pat")
    assert not ledger.escalate_once("target-auth", "erp", "somebody is at it")
    ledger.tasks.close(task, "pat")
    assert ledger.escalate_once("target-auth", "erp", "third")


def test_a_clock_set_back_leaves_nothing_waiting_and_no_lease_for_ever(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    owe(store, clock().timestamp(), "new", 1)
    owe(store, clock().timestamp() - 1, "claimed", 1)
    ledger.claim("erp", "dead", 1, 30)
    clock.forward(-3600)
    assert ledger.due() == ["erp"]
    assert {d.lot for d in ledger.claim("erp", "w", 9, 30)} == {"new", "claimed"}


def test_looking_for_work_costs_the_same_however_much_was_ever_delivered(
    store: Store, ledger: Ledger, clock: Any
) -> None:
    """Every question that workers, the sweeper and /metrics ask goes by an index of what is owed."""
    from sqlalchemy import event

    asked: list[tuple[str, Any]] = []
    owe(store, clock().timestamp(), "L", 1)
    event.listen(store.engine, "before_cursor_execute", lambda c, cursor, sql, values, *_: asked.append((sql, values)))
    ledger.due()
    ledger.counts()
    ledger.oldest_open()
    ledger.claim("erp", "w", 10, 30)
    ledger.replay(dry_run=True)
    # What people look at: never every delivery there ever was, to find the few that are like that.
    for state in ("pending", "sending", "dead", "superseded"):
        ledger.lines(state=state)
        ledger.lines(state=state, target="wms", after=3)
    ledger.lines(state="delivered", lot="L")
    ledger.newest("L", 5)
    ledger.acknowledged("L")
    plans = []
    with store.reads.connect() as connection:
        if store.dialect == "postgresql":
            # As it would plan for a large table, and for whatever values come.
            connection.exec_driver_sql("SET enable_seqscan = off")
        for sql, values in list(asked):
            if sql.startswith("SELECT") and "FROM deliveries" in sql:
                explain = "EXPLAIN QUERY PLAN " if store.dialect == "sqlite" else "EXPLAIN "
                rows = connection.exec_driver_sql(explain + sql, values)
                plans.append("\n".join(str(row) for row in rows))
    assert len(plans) >= 6
    for plan in plans:
        assert (
            "deliveries_open" in plan
            or "deliveries_unsettled" in plan
            or "deliveries_lot_target" in plan
            or ("sqlite_autoindex_deliveries_1 (lot=?" in plan)
        ), plan
        assert "Seq Scan on deliveries" not in plan


def test_many_workers_share_the_work_and_never_a_lot(store: Store, ledger: Ledger, clock: Any) -> None:
    now = clock().timestamp()
    for number in range(120):
        owe(store, now, f"L{number % 40}", 1 + number // 40)
    claimed: list[Delivery] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        while batch := ledger.claim("erp", name, 5, 30):
            with lock:
                claimed.extend(batch)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(d.lot for d in claimed) == sorted(f"L{i}" for i in range(40))
    assert {d.version for d in claimed} == {3}


def test_a_key_is_printable_for_every_lot_id() -> None:
    status = StockStatus("x", 1, "I", "A", "released", "unrestricted", True, "1", "ea", None, None, [], [])
    for lot in ("a b/c%", "Ü€" * 30, "L"):
        key = Delivery(1, lot, 1, "erp", status, 1, 1, "").key
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
        assert len(key) < 200


class AnyWorkers(RuleBasedStateMachine):
    """Random commits, claims, crashes and clocks: one flight a lot, versions only upwards, nothing forgotten."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from datetime import UTC, datetime, timedelta
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.step = timedelta
        self.store = new_store(Path(self.folder.name))
        self.ledger = Ledger(self.store, lambda: self.now)
        self.newest: dict[str, int] = {}
        self.delivered: dict[str, int] = {}
        self.flying: list[tuple[Delivery, float]] = []

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(lot=st.sampled_from("ABC"))
    def commit(self, lot: str) -> None:
        self.newest[lot] = self.newest.get(lot, 0) + 1
        owe(self.store, self.now.timestamp(), lot, self.newest[lot])

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        live = {d.lot for d, until in self.flying if until > self.now.timestamp()}
        for delivery in self.ledger.claim("erp", "w", limit, 30):
            assert delivery.lot not in live
            assert delivery.version > self.delivered.get(delivery.lot, 0)
            self.flying.append((delivery, self.now.timestamp() + 30))

    @rule(data=st.data(), how=st.sampled_from(["complete", "retry", "dead", "crash"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        if not self.flying:
            return
        delivery, _ = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if how == "complete" and self.ledger.complete(delivery):
            assert delivery.version > self.delivered.get(delivery.lot, 0)
            self.delivered[delivery.lot] = delivery.version
        elif how == "retry":
            self.ledger.retry(delivery, "later", 5)
        elif how == "dead" and self.ledger.dead(delivery, "never"):
            self.ledger.replay(identity=delivery.id)
        elif how == "crash":
            pass  # its lease runs out by itself

    @rule(seconds=st.sampled_from([1, 6, 31]))
    def wait(self, seconds: int) -> None:
        self.now += self.step(seconds=seconds)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        found = states(self.store)
        for lot, newest in self.newest.items():
            assert found[lot, newest] in ("pending", "sending", "delivered")


TestAnyWorkers = AnyWorkers.TestCase
TestAnyWorkers.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
