"""May it leave now: ready only when nothing is against it, and every reason is said."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from engine import events as ev
from engine.errors import EventInvalid
from engine.family import pass_holds_on
from engine.readiness import Line, Question, Readiness, Readinesses
from engine.store.opening import Store
from tests.engine.test_genealogy import produce, released

TODAY = date(2026, 11, 23)


def ask(plant: Any, store: Store, rulebook: Any, *lots: Any, **more: Any) -> Any:
    lines = [lot if isinstance(lot, Line) else Line(lot) for lot in lots]
    question = Question("S-1", "BOLT-CO", lines, **more)
    return Readinesses(store, plant.pipeline._clock).of(question, rulebook, "tester", TODAY)


def reasons(line: Any) -> list[tuple[str, str]]:
    return [(one.rule, one.readiness.value) for one in line.against]


def test_released_lots_that_everybody_knows_are_ready_and_then_really_leave(plant: Any, store: Store, rulebook: Any) -> None:
    for lot in ("L1", "L2"):
        released(plant, lot)
    answer = ask(plant, store, rulebook, "L1", "L2")
    assert answer.readiness is Readiness.READY, answer
    assert [(line.lot, line.state, line.version, line.against) for line in answer.lines] == [
        ("L1", "released", 6, []), ("L2", "released", 6, [])
    ]  # fmt: skip
    assert answer.rule_set == rulebook.digest
    assert plant.send("lot.shipped.v1", "L1", {"shipment": "S-1", "customer": "BOLT-CO"}).outcome == "applied"
    plant.agree()
    assert reasons(ask(plant, store, rulebook, "L1").lines[0]) == [("RELEASED", "not_ready")]


def test_one_lot_that_may_not_leave_keeps_the_shipment_and_says_why(plant: Any, store: Store, rulebook: Any) -> None:
    released(plant, "L1")
    plant.receive("L2")
    plant.agree()
    answer = ask(plant, store, rulebook, "L1", "L2", "NEVER")
    assert answer.readiness is Readiness.NOT_READY
    assert [line.readiness.value for line in answer.lines] == ["ready", "not_ready", "unknown"]
    assert reasons(answer.lines[1]) == [("RELEASED", "not_ready")]
    assert reasons(answer.lines[2]) == [("LOT-KNOWN", "unknown")]
    assert ask(plant, store, rulebook, "L1", "NEVER").readiness is Readiness.UNKNOWN


def test_a_target_that_has_not_acknowledged_keeps_it(plant: Any, store: Store, rulebook: Any) -> None:
    plant.released("L1")
    plant.send("lot.released.v1", "L1", {})
    line = ask(plant, store, rulebook, "L1").lines[0]
    assert [one.readiness for one in line.against] == [Readiness.NOT_READY]
    assert "erp" in line.against[0].message
    plant.agree()
    assert ask(plant, store, rulebook, "L1").readiness is Readiness.READY


def test_quantities_units_and_shelf_life_are_those_of_the_shipment(plant: Any, store: Store, rulebook: Any) -> None:
    plant.receive("L1", expires_on="2027-03-01", plant="P1")
    plant.inspect("L1", *["74.000"] * 5)
    plant.send("lot.released.v1", "L1", {})
    plant.agree()

    def why(line: Any = "L1", **more: Any) -> list[str]:
        return [one.rule for one in ask(plant, store, rulebook, line, **more).lines[0].against]

    assert why() == []
    assert why(Line("L1", ev.Quantity(value=Decimal(101), unit="ea"))) == ["QUANTITY-AVAILABLE"]
    assert why(Line("L1", ev.Quantity(value=Decimal(5), unit="kg"))) == ["UNIT-OF-LOT"]
    assert why(deliver_on=date(2027, 3, 1)) == []
    assert why(deliver_on=date(2027, 3, 2)) == ["SHELF-LIFE-ON-DELIVERY"]
    assert why(deliver_on=date(2027, 2, 1), remaining_days=28) == []
    assert why(deliver_on=date(2027, 2, 1), remaining_days=29) == ["SHELF-LIFE-ON-DELIVERY"]
    assert why(plants=["P1", "P2"]) == []
    assert why(plants=["P2"]) == ["APPROVED-PLANT"]


def test_what_nobody_said_is_unknown(plant: Any, store: Store, rulebook: Any) -> None:
    released(plant, "L1")
    answer = ask(plant, store, rulebook, "L1", remaining_days=10, plants=["P1"])
    assert answer.readiness is Readiness.UNKNOWN
    assert reasons(answer.lines[0]) == [("SHELF-LIFE-ON-DELIVERY", "unknown"), ("APPROVED-PLANT", "unknown")]


def test_what_a_lot_was_made_of_is_looked_at_too(plant: Any, store: Store, rulebook: Any) -> None:
    plant.receive("RAW")
    produce(plant, "DONE", "MO-1", "RAW", "UNSEEN")
    released(plant, "OTHER")
    plant.inspect("DONE", *["74.000"] * 5)
    plant.send("lot.released.v1", "DONE", {})
    plant.agree()
    answer = ask(plant, store, rulebook, "DONE", "OTHER")
    assert reasons(answer.lines[0]) == [("MADE-OF-KNOWN-LOTS", "unknown")]
    assert answer.lines[1].readiness is Readiness.READY
    plant.receive("UNSEEN")
    assert ask(plant, store, rulebook, "DONE").readiness is Readiness.READY
    plant.inspect("RAW", *["75.000"] * 5)
    assert reasons(ask(plant, store, rulebook, "DONE").lines[0]) == [("MADE-OF-GOOD-LOTS", "not_ready")]


def test_a_hold_on_an_ancestor_withdraws_it_at_once_and_again_when_it_has_arrived(
    plant: Any, store: Store, rulebook: Any
) -> None:
    plant.receive("RAW")
    produce(plant, "DONE", "MO-1", "RAW")
    plant.inspect("DONE", *["74.000"] * 5)
    plant.send("lot.released.v1", "DONE", {})
    plant.agree()
    assert ask(plant, store, rulebook, "DONE").readiness is Readiness.READY
    plant.hold("RAW", "H-1")
    assert reasons(ask(plant, store, rulebook, "DONE").lines[0]) == [("MADE-OF-GOOD-LOTS", "not_ready")]
    while pass_holds_on(store, plant.pipeline):
        pass
    assert ("RELEASED", "not_ready") in reasons(ask(plant, store, rulebook, "DONE").lines[0])


def test_a_part_that_was_accepted_leaves_though_the_rest_is_rejected(plant: Any, store: Store, rulebook: Any) -> None:
    plant.receive("L1")
    plant.inspect("L1", *["75.000"] * 5)
    plant.send("lot.split.v1", "L1", {"children": [{"lot": "L1.A", "quantity": {"value": "90", "unit": "ea"}}]})
    accepted = {"decision": "use_as_is", "reason": {"code": "MRB"}, "restrictions": ["BOLT-CO"]}
    assert plant.send("lot.dispositioned.v1", "L1.A", accepted).outcome == "applied"
    plant.agree()
    assert ask(plant, store, rulebook, "L1.A").readiness is Readiness.READY
    assert ask(plant, store, rulebook, "L1").readiness is Readiness.NOT_READY


def test_a_lot_that_is_named_twice_is_refused(plant: Any, store: Store, rulebook: Any) -> None:
    with pytest.raises(EventInvalid, match="twice"):
        ask(plant, store, rulebook, "L1", "L1")
