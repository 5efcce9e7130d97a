"""Backoff, rate and appetite: pure, so tested as such."""

import random
import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pace import (
    BACKOFF_BASE_SECONDS,
    BACKOFF_CEILING_SECONDS,
    BACKOFF_FLOOR_SECONDS,
    HELPING_SECONDS,
    Helping,
    Rate,
    backoff_seconds,
)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_within_its_bounds_whatever_the_attempt(attempts: int, luck: float) -> None:
    assert BACKOFF_FLOOR_SECONDS <= backoff_seconds(attempts, lambda: luck) <= BACKOFF_CEILING_SECONDS


def test_the_backoff_doubles_until_its_ceiling() -> None:
    most = [backoff_seconds(n, lambda: 1.0) for n in range(12)]
    assert most[:4] == [BACKOFF_BASE_SECONDS * 2**n for n in range(4)]
    assert most[-1] == BACKOFF_CEILING_SECONDS


def test_jitter_is_full() -> None:
    """Waits are spread over the whole span, so that a thousand deliveries do not come back together."""
    chance = random.Random(7)
    waits = [backoff_seconds(8, chance.random) for _ in range(4000)]
    assert min(waits) < 1
    assert max(waits) > 59
    assert abs(statistics.mean(waits) - 30) < 1.5


@settings(max_examples=60)
@given(st.floats(0.5, 200), st.lists(st.floats(0, 0.5), min_size=1, max_size=80))
def test_a_rate_is_never_exceeded_and_never_starves(per_second: float, pauses: list[float]) -> None:
    now, taken = 100.0, 0
    rate = Rate(per_second, now)
    for pause in pauses:
        now += pause
        wait = rate.wait_seconds(now)
        if wait == 0:
            taken += 1
        else:
            assert rate.wait_seconds(now + wait + 1e-6) == 0
            now, taken = now + wait + 1e-6, taken + 1
    assert taken <= max(1.0, per_second) + per_second * (now - 100.0) + 1


def test_without_a_rate_nothing_waits() -> None:
    rate = Rate(None, 0.0)
    assert {rate.wait_seconds(0.0) for _ in range(1000)} == {0.0}


def test_appetite_grows_while_a_target_is_quick_and_shrinks_when_it_is_not() -> None:
    helping = Helping(4, 64)
    assert helping.size == 4
    for _ in range(10):
        helping.told(HELPING_SECONDS / 2, may_be_more=True)
    assert helping.size == 64
    helping.told(HELPING_SECONDS * 2, may_be_more=True)
    assert helping.size == 32
    for _ in range(10):
        helping.told(HELPING_SECONDS * 2, may_be_more=True)
    assert helping.size == 4


def test_appetite_does_not_grow_when_there_is_nothing_more() -> None:
    helping = Helping(4, 64)
    helping.told(0.01, may_be_more=False)
    assert helping.size == 4
    assert Helping(4, 2).size == 2
