"""The table of transitions: every state and trigger has a defined answer, and the machine is the table."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.lifecycle import (
    ABSENT,
    SAME,
    TABLE,
    TRIGGERS,
    Row,
    Situation,
    State,
    diagram,
    follow,
    next_steps,
    steps,
)

STATES = [ABSENT, *(s.value for s in State)]
SITUATIONS = [Situation(*flags) for flags in itertools.product((False, True), repeat=len(Situation.__struct_fields__))]


def expected(state: str, trigger: str, situation: Situation) -> str | None:
    """The answer read off the table by hand, without the machine."""

    def holds(row: Row) -> bool:
        return all(
            not getattr(situation, w[4:]) if w.startswith("not ") else getattr(situation, w) for w in row.when
        )

    for row in TABLE:
        if row.trigger == trigger and state in row.sources and holds(row):
            return state if row.to == SAME else row.to
    return None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_state_and_trigger_has_the_answer_of_the_table(state: str, trigger: str) -> None:
    for situation in SITUATIONS:
        assert follow(state, trigger, situation) == expected(state, trigger, situation)


@pytest.mark.parametrize("state", [s.value for s in State])
def test_a_hold_always_lands(state: str) -> None:
    for situation in SITUATIONS:
        after = follow(state, "hold", situation)
        assert after == ("shipped" if state == "shipped" else "blocked")


def test_only_guarded_triggers_lead_into_released_or_shipped() -> None:
    for row in TABLE:
        if row.to in ("released", "shipped"):
            # What is put together is released only where every part of it came through its own gate.
            assert row.gate is not None or (row.trigger == "merge" and "all_released" in row.when), row


def test_no_state_but_shipped_can_be_left_for_nowhere() -> None:
    for state in State:
        ways_out = {to for step in next_steps(state.value) for to in step.to} - {state.value}
        assert ways_out, state


def test_an_unknown_trigger_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        follow("received", "teleport", Situation())


def test_the_diagram_shows_every_arrow_of_the_table() -> None:
    text = diagram()
    for row in TABLE:
        for source in row.sources:
            if row.to != SAME and row.to != source:
                start = "[*]" if source == ABSENT else source
                line = next(x for x in text.splitlines() if x.strip().startswith(f"{start} --> {row.to}:"))
                assert row.trigger in line


class AnyLife(RuleBasedStateMachine):
    """Random lives: the state is always one of six, and what `allowed` says is exactly what moves."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ABSENT
        self.released_by: str | None = None

    @rule(trigger=st.sampled_from(TRIGGERS), situation=st.sampled_from(SITUATIONS))
    def attempt(self, trigger: str, situation: Situation) -> None:
        after = follow(self.state, trigger, situation)
        if trigger not in steps(self.state, situation.in_production):
            assert after is None
        if after is not None:
            if after in ("released", "shipped") and after != self.state:
                self.released_by = trigger
            self.state = after

    @precondition(lambda self: self.state != ABSENT)
    @invariant()
    def is_one_of_six(self) -> None:
        assert self.state in {s.value for s in State}

    @invariant()
    def released_only_by_a_release(self) -> None:
        if self.state in ("released", "shipped"):
            assert self.released_by in ("release", "use_as_is", "void_shipment", "ship", "merge")


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
