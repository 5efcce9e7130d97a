"""What one target refused for good, others are told back; journaled, and ended when it agrees. On both databases."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from engine.compensation import Compensations
from engine.decoding import decode_event
from engine.effects import StockStatus
from engine.errors import EventInvalid
from engine.journal import verify
from engine.ledger import Delivery, Ledger
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.upkeep import compensate

UNDO = {"erp": {"wms": "quality"}, "wms": {"erp": "quality"}}


@pytest.fixture(autouse=True)
def the_journal_verifies(plant: Any) -> Any:
    yield
    plant.pipeline.stop()
    report = verify(Reading(plant.store).journals())
    assert report.intact, report.breaks


class Told:
    """The ledger as workers use it, and what each target was told last."""

    def __init__(self, plant: Any, store: Store, clock: Any) -> None:
        self.plant, self.store, self.clock = plant, store, clock
        self.ledger = Ledger(store, clock)
        self.known: dict[str, StockStatus] = {}

    def claim(self, target: str) -> Delivery:
        [delivery] = self.ledger.claim(target, "w", 9, 30)
        return delivery

    def take(self, target: str) -> StockStatus:
        delivery = self.claim(target)
        assert self.ledger.complete(delivery)
        self.known[target] = delivery.status
        return delivery.status

    def refuse(self, target: str, failure: str = "permanent") -> Delivery:
        delivery = self.claim(target)
        assert self.ledger.dead(delivery, "422: no such item", failure=failure, undo=UNDO[target])
        return delivery

    def compensate(self) -> int:
        return compensate(self.store, self.plant.pipeline, self.clock)

    def idle(self, target: str) -> bool:
        return self.ledger.claim(target, "w", 9, 30) == []


@pytest.fixture
def told(plant: Any, store: Store, clock: Any) -> Told:
    """A released lot L, the WMS has taken it."""
    found = Told(plant, store, clock)
    plant.released("L")
    return found


def test_a_wms_that_took_a_lot_which_the_erp_refuses_is_told_to_keep_it(told: Told) -> None:
    assert told.take("wms").allocatable
    refused = told.refuse("erp")
    assert told.compensate() == 1
    back = told.take("wms")
    assert (back.stock, back.allocatable, back.version) == ("quality", False, refused.version + 1)
    assert back.reasons == [f"erp does not take version {refused.version}"]
    assert told.idle("erp"), "who refused is not told anything new"
    lot = Reading(told.store).lot("L")
    assert lot.state == "released"
    [dispute] = lot.disputes
    assert (dispute.target, dispute.version, dispute.undo) == ("erp", refused.version, {"wms": "quality"})
    entries = Reading(told.store).journal("L")
    entry = entries[-1]
    cause = next(e for e in entries if e.version == refused.version)
    assert (entry.type, entry.trigger, entry.causation_id) == ("delivery.refused.v1", "compensate", cause.event_id)
    assert told.ledger.tasks.lines()[0].detail.endswith("422: no such item (wms is told quality meanwhile)")


def test_it_ends_when_the_one_who_refused_agrees(told: Told) -> None:
    told.take("wms")
    refused = told.refuse("erp")
    told.compensate()
    told.take("wms")
    assert told.ledger.replay(lot="L") == 1
    assert told.compensate() == 0
    assert told.take("erp").version == refused.version
    assert told.compensate() == 1
    again = told.take("wms")
    assert (again.stock, again.allocatable, again.reasons) == ("unrestricted", True, [])
    assert Reading(told.store).lot("L").disputes == ()
    assert Reading(told.store).journal("L")[-1].trigger == "settle"
    assert (told.compensate(), told.idle("erp"), told.idle("wms")) == (0, True, True)
    assert told.ledger.tasks.settle() == 1


def test_a_lot_in_dispute_is_not_shipped(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    told.take("wms")
    answer = told.plant.send("lot.shipped.v1", "L", {"shipment": "S-1", "customer": "C"})
    assert answer.status == 409
    assert "erp did not acknowledge" in json.loads(answer.body)["rules"][0]["message"]


def test_what_is_decided_meanwhile_is_told_within_the_dispute(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    told.take("wms")
    told.plant.send("lot.consumed.v1", "L", {"quantity": {"value": "1", "unit": "ea"}, "order": "PO"})
    back = told.take("wms")
    assert (back.stock, back.allocatable, back.quantity) == ("quality", False, "99")
    assert told.claim("erp").status.stock == "unrestricted", "who refused is told the truth"


def test_a_hold_during_the_dispute_goes_to_everybody_as_it_is(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    told.plant.hold("L", "H")
    assert told.take("wms").stock == "blocked"
    assert told.take("erp").stock == "blocked"
    assert told.compensate() == 1
    assert Reading(told.store).lot("L").disputes == ()
    assert (told.idle("erp"), told.idle("wms")) == (True, True), "the end of the dispute changes nothing for anybody"


def test_a_crash_between_journal_and_mark_journals_it_once(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    with told.store.engine.begin() as connection:
        connection.execute(text("UPDATE compensations SET state = 'wanted'"))
    told.compensate()
    assert [e.trigger for e in Reading(told.store).journal("L")].count("compensate") == 1


def test_refused_again_after_it_was_settled_is_compensated_again(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    told.take("wms")
    told.ledger.replay()
    told.clock.forward(1)
    told.refuse("erp", "exhausted")
    assert told.compensate() == 0, "the dispute stands already"
    told.ledger.replay()
    told.take("erp")
    told.compensate()
    assert told.take("wms").allocatable
    with told.store.engine.begin() as connection:  # as after a reconciliation that told it again
        connection.execute(text("UPDATE deliveries SET state = 'pending' WHERE target = 'erp' AND state = 'delivered'"
                                " AND version = (SELECT max(version) FROM deliveries WHERE target = 'erp')"))  # fmt: skip
    told.clock.forward(1)
    told.refuse("erp")
    assert told.compensate() == 1
    assert told.take("wms").stock == "quality"


def test_agreed_to_before_it_was_taken_up_nothing_is_journaled(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.ledger.replay()
    told.take("erp")
    assert told.compensate() == 1
    assert Reading(told.store).lot("L").disputes == ()
    assert told.idle("wms")
    assert Compensations(told.store, told.clock).counts() == {}


def test_two_that_refuse_come_to_an_end_in_either_order(told: Told) -> None:
    told.refuse("erp")
    told.refuse("wms")
    told.compensate()
    assert {d.target for d in Reading(told.store).lot("L").disputes} == {"erp", "wms"}
    assert told.idle("erp"), "it took nothing that would have to be undone"
    assert told.take("wms").stock == "quality"
    told.compensate()
    assert [d.target for d in Reading(told.store).lot("L").disputes] == ["erp"], "the WMS takes quality"
    assert told.take("wms").stock == "quality"
    told.ledger.replay(target="erp")
    told.take("erp")
    told.compensate()
    told.clock.forward(1)
    told.refuse("wms")
    told.compensate()
    assert told.take("erp").stock == "quality", "now it is the WMS that refuses"
    told.ledger.replay(target="wms")
    assert told.take("wms").allocatable
    told.compensate()
    assert told.take("erp").stock == "unrestricted"
    assert Reading(told.store).lot("L").disputes == ()
    told.compensate()
    assert (told.idle("erp"), told.idle("wms")) == (True, True)


def test_a_child_of_a_disputed_lot_is_not_disputed(told: Told) -> None:
    told.take("wms")
    told.refuse("erp")
    told.compensate()
    told.plant.send("lot.split.v1", "L", {"children": [{"lot": "L-1", "quantity": {"value": "10", "unit": "ea"}}]})
    assert Reading(told.store).lot("L-1").disputes == ()
    assert len(Reading(told.store).lot("L").disputes) == 1


def test_nobody_else_can_say_that_a_target_refused_or_agreed() -> None:
    for type_, data in (
        ("delivery.refused.v1", {"target": "erp", "version": 1, "failure": "late", "detail": "", "undo": {}}),
        ("delivery.agreed.v1", {"target": "erp", "version": 1}),
    ):
        sent = {"specversion": "1.0", "id": "1", "source": "lotgate/ledger", "type": type_, "subject": "L", "data": data}
        with pytest.raises(EventInvalid):
            decode_event(json.dumps(sent).encode())
