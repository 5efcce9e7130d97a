"""Holds reach everything that was made of a lot, and leave it again; no lot is made of itself."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine.family import pass_holds_on
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.tracing import Genealogy
from tests.engine.test_genealogy import consume, produce, released

FAMILIES = itertools.count(1)


def hold(plant: Any, lot: str, name: str = "H-1", **more: Any) -> None:
    data = {"hold": name, "reason": {"code": "SUPPLIER-ALERT", "text": "cracks"}, **more}
    assert plant.send("hold.applied.v1", lot, data).outcome == "applied"


def lift(plant: Any, lot: str, name: str = "H-1") -> None:
    assert plant.send("hold.lifted.v1", lot, {"hold": name, "reason": {"code": "CLEARED"}}).outcome == "applied"


def settle(plant: Any, store: Store) -> int:
    """Until nothing is left to pass on."""
    said = 0
    while number := pass_holds_on(store, plant.pipeline):
        said += number
    return said


def holds(store: Store, lot: str) -> list[str]:
    return [hold.hold for hold in Reading(store).lot(lot).holds]


@pytest.fixture
def family(plant: Any) -> None:
    """RAW-1 -> MO-1 -> PART-1 -> DONE-1; PART-1 and RAW-2 -> DONE-2."""
    released(plant, "RAW-1")
    released(plant, "RAW-2")
    assert consume(plant, "RAW-1", "MO-1").outcome == "applied"
    produce(plant, "PART-1", "MO-1")
    produce(plant, "DONE-1", "MO-2", "PART-1")
    produce(plant, "DONE-2", "MO-3", "PART-1", "RAW-2")


@pytest.mark.usefixtures("family")
def test_a_hold_reaches_everything_that_was_made_of_the_lot_and_nothing_else(plant: Any, store: Store) -> None:
    settle(plant, store)
    hold(plant, "RAW-1")
    assert settle(plant, store) == 3
    for lot in ("PART-1", "DONE-1", "DONE-2"):
        seen = Reading(store).lot(lot)
        assert [(h.hold, h.scope, h.reason, h.source) for h in seen.holds] == [
            ("H-1@RAW-1", "parent", "SUPPLIER-ALERT", "lotgate/genealogy")
        ]  # fmt: skip
        assert seen.state == "blocked"
    assert holds(store, "RAW-2") == []
    assert settle(plant, store) == 0


@pytest.mark.usefixtures("family")
def test_it_ends_when_it_has_ended_on_every_parent(plant: Any, store: Store) -> None:
    hold(plant, "RAW-2", "H-2")
    hold(plant, "RAW-1")
    settle(plant, store)
    assert sorted(holds(store, "DONE-2")) == ["H-1@RAW-1", "H-2@RAW-2"]
    lift(plant, "RAW-1")
    settle(plant, store)
    assert (holds(store, "PART-1"), holds(store, "DONE-1"), holds(store, "DONE-2")) == ([], [], ["H-2@RAW-2"])


def test_a_recalls_hold_stays_while_one_of_two_parents_has_it(plant: Any, store: Store) -> None:
    for lot in ("A", "B"):
        plant.receive(lot)
    produce(plant, "C", "MO-1", "A", "B")
    for lot in ("A", "B"):
        hold(plant, lot, "recall:R1", scope="recall")
    settle(plant, store)
    assert holds(store, "C") == ["recall:R1"]
    lift(plant, "A", "recall:R1")
    settle(plant, store)
    assert holds(store, "C") == ["recall:R1"]
    lift(plant, "B", "recall:R1")
    settle(plant, store)
    assert holds(store, "C") == []


def test_what_is_born_of_a_held_lot_is_held(plant: Any, store: Store) -> None:
    plant.receive("A")
    hold(plant, "A")
    produce(plant, "C", "MO-1", "A")
    settle(plant, store)
    assert holds(store, "C") == ["H-1@A"]


def test_an_inherited_hold_that_somebody_lifted_stays_lifted(plant: Any, store: Store) -> None:
    plant.receive("A")
    produce(plant, "C", "MO-1", "A")
    hold(plant, "A")
    settle(plant, store)
    lift(plant, "C", "H-1@A")
    hold(plant, "A", "H-2")
    settle(plant, store)
    assert holds(store, "C") == ["H-2@A"]
    lift(plant, "A")
    hold(plant, "A")
    settle(plant, store)
    assert sorted(holds(store, "C")) == ["H-1@A", "H-2@A"], "it was placed again: that is another hold"


def test_a_shipped_lot_gets_it_too_and_is_to_come_back(plant: Any, store: Store) -> None:
    released(plant, "RAW-1")
    plant.send("lot.split.v1", "RAW-1", {"children": [{"lot": "RAW-1.A", "quantity": {"value": "40", "unit": "ea"}}]})
    plant.agree()
    assert plant.send("lot.shipped.v1", "RAW-1.A", {"shipment": "S", "customer": "C"}).outcome == "applied"
    hold(plant, "RAW-1")
    settle(plant, store)
    seen = Reading(store).lot("RAW-1.A")
    assert (seen.state, seen.recall_open, holds(store, "RAW-1.A")) == ("shipped", True, ["H-1@RAW-1"])


@pytest.mark.usefixtures("family")
def test_a_crash_in_between_says_nothing_twice(plant: Any, store: Store) -> None:
    settle(plant, store)
    hold(plant, "RAW-1")
    with store.reads.connect() as connection:
        notes = [tuple(row) for row in connection.execute(text("SELECT lot, hold, cause FROM spreading"))]
    settle(plant, store)
    before = [len(Reading(store).journal(lot)) for lot in ("PART-1", "DONE-1")]
    with store.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO spreading (lot, hold, cause) VALUES (:lot, :hold, :cause)"),
            [dict(zip(("lot", "hold", "cause"), note, strict=True)) for note in notes],
        )
    settle(plant, store)
    assert [len(Reading(store).journal(lot)) for lot in ("PART-1", "DONE-1")] == before


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("how", ["input", "order", "split"])
def test_no_lot_is_made_of_itself(plant: Any, store: Store, how: str) -> None:
    if how == "input":
        produce(plant, "NEW-2", "MO-9", "NEW-1")
        answer = produce(plant, "NEW-1", "MO-8", "NEW-2")
    elif how == "order":
        plant.inspect("DONE-1", *["74.000"] * 5)
        plant.agree()
        answer = consume(plant, "DONE-1", "MO-1")
    else:
        produce(plant, "X", "MO-9", "X.A")
        plant.inspect("X", *["74.000"] * 5)
        answer = plant.send("lot.split.v1", "X", {"children": [{"lot": "X.A", "quantity": {"value": "2", "unit": "ea"}}]})
    assert answer.outcome == "refused"
    assert b"NOT-ITS-OWN-ANCESTOR" in answer.body


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    births=st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=2, max_size=8),
    steps=st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), max_size=12),
)
def test_in_the_end_a_lot_carries_exactly_what_is_on_its_ancestors(
    plant: Any, store: Store, births: list[list[int]], steps: list[tuple[int, bool, bool]]
) -> None:
    head = f"{next(FAMILIES)}."
    of: dict[int, set[int]] = {}
    for number, parents in enumerate(births):
        above = sorted({p for p in parents if p < number})
        of[number] = set(above).union(*(of[p] for p in above)) if above else set()
        if above:
            produce(plant, f"{head}{number}", f"{head}MO-{number}", *(f"{head}{p}" for p in above))
        else:
            plant.receive(f"{head}{number}")
    placed: set[int] = set()
    for at, place, wait in steps:
        lot = at % len(births)
        if place and lot not in placed:
            hold(plant, f"{head}{lot}", "H")
            placed.add(lot)
        elif not place and lot in placed:
            lift(plant, f"{head}{lot}", "H")
            placed.discard(lot)
        if wait:
            settle(plant, store)
    settle(plant, store)
    for lot, above in of.items():
        expected = {f"H@{head}{a}" for a in above & placed} | ({"H"} if lot in placed else set())
        assert set(holds(store, f"{head}{lot}")) == expected
        forward = {node.id for node in Genealogy(store).trace([f"{head}{lot}"], "backward").nodes if node.kind == "lot"}
        assert forward == {f"{head}{a}" for a in above} | {f"{head}{lot}"}
