"""How inbound files stand: begun once, due again after a lease, a watermark that only moves when somebody says so."""

from typing import Any

import pytest

from engine.standing import Standing
from engine.store.opening import Store


@pytest.fixture
def standing(store: Store, clock: Any) -> Standing:
    return Standing(store, clock)


def test_it_is_begun_once_and_again_when_its_lease_has_ended(standing: Standing, clock: Any) -> None:
    assert [standing.begin("orders", "pull", 60, 3600) for _ in range(2)] == [True, False]
    clock.forward(61)
    assert standing.begin("orders", "pull", 60, 3600)


def test_a_success_says_when_it_is_due_and_a_failure_counts(standing: Standing, clock: Any) -> None:
    assert standing.begin("orders", "pull", 60, 3600)
    standing.failed("orders", "it answers 500", clock().timestamp() + 10)
    standing.failed("orders", "it answers 502", clock().timestamp() + 10)
    stand = standing.of("orders", "pull")
    assert (stand.failures, stand.problem, stand.ended_at) == (2, "it answers 502", None)
    standing.ended("orders", "pull", 7, 1, clock().timestamp() + 100, "20")
    stand = standing.of("orders", "pull")
    assert (stand.failures, stand.problem, stand.lines, stand.rejected, stand.watermark) == (0, None, 7, 1, "20")
    standing.ended("orders", "pull", 0, 0, clock().timestamp() + 100)
    assert standing.of("orders", "pull").watermark == "20"
    clock.forward(99)
    assert not standing.begin("orders", "pull", 60, 3600)


def test_whoever_asks_has_it_done_at_once_from_where_they_say(standing: Standing) -> None:
    assert standing.begin("orders", "pull", 60, 3600)
    assert standing.ask("orders", "pull", "5").watermark == "5"
    assert standing.begin("orders", "pull", 60, 3600)
    assert [stand.name for stand in standing.all()] == ["orders"]


def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(standing: Standing, clock: Any) -> None:
    clock.forward(86_400)
    assert standing.begin("orders", "pull", 60, 3600)
    clock.forward(-86_400)
    assert standing.begin("orders", "pull", 60, 3600)
