"""What is decided and not yet written counts for what is decided after it, whoever waits for what."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from engine import pipeline
from engine.answer import Answer
from engine.clock import Clock
from engine.errors import LotgateError
from engine.feed import START, Feed
from engine.inbox import Waiting
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store import opening
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import Submission, submission
from rules.judge import TwoChannelJudge
from rules.rulebook import Case, Judgement, RuleBook
from tests.engine.test_concessions import rejected, use
from tests.engine.test_flights import NEXT, Scripted

TEN = {"value": "10", "unit": "ea"}


class Arrived(Scripted):
    """What has come; it may be answered with problems."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.outcomes: list[str] = []

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        self.outcomes += [a.outcome if isinstance(a, Answer) else type(a).__name__ for _, a in answers]


class Slow:
    """A judge that goes on when it is told to."""

    def __init__(self, judge: TwoChannelJudge) -> None:
        self._judge = judge
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def begin(self, cases: Sequence[Case]) -> Sequence[Case]:
        self.asked.set()
        return cases

    def finish(self, cases: Sequence[Case]) -> list[Judgement]:
        assert self.may_answer.wait(20)
        return self._judge.judge(cases)


@pytest.fixture
def committer(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock) -> Iterator[Pipeline]:
    one = Pipeline(store, judge, rulebook, clock)
    yield one
    one.stop()


def comes(plant: Any, type_: str, lot: str, data: dict[str, Any]) -> Waiting:
    return Waiting(submission(plant.event(type_, lot, data), "tester"))


def a_merge_is_met(plant: Any) -> list[Submission]:
    """What is decided together with a use of the concession by A: the split of P that the merge of M, with B, awaits."""
    for lot in ("P", "B"):
        plant.released(lot)
    parts = [{"lot": "CHILD", "quantity": TEN}, {"lot": "B", "quantity": TEN}]
    assert plant.send("lot.merged.v1", "M", {"parts": parts}).outcome == "parked"
    return [
        comes(plant, "lot.split.v1", "P", {"children": [{"lot": "CHILD", "quantity": TEN}]}).submission,
        comes(plant, "lot.dispositioned.v1", "A", use()).submission,
    ]


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
    assert inbox.answered == [("P", 201, "applied"), ("Q", 201, "applied")]
    assert Reading(store).lot("M") is not None
    assert [e.trigger for e in Reading(store).journal("SECOND")][-1] == "merge_into"
    assert verify(Reading(store).journals()).intact


def test_nobody_waits_for_a_concession_while_a_lot_is_locked_that_others_wait_for(
    plant: Any, store: Store, committer: Pipeline, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock
) -> None:
    """A batch that is decided alone has the concession and wants a lot; the one that has the lot wants the concession,
    on another connection: the database does not know that both are of one thread."""
    for lot in ("A", "X", "FIRST"):
        rejected(plant, lot, "20")
    assert plant.send("lot.dispositioned.v1", "FIRST", use()).status == 201
    slow = Slow(judge)
    alone = Pipeline(store, slow, rulebook, clock)
    together = a_merge_is_met(plant)
    answers: list[Any] = []
    elsewhere = threading.Thread(target=lambda: answers.extend(alone.process(together)), daemon=True)

    def begin() -> None:
        elsewhere.start()
        assert slow.asked.wait(20)

    take_off = committer._take_off

    def taking_off(batch: Any, flying: Any) -> Any:
        taken = take_off(batch, flying)
        if flying:
            slow.may_answer.set()
        return taken

    committer._take_off = taking_off  # type: ignore[method-assign]
    opened = {"record": "D-1", "kind": "deviation", "severity": "minor", "text": "."}
    inbox = Scripted(
        comes(plant, "lot.dispositioned.v1", "X", use()), NEXT, begin,
        comes(plant, "quality_record.opened.v1", "B", opened), NEXT,
    )  # fmt: skip
    running = threading.Thread(target=committer.run, args=(inbox,), daemon=True)
    running.start()
    for thread in (running, elsewhere):
        thread.join(20)
        assert not thread.is_alive(), "they wait for each other"
    alone.stop()
    assert sorted(inbox.answered) == [("B", 201, "applied"), ("X", 201, "applied")]
    assert [answer.outcome for answer in answers] == ["applied"] * 2
    assert Reading(store).lot("M").quantity == 20
    assert verify(Reading(store).journals()).intact


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite's one writer locks no lot
def test_a_lot_that_another_process_keeps_locked_stops_nobody_else(
    plant: Any, store: Store, committer: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine has stopped in the middle of a batch, say: the database goes on for hours before it notices."""
    monkeypatch.setattr(opening, "LOCKED_SECONDS", 0.5)
    monkeypatch.setattr(pipeline, "CONFLICT_SECONDS", 0.4)
    for lot in ("GONE", "HELD"):
        plant.receive(lot)
    stopped = store.raw()
    stopped.execute("BEGIN")
    stopped.execute("SELECT 1 FROM lots WHERE id = 'GONE' FOR UPDATE")
    opened = {"record": "D-1", "kind": "deviation", "severity": "minor", "text": "."}
    held = {"hold": "H", "reason": {"code": "R"}}
    inbox = Arrived(
        *(comes(plant, "quality_record.opened.v1", "GONE", opened | {"record": f"D-{n}"}) for n in range(40)),
        comes(plant, "hold.applied.v1", "HELD", held),
    )  # fmt: skip
    running = threading.Thread(target=committer.run, args=(inbox,), daemon=True)
    began = time.monotonic()
    running.start()
    running.join(20)
    stopped.close()
    assert not running.is_alive(), "the committer waits for a lot that nobody gives back"
    assert time.monotonic() - began < 10, "it is waited for once, and not by each of them"
    assert inbox.outcomes == ["applied"] + ["Contended"] * 40, "the hold is the first that is tried by itself"
    assert Reading(store).lot("HELD").state == "blocked"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite's one writer locks no lot
def test_a_process_that_has_stopped_lets_go_of_its_lots(
    plant: Any, store: Store, committer: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.receive("L")
    monkeypatch.setattr(opening, "STALLED_SECONDS", 0.3)
    stopped = store.raw()
    monkeypatch.undo()
    stopped.execute("BEGIN")
    stopped.execute("SELECT 1 FROM lots WHERE id = 'L' FOR UPDATE")
    held = {"hold": "H", "reason": {"code": "R"}}
    assert committer.process([comes(plant, "hold.applied.v1", "L", held).submission])[0].outcome == "applied"
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        stopped.execute("COMMIT")


def test_a_business_document_that_came_early_under_two_ids_is_applied_once(plant: Any, store: Store) -> None:
    lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": 1}]
    data = {"inspection": "IL-L", "record": "R-1", "measurements": lines}
    early = [plant.event("inspection.recorded.v1", "L", data) for _ in range(2)]
    for event in early:
        assert plant.pipeline.submit(event, "tester").result(20).outcome == "parked"
    plant.receive("L")
    assert plant.send("inspection.recorded.v1", "L", data).outcome == "duplicate"
    assert [entry.trigger for entry in Reading(store).journal("L")].count("record_inspection") == 1
    again = [plant.pipeline.submit(event, "tester").result(20) for event in early]
    assert sorted(answer.outcome for answer in again) == ["applied", "duplicate"]


def test_the_feed_has_the_entries_of_a_lot_in_order_whichever_transaction_began_first(
    plant: Any, store: Store, committer: Pipeline, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock
) -> None:
    """A batch that began before another one takes up what concerns the lot that the other has changed meanwhile."""
    rejected(plant, "A", "20")
    slow = Slow(judge)
    alone = Pipeline(store, slow, rulebook, clock)
    together = a_merge_is_met(plant)
    elsewhere = threading.Thread(target=alone.process, args=(together,), daemon=True)
    elsewhere.start()
    assert slow.asked.wait(20)
    opened = {"record": "D-1", "kind": "deviation", "severity": "minor", "text": "."}
    assert committer.process([comes(plant, "quality_record.opened.v1", "B", opened).submission])[0].status == 201
    slow.may_answer.set()
    elsewhere.join(20)
    alone.stop()
    changes = [change for _, change in Feed(store).after(START, 100)]
    assert [c.trigger for c in changes if c.lot == "B"][-2:] == ["record_opened", "merge_into"]
    for lot in {c.lot for c in changes}:
        versions = [c.version for c in changes if c.lot == lot]
        assert versions == list(range(1, len(versions) + 1)), lot
    assert len(changes) == sum(len(list(entries)) for _, entries, _ in Reading(store).journals())
