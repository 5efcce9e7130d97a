"""The circuit breaker's states, on a clock that the test moves."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.breaker import Breaker, BreakerState


class Moment:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def breaker(moment: Moment) -> Breaker:
    return Breaker(failures=3, open_seconds=2.0, longest_seconds=10.0, clock=moment)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit()
        breaker.record(False)


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.admit()
    breaker.record(True)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.room() == 0
    assert not breaker.admit()


def test_half_open_lets_exactly_one_call_through(breaker: Breaker, moment: Moment) -> None:
    fail(breaker, 3)
    moment.now += 2
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.room() == 1
    assert [breaker.admit() for _ in range(4)] == [True, False, False, False]
    assert breaker.room() == 0


def test_one_success_closes_it(breaker: Breaker, moment: Moment) -> None:
    fail(breaker, 3)
    moment.now += 2
    assert breaker.admit()
    breaker.record(True)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.room() is None
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_it_stays_open_longer_each_time_up_to_a_ceiling(breaker: Breaker, moment: Moment) -> None:
    fail(breaker, 3)
    opened = []
    for _ in range(5):
        start = moment.now
        while not breaker.admit():
            moment.now += 0.5
        opened.append(moment.now - start)
        breaker.record(False)
    assert opened == [2, 4, 8, 10, 10]


def test_a_rest_that_was_asked_for_is_kept(breaker: Breaker, moment: Moment) -> None:
    assert breaker.admit()
    breaker.record(True)
    breaker.rest(60)
    moment.now += 59
    assert not breaker.admit()
    moment.now += 1
    assert breaker.admit()


def test_a_late_success_of_an_old_call_closes_it(breaker: Breaker) -> None:
    """The call began before the breaker opened; that it succeeded is the newest thing known."""
    assert breaker.admit()
    fail(breaker, 3)
    breaker.record(True)
    assert breaker.state is BreakerState.CLOSED


class AnyCalls(RuleBasedStateMachine):
    """Whatever happens, a breaker that was left alone long enough lets a call through: it never sticks."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = Moment()
        self.breaker = Breaker(failures=2, open_seconds=1.0, longest_seconds=5.0, clock=self.moment)
        self.running = 0

    @rule()
    def start(self) -> None:
        if self.breaker.admit():
            self.running += 1

    @rule(success=st.booleans(), rest=st.sampled_from([None, 0.0, 3.0]))
    def end(self, success: bool, rest: float | None) -> None:
        if self.running:
            self.running -= 1
            self.breaker.record(success)
            if rest is not None:
                self.breaker.rest(rest)

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.moment.now += seconds

    @invariant()
    def open_lets_nothing_through(self) -> None:
        if self.breaker.state is BreakerState.OPEN:
            assert self.breaker.room() == 0

    def teardown(self) -> None:
        for _ in range(self.running):
            self.breaker.record(False)
        self.moment.now += 6.0
        assert self.breaker.admit()


TestAnyCalls = AnyCalls.TestCase
TestAnyCalls.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
