"""Two flights of one thread: what one of them does never gets into the transaction of the other."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from engine.answer import Answer
from engine.clock import Clock
from engine.errors import LotgateError
from engine.inbox import Waiting
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.test_concessions import rejected, use

#: A new batch begins.
NEXT = None


class Scripted:
    """An inbox that gives what it is told to, and does in between what it is told to."""

    def __init__(self, *steps: Any) -> None:
        self._steps = list(steps)
        self.answered: list[tuple[str, int, str]] = []

    def take(self, wait: bool) -> Waiting | None:
        while self._steps:
            step = self._steps.pop(0)
            if step is NEXT:
                raise queue.Empty
            if isinstance(step, Waiting):
                return step
            step()
        return None

    def is_urgent(self) -> bool:
        return False

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        for waiting, answer in answers:
            assert isinstance(answer, Answer), answer
            self.answered.append((waiting.submission.event.subject, answer.status, answer.outcome))


@pytest.fixture
def committers(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> Iterator[list[Pipeline]]:
    """Two of them: one is run by the test, the other one is another process."""
    both = [Pipeline(store, judge, rulebook, clock) for _ in range(2)]
    yield both
    for one in both:
        one.stop()


def test_a_batch_that_is_decided_again_leaves_the_one_behind_it_its_transaction(
    plant: Any, store: Store, committers: list[Pipeline]
) -> None:
    one, other = committers
    for lot in ("A", "B", "X"):
        rejected(plant, lot, "40")
    plant.released("L")

    def comes(type_: str, lot: str, data: dict[str, Any]) -> Waiting:
        return Waiting(submission(plant.event(type_, lot, data), "tester"))

    def elsewhere(type_: str, lot: str, data: dict[str, Any]) -> Callable[[], None]:
        def decide() -> None:
            assert other.process([submission(plant.event(type_, lot, data), "tester")])[0].outcome == "applied"

        return decide

    again, opened = (
        {"reason": {"code": "complaint"}},
        {"record": "D-1", "kind": "deviation", "severity": "minor", "text": "."},
    )
    inbox = Scripted(
        comes("reinspection.requested.v1", "X", again), NEXT,
        comes("lot.dispositioned.v1", "A", use()), NEXT,
        # The concession is used elsewhere before it lands: it is decided again, while the next one is under way.
        elsewhere("lot.dispositioned.v1", "B", use()),
        comes("reinspection.requested.v1", "L", again),
        NEXT,
        elsewhere("quality_record.opened.v1", "L", opened),
    )  # fmt: skip
    one.run(inbox)
    assert inbox.answered == [(lot, 201, "applied") for lot in ("X", "A", "L")]
    journal = [entry.trigger for entry in Reading(store).journal("L")]
    assert "reinspect" in journal, "whatever was acknowledged is in the journal"
    assert Reading(store).lot("L").state == "quarantined"
    assert verify(Reading(store).journals()).intact


def test_what_waited_is_taken_up_when_the_batch_before_has_landed(
    plant: Any, store: Store, committers: list[Pipeline]
) -> None:
    one, _ = committers
    for lot in ("P", "X"):
        plant.released(lot)
    ten = {"value": "10", "unit": "ea"}
    parts = [{"lot": "CHILD", "quantity": ten}, {"lot": "X", "quantity": ten}]
    assert plant.send("lot.merged.v1", "M", {"parts": parts}).outcome == "parked"

    def comes(type_: str, lot: str, data: dict[str, Any]) -> Waiting:
        return Waiting(submission(plant.event(type_, lot, data), "tester"))

    text = {"record": "D-1", "kind": "deviation", "severity": "minor", "text": "."}
    inbox = Scripted(
        comes("quality_record.opened.v1", "X", text), NEXT,
        # No rule judges it: it could go on at once, to the merge that waited for it and takes from X.
        comes("lot.split.v1", "P", {"children": [{"lot": "CHILD", "quantity": ten}]}), NEXT,
    )  # fmt: skip
    running = threading.Thread(target=one.run, args=(inbox,), daemon=True)
    running.start()
    running.join(20)
    assert not running.is_alive(), "the committer waits for itself"
    assert inbox.answered == [("X", 201, "applied"), ("P", 201, "applied")]
    assert [e.trigger for e in Reading(store).journal("X")][-2:] == ["record_opened", "merge_into"]
    assert verify(Reading(store).journals()).intact


def test_two_processes_that_want_each_others_lots_wait_for_nothing_for_ever(
    plant: Any, store: Store, committers: list[Pipeline]
) -> None:
    """Each has decided one lot and not written it yet, when it takes the one that the other has: on PostgreSQL both
    rows are locked, and the database cannot see that two connections are of one thread."""
    lots = ("P", "Q")
    for lot in lots:
        plant.receive(lot)
    both_have_decided = threading.Barrier(2)

    def comes(lot: str, record: str) -> Waiting:
        data = {"record": record, "kind": "deviation", "severity": "minor", "text": "."}
        return Waiting(submission(plant.event("quality_record.opened.v1", lot, data), "tester"))

    def inbox(first: str, then: str, record: str) -> Scripted:
        return Scripted(comes(first, record), NEXT, lambda: both_have_decided.wait(20), comes(then, record), NEXT)

    boxes = [inbox("P", "Q", "D-1"), inbox("Q", "P", "D-2")]
    running = [
        threading.Thread(target=one.run, args=(box,), daemon=True) for one, box in zip(committers, boxes, strict=True)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(20)
        assert not thread.is_alive(), "they wait for each other"
    for box in boxes:
        assert sorted(box.answered) == [(lot, 201, "applied") for lot in lots]
    for lot in lots:
        assert {one.record for one in Reading(store).lot(lot).records} == {"D-1", "D-2"}
    assert verify(Reading(store).journals()).intact
