"""A lot at an instant is what it was then."""

from typing import Any

import pytest

from engine.as_of import PAGE, lot_as_of
from engine.clock import instant
from engine.errors import NotFound
from engine.store.opening import Store
from engine.store.reading import Reading


def test_every_state_that_a_lot_was_in_can_be_looked_up_again(plant: Any, store: Store, clock: Any) -> None:
    reading, then = Reading(store), []
    steps = [
        lambda: plant.receive("L1"), lambda: plant.hold("L1", "H-1"), lambda: plant.hold("L1", "H-2"),
        lambda: plant.lift("L1", "H-1"), lambda: plant.send("lot.consumed.v1", "L1", {
            "quantity": {"value": "1", "unit": "ea"}, "order": "MO-1", "confirmation": "C-1",
        }),
        lambda: plant.lift("L1", "H-2"), lambda: plant.inspect("L1", *["74.000"] * 5),
    ]  # fmt: skip
    before = instant(clock())
    for step in steps:
        clock.forward(60)
        step()
        then.append((instant(clock()), reading.lot("L1")))
    with pytest.raises(NotFound, match=f"no lot L1 at {before}"):
        lot_as_of(reading, "L1", before)
    for number, (moment, lot) in enumerate(then):
        found = lot_as_of(reading, "L1", moment)
        assert found.lot == lot
        assert found.until == (then[number + 1][0] if number + 1 < len(then) else None)
    clock.forward(30)
    assert lot_as_of(reading, "L1", instant(clock())).lot == then[-1][1]


def test_long_journals_are_folded_page_by_page(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L1")
    sent = [
        plant.pipeline.submit(plant.event(
            "hold.applied.v1" if n % 2 == 0 else "hold.lifted.v1", "L1", {"hold": "H", "reason": {"code": "x"}}
        ), "tester") for n in range(PAGE)
    ]  # fmt: skip
    assert {one.result(60).outcome for one in sent} == {"applied"}
    assert lot_as_of(Reading(store), "L1", instant(clock())).lot == Reading(store).lot("L1")
    assert Reading(store).lot("L1").version > PAGE
