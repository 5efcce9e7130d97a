"""Lots that are put together or repacked: as good as the worst of them, nothing made or lost, in any order of arrival."""

import itertools
import json
from typing import Any

import pytest
from msgspec.structs import replace

from engine.family import pass_holds_on
from engine.journal import verify
from engine.lot import Lot, decode_lot
from engine.parts import merged
from engine.readiness import Readiness
from engine.recalls import Recalls, Selection
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.tracing import Genealogy
from tests.engine.test_family import settle
from tests.engine.test_genealogy import consume, ids, produce, released
from tests.engine.test_readiness import ask
from tests.engine.test_recalls import BAD
from tests.engine.test_recalls import settle as carried_out

EA = "ea"


def amount(value: str, unit: str = EA) -> dict[str, str]:
    return {"value": value, "unit": unit}


def merge(plant: Any, lot: str, *parts: Any, **more: Any) -> Any:
    named = [part if isinstance(part, dict) else {"lot": part} for part in parts]
    return plant.send("lot.merged.v1", lot, {"parts": named, **more})


def repack(plant: Any, lot: str, *into: dict[str, Any], **more: Any) -> Any:
    return plant.send("lot.repacked.v1", lot, {"into": list(into), **more})


def reasons(answer: Any) -> list[str]:
    assert answer.outcome == "refused"
    return [line["rule"] for line in json.loads(answer.body)["rules"]]


def sealant(plant: Any, lot: str, kilos: str) -> None:
    data = {"item": "SEALANT-9", "revision": "A", "quantity": amount(kilos, "kg"), "supplier": "ACME", "receipt": f"GR-{lot}"}
    assert plant.send("lot.received.v1", lot, data | {"expires_on": "2027-06-30"}).outcome == "applied"


def lot(store: Store, name: str) -> Any:
    return Reading(store).lot(name)


def test_what_is_put_together_is_released_where_every_part_is(plant: Any, store: Store) -> None:
    released(plant, "A")
    released(plant, "B")
    answer = merge(plant, "M", "A", {"lot": "B", "quantity": amount("40")}, quantity=amount("140"))
    assert answer.outcome == "applied"
    made = lot(store, "M")
    assert (made.state, made.quantity, made.unit, made.parts, made.supplier) == ("released", 140, EA, ("A", "B"), "ACME")
    assert [(lot(store, n).quantity, lot(store, n).closed) for n in ("A", "B")] == [(0, "merged"), (60, None)]
    body = json.loads(answer.body)
    assert {(told["lot"], told["target"]) for told in body["deliveries"]} == set(itertools.product("ABM", ("erp", "wms")))
    assert verify(Reading(store).journals()).intact


def test_a_hold_on_one_part_is_on_the_whole_and_ends_with_it(plant: Any, store: Store) -> None:
    released(plant, "A")
    released(plant, "B")
    plant.hold("A", "H-1")
    assert merge(plant, "M", "A", "B").outcome == "applied"
    made = lot(store, "M")
    assert (made.state, [(h.hold, h.scope) for h in made.holds]) == ("blocked", [("H-1@A", "parent")])
    assert settle(plant, store) == 0, "it is there already"
    plant.hold("B", "H-2")
    settle(plant, store)
    assert [h.hold for h in lot(store, "M").holds] == ["H-1@A", "H-2@B"], "a part that has ended passes holds on"
    for name, hold in (("A", "H-1"), ("B", "H-2")):
        plant.lift(name, hold)
    settle(plant, store)
    assert lot(store, "M").holds == ()
    assert lot(store, "M").state == "quarantined", "nothing was inspected of the whole"


@pytest.mark.parametrize(("parts", "state"), [
    (("released", "quarantined"), "quarantined"), (("released", "rejected"), "blocked"), (("quarantined", "rejected"), "blocked"),
    (("released", "released"), "released"),
])  # fmt: skip
def test_the_whole_is_as_good_as_the_worst_part(plant: Any, store: Store, parts: tuple[str, ...], state: str) -> None:
    for name, of in zip("AB", parts, strict=True):
        if of == "released":
            released(plant, name)
        else:
            plant.receive(name)
        if of == "rejected":
            plant.inspect(name, *["74.900"] * 5)
            assert lot(store, name).state == "blocked"
    merge(plant, "M", "A", "B")
    made = lot(store, "M")
    assert made.state == state
    assert made.rejected == ("rejected" in parts)
    if state == "quarantined":
        plant.inspect("M", *["74.000"] * 5)
        assert lot(store, "M").state == "released", "inspected as a lot of its own"


def test_the_first_last_day_counts_and_what_differs_is_not_said_of_the_whole(plant: Any, store: Store) -> None:
    plant.receive("A", expires_on="2027-05-01", plant="P1", supplier_lot="S-1", location="IN-1")
    plant.receive("B", expires_on="2027-03-01", plant="P1", supplier_lot="S-2", supplier="BETA", location="IN-1")
    plant.receive("C", retest_on="2027-01-01", plant="P1")
    merge(plant, "M", "A", "B", "C", location="IN-2")
    made = lot(store, "M")
    assert (str(made.expires_on), str(made.retest_on)) == ("2027-03-01", "2027-01-01")
    assert (made.plant, made.supplier, made.supplier_lot, made.location) == ("P1", None, None, "IN-2")


def test_records_come_along_and_only_facts_of_every_part_do(plant: Any, store: Store) -> None:
    for name in ("A", "B"):
        plant.receive(name)
        plant.send("quality_record.opened.v1", name, {"record": "N-1", "kind": "nonconformance", "severity": "major", "text": name})
    merge(plant, "M", "A", "B")
    assert [(r.record, r.text) for r in lot(store, "M").records] == [("N-1", "A"), ("N-1@B", "B")]
    coa, other = {"type": "3.1"}, {"type": "2.2"}
    stated = {"A": {"certificate": {"C-1": coa, "C-2": coa}, "deviation": {"D": coa}},
              "B": {"certificate": {"C-1": coa, "C-2": other}, "deviation": {"D": other}}}  # fmt: skip
    known = {name: replace(lot(store, name), facts=facts) for name, facts in stated.items()}
    whole = decode_lot(bytes(merged(plant.event("lot.merged.v1", "M2", {"parts": [{"lot": "A"}, {"lot": "B"}]}), known, "quarantined", "").lot))
    assert whole.facts == {"certificate": {"C-1": coa}, "deviation": {"D": coa, "D@B": other}}


def test_parts_of_one_inspection_stay_inspected_by_it(plant: Any, store: Store) -> None:
    released(plant, "A")
    children = [{"lot": f"A.{n}", "quantity": amount("20")} for n in (1, 2)]
    plant.send("lot.split.v1", "A", {"children": children})
    merge(plant, "M", "A.1", "A.2")
    made = lot(store, "M")
    assert (made.state, made.results_from, made.inspection_stands) == ("released", "A", True)
    plant.hold("M", "H")
    plant.lift("M", "H")
    assert lot(store, "M").state == "inspected"
    assert plant.send("lot.released.v1", "M", {}).outcome == "applied", "the results of A stand for it"


@pytest.mark.parametrize(("second", "parts", "more", "rule"), [
    ("SEALANT-9", ("A", "B"), {}, "ONE-ITEM"),
    ("box", ("A", "B"), {}, "ONE-UNIT"),
    ("RING-74", ("A", "A"), {}, "PARTS-DIFFER"),
    ("RING-74", ("A", "M"), {}, "PARTS-DIFFER"),
    ("RING-74", ("A", {"lot": "B", "quantity": amount("101")}), {}, "QUANTITY-AVAILABLE"),
    ("RING-74", ("A", {"lot": "B", "quantity": amount("1", "kg")}), {}, "UNIT-OF-LOT"),
    ("RING-74", ("A", "B"), {"quantity": amount("201")}, "QUANTITY-BALANCES"),
])  # fmt: skip
def test_what_cannot_be_put_together_is_refused_and_changes_nothing(
    plant: Any, store: Store, second: str, parts: tuple[Any, ...], more: dict[str, Any], rule: str
) -> None:
    plant.receive("A")
    if second == "SEALANT-9":
        sealant(plant, "B", "100")
    elif second == "box":
        plant.receive("B0")
        repack(plant, "B0", {"lot": "B", "quantity": amount("10", "box"), "used": amount("100")})
    else:
        plant.receive("B")
    before = [lot(store, name) for name in ("A", "B")]
    assert rule in reasons(merge(plant, "M", *parts, **more))
    assert [lot(store, name) for name in ("A", "B")] == before
    assert merge(plant, "A", "B", "C").outcome == "refused", "a lot that is there is no new lot"


def test_a_part_that_has_ended_is_not_there_to_be_put_together(plant: Any) -> None:
    for name in ("A", "B", "C"):
        plant.receive(name)
    merge(plant, "M", "A", "B")
    assert reasons(merge(plant, "M2", "A", "C")) == ["PART-IN-HOUSE"]


def test_concessions_allow_only_customers_who_may_have_every_part(plant: Any, store: Store) -> None:
    for name, customers in (("A", ["X", "Y"]), ("B", ["Y", "Z"]), ("C", ["Z"])):
        plant.receive(name)
        plant.inspect(name, *["74.900"] * 5)
        plant.send("lot.dispositioned.v1", name, {"decision": "use_as_is", "reason": {"code": "MRB"}, "restrictions": customers})
    if lot(store, "A").state != "released":
        pytest.fail(f"no concession: {lot(store, 'A')}")
    assert reasons(merge(plant, "M", "A", "C")) == ["CUSTOMERS-AGREE"]
    merge(plant, "M", "A", "B")
    assert (lot(store, "M").state, lot(store, "M").restrictions) == ("released", ("Y",))


def test_a_merge_that_comes_before_its_parts_waits_for_each_of_them(plant: Any, store: Store) -> None:
    assert merge(plant, "M", "A", "B").outcome == "parked"
    assert plant.hold("M", "H-0").outcome == "parked"
    plant.receive("B")
    plant.receive("A")
    made = lot(store, "M")
    assert (made.quantity, [h.hold for h in made.holds]) == (200, ["H-0"])
    trace = Genealogy(store).trace(["A"], "forward")
    assert [(link.kind, link.parent, link.child, link.quantity) for link in trace.links] == [("merge", "lot:A", "lot:M", "100")]
    assert ids(Genealogy(store).trace(["M"], "backward")) == [("M", 0), ("A", 1), ("B", 1)]


def test_no_lot_is_put_together_from_what_was_made_of_it(plant: Any) -> None:
    produce(plant, "P", "MO-1", "M")
    plant.receive("A")
    assert "NOT-ITS-OWN-ANCESTOR" in reasons(merge(plant, "M", "A", "P"))


def test_repacked_lots_are_as_good_as_the_lot_and_say_in_what_they_are(plant: Any, store: Store) -> None:
    released(plant, "A")
    box = {"package": "carton-10", "count": 3}
    answer = repack(
        plant, "A", {"lot": "A1", "quantity": amount("30"), "packaging": box, "handling_units": ["P-1"], "location": "W-9"},
        {"lot": "A2", "quantity": amount("50")}, packaging={"package": "carton-10", "count": 2}, packed=["P-2"],
    )  # fmt: skip
    assert answer.outcome == "applied"
    one, two, rest = (lot(store, name) for name in ("A1", "A2", "A"))
    assert (one.state, one.quantity, one.packaging.count, one.handling_units, one.location) == ("released", 30, 3, ("P-1",), "W-9")
    assert (two.packaging, two.results_from) == (None, "A")
    assert (rest.quantity, rest.closed, rest.packaging.count, rest.handling_units) == (20, None, 2, ("P-2",))
    repack(plant, "A", unpacked=["P-2"], packed=["P-3", "P-4"])
    assert lot(store, "A").handling_units == ("P-3", "P-4")
    repack(plant, "A", {"lot": "A3", "quantity": amount("20")})
    assert (lot(store, "A").closed, lot(store, "A").handling_units) == ("repacked", ())
    kinds = {link.kind for link in Genealogy(store).trace(["A"], "forward").links}
    assert kinds == {"repack"}
    assert verify(Reading(store).journals()).intact


def test_repacking_into_another_unit_is_conserved_in_each(plant: Any, store: Store, clock: Any) -> None:
    sealant(plant, "DRUM", "200")
    into = [{"lot": f"B{n}", "quantity": amount("150"), "used": amount("75", "kg")} for n in (1, 2)]
    assert repack(plant, "DRUM", *into).outcome == "applied"
    assert (lot(store, "B1").quantity, lot(store, "B1").unit, lot(store, "DRUM").quantity) == (150, EA, 50)
    pieces, kilos = Recalls(store, clock).preview(Selection(lots=["DRUM"])).balance
    assert (kilos.unit, kilos.made, kilos.in_house, kilos.repacked, kilos.unaccounted) == ("kg", 200, 50, 150, 0)
    assert (pieces.unit, pieces.made, pieces.in_house, pieces.unaccounted) == (EA, 300, 300, 0)


@pytest.mark.parametrize(("into", "more", "rule"), [
    ([], {}, "REPACKING-SAID"),
    ([{"lot": "X", "quantity": amount("2", "box")}], {}, "UNIT-OF-LOT"),
    ([{"lot": "X", "quantity": amount("2"), "used": amount("3")}], {}, "QUANTITY-BALANCES"),
    ([{"lot": "X", "quantity": amount("60")}, {"lot": "Y", "quantity": amount("41")}], {}, "QUANTITY-AVAILABLE"),
    ([{"lot": "X", "quantity": amount("1")}] * 2, {}, "CHILDREN-DIFFER"),
    ([{"lot": "A", "quantity": amount("1")}], {}, "CHILDREN-DIFFER"),
    ([{"lot": "THERE", "quantity": amount("1")}], {}, "CHILD-IS-NEW"),
    ([], {"packed": ["P"], "unpacked": ["P"]}, "HANDLING-UNITS-DIFFER"),
])  # fmt: skip
def test_a_repacking_that_does_not_add_up_is_refused(
    plant: Any, store: Store, into: list[dict[str, Any]], more: dict[str, Any], rule: str
) -> None:
    plant.receive("A")
    plant.receive("THERE")
    assert rule in reasons(repack(plant, "A", *into, **more))
    assert lot(store, "A").quantity == 100


def test_a_recall_finds_the_whole_and_its_balance_adds_up(plant: Any, store: Store, clock: Any) -> None:
    released(plant, "A")
    released(plant, "B")
    merge(plant, "M", {"lot": "A", "quantity": amount("70")}, "B")
    plant.agree()
    repack(plant, "M", {"lot": "M1", "quantity": amount("100")})
    plant.agree()
    assert consume(plant, "M", "MO-1").outcome == "applied"
    assert plant.send("lot.shipped.v1", "M1", {"shipment": "S", "customer": "C"}).outcome == "applied"
    extent = Recalls(store, clock).preview(Selection(lots=["A"]))
    (line,) = extent.balance
    assert (line.made, line.in_house, line.shipped, line.consumed, line.unaccounted) == (200, 95, 100, 5, 0)
    assert [(s.lot, s.customer) for s in extent.shipped] == [("M1", "C")]
    Recalls(store, clock).open(Selection(lots=["A"]), BAD, "pat", "R-1")
    carried_out(plant, store, clock)
    assert {n: [h.hold for h in lot(store, n).holds] for n in ("A", "M", "M1", "B")} == {
        "A": ["recall:R-1"], "M": ["recall:R-1"], "M1": ["recall:R-1"], "B": []
    }  # fmt: skip
    assert pass_holds_on(store, plant.pipeline) == 0


def test_what_a_rejected_part_went_into_is_decided_there(plant: Any, store: Store, rulebook: Any) -> None:
    released(plant, "A")
    plant.receive("B")
    plant.inspect("B", *["75.000"] * 5)
    merge(plant, "M", "A", "B")
    assert lot(store, "M").state == "blocked"
    accepted = {"decision": "use_as_is", "reason": {"code": "MRB"}, "restrictions": ["BOLT-CO"]}
    assert plant.send("lot.dispositioned.v1", "M", accepted).outcome == "applied"
    plant.agree()
    assert ask(plant, store, rulebook, "M").readiness is Readiness.READY


def test_a_hold_keeps_the_role_that_lifts_it_when_its_lot_is_put_together(plant: Any, store: Store) -> None:
    plant.receive("A")
    plant.receive("B")
    data = {"hold": "H-1", "reason": {"code": "MRB"}, "lift_role": "release"}
    assert plant.send("hold.applied.v1", "A", data).outcome == "applied"
    assert merge(plant, "M", "A", "B").outcome == "applied"
    assert [(h.hold, h.lift_role) for h in lot(store, "M").holds] == [("H-1@A", "release")]


#: What a lot that was put together says, field by field: taken from its parts, or its own.
FROM_ITS_PARTS = {
    "item", "revision", "quantity", "unit", "supplier", "supplier_lot", "receipt", "order", "plant", "location",
    "manufactured_on", "expires_on", "retest_on", "expires_by", "retest_by", "opened_on", "holds", "rejected",
    "inspection_stands", "results_version", "results_after", "results_from", "retest", "plan", "sample", "disposition",
    "concession", "restrictions", "parts", "inspectors", "records", "facts", "certificates",
    "routing", "operations", "operation_inspections",
}  # fmt: skip
ITS_OWN = {"id", "version", "state", "received_at", "changed_at", "head", "packaging", "handling_units", "sequences"}
#: Nothing of them is said of a whole: that none of its parts may have them, or may lack them, is asked of each.
ASKED_OF_EACH_PART = {"closed", "in_production"}
ENDS_WITH_THE_PARTS = {"lifted", "recall_open", "shipment", "customer", "parent", "signatures", "disputes"}


def test_of_every_field_of_a_lot_it_is_decided_what_a_merge_makes_of_it() -> None:
    """A field that comes later is decided here, too, or what it guards would be lost when lots are put together."""
    assert set(Lot.__struct_fields__) == FROM_ITS_PARTS | ITS_OWN | ASKED_OF_EACH_PART | ENDS_WITH_THE_PARTS
