"""The history of holds is that of the journal, however many changes are decided at once."""

from typing import Any

from engine.holds import lines_of
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission


def at_once(plant: Any, *said: tuple[str, dict[str, Any]]) -> list[Any]:
    """Several events about L1 in one batch."""
    return list(plant.pipeline.process([submission(plant.event(type_, "L1", data), "tester") for type_, data in said]))


def hold(name: str, code: str = "SUSPECT") -> tuple[str, dict[str, Any]]:
    return "hold.applied.v1", {"hold": name, "reason": {"code": code}}


def lift(name: str) -> tuple[str, dict[str, Any]]:
    return "hold.lifted.v1", {"hold": name, "reason": {"code": "CLEARED"}}


def test_every_hold_of_one_batch_is_kept_with_its_own_versions(plant: Any, store: Store) -> None:
    plant.receive("L1")
    first = plant.hold("L1", "H0").version
    answers = at_once(plant, lift("H0"), hold("H1"), lift("H1"), hold("H1", "AGAIN"), hold("H0"))
    assert [a.status for a in answers] == [201] * 5
    reading = Reading(store)
    lines = reading.holds("L1")
    assert [(h.hold, h.reason, h.applied_version, h.lifted_version) for h in lines] == [
        ("H0", "recall", first, first + 1), ("H1", "SUSPECT", first + 2, first + 3), ("H1", "AGAIN", first + 4, None),
        ("H0", "SUSPECT", first + 5, None),
    ]  # fmt: skip
    assert lines == lines_of(reading.journal("L1"))
    assert [h.hold for h in reading.lot("L1").holds] == ["H1", "H0"]


def test_a_lot_that_is_held_in_the_batch_that_brings_it_says_so(plant: Any, store: Store) -> None:
    receipt = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
               "receipt": "GR"}  # fmt: skip
    at_once(plant, ("lot.received.v1", receipt), hold("H1"), lift("H1"), hold("H2"))
    reading = Reading(store)
    assert [(h.hold, h.lifted_at is None) for h in reading.holds("L1")] == [("H1", False), ("H2", True)]
    assert reading.holds("L1") == lines_of(reading.journal("L1"))
