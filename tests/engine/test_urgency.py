"""Holds go first, and the order of each lot is kept all the same."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from engine.decoding import decode_event
from engine.submission import Submission, submission
from engine.urgency import UrgentFirst

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
