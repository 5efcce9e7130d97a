"""Orders: ready only when ERP, WMS, the customer's terms and every lot say so; each answer is kept when it changes."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from engine.errors import NotFound
from engine.order_readiness import Freshness, OrderReadinesses
from engine.readiness_record import ReadinessRecords
from engine.reference import References, Wanted
from engine.store.opening import Store
from tests.engine.test_genealogy import produce, released
from tests.engine.test_orders import ALLOCATION, ORDER

TODAY = date(2026, 11, 23)


class World:
    """A plant, and what ERP and WMS say of the order SO-1."""

    def __init__(self, plant: Any, store: Store, clock: Any, rulebook: Any) -> None:
        self.plant, self.store, self.clock, self.rulebook = plant, store, clock, rulebook
        self._references = References(store, clock, lambda: rulebook.vocabulary, {})
        self.records = ReadinessRecords(store, clock)

    def say(self, kind: str, key: str, content: Any, since: date = TODAY) -> None:
        wanted = Wanted(since, msgspec.Raw(json.dumps(content).encode()))
        self._references.put(kind, key, wanted, {"allocation": "wms"}.get(kind, "erp"))

    def all_is_well_made_of_raw(self) -> None:
        """As it is well, with a lot that was made of the lot RAW."""
        self.plant.receive("RAW")
        produce(self.plant, "L-1", "MO-1", "RAW")
        self.plant.inspect("L-1", *["74.000"] * 5)
        self.plant.send("lot.released.v1", "L-1", {})
        self.plant.agree()
        five = {"value": "5", "unit": "ea"}
        self.say("order", "SO-1", ORDER | {"lines": [ORDER["lines"][0] | {"quantity": five}]})
        self.say("allocation", "SO-1", allocated(quantity=five))
        self.say("customer", "BOLT-CO", {})

    def all_is_well(self) -> None:
        released(self.plant, "L-1")
        self.say("order", "SO-1", ORDER)
        self.say("allocation", "SO-1", ALLOCATION)
        self.say("customer", "BOLT-CO", {}, date(2026, 1, 1))

    def ask(self, **fresh: Any) -> Any:
        readinesses = OrderReadinesses(self.store, self.clock, Freshness(**fresh))
        return readinesses.of("SO-1", self.rulebook, "tester", TODAY)

    def against(self, **fresh: Any) -> list[tuple[str, str]]:
        answer = self.ask(**fresh)
        every = [*answer.against, *(one for part in (*answer.lines, *answer.lots) for one in part.against)]
        return [(one.rule, one.readiness.value) for one in every]


@pytest.fixture
def world(plant: Any, store: Store, clock: Any, rulebook: Any) -> World:
    return World(plant, store, clock, rulebook)


def allocated(**changes: Any) -> dict[str, Any]:
    return {"lines": [ALLOCATION["lines"][0] | changes]}


def test_an_order_is_ready_when_everybody_says_so_and_then_really_leaves(world: World) -> None:
    world.all_is_well()
    answer = world.ask()
    assert (answer.readiness.value, answer.customer) == ("ready", "BOLT-CO"), answer
    (line,) = answer.lines
    assert (line.line, line.ordered, line.allocated, line.unit, line.lots) == ("10", "60", "60", "ea", ["L-1"])
    facts = [(fact.kind, fact.key, fact.said_by, fact.age_seconds) for fact in answer.facts]
    assert facts == [("order", "SO-1", "erp", 0), ("allocation", "SO-1", "wms", 0), ("customer", "BOLT-CO", "erp", 0)]
    shipped = {"shipment": "S-1", "customer": "BOLT-CO", "order": "SO-1", "quantity": {"value": "60", "unit": "ea"}}
    assert world.plant.send("lot.shipped.v1", "L-1", shipped).outcome == "applied"


def test_an_order_of_which_nobody_has_said_anything_is_unknown(world: World) -> None:
    assert world.against() == [("ORDER-KNOWN", "unknown")]
    world.say("order", "SO-1", ORDER)
    assert world.against() == [("CUSTOMER-KNOWN", "unknown"), ("ALLOCATION-KNOWN", "unknown")]
    assert [line.readiness.value for line in world.ask().lines] == ["unknown"]


def test_each_system_can_keep_an_order_back_and_says_why(world: World) -> None:
    world.all_is_well()
    bad: list[tuple[str, str, Any, Any, str]] = [
        ("order", "SO-1", ORDER | {"status": "blocked", "reason": "credit"}, ORDER, "ORDER-RELEASABLE"),
        ("allocation", "SO-1", allocated(quantity={"value": "59", "unit": "ea"}), ALLOCATION, "ALLOCATION-MATCHES"),
        ("allocation", "SO-1", allocated(quantity={"value": "61", "unit": "ea"}), ALLOCATION, "ALLOCATION-MATCHES"),
        ("allocation", "SO-1", {"lines": []}, ALLOCATION, "ALLOCATION-MATCHES"),
        ("allocation", "SO-1", {"lines": [*ALLOCATION["lines"], ALLOCATION["lines"][0] | {"line": "20"}]}, ALLOCATION, "ALLOCATION-MATCHES"),
        ("order", "SO-1", ORDER | {"lines": [ORDER["lines"][0] | {"item": "DISC-1"}]}, ORDER, "ITEM-ORDERED"),
        ("order", "SO-1", ORDER | {"lines": [ORDER["lines"][0] | {"revision": "B"}]}, ORDER, "ITEM-ORDERED"),
    ]  # fmt: skip
    for kind, key, content, good, rule in bad:
        world.say(kind, key, content)
        assert (rule, "not_ready") in world.against(), rule
        assert world.ask().readiness.value == "not_ready"
        world.say(kind, key, good)
        assert world.against() == []
    world.plant.hold("L-1", "H-1")
    assert ("RELEASED", "not_ready") in world.against()


def test_what_a_lot_was_made_of_counts(world: World) -> None:
    world.all_is_well_made_of_raw()
    assert world.against() == []
    world.plant.hold("RAW", "H-1")
    assert world.against() == [("MADE-OF-GOOD-LOTS", "not_ready")]


def test_a_customer_gets_what_its_terms_say(world: World) -> None:
    world.all_is_well()
    terms = {"remaining_days": 10, "plants": ["P1"], "certificate": "certificate", "calendar": "BOLT"}
    world.say("customer", "BOLT-CO", terms)
    assert world.against() == [
        ("DELIVERY-DAY", "unknown"), ("SHELF-LIFE-ON-DELIVERY", "unknown"), ("APPROVED-PLANT", "unknown"),
        ("CERTIFICATE", "unknown"),
    ]  # fmt: skip
    world.say("calendar", "BOLT", {"closed_on": ["2026-12-01"]})
    world.say("customer", "BOLT-CO-2", {"calendar": "BOLT"})
    world.say("order", "SO-1", ORDER | {"customer": "BOLT-CO-2"})
    assert world.against() == [("DELIVERY-DAY", "not_ready")]
    world.say("order", "SO-1", ORDER | {"customer": "BOLT-CO-2", "deliver_on": "2026-12-02"})
    assert world.against() == []


def test_a_fact_that_is_too_old_is_what_the_policy_says(world: World) -> None:
    world.all_is_well()
    world.clock.forward(3601)
    world.say("order", "SO-1", ORDER)
    for policy, expected in (("unknown", [("FRESH", "unknown")]), ("not_ready", [("FRESH", "not_ready")]), ("accept", [])):
        assert world.against(stale_after_seconds=3600.0, policy=policy) == expected
    (_, old, terms) = world.ask(stale_after_seconds=3600.0).facts
    assert (old.kind, old.stale, old.age_seconds, terms.stale) == ("allocation", True, 3601, False)
    assert world.against(stale_after_seconds=0) == []
    world.say("allocation", "SO-1", ALLOCATION)  # said again, it is fresh
    assert world.against(stale_after_seconds=3600.0) == []


def test_what_has_left_is_not_asked_again(world: World) -> None:
    world.all_is_well()
    assert world.ask().left is False
    world.plant.send("lot.shipped.v1", "L-1", {"shipment": "S-1", "customer": "BOLT-CO", "order": "SO-1"})
    assert (world.against(), world.ask().left) == ([], True)


def test_a_lot_that_left_for_somebody_else_is_not_there(world: World) -> None:
    world.all_is_well()
    world.plant.send("lot.shipped.v1", "L-1", {"shipment": "S-1", "customer": "BOLT-CO", "order": "SO-2"})
    assert ("RELEASED", "not_ready") in world.against()
    world.say("allocation", "SO-1", allocated(state="shipped"))  # the warehouse says that it was for this order
    assert (world.against(), world.ask().left) == ([], True)


def test_an_answer_is_kept_when_it_is_another_than_before(world: World) -> None:
    assert world.records.keep(world.ask(), "tester").number is None
    with pytest.raises(NotFound):
        world.records.page("SO-1", 0, 10)
    world.all_is_well()
    first = world.records.keep(world.ask(), "tester")
    world.clock.forward(5)
    world.say("order", "SO-1", ORDER)
    again = world.records.keep(world.ask(), "somebody")
    assert (again.number, again.since, again.hash) == (first.number, first.since, first.hash) == (1, first.since, first.hash)
    world.plant.hold("L-1", "H-1")
    assert world.records.keep(world.ask(), "tester").number == 2
    (one, two), following = world.records.page("SO-1", 0, 10)
    assert (one.readiness, two.readiness, two.prev_hash, following) == ("ready", "not_ready", one.hash, None)
    assert list(world.records.breaks()) == []


def test_a_kept_answer_cannot_be_changed_and_one_that_was_is_found(world: World) -> None:
    world.all_is_well()
    world.records.keep(world.ask(), "tester")
    change = text("UPDATE readiness_answers SET readiness = 'not_ready'")
    with pytest.raises(Exception, match="append-only"), world.store.engine.begin() as connection:
        connection.execute(change)
    with world.store.engine.begin() as connection:
        for drop in ("readiness_answers_no_UPDATE",) if world.store.dialect == "sqlite" else ():
            connection.execute(text(f"DROP TRIGGER {drop.lower()}"))
        if world.store.dialect == "postgresql":
            connection.execute(text("DROP TRIGGER readiness_answers_append_only ON readiness_answers"))
        connection.execute(change)
    assert list(world.records.breaks()) == ["answer 1 about the order SO-1 was changed: its hash does not fit"]


def test_every_line_of_a_large_order_is_answered_for(world: World) -> None:
    lots = [f"L-{number}" for number in range(20)]
    for lot in lots:
        released(world.plant, lot)
    lines = [ORDER["lines"][0] | {"line": lot, "quantity": {"value": "100", "unit": "ea"}} for lot in lots]
    world.say("order", "SO-1", ORDER | {"lines": lines})
    parts = [{"line": lot, "lot": lot, "quantity": {"value": "100", "unit": "ea"}} for lot in lots]
    world.say("allocation", "SO-1", {"lines": parts})
    world.say("customer", "BOLT-CO", {})
    answer = world.ask()
    assert (answer.readiness.value, len(answer.lines), len(answer.lots)) == ("ready", 20, 20)
