"""Shipped connector files against servers that keep to what is known of each system."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from engine.ledger import key_of
from tests.contracts.conftest import FILES, Wire
from tests.proxy import Loss

#: What each system has of a lot, in the words of its file; None where it has nothing.
MOVING = ("odoo", "odoo_json2", "sap_goods_movement")


def there(wire: Wire, lot: str) -> dict[str, float]:
    """Where the system itself has the lot: word -> quantity, from its own records."""
    state = wire.door()
    match wire.file:
        case "inventree":
            return _summed((str(i["status"]), i["quantity"]) for i in state["items"] if i["batch"] == lot and not i["customer"])
        case "odoo" | "odoo_json2":
            return _summed((q["location_id"][1], q["quantity"]) for q in state["quants"] if q["lot_id"][1] == lot)
        case "erpnext":
            batch = next(b for b in state["batches"] if b["name"] == lot)
            return {f"{batch['custom_quality_status']}/{batch['disabled']}": 1.0}
        case "sap_batch_status":
            return {"restricted" if state["batches"][lot]["MatlBatchIsInRstrcdUseStock"] else "free": 1.0}
        case "sap_goods_movement":
            return _summed((r["InventoryStockType"], float(r["MatlWrhsStkQtyInMatlBaseUnit"]))
                           for r in state["stock"] if r["Batch"] == lot)  # fmt: skip
    raise AssertionError(wire.file)


def _summed(pairs: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for word, quantity in pairs:
        found[word] = found.get(word, 0.0) + quantity
    return {word: quantity for word, quantity in found.items() if quantity}


#: What the system ought to have when a lot of 100 is told a status.
EXPECTED: dict[str, dict[str, dict[str, float]]] = {
    "inventree": {"quality": {"75": 100}, "unrestricted": {"10": 100}, "blocked": {"65": 100}},
    "odoo": {
        "quality": {"WH/Stock/Quality": 100}, "unrestricted": {"WH/Stock": 100}, "blocked": {"WH/Stock/Blocked": 100},
    },
    "erpnext": {"quality": {"Quality/1": 1}, "unrestricted": {"Released/0": 1}, "blocked": {"Blocked/1": 1}},
    "sap_batch_status": {"quality": {"restricted": 1}, "unrestricted": {"free": 1}, "blocked": {"restricted": 1}},
    "sap_goods_movement": {"quality": {"02": 100}, "unrestricted": {"01": 100}, "blocked": {"07": 100}},
}  # fmt: skip
EXPECTED["odoo_json2"] = EXPECTED["odoo"]
EVERY = [file for file in FILES if file != "sap_usage_decision"]
Wiring = Callable[..., Wire]


@pytest.mark.parametrize("file", EVERY)
def test_a_lot_is_brought_from_status_to_status(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    for version, stock in enumerate(("quality", "unrestricted", "blocked", "quality", "blocked", "unrestricted"), 1):
        told = one.tell(lot, stock, version)
        assert told.outcome in ("applied", "in_sync"), told
        assert there(one, lot) == EXPECTED[file][stock], told
        again = one.tell(lot, stock, version)
        assert again.outcome == "in_sync", again
        word = one.connector.stock[stock]
        assert one.reads(lot, stock) == {"observed": word, "left": False}
    assert one.tell(lot, "issued", 9).outcome == "ignored"
    assert one.reads(lot, "issued") == {"observed": "ignore", "left": False}


@pytest.mark.parametrize("file", FILES)
def test_a_lot_that_is_not_there_yet_waits_for_somebody(wire: Wiring, file: str) -> None:
    told = wire(file).tell("NOWHERE", "blocked", 1)
    assert (told.outcome, told.away) == ("conflict", False), told


@pytest.mark.parametrize("file", FILES)
def test_a_key_that_is_not_accepted_is_said_to_be_and_never_kept(wire: Wiring, file: str) -> None:
    one = wire(file, dict.fromkeys(FILES[file][1], "wr0ng-key"))
    told = one.tell("LOT-1", "blocked", 1)
    assert (told.outcome, told.away) == ("auth", True), told
    assert "wr0ng" not in told.kept() + told.detail


@pytest.mark.parametrize("file", FILES)
def test_no_secret_is_kept_of_what_went_well(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    told = one.tell(lot, "blocked", 1)
    assert told.outcome in ("applied", "in_sync"), told
    assert told.calls
    for secret in (*FILES[file][1].values(), "ticket-", "inv-0"):
        assert secret not in told.kept(), secret


@pytest.mark.parametrize("loss", ["request", "answer"])
@pytest.mark.parametrize("file", EVERY)
def test_wherever_the_line_breaks_the_stock_is_right_in_the_end(wire: Wiring, file: str, loss: Loss) -> None:
    one = wire(file)
    lot = one.new_lot()
    assert one.tell(lot, "blocked", 1).outcome == "applied"
    one.line.count_anew()
    assert one.tell(lot, "unrestricted", 2).outcome == "applied"
    calls = sum(one.line.seen.values())
    assert calls >= 3
    hit = 0
    for broken in range(calls):
        stock = ("blocked", "unrestricted")[broken % 2]
        at = itertools.count()
        one.line.count_anew(lambda *_, at=at, broken=broken: loss if next(at) == broken else None)
        first = one.tell(lot, stock, broken + 3)
        hit += bool(one.line.lost)
        if one.line.lost:
            assert first.outcome in ("retry", "unknown"), first
            assert first.away
        one.line.count_anew()
        second = one.tell(lot, stock, broken + 3)
        assert second.outcome in ("applied", "in_sync"), second
        assert there(one, lot) == EXPECTED[file][stock], (broken, loss)
    assert hit >= calls - 1, "a token that is known is not fetched again"
    _no_document_twice(one, lot)


def _no_document_twice(one: Wire, lot: str) -> None:
    state = one.door()
    if one.file.startswith("odoo"):
        mine = [p for p in state["pickings"] if p["origin"].startswith(key_of("erp", lot, 1)[:-1])]
        done = [p["origin"] for p in mine if p["state"] == "done"]
        assert len(done) == len(set(done))
        assert all(q["quantity"] > 0 for q in state["quants"] if q["lot_id"][1] == lot)
        assert done
        assert [p for p in mine if p["state"] == "draft"] == []
    if one.file == "sap_goods_movement":
        assert all(float(row["MatlWrhsStkQtyInMatlBaseUnit"]) >= 0 for row in state["stock"])
        texts = [d["text"] for d in state["documents"] if d["items"][0]["Batch"] == lot]
        assert len(texts) == len(set(texts))
    if one.file == "inventree":
        notes = [t["note"] for t in state["track"] if t["note"].startswith(key_of("wms", lot, 1)[:-1])]
        assert notes
        assert len(notes) == len(set(notes))


@pytest.mark.parametrize("file", MOVING)
def test_what_somebody_moved_in_part_is_brought_together(wire: Wiring, file: str) -> None:
    one = wire(file)
    more: dict[str, Any] = {"places": ["0001", "0002"]} if file == "sap_goods_movement" else {}
    lot = one.new_lot(60, **more)
    one.tell(lot, "unrestricted", 1)
    total = sum(there(one, lot).values())
    assert one.tell(lot, "blocked", 2).outcome == "applied"
    assert there(one, lot) == {one.connector.stock["blocked"]: total}


def _transfers(one: Wire, lot: str, version: int) -> list[str]:
    """States of Odoo's transfers of one delivery."""
    return [p["state"] for p in one.door()["pickings"] if p["origin"] == key_of("erp", lot, version)]


# -- each system's own ways -------------------------------------------------------------------------------------------


def test_inventree_is_logged_in_to_once_and_again_when_the_token_is_gone(wire: Wiring) -> None:
    one = wire("inventree")
    before = one.door()["logins"]
    lots = [one.new_lot() for _ in range(5)]
    for lot in lots:
        assert one.tell(lot, "blocked", 1).outcome == "applied"
    assert one.door()["logins"] == before + 1
    one.door("forget-tokens")
    assert one.tell(lots[0], "unrestricted", 2).outcome == "applied"
    assert one.door()["logins"] == before + 2


def test_inventree_that_is_busy_is_tried_again(wire: Wiring) -> None:
    one = wire("inventree")
    lot = one.new_lot()
    one.door("busy", times=1)
    told = one.tell(lot, "blocked", 1)
    assert (told.outcome, told.detail) == ("retry", "its database is busy")
    assert one.tell(lot, "blocked", 1).outcome == "applied"


def test_inventree_lets_blocked_stock_leave_and_that_is_seen(wire: Wiring) -> None:
    one = wire("inventree")
    lot = one.new_lot()
    one.tell(lot, "blocked", 1)
    item = next(i for i in one.door()["items"] if i["batch"] == lot)
    one.door("ship", pk=item["pk"], quantity=40)
    assert one.reads(lot, "blocked") == {"observed": "65, and some has left the house", "left": True}
    assert one.reads(lot, "unrestricted", quantity="60") == {"observed": "65", "left": False}, "40 left as they may"
    one.door("ship", pk=item["pk"], quantity=60)
    assert one.reads(lot, "blocked") == {"observed": "nothing, and some has left the house", "left": True}


@pytest.mark.parametrize("file", ["odoo", "odoo_json2"])
def test_odoo_that_opens_a_form_has_moved_nothing(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    one.door("wizard", times=1)
    told = one.tell(lot, "blocked", 1)
    assert (told.outcome, told.detail) == ("conflict", "it opens a form that somebody has to fill in")
    assert there(one, lot) == {"WH/Stock": 100}
    assert _transfers(one, lot, 1) == ["cancel"], "what was made for it is taken back"
    assert one.tell(lot, "blocked", 1).outcome == "applied"


@pytest.mark.parametrize("file", ["odoo", "odoo_json2"])
def test_odoo_that_could_not_serialize_is_tried_again(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    one.door("fails", times=1)
    assert one.tell(lot, "blocked", 1).outcome == "retry"
    assert one.tell(lot, "blocked", 1).outcome == "applied"


@pytest.mark.parametrize("file", ["odoo", "odoo_json2"])
def test_a_transfer_that_an_older_status_left_is_cancelled(wire: Wiring, file: str) -> None:
    one = wire(file)
    lot = one.new_lot()
    one.tell(lot, "quality", 1)
    one.line.count_anew()
    one.tell(lot, "blocked", 2)
    calls = sum(one.line.seen.values())
    # The last request before reading again is the one that does it.
    at = itertools.count()
    one.line.count_anew(lambda *_: "request" if next(at) == calls - 3 else None)
    assert one.tell(lot, "unrestricted", 3).outcome == "unknown"
    assert _transfers(one, lot, 3) == ["draft"]
    one.line.count_anew()
    assert one.tell(lot, "quality", 4).outcome == "applied"
    assert _transfers(one, lot, 3) == ["cancel"]
    assert there(one, lot) == {"WH/Stock/Quality": 100}


def test_erpnext_that_was_changed_meanwhile_is_read_again(wire: Wiring) -> None:
    one = wire("erpnext")
    lot = one.new_lot()
    one.door("meddle", times=1)
    told = one.tell(lot, "blocked", 1)
    assert (told.outcome, told.detail) == ("retry", "somebody changed the batch at the same time")
    assert one.tell(lot, "blocked", 1).outcome == "applied"


def test_erpnext_that_asks_for_time_is_given_it(wire: Wiring) -> None:
    one = wire("erpnext")
    lot = one.new_lot()
    one.door("too-many", times=1)
    told = one.tell(lot, "blocked", 1)
    assert (told.outcome, told.retry_after_seconds, told.away) == ("throttle", 1.0, True)


def test_erpnext_that_is_free_and_says_blocked_does_not_agree(wire: Wiring) -> None:
    one = wire("erpnext")
    lot = one.new_lot()
    one.tell(lot, "blocked", 1)
    one.door("change", lot=lot, to={"disabled": 0})
    assert one.reads(lot, "blocked") == {"observed": "Blocked, enabled", "left": False}
    assert one.tell(lot, "blocked", 1).outcome == "applied"
    assert there(one, lot) == {"Blocked/1": 1}


def test_erpnext_with_another_item_is_nobody_s_to_guess(wire: Wiring) -> None:
    one = wire("erpnext")
    one.door("receive", lot="OTHER-1", item="DISC-2", quantity=5)
    told = one.tell("OTHER-1", "blocked", 1)
    assert (told.outcome, told.detail) == ("permanent", "its batch OTHER-1 is of DISC-2, not of RING-74")


def test_sap_gives_a_ticket_once_and_again_when_it_is_stale(wire: Wiring) -> None:
    one = wire("sap_batch_status")
    lots = [one.new_lot() for _ in range(3)]
    before = one.door()["tickets"]
    for lot in lots:
        assert one.tell(lot, "blocked", 1).outcome == "applied"
    assert one.door()["tickets"] == before + 1
    one.door("expire")
    assert one.tell(lots[0], "unrestricted", 2).outcome == "applied"
    assert one.door()["tickets"] == before + 2


def test_sap_that_was_changed_meanwhile_is_read_again(wire: Wiring) -> None:
    one = wire("sap_batch_status")
    lot = one.new_lot()
    changed = itertools.count()

    def meddle(method: str, path: str, before: int) -> Loss | None:
        if method == "PATCH" and next(changed) == 0:
            one.door("change", lot=lot, to={})
        return None

    one.line.count_anew(meddle)
    told = one.tell(lot, "blocked", 1)
    assert (told.outcome, told.detail) == ("retry", "the batch was changed at the same time")
    assert one.tell(lot, "blocked", 1).outcome == "applied"


def test_sap_material_that_somebody_has_open_is_tried_again(wire: Wiring) -> None:
    one = wire("sap_goods_movement")
    lot = one.new_lot()
    one.door("locked", times=1)
    told = one.tell(lot, "unrestricted", 1)
    assert told.outcome == "retry"
    assert "locked by the user MEIER" in told.detail
    assert one.tell(lot, "unrestricted", 1).outcome == "applied"


def test_a_posting_that_was_not_answered_is_not_posted_twice(wire: Wiring) -> None:
    one = wire("sap_goods_movement")
    lot = one.new_lot()
    posts = itertools.count()
    one.line.count_anew(lambda method, *_: "answer" if method == "POST" and next(posts) == 0 else None)
    told = one.tell(lot, "unrestricted", 1)
    assert (told.outcome, told.retry_after_seconds) == ("unknown", 60.0)
    one.line.count_anew()
    assert one.tell(lot, "unrestricted", 1).outcome == "in_sync"
    assert len([d for d in one.door()["documents"] if d["items"][0]["Batch"] == lot]) == 1


def test_a_usage_decision_is_made_once_and_a_different_one_is_somebody_s(wire: Wiring) -> None:
    one = wire("sap_usage_decision")
    lot = one.new_lot()
    assert one.tell(lot, "quality", 1).outcome == "ignored"
    assert one.tell(lot, "unrestricted", 2).outcome == "applied"
    assert one.tell(lot, "unrestricted", 2).outcome == "in_sync"
    told = one.tell(lot, "blocked", 3)
    assert (told.outcome, told.detail) == ("conflict", "SAP decided A1 already, and Lotgate says R1")
    numbers = [n for n, i in one.door()["inspections"].items() if i["Batch"] == lot]
    assert len([d for d in one.door()["decisions"] if d["InspectionLot"] in numbers]) == 1


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_a_usage_decision_survives_a_broken_line(wire: Wiring, loss: Loss) -> None:
    one = wire("sap_usage_decision")
    for broken in range(6):
        lot = one.new_lot()
        at = itertools.count()
        one.line.count_anew(lambda *_, at=at, broken=broken: loss if next(at) == broken else None)
        one.tell(lot, "blocked", 1)
        one.line.count_anew()
        assert one.tell(lot, "blocked", 1).outcome in ("applied", "in_sync")
