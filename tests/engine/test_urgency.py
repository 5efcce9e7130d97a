"""Holds go first, and the order of each lot is kept all the same."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from engine.answer import Answer
from engine.clock import Clock
from engine.decoding import decode_event
from engine.errors import LotgateError
from engine.events import Event
from engine.inbox import Waiting
from engine.pipeline import Pipeline
from engine.store.opening import Store
from engine.submission import Submission, submission
from engine.urgency import MOST_IN_A_ROW, UrgentFirst
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

DATA: dict[str, dict[str, Any]] = {
    "hold.applied.v1": {"hold": "H", "reason": {"code": "R"}},
    "lot.released.v1": {},
    "lot.split.v1": {"children": [{"lot": "L2", "quantity": {"value": 1, "unit": "ea"}}]},
}


class Item(Struct):
    submission: Submission
    number: int


def item(number: int, kind: str, lot: str) -> Item:
    event = {"specversion": "1.0", "id": str(number), "source": "s", "type": kind, "subject": lot, "data": DATA[kind]}
    return Item(submission(decode_event(json.dumps(event).encode()), "me"), number)


def order(*sent: tuple[str, str]) -> list[int]:
    queue: UrgentFirst[Item] = UrgentFirst()
    for number, (kind, lot) in enumerate(sent):
        queue.put(item(number, kind, lot))
    return [queue.take().number for _ in sent]


def test_a_hold_overtakes_what_does_not_concern_its_lot() -> None:
    assert order(("lot.released.v1", "L1"), ("lot.released.v1", "L3"), ("hold.applied.v1", "L9")) == [2, 0, 1]


def test_a_hold_overtakes_nothing_of_its_own_lot_nor_the_split_that_makes_it() -> None:
    assert order(("lot.released.v1", "L9"), ("hold.applied.v1", "L9")) == [0, 1]
    assert order(("lot.split.v1", "L1"), ("hold.applied.v1", "L2")) == [0, 1]


def test_two_holds_of_one_lot_keep_their_order_and_a_late_event_stays_behind_them() -> None:
    sent = ("lot.released.v1", "L1"), ("hold.applied.v1", "L9"), ("hold.applied.v1", "L9"), ("lot.released.v1", "L9")
    assert order(*sent) == [1, 2, 0, 3]


def test_of_very_many_holds_only_so_many_are_taken_before_anything_else() -> None:
    sent = [("lot.released.v1", "L1"), *(("hold.applied.v1", f"H{n}") for n in range(3 * MOST_IN_A_ROW)), ("lot.released.v1", "L2")]
    taken = order(*sent)
    assert taken.index(0) == MOST_IN_A_ROW
    assert taken.index(len(sent) - 1) == 2 * MOST_IN_A_ROW + 1
    assert [number for number in taken if sent[number][0] == "hold.applied.v1"] == list(range(1, 3 * MOST_IN_A_ROW + 1))


@given(st.lists(st.tuples(st.sampled_from(list(DATA)), st.sampled_from(["L1", "L2", "L3"])), max_size=30), st.data())
@settings(max_examples=80, deadline=None)
def test_events_that_share_a_lot_are_never_swapped_and_none_is_lost(sent: list[Any], data: st.DataObject) -> None:
    queue: UrgentFirst[Item] = UrgentFirst()
    taken: list[Item] = []
    for number, (kind, lot) in enumerate(sent):
        queue.put(item(number, kind, lot))
        if data.draw(st.booleans()):
            taken.append(queue.take())
    while len(queue):
        taken.append(queue.take())
    assert sorted(i.number for i in taken) == list(range(len(sent)))
    for at, one in enumerate(taken):
        for other in taken[at + 1 :]:
            if set(one.submission.touched) & set(other.submission.touched):
                assert one.number < other.number


class Line:
    """What a committer finds waiting, and in which batches it answers."""

    def __init__(self, events: list[Event]) -> None:
        self._queue: UrgentFirst[Waiting] = UrgentFirst()
        for number, event in enumerate(events):
            self._queue.put(Waiting(submission(event, "me"), None, number))
        self.batches: list[list[str]] = []
        self.taken = 0
        #: How many had been taken when the first batch was answered.
        self.taken_before = 0

    def take(self, wait: bool) -> Waiting | None:
        self.taken += 1
        return self._queue.take() if len(self._queue) else None

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        assert not any(isinstance(answer, LotgateError) for _, answer in answers)
        self.taken_before = self.taken_before or self.taken
        self.batches.append([str(w.submission.event.__struct_config__.tag) for w, _ in answers])


def test_a_hold_is_committed_in_a_small_batch_that_waits_for_no_other(
    store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Clock, plant: Any
) -> None:
    plant.receive("HELD")
    plant.pipeline.stop()
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME"}
    receipts = [plant.event("lot.received.v1", f"L{n}", data | {"receipt": f"GR-{n}"}) for n in range(200)]
    hold = plant.event("hold.applied.v1", "HELD", {"hold": "H", "reason": {"code": "R"}})
    line = Line([*receipts, hold])
    Pipeline(store, judge, rulebook, clock).run(line)
    first, *others = line.batches
    assert first[0] == "hold.applied.v1"
    assert len(first) <= 2, "nothing that could make it wait came along, but for the one that ended its batch"
    assert line.taken_before == len(first), "it was committed before another batch was taken"
    assert len(first) + sum(map(len, others)) == 201
