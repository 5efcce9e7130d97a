"""Tasks: open, acknowledged, closed; and closed by themselves when their reason has gone. On both databases."""

from typing import Any

import pytest
from sqlalchemy import insert

from engine.effects import StockStatus, encode_status
from engine.errors import NotFound
from engine.ledger import Ledger
from engine.notices import Notices
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries
from engine.tasks import Tasks, TaskState


@pytest.fixture
def ledger(store: Store, clock: Any) -> Ledger:
    return Ledger(store, clock)


@pytest.fixture
def tasks(store: Store, clock: Any) -> Tasks:
    return Tasks(store, clock)


def test_a_task_is_acknowledged_and_closed_by_somebody_once(tasks: Tasks) -> None:
    assert tasks.open_once("delivery-dead", "L", "no", "erp")
    assert not tasks.open_once("delivery-dead", "L", "again", "erp")
    assert tasks.open_once("delivery-dead", "L", "another target", "wms")
    first = tasks.acknowledge(1, "pat", "calling the ERP team")
    assert (first.state, first.acknowledged_by, first.note) == ("acknowledged", "pat", "calling the ERP team")
    assert tasks.acknowledge(1, "kim", "me too") == first
    closed = tasks.close(1, "kim", "item was missing")
    assert (closed.state, closed.closed_by, closed.closing_note) == ("closed", "kim", "item was missing")
    assert tasks.close(1, "pat") == closed
    assert [task.id for task in tasks.lines()] == [2]
    assert [task.id for task in tasks.lines(state=TaskState.CLOSED)] == [1]
    assert tasks.counts() == {("delivery-dead", "open"): 1}
    with pytest.raises(NotFound):
        tasks.acknowledge(3, "pat")
    assert tasks.open_once("delivery-dead", "L", "a new one", "erp")


def test_a_dead_letter_s_task_ends_when_nothing_is_owed_any_more(
    store: Store, tasks: Tasks, ledger: Ledger, clock: Any
) -> None:
    status = StockStatus("L", 2, "I", "A", "released", "unrestricted", True, "1", "ea", None, None, [], [])
    row = {"lot": "L", "version": 2, "target": "erp", "due_at": clock().timestamp(), "created_at": "now"}
    with store.engine.begin() as connection:
        connection.execute(insert(deliveries).values(payload=encode_status(status).decode(), **row))
    ledger.dead(ledger.claim("erp", "w", 1, 30)[0], "422: no such item")
    assert tasks.settle() == 0
    ledger.replay()
    assert tasks.settle() == 0, "it is on its way, but the target does not agree yet"
    ledger.complete(ledger.claim("erp", "w", 1, 30)[0])
    assert tasks.settle() == 1
    assert tasks.get(1).closed_by == "lotgate"


def test_a_refused_key_s_task_ends_when_the_target_answers_again(tasks: Tasks, ledger: Ledger, clock: Any) -> None:
    ledger.targets.report("erp", "closed", None)
    clock.forward(1)
    tasks.open_once("target-auth", "erp", "401")
    assert tasks.settle() == 0
    clock.forward(1)
    ledger.targets.report("erp", "open", "401")
    assert tasks.settle() == 0
    ledger.targets.report("erp", "closed", None)
    assert tasks.settle() == 1


def test_notices_are_planned_repeated_and_dropped(store: Store, tasks: Tasks, clock: Any) -> None:
    notices = Notices(store, clock)
    tasks.open_once("delivery-dead", "L", "no", "erp")
    assert notices.plan([], 60) == 0, "with nobody to tell, nothing is spent"
    assert notices.plan(["email", "webhook"], 60) == 1
    assert notices.plan(["email", "webhook"], 60) == 0
    taken = {notices.take(["email", "webhook"], 30).channel for _ in range(2)}  # type: ignore[union-attr]
    assert taken == {"email", "webhook"}
    assert notices.take(["email"], 30) is None
    clock.forward(31)
    again = notices.take(["email"], 30)
    assert again is not None
    assert again.attempts == 2, "a clock that died comes back"
    assert notices.failed(again, "away") == 10.0
    assert notices.take(["email"], 30) is None
    clock.forward(3600)
    assert notices.plan(["email"], 60) == 1
    taken_up = notices.take(["email"], 30)
    assert taken_up is not None
    assert taken_up.id == again.id, "the one that waits takes up what is due"
    notices.sent(taken_up)
    clock.forward(-7200)
    assert notices.plan(["email"], 60) == 1, "a clock that was set back silences nobody"
