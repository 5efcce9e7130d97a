"""Shipped connector files on days that are worse than usual, each as the real system has them."""

from typing import Any

import pytest

from tests.contracts.conftest import FILES, ITEM, Wire
from tests.contracts.test_shipped_files import EXPECTED, Wiring, there


@pytest.mark.parametrize("said", [None, ""])
@pytest.mark.parametrize("stock", ["quality", "unrestricted", "blocked"])
def test_erpnext_says_nothing_of_a_new_batch(wire: Wiring, said: str | None, stock: str) -> None:
    """A custom field that nobody filled in is null."""
    one = wire("erpnext")
    lot = one.new_lot()
    one.door("change", lot=lot, to={"custom_quality_status": said})
    assert one.tell(lot, stock, 1).outcome == "applied"
    assert there(one, lot) == EXPECTED["erpnext"][stock]


def test_inventree_with_more_items_than_are_read_is_not_agreed_to(wire: Wiring) -> None:
    one = wire("inventree")
    lot = "LOT-OF-ITEMS"
    one.door("receive", batch=lot, IPN=ITEM, quantity=1, copies=502)
    told = one.tell(lot, "unrestricted", 1)
    assert (told.outcome, told.detail) == ("conflict", "it has 502 stock items of the batch, and only 500 are read")


def goods(wire: Wiring, plant: str) -> Wire:
    one = wire("sap_goods_movement")
    one.connector.constants["plant"] = plant
    return one


def test_sap_with_batches_by_plant_moves_nothing_of_another_plant(wire: Wiring) -> None:
    one = goods(wire, "1010")
    lot = one.new_lot(60)
    one.door("receive", lot=lot, item=ITEM, quantity=7, stock_plant="2020")
    assert one.tell(lot, "unrestricted", 1).outcome == "applied"
    mine = {(r["Plant"], r["InventoryStockType"]): float(r["MatlWrhsStkQtyInMatlBaseUnit"])
            for r in one.door()["stock"] if r["Batch"] == lot}  # fmt: skip
    assert mine == {("1010", "02"): 0, ("1010", "01"): 60, ("2020", "02"): 7}


def test_sap_s_special_stocks_are_not_posted_as_own_stock(wire: Wiring) -> None:
    one = goods(wire, "")
    lot = one.new_lot(60)
    one.door("receive", lot=lot, item=ITEM, quantity=7, special="K", places=["0002"])
    assert one.tell(lot, "unrestricted", 1).outcome == "applied"
    assert [i["StorageLocation"] for d in one.door()["documents"] for i in d["items"] if i["Batch"] == lot] == ["0001"]


@pytest.mark.parametrize("file", ["sap_goods_movement", "sap_usage_decision"])
def test_sap_that_answers_with_the_first_page_is_not_agreed_to(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    one.door("pages", times=9)
    told = one.tell(lot, "unrestricted", 1)
    one.door("pages", times=0)
    assert (told.outcome, "more than one page" in told.detail) == ("conflict", True), told


@pytest.mark.parametrize("file", ["odoo"])
def test_odoo_s_names_of_lots_and_quantities_are_the_plant_s_to_say(wire: Wiring, file: str) -> None:
    """stock.production.lot until 15; quantity from 17 on."""
    one = wire(file)
    constants: dict[str, Any] = one.connector.constants
    assert (constants["lots"], constants["done"]) == ("stock.lot", "qty_done")
    one.connector.constants["lots"] = "stock.production.lot"
    told = one.tell("L", "blocked", 1)
    assert told.calls[-1].json["params"]["args"][3] == "stock.production.lot"
    assert file in FILES
