"""From receipt to return, and through every fault: what Tryton's own records say is what Lotgate decided."""

import json
import signal
import time
from collections.abc import Iterator

import dramatiq
import pytest

from actors.broker import make_broker
from engine.settings import load_settings
from tests.proxy import Proxy, each_once
from tests.tryton.erp import Tryton
from tests.tryton.works import Works


@pytest.fixture(scope="module")
def works_running(tmp_path_factory: pytest.TempPathFactory, tryton: Tryton, line: Proxy) -> Iterator[Works]:
    running = Works(tmp_path_factory.mktemp("works"), tryton, line)
    yield running
    running.end()


@pytest.fixture
def works(works_running: Works) -> Works:
    """Everything runs, the line holds, nothing is owed."""
    works_running.line.count_anew()
    works_running.agree()
    return works_running


def test_a_lot_from_receipt_to_return(works: Works) -> None:
    tryton = works.tryton
    lot = works.receive()
    works.agree()
    assert tryton.stock(lot) == {"QUALITY": 100}
    order = tryton.order(lot, 40)
    assert tryton.assign(order) == "waiting", "nothing is picked before release"
    works.inspect(lot)
    assert works.state(lot) == "released"
    works.agree()
    assert tryton.stock(lot) == {"AVAILABLE": 100}
    assert tryton.assign(order) == "assigned"
    works.hold(lot)
    works.agree()
    assert tryton.stock(lot) == {"BLOCKED": 100}
    assert tryton.assign(order) == "waiting", "what was reserved is not shipped"
    works.lift(lot)
    works.send("lot.released.v1", lot, {})
    works.agree()
    everything = tryton.order(lot, 60)
    assert (tryton.assign(order), tryton.assign(everything)) == ("assigned", "assigned")
    shipped = works.send("lot.shipped.v1", lot, {"shipment": "S-1", "customer": "C-1"})
    assert shipped["state"]["after"] == "shipped"
    tryton.ship(order)
    tryton.ship(everything)
    works.agree()
    assert tryton.stock(lot) == {"CUS": 100}
    tryton.goods_back(lot, 100)
    works.send("lot.returned.v1", lot, {"rma": "RMA-1", "quantity": {"value": "100", "unit": "ea"}})
    works.agree()
    assert tryton.stock(lot) == {"QUALITY": 100}
    works.everything_is_where_it_must_be([lot])


def test_four_workers_and_needless_doorbells_move_nothing_twice(works: Works) -> None:
    broker = make_broker(load_settings({"LOTGATE_HOME": str(works.installation.directory / "var")}))
    lots = [works.receive() for _ in range(12)]
    for number in range(3):
        works.stories(lots[number * 4 : number * 4 + 4])
        for _ in range(30):
            broker.enqueue(dramatiq.Message(queue_name="erp", actor_name="sync_erp", args=(), kwargs={}, options={}))
    broker.close()
    works.agree()
    works.everything_is_where_it_must_be(lots)


def test_every_kind_of_request_and_every_kind_of_answer_is_lost_once(works: Works) -> None:
    lots = [works.receive() for _ in range(6)]
    works.agree()
    works.line.count_anew(each_once)
    works.stories(lots)
    works.agree()
    lost = set(works.line.lost)
    steps = ("POST stock.shipment.internal", *(f"POST stock.shipment.internal/{s}" for s in ("wait", "assign_try", "do")))
    for kind in (*steps, "GET stock.lot", "GET stock.location", "GET stock.shipment.internal"):
        assert {(kind, "request"), (kind, "answer")} <= lost
    works.everything_is_where_it_must_be(lots)


def test_tryton_is_killed_in_the_middle(works: Works) -> None:
    lots = [works.receive() for _ in range(8)]
    works.stories(lots)
    works.until(lambda: works.line.seen["POST stock.shipment.internal/assign_try"] > 2, 20, lambda: "nothing is under way")
    works.tryton.kill(signal.SIGKILL)
    time.sleep(1.0)
    assert works.owed(), "it was not in the middle"
    works.tryton.start()
    works.agree()
    works.everything_is_where_it_must_be(lots)


def test_what_somebody_carries_elsewhere_by_hand_is_found_and_said(works: Works) -> None:
    moved, left, good = works.receive(), works.receive(), works.receive()
    for lot in (left, good):
        works.inspect(lot)
        works.hold(lot)
    works.lift(good)
    works.send("lot.released.v1", good, {})
    works.agree()

    def drift() -> dict[str, tuple[str, str]]:
        done = works.installation.run("reconcile", "erp", "--json")
        assert done.returncode in (0, 1), done.stderr
        return {line["lot"]: (line["kind"], line["observed"]["zones"]) for line in json.loads(done.stdout)["drift"]}

    before = drift()
    works.tryton.goods_elsewhere(moved, 30, "QUALITY", "AVAILABLE")
    works.tryton.goods_gone(left, "BLOCKED")
    found = {lot: line for lot, line in drift().items() if lot not in before}
    assert found == {moved: ("changed-by-hand", "AVAILABLE, QUALITY"), left: ("left-while-blocked", "nowhere")}
