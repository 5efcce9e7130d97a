"""What is decided and not yet written counts for what is decided after it, whoever waits for what."""

from typing import Any

import pytest

from engine.clock import Clock
from engine.inbox import Waiting
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.test_flights import NEXT, Scripted

TEN = {"value": "10", "unit": "ea"}


@pytest.fixture
def committer(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> Pipeline:
    return Pipeline(store, judge, rulebook, clock)


def comes(plant: Any, type_: str, lot: str, data: dict[str, Any]) -> Waiting:
    return Waiting(submission(plant.event(type_, lot, data), "tester"))


def test_what_was_taken_up_and_waits_for_another_lot_is_found_by_it_before_that_is_written(
    plant: Any, store: Store, committer: Pipeline
) -> None:
    for lot in ("P", "Q"):
        plant.released(lot)
    parts = [{"lot": "FIRST", "quantity": TEN}, {"lot": "SECOND", "quantity": TEN}]
    assert plant.send("lot.merged.v1", "M", {"parts": parts}).outcome == "parked"
    inbox = Scripted(
        comes(plant, "lot.split.v1", "P", {"children": [{"lot": "FIRST", "quantity": TEN}]}), NEXT,
        # The merge has been taken up and waits for this one, which nobody has written down yet.
        comes(plant, "lot.split.v1", "Q", {"children": [{"lot": "SECOND", "quantity": TEN}]}), NEXT,
    )  # fmt: skip
    committer.run(inbox)
    committer.stop()
    assert inbox.answered == [("P", 201, "applied"), ("Q", 201, "applied")]
    assert Reading(store).lot("M") is not None
    assert [e.trigger for e in Reading(store).journal("SECOND")][-1] == "merge_into"
    assert verify(Reading(store).journals()).intact
