"""The connector alone, call by call, against the real system."""

import itertools
from collections.abc import Iterator

import pytest

from actors.connectors.format import load
from actors.connectors.http import Exchange
from actors.connectors.protocols import target_of
from actors.connectors.tryton import TrytonTarget
from engine.effects import StockStatus
from engine.ledger import Delivery, key_of
from engine.settings import SHIPPED_CONNECTORS, load_settings
from tests.proxy import Loss, Proxy
from tests.tryton.erp import Tryton

#: Canonical stock status: lot state, and whether it may be allocated.
STATES = {
    "quality": ("quarantined", False), "unrestricted": ("released", True), "restricted": ("released", True),
    "blocked": ("blocked", False), "issued": ("shipped", False), "none": ("blocked", False),
}  # fmt: skip
_numbers = itertools.count(1)


def target_at(url: str, key: str) -> TrytonTarget:
    settings = load_settings({"LOTGATE_ERP_URL": url, "LOTGATE_SECRET_TRYTON": key})
    found = target_of(load(SHIPPED_CONNECTORS / "tryton.yaml", settings))
    assert isinstance(found, TrytonTarget)
    return found


@pytest.fixture(scope="module")
def target(tryton: Tryton, line: Proxy) -> Iterator[TrytonTarget]:
    found = target_at(line.url, tryton.key)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def whole(line: Proxy) -> None:
    """Every test begins with a line that holds."""
    line.count_anew()


def delivery(lot: str, stock: str, version: int) -> Delivery:
    state, allocatable = STATES[stock]
    status = StockStatus(
        lot, version, "RING-74", "A", state, stock, allocatable, "100", "ea", None, None, [], []
    )  # fmt: skip
    return Delivery(version, lot, version, "erp", status, 1, 1, "2026-11-23T08:00:00Z")


def tell(target: TrytonTarget, lot: str, stock: str, version: int) -> Exchange:
    return target.deliver([delivery(lot, stock, version)])[0]


def new_lot(tryton: Tryton, put_away: bool = True) -> str:
    lot = f"LOT-{next(_numbers)}"
    tryton.goods_in(lot, put_away=put_away)
    return lot


def test_stock_lies_in_the_zone_of_its_status_and_each_change_is_one_document(
    tryton: Tryton, target: TrytonTarget
) -> None:
    lot = new_lot(tryton)
    for version, (stock, zone) in enumerate(
        [("quality", "QUALITY"), ("unrestricted", "AVAILABLE"), ("blocked", "BLOCKED"), ("restricted", "RESTRICTED")]
    ):
        assert tell(target, lot, stock, version).outcome == "applied"
        assert tryton.stock(lot) == {zone: 100}
    assert tryton.documents(lot) == [(key_of("erp", lot, version), "done") for version in range(4)]


def test_the_same_again_and_a_status_in_the_same_zone_move_nothing(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tell(target, lot, "quality", 1)
    assert tell(target, lot, "quality", 1).outcome == "duplicate"
    told = tell(target, lot, "quality", 2)
    assert (told.outcome, told.detail) == ("applied", "100 lie in QUALITY")
    assert len(tryton.documents(lot)) == 1


def test_a_customers_shipment_gets_stock_only_after_release(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    shipment = tryton.order(lot, 40)
    assert tryton.assign(shipment) == "waiting"
    for version, stock in enumerate(["quality", "blocked", "restricted"]):
        tell(target, lot, stock, version)
        assert tryton.assign(shipment) == "waiting", stock
    tell(target, lot, "unrestricted", 4)
    assert tryton.assign(shipment) == "assigned"


def test_a_hold_takes_reserved_stock_away_from_customers(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tell(target, lot, "unrestricted", 1)
    reserved, partly = tryton.order(lot, 40), tryton.order(lot, 90)
    assert (tryton.assign(reserved), tryton.assign(partly)) == ("assigned", "waiting")
    assert tell(target, lot, "blocked", 2).outcome == "applied"
    assert tryton.stock(lot) == {"BLOCKED": 100}
    assert (tryton.assign(reserved), tryton.assign(partly)) == ("waiting", "waiting")
    assert tryton.documents(lot)[-1] == (key_of("erp", lot, 2), "done")


def test_goods_that_are_picked_already_must_be_taken_back_by_somebody(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tell(target, lot, "unrestricted", 1)
    shipment = tryton.order(lot, 40)
    tryton.assign(shipment)
    tryton.pick(shipment)
    told = tell(target, lot, "blocked", 2)
    assert (told.outcome, told.away) == ("conflict", False)
    assert told.detail == "40 lie in an input or output zone: put them away, or take them back"
    assert tryton.stock(lot) == {"BLOCKED": 60, "OUT": 40}, "what can be blocked is"
    tryton.call("stock.shipment.out.cancel", [shipment])
    assert tryton.stock(lot) == {"BLOCKED": 60, "AVAILABLE": 40}
    assert tell(target, lot, "blocked", 2).outcome == "applied"
    assert tryton.stock(lot) == {"BLOCKED": 100}


def test_goods_that_are_not_put_away_yet_are_waited_for(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton, put_away=False)
    assert tell(target, lot, "unrestricted", 1).outcome == "conflict"
    assert tryton.documents(lot) == []
    tryton.put_away(lot)
    assert tell(target, lot, "unrestricted", 1).outcome == "applied"
    assert tryton.stock(lot) == {"AVAILABLE": 100}


def test_what_was_shipped_and_came_back_is_in_quality_again(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tell(target, lot, "unrestricted", 1)
    shipment = tryton.order(lot, 100)
    tryton.assign(shipment)
    tryton.ship(shipment)
    told = tell(target, lot, "issued", 2)
    assert (told.outcome, told.calls) == ("applied", [])
    tryton.goods_back(lot, 30)
    assert tell(target, lot, "quality", 3).outcome == "applied"
    assert tryton.stock(lot) == {"QUALITY": 30, "CUS": 70}


def test_a_document_left_by_an_older_status_holds_nothing_up(tryton: Tryton, target: TrytonTarget, line: Proxy) -> None:
    lot = new_lot(tryton)
    tell(target, lot, "quality", 1)
    line.fault = lambda method, path, before: "request" if path.partition("?")[0].endswith("/do") else None
    assert tell(target, lot, "unrestricted", 2).outcome == "retry"
    assert tryton.documents(lot)[-1] == (key_of("erp", lot, 2), "assigned"), "it reserves everything"
    line.count_anew()
    assert tell(target, lot, "blocked", 3).outcome == "applied"
    assert tryton.stock(lot) == {"BLOCKED": 100}
    states = [(key_of("erp", lot, 1), "done"), (key_of("erp", lot, 2), "cancelled"), (key_of("erp", lot, 3), "done")]
    assert tryton.documents(lot) == states


def test_stock_in_two_zones_goes_to_one_by_one_document(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tryton.goods_elsewhere(lot, 30, "STO", "AVAILABLE")
    tryton.goods_elsewhere(lot, 20, "STO", "BLOCKED")
    assert tell(target, lot, "quality", 1).outcome == "applied"
    assert tryton.stock(lot) == {"QUALITY": 100}
    assert len([ref for ref, _ in tryton.documents(lot) if ref.startswith("lotgate:")]) == 1


def test_where_it_counts_less_than_nothing_somebody_has_to_look(tryton: Tryton, target: TrytonTarget) -> None:
    lot = new_lot(tryton)
    tryton.goods_elsewhere(lot, 140, "STO", "OUT")
    told = tell(target, lot, "quality", 1)
    assert (told.outcome, told.detail) == ("conflict", "it counts less than nothing in STO or QUALITY: somebody has to look")


def test_unknown_and_ambiguous_lots_are_told_apart(tryton: Tryton, target: TrytonTarget) -> None:
    told = tell(target, "NOWHERE", "quality", 1)
    assert (told.outcome, told.detail) == ("conflict", "erp has no lot NOWHERE of RING-74")
    assert tell(target, "NOWHERE", "none", 2).outcome == "applied"
    lot = new_lot(tryton)
    tryton.call("stock.lot.create", [{"number": lot, "product": tryton.product("RING-74")}])
    told = tell(target, lot, "quality", 1)
    assert (told.outcome, told.detail) == ("permanent", f"2 lots of RING-74 have the number {lot}: each needs its own")


def test_a_key_that_is_not_accepted_is_said_to_be(tryton: Tryton) -> None:
    lot = new_lot(tryton)
    stranger = target_at(tryton.url, "not-a-key")
    told = tell(stranger, lot, "quality", 1)
    stranger.close()
    assert (told.outcome, told.away) == ("auth", True)
    assert "not-a-key" not in told.kept()


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_wherever_the_line_breaks_there_is_one_document_and_the_stock_is_right(
    tryton: Tryton, target: TrytonTarget, line: Proxy, loss: Loss
) -> None:
    lot = new_lot(tryton)
    assert tell(target, lot, "quality", 0).outcome == "applied"
    calls = sum(line.seen.values())
    assert calls >= 9
    for broken in range(calls):
        stock, zone = (("unrestricted", "AVAILABLE"), ("quality", "QUALITY"))[broken % 2]
        at = itertools.count()
        line.count_anew(lambda *_, at=at, broken=broken: loss if next(at) == broken else None)
        first = tell(target, lot, stock, broken + 1)
        assert (first.outcome, first.away) == ("retry", True), first
        assert len(line.lost) == 1
        line.count_anew()
        assert tell(target, lot, stock, broken + 1).outcome in ("applied", "duplicate")
        assert tryton.stock(lot) == {zone: 100}, (broken, loss)
    assert tryton.documents(lot) == [(key_of("erp", lot, version), "done") for version in range(calls + 1)]
    assert tryton.ever_negative([lot]) == []
