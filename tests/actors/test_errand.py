"""Leases on the way: no call is begun that its lease may not outlive, and what was not told is not called told."""

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.connectors.format import load
from actors.connectors.http import Target
from actors.errand import SAFE_SECONDS, Errand
from engine.effects import StockStatus
from engine.ledger import Delivery
from engine.settings import SHIPPED_CONNECTORS, load_settings

CALL_SECONDS = 1.0
LEASE_SECONDS = CALL_SECONDS + 6.0


def a_delivery(number: int) -> Delivery:
    lot = f"L{number}"
    status = StockStatus(lot, 1, "I", "A", "released", "unrestricted", True, "1", "ea", None, None, [], [])
    return Delivery(number, lot, 1, "erp", status, 1, 1, "2026-01-01T00:00:00Z")


def errand() -> Errand:
    return Errand(queue.SimpleQueue(), LEASE_SECONDS, CALL_SECONDS)


def test_a_call_is_begun_only_if_its_lease_outlives_it() -> None:
    one = errand()
    now = time.monotonic()
    late = now - LEASE_SECONDS + CALL_SECONDS + SAFE_SECONDS / 2
    one.take([a_delivery(1)], late)
    one.take([a_delivery(2)], now)
    assert [d.id for d in one.next_unit(10)] == [2]
    assert [d.id for d in one.take_lapsed()] == [1]
    assert one.take_lapsed() == []


def test_what_was_lost_to_another_worker_is_not_called_any_more() -> None:
    one = errand()
    both = [a_delivery(1), a_delivery(2)]
    one.take(both, time.monotonic())
    one.renewed(both, held={2}, asked_at=time.monotonic())
    assert not one.may_call(both)
    assert [d.id for d in one.next_unit(10)] == [2]


def test_leases_are_renewed_together_before_the_oldest_is_old() -> None:
    one = errand()
    one.take([a_delivery(1)], time.monotonic())
    assert one.old_leases() == []
    one.take([a_delivery(2)], time.monotonic() - 2.1)
    assert [d.id for d in one.old_leases()] == [1, 2]
    one.renewed(one.old_leases(), {1, 2}, time.monotonic())
    assert one.old_leases() == []


def only(times: int) -> Callable[[], bool]:
    """Leases that last for so many more calls."""
    left = [times]

    def may_call() -> bool:
        left[0] -= 1
        return left[0] >= 0

    return may_call


@pytest.fixture
def target(talker: Any) -> Iterator[Target]:
    one = Target(load(SHIPPED_CONNECTORS / "erp.yaml", load_settings({"LOTGATE_ERP_URL": talker.url})))
    yield one
    one.close()


def test_a_lot_that_was_only_registered_was_not_told(talker: Any, target: Target) -> None:
    talker.say(404, {"error": "unknown-lot"})
    talker.say(201, {"lot": "L1"})
    [exchange] = target.deliver([a_delivery(1)], only(1))
    assert (exchange.outcome, len(talker.heard)) == ("retry", 2)
    talker.say(404, {"error": "unknown-lot"})
    [exchange] = target.deliver([a_delivery(1)], only(0))
    assert (exchange.outcome, len(talker.heard)) == ("retry", 3)
    assert exchange.detail.endswith("the lease ended before the next call")


@pytest.mark.parametrize("calls", [0, 1])
def test_lots_that_were_only_registered_together_were_not_told(talker: Any, target: Target, calls: int) -> None:
    talker.say(200, {"results": [{"outcome": "unknown-lot"}, {"outcome": "applied"}]})
    talker.say(200, {"results": [{"outcome": "created"}]})
    exchanges = target.deliver([a_delivery(1), a_delivery(2)], only(calls))
    assert [exchange.outcome for exchange in exchanges] == ["retry", "applied"]
    assert len(talker.heard) == 1 + calls
    assert len(exchanges[0].calls) == 1 + calls


def test_a_batch_that_was_refused_whole_is_not_given_up_when_the_lease_ends(talker: Any, target: Target) -> None:
    talker.say(413, {"error": "too-large"})
    exchanges = target.deliver([a_delivery(1), a_delivery(2)], only(0))
    assert [(exchange.outcome, exchange.away) for exchange in exchanges] == [("retry", True)] * 2
