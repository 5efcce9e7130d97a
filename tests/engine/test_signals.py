"""A warehouse is told once whether an order may leave, and again as soon as that changes, until the order has left."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from engine.errors import EventInvalid, SettingInvalid
from engine.family import pass_holds_on
from engine.ledger import Ledger
from engine.order_readiness import Freshness, OrderReadinesses
from engine.reference import Wanted
from engine.settings import Settings, load_settings
from engine.signals import ASK_AGAIN_SECONDS, ROUND, Signals, signals_of
from engine.store.opening import Store
from tests.engine.test_order_readiness import TODAY, World, allocated
from tests.engine.test_orders import ALLOCATION, ORDER


class Told(World):
    """A plant whose warehouse is told of orders."""

    def __init__(self, *around: Any) -> None:
        super().__init__(*around)
        self.ledger = Ledger(self.store, self.clock)
        self.rung: list[str] = []
        readinesses = OrderReadinesses(self.store, self.clock, Freshness(3600.0))
        self.signals = Signals(self.store, self.clock, ["wms_orders"], readinesses, self.rung.extend)

    def send(self) -> Any:
        return self.signals.send("SO-1", self.rulebook, "shipper", TODAY)

    def watch(self, today: date = TODAY) -> int:
        return self.signals.watch(lambda: self.rulebook, today)

    def asked_at(self) -> dict[str, float]:
        """When each watched order was asked about last."""
        with self.store.reads.connect() as connection:
            query = "SELECT order_number, asked_at FROM signalled_orders ORDER BY order_number"
            return {row.order_number: row.asked_at for row in connection.execute(text(query))}

    def told(self) -> list[tuple[int, str, str]]:
        """Number, readiness and state of every signal."""
        return [(line.version, _state(line), line.state) for line in self.ledger.lines(lot="order:SO-1", target="wms_orders")]


def _state(line: Any) -> str:
    return str(json.loads(bytes(line.status))["state"])


@pytest.fixture
def world(plant: Any, store: Store, clock: Any, rulebook: Any) -> Told:
    return Told(plant, store, clock, rulebook)


def test_a_signal_is_a_delivery_and_sending_it_again_owes_nothing_more(world: Told) -> None:
    world.all_is_well()
    first = world.send()
    assert (first.release, first.answered.number, first.targets, world.rung) == (True, 1, ["wms_orders"], ["wms_orders"])
    assert world.send().answered.number == 1
    assert world.told() == [(1, "ready", "pending")]
    (delivery,) = world.ledger.claim("wms_orders", "w", 10, 10)
    status = delivery.status
    assert (status.lot, status.version, status.item, status.stock, status.allocatable) == ("SO-1", 1, "BOLT-CO", "unrestricted", True)
    assert delivery.key == "lotgate:wms_orders:order%3ASO-1:1"
    assert [d.target for d in world.ledger.claim("wms", "w", 10, 10)] == []


def test_a_hold_on_anything_it_was_made_of_takes_the_release_back_and_lifting_it_gives_it_again(world: Told) -> None:
    world.all_is_well_made_of_raw()
    assert world.send().release is True
    assert world.watch() == 0
    world.plant.hold("RAW", "H-1")
    while pass_holds_on(world.store, world.plant.pipeline):
        pass
    assert (world.watch(), world.watch()) == (1, 0)
    assert [state for _, state, _ in world.told()] == ["ready", "not_ready"]
    (newest,) = world.ledger.claim("wms_orders", "w", 10, 10)
    assert (newest.status.allocatable, newest.status.stock) == (False, "blocked")
    assert any("RELEASED" in reason for reason in newest.status.reasons)
    assert world.told()[0][2] == "superseded"
    world.plant.lift("RAW", "H-1")
    while pass_holds_on(world.store, world.plant.pipeline):
        pass
    world.plant.send("lot.released.v1", "L-1", {})
    world.plant.agree()
    assert world.watch() == 1
    assert world.told()[-1][1] == "ready"


def test_what_has_changed_comes_first_and_the_rest_in_rounds_however_many_are_watched(world: Told) -> None:
    world.all_is_well()
    orders = [f"SO-{n:03}" for n in range(ROUND + 20)]
    for order in (*orders, "ZZ-LAST"):
        world.say("order", order, ORDER)
        world.say("allocation", order, allocated(lot="L-2") if order == "ZZ-LAST" else ALLOCATION)
    world.plant.released("L-2")
    world.plant.agree()
    for order in (*orders, "ZZ-LAST"):
        world.signals.send(order, world.rulebook, "shipper", TODAY)
    before = world.asked_at()
    world.clock.forward(ASK_AGAIN_SECONDS)
    world.plant.hold("L-2", "H-1")
    assert world.watch() == 1
    after = world.asked_at()
    anew = [order for order in after if after[order] != before[order]]
    assert anew == [*orders[:ROUND], "ZZ-LAST"]
    world.watch()
    assert all(world.asked_at()[order] != before[order] for order in orders)


def test_what_erp_and_wms_say_later_counts_and_so_does_time(world: Told) -> None:
    world.all_is_well()
    world.send()
    world.say("order", "SO-1", ORDER | {"status": "blocked", "reason": "credit"})
    assert world.watch() == 1
    world.say("order", "SO-1", ORDER)
    world.say("allocation", "SO-1", allocated(quantity={"value": "1", "unit": "ea"}))
    assert world.watch() == 1
    world.say("allocation", "SO-1", ALLOCATION)
    assert world.watch() == 1
    world.clock.forward(3601)
    assert world.watch() == 1
    assert [state for _, state, _ in world.told()] == ["ready", "not_ready", "not_ready", "ready", "unknown"]
    world.clock.forward(ASK_AGAIN_SECONDS)
    assert world.watch() == 0


def test_an_answer_that_somebody_else_asked_for_meanwhile_is_signalled_all_the_same(world: Told) -> None:
    world.all_is_well()
    world.send()
    world.plant.hold("L-1", "H-1")
    assert world.records.keep(world.ask(), "reader").number == 2
    assert world.watch() == 1
    assert [number for number, _, _ in world.told()] == [1, 2]


@pytest.mark.parametrize("how", ["shipped", "allocation", "closed"])
def test_an_order_that_has_left_is_watched_no_more_and_nothing_is_taken_back(world: Told, how: str) -> None:
    world.all_is_well()
    world.send()
    if how == "shipped":
        world.plant.send("lot.shipped.v1", "L-1", {"shipment": "S-1", "customer": "BOLT-CO", "order": "SO-1"})
    elif how == "allocation":
        world.say("allocation", "SO-1", allocated(state="shipped"))
    else:
        world.say("order", "SO-1", ORDER | {"status": "closed"})
    assert world.watch() == 0
    with world.store.reads.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM signalled_orders")).scalar_one() == 0
    assert [state for _, state, _ in world.told()] == ["ready"]


def test_a_change_of_terms_names_the_orders_that_rest_on_them_before_it_is_made(world: Told) -> None:
    world.all_is_well()
    world.send()
    wanted = Wanted(TODAY, msgspec.Raw(b'{"remaining_days": 90}'))
    affects = world._references.put("customer", "BOLT-CO", wanted, "erp", dry_run=True).affects
    assert affects is not None
    assert affects.orders == ["SO-1"]
    assert world.watch() == 0


def test_nothing_is_signalled_of_an_order_that_nobody_knows_or_to_nobody(world: Told) -> None:
    with pytest.raises(EventInvalid, match="nothing to signal"):
        world.send()
    world.all_is_well()
    with pytest.raises(EventInvalid, match="LOTGATE_SIGNAL_TARGETS"):
        signals_of(Settings(), world.store, world.clock).send("SO-1", world.rulebook, "x", TODAY)


@pytest.mark.parametrize("names", ["wms", "WMS Orders", "wms_orders, wms_orders"])
def test_names_that_cannot_be_told_apart_from_others_are_refused(names: str) -> None:
    with pytest.raises(SettingInvalid, match="LOTGATE_"):
        load_settings({"LOTGATE_SIGNAL_TARGETS": names})
