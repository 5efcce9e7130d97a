"""Routing: each lot goes to the targets that take it, and a lot that nobody takes is seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.clock import system_clock
from engine.ledger import Ledger
from engine.pipeline import Pipeline
from engine.rerouting import look_again, route_again
from engine.routing import Route, RouteInvalid, Routes, Takes, load_routes
from engine.settings import load_settings
from engine.store.opening import Store

BERLIN = Route("erp_berlin", "erp", (Takes(plant=("BER",)),))
LYON = Route("erp_lyon", "erp", (Takes(plant=("LYS",), item=("RING-*", "DISC-1")), Takes(supplier=("",))))
WMS = Route("wms", "wms")
ROUTES = Routes((BERLIN, LYON, WMS))


@pytest.fixture
def plant(plant: Any, store: Store, judge: Any, rulebook: Any, clock: Any) -> Iterator[Any]:
    """A plant with two ERPs."""
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, rulebook, clock, ROUTES)
    plant.pipeline.start()
    yield plant
    plant.pipeline.stop()


def owed(store: Store) -> set[tuple[str, str, str]]:
    with store.reads.connect() as connection:
        return {tuple(row) for row in connection.execute(text("SELECT lot, target, state FROM deliveries"))}


def test_a_lot_goes_to_the_targets_that_take_it(plant: Any, store: Store) -> None:
    plant.receive("B", plant="BER")
    plant.receive("L", plant="LYS")
    assert owed(store) == {
        ("B", "erp_berlin", "pending"), ("B", "wms", "pending"), ("L", "erp_lyon", "pending"), ("L", "wms", "pending"),
    }  # fmt: skip


@pytest.mark.parametrize(("plant_code", "item", "supplier", "targets"), [
    ("BER", "X", "ACME", ("erp_berlin", "wms")),
    ("LYS", "RING-74", "ACME", ("erp_lyon", "wms")),
    ("LYS", "DISC-1", "ACME", ("erp_lyon", "wms")),
    ("LYS", "DISC-12", "ACME", ("wms", "unrouted-erp")),
    ("BER", "X", None, ("erp_berlin", "erp_lyon", "wms")),
    (None, "X", "ACME", ("wms", "unrouted-erp")),
])  # fmt: skip
def test_every_field_that_is_given_has_to_fit(
    plant_code: str | None, item: str, supplier: str | None, targets: tuple[str, ...]
) -> None:
    class Lot:
        revision, order, unit = "A", None, "ea"

    lot = Lot()
    lot.plant, lot.item, lot.supplier = plant_code, item, supplier  # type: ignore[attr-defined]
    assert ROUTES.of(lot) == targets  # type: ignore[arg-type]


def test_a_lot_that_nobody_takes_becomes_a_dead_letter_with_a_task_and_is_not_shipped(
    plant: Any, store: Store
) -> None:
    ledger = Ledger(store, system_clock)
    plant.receive("P", plant="PRG")
    plant.inspect("P", *["74.000"] * 5)
    assert route_again(store, ledger, ROUTES) == 1
    [task] = ledger.tasks.lines()
    assert (task.kind, task.subject, task.target) == ("delivery-dead", "P", "unrouted-erp")
    assert "no target of kind erp takes the lot (plant PRG, item RING-74, supplier ACME)" in task.detail
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'delivered' WHERE target = 'wms'"))
    answer = plant.send("lot.shipped.v1", "P", {"shipment": "S-1", "customer": "C-1"})
    assert answer.status == 409
    assert b"no target of kind erp takes it" in answer.body


def test_a_route_that_is_added_later_takes_what_nobody_took(plant: Any, store: Store) -> None:
    ledger = Ledger(store, system_clock)
    plant.receive("P", plant="PRG")
    route_again(store, ledger, ROUTES)
    more = Routes((*ROUTES.all, Route("erp_prague", "erp", (Takes(plant=("PRG",)),))))
    assert look_again(store, ledger, more) == 1
    assert route_again(store, ledger, more) == 1
    assert owed(store) == {("P", "wms", "pending"), ("P", "unrouted-erp", "superseded"), ("P", "erp_prague", "pending")}
    assert {seen.target for seen in ledger.acknowledged("P")} == {"wms", "erp_prague"}
    assert (look_again(store, ledger, more), route_again(store, ledger, more)) == (0, 0), "once is enough"


def test_a_new_target_is_owed_the_lots_that_it_takes_and_no_others(plant: Any, store: Store) -> None:
    for lot, code in (("B", "BER"), ("L", "LYS")):
        plant.receive(lot, plant=code)
    ledger = Ledger(store, system_clock)
    more = Routes((*ROUTES.all, Route("mes_berlin", "mes", (Takes(plant=("BER",)),)), Route("mes_rest", "mes", ())))
    assert look_again(store, ledger, more) == 1
    [delivery] = ledger.claim("mes_berlin", "w", 10, 30)
    assert (delivery.lot, delivery.version, delivery.status.stock) == ("B", 2, "quality")
    assert ledger.claim("mes_rest", "w", 10, 30) == []


def test_what_a_target_takes_stands_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "erp_lyon.yaml").write_text("kind: erp\ntakes:\n  - {plant: [LYS], item: ['RING-*']}\nname: x\n")
    (tmp_path / "wms.yaml").write_text("name: wms\n")
    settings = load_settings({"LOTGATE_TARGETS": "erp_lyon, wms", "LOTGATE_CONNECTORS": str(tmp_path)})
    assert load_routes(settings).all == (
        Route("erp_lyon", "erp", (Takes(plant=("LYS",), item=("RING-*",)),)), Route("wms", "wms"),
    )  # fmt: skip


@pytest.mark.parametrize("content", [None, "takes: [", "takes: [{palnt: [X]}]", "takes: [{plant: X}]", "kind: ERP 1"])
def test_a_route_that_cannot_be_read_is_said_with_its_file(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "erp.yaml").write_text(content)
    settings = load_settings({"LOTGATE_TARGETS": "erp", "LOTGATE_CONNECTORS": str(tmp_path)})
    with pytest.raises(RouteInvalid, match=r"erp\.yaml"):
        load_routes(settings)
