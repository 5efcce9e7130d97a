"""GS1 EPCIS 2.0: the standard's own examples are acted on or refused with a reason, and what we say fits its schema."""

import json
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, FormatChecker

from engine import epcis
from engine.epcis_in import MAX_EVENTS, MAX_LOTS, NotUnderstood, read_document
from engine.epcis_out import TYPES, document, events_of
from engine.feed import START, Feed
from engine.store.opening import Store
from tests.engine.test_genealogy import consume, produce, released

DATA = Path(__file__).parents[1] / "data" / "epcis"
EXAMPLES = sorted(DATA.glob("*.jsonld"))
LOT = "urn:epc:class:lgtin:4012345.012345.998877"


def of(event: dict[str, Any], **more: Any) -> bytes:
    """A document with one event."""
    whole = {"eventTime": "2026-11-23T08:00:00Z", "eventTimeZoneOffset": "+01:00", "eventID": "urn:uuid:1"} | event
    return json.dumps({
        "@context": [epcis.CONTEXT], "type": "EPCISDocument", "schemaVersion": "2.0", "creationDate": "2026-11-23T08:00:00Z",
        "epcisBody": {"eventList": [whole]},
    } | more).encode()  # fmt: skip


def received(**changes: Any) -> dict[str, Any]:
    return {
        "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "receiving",
        "quantityList": [{"epcClass": LOT, "quantity": 200.5, "uom": "KGM"}],
        "sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:0614141.00001"}],
        "bizTransactionList": [{"type": "po", "bizTransaction": "http://acme.example/po/123"}],
    } | changes  # fmt: skip


#: As many lots as one list may name.
MANY = received(bizStep="holding", eventTime="2026-11-23T08:00:00Z", quantityList=[{"epcClass": f"urn:lotgate:lot:L{n}"} for n in range(MAX_LOTS)])


def refusal(body: bytes) -> NotUnderstood:
    (one,) = read_document(body)
    assert one.problem is not None
    assert one.events == []
    return one.problem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_of_the_standard_is_understood_or_refused_with_a_reason(path: Path) -> None:
    for one in read_document(path.read_bytes()):
        assert (one.problem is None) == bool(one.events)
        if one.problem is not None:
            assert len(one.problem.detail) > 20
            assert one.problem.pointer.startswith("/epcisBody/")


def test_a_receipt_becomes_ours_with_exact_quantities() -> None:
    (one,) = read_document(of(received()))
    (event,) = one.events
    ours = msgspec.to_builtins(event)
    assert (ours["type"], ours["subject"], ours["source"], ours["id"]) == ("lot.received.v1", LOT, "epcis", "urn:uuid:1#0")
    data = event.data  # type: ignore[attr-defined]
    assert (data.quantity.value, data.quantity.unit) == (Decimal("200.5"), "kg")
    assert (data.item, data.revision) == (epcis.gtin_of(LOT), "-") == ("04012345123456", "-")
    assert (data.supplier, data.order) == ("urn:epc:id:pgln:0614141.00001", "http://acme.example/po/123")


@pytest.mark.parametrize("step", ["receiving", "urn:epcglobal:cbv:bizstep:receiving", "https://ref.gs1.org/cbv/BizStep-receiving"])
@pytest.mark.parametrize(("kind", "named"), [("ObjectEvent", "quantityList"), ("TransactionEvent", "quantityList"),
                                             ("AggregationEvent", "childQuantityList")])  # fmt: skip
def test_a_pallet_and_a_transaction_are_what_happens_to_their_lots(step: str, kind: str, named: str) -> None:
    event = received(type=kind, bizStep=step)
    event[named] = event.pop("quantityList")
    (one,) = read_document(of(event))
    assert [e.subject for e in one.events] == [LOT]


def test_a_transformation_uses_its_inputs_and_makes_its_outputs() -> None:
    out = "https://id.gs1.org/01/04012345778895/10/B-7"
    event = {
        "type": "TransformationEvent", "transformationID": "urn:lotgate:order:MO-7",
        "inputQuantityList": [{"epcClass": LOT, "quantity": 10, "uom": "KGM"}, {"epcClass": "urn:lotgate:lot:L%2F1", "quantity": 3}],
        "outputQuantityList": [{"epcClass": out, "quantity": 12.25, "uom": "KGM"}],
    }  # fmt: skip
    (one,) = read_document(of(event))
    found = [(type(e).__name__, e.subject, e.data.order) for e in one.events]  # type: ignore[attr-defined]
    assert found == [("LotConsumed", LOT, "MO-7"), ("LotConsumed", "L/1", "MO-7"), ("LotProduced", out, "MO-7")]
    again = read_document(of(event))[0].events
    assert [(e.id, e.source) for e in again] == [(e.id, e.source) for e in one.events]


@pytest.mark.parametrize(("event", "words", "pointer"), [
    (received(quantityList=[], epcList=["urn:epc:id:sgtin:0614141.107346.2017"]), "serial-numbered", "/epcList"),
    (received(quantityList=[{"epcClass": "urn:epc:idpat:sgtin:4012345.098765.*", "quantity": 1}]), "names no lot", "/quantityList/0/epcClass"),
    (received(quantityList=[{"epcClass": LOT}]), "how much", ""),
    (received(quantityList=[{"epcClass": LOT, "quantity": "much"}]), "number", "/quantityList/0"),
    (received(quantityList={}), "list of objects", "/quantityList"),
    (received(sourceList=[]), "who sent it", "/sourceList"),
    (received(bizStep="inspecting"), "changes nothing", "/bizStep"),
    (received(bizStep="shipping"), "who gets it", "/destinationList"),
    (received(action="DELETE"), "DELETE", "/action"),
    (received(errorDeclaration={"declarationTime": "2026-11-23T09:00:00Z"}), "stands", "/errorDeclaration"),
    (received(type="AssociationEvent"), "attached", "/type"),
    (received(type="Banana"), "one of", "/type"),
    (received(eventTime=None), "eventTime", "/eventTime"),
    (received(eventTime="yesterday"), "does not fit", ""),
    (received(quantityList=[{"epcClass": LOT, "quantity": 0.0000001}]), "decimal places", "/quantityList/0/quantity"),
    (received(quantityList=[{"epcClass": LOT, "quantity": 1}, {"epcClass": LOT, "quantity": 2}]), "twice", "/quantityList/1/epcClass"),
    (received(quantityList=[{"epcClass": LOT}] * (MAX_LOTS + 1)), "at most 2000", "/quantityList"),
    (received(quantityList=[{"epcClass": "urn:lotgate:lot:L-1", "quantity": 1}]), "which item", "/ilmd"),
])  # fmt: skip
def test_what_cannot_be_acted_on_is_refused_with_reason_and_place(event: Any, words: str, pointer: str) -> None:
    problem = refusal(of(event))
    assert words in problem.detail
    assert problem.pointer == "/epcisBody/eventList/0" + pointer


@pytest.mark.parametrize("number", ["1e99999999999999999999", "1e999999999", "-1e999999999", "1e-999999999", "1e400", "9" * 4_000])
def test_a_number_beyond_every_quantity_is_refused_before_it_is_written_out(number: str) -> None:
    body = of(received(quantityList=[{"epcClass": LOT, "quantity": 424242}])).replace(b"424242", number.encode())
    tracemalloc.start()
    try:
        assert "quantity" in refusal(body).pointer
    except NotUnderstood as problem:
        assert "beyond every number" in problem.detail or "out of range" in problem.detail  # noqa: PT017
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize(("disposition", "code"), [
    ("https://ref.gs1.org/cbv/Disp-damaged", "damaged"), (None, "holding"), ("https://acme.example/" + "x" * 64 + "/torn", "torn"),
])  # fmt: skip
def test_a_hold_is_understood_whatever_its_reason_is_called(disposition: str | None, code: str) -> None:
    (one,) = read_document(of(received(bizStep="holding", disposition=disposition)))
    assert [event.data.reason.code for event in one.events] == [code]  # type: ignore[attr-defined]


@pytest.mark.parametrize("lot", [LOT, "https://id.gs1.org/01/04012345778895/10/B-7", "urn:lotgate:lot:RAW"])
def test_a_lot_that_is_used_twice_is_less_by_both(plant: Any, store: Store, lot: str) -> None:
    name = epcis.lot_of(lot)
    assert name is not None
    plant.released(name)
    for number in "12":
        event = {"type": "TransformationEvent", "eventID": f"urn:uuid:{number}", "transformationID": "urn:lotgate:order:MO-7",
                 "inputQuantityList": [{"epcClass": lot, "quantity": 10}]}  # fmt: skip
        (used,) = read_document(of(event))[0].events
        assert plant.pipeline.submit(used, "tester").result(20).outcome == "applied"


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"null", b"{}", of(received(), **{"@context": "https://evil.example/context.jsonld"}), of(received(), **{"@context": {}}),
    of(received(), schemaVersion="1.2"), of(received(), type="EPCISMasterDataDocument"), of(received(), epcisBody=[]),
    of(received(), epcisBody={"eventList": [{}] * (MAX_EVENTS + 1)}),
    of(received(), epcisBody={"eventList": [MANY | {"eventID": f"urn:uuid:{number}"} for number in range(6)]}),
])  # fmt: skip
def test_what_is_no_document_of_epcis_two_is_refused_whole(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        read_document(body)


@pytest.mark.parametrize("lot", ["L-1", "L 1/ü%", LOT, "https://id.gs1.org/01/04012345778895/10/B-7", "urn:other"])
def test_a_lot_is_itself_again_after_the_way_out_and_in(lot: str) -> None:
    assert epcis.lot_of(epcis.class_of(lot)) == lot


def test_a_class_that_is_no_text_stands_for_no_lot() -> None:
    assert [epcis.lot_of(f"urn:lotgate:lot:{name}") for name in ("%FF", "%FE", "")] == [None] * 3


def test_a_check_digit_is_the_standards_own() -> None:
    assert epcis.gtin_of("urn:epc:class:lgtin:0614141.107346.L1") == "10614141073464"  # GS1 General Specifications, GTIN example
    assert epcis.gtin_of("urn:lotgate:lot:L1") is None


@pytest.fixture
def written(plant: Any, store: Store) -> list[dict[str, Any]]:
    """A plant's journal as EPCIS events."""
    released(plant, "RAW")
    consume(plant, "RAW", "MO-1")
    plant.receive("OTHER")
    produce(plant, "DONE", "MO-1", "OTHER")
    produce(plant, "PLAIN", "MO-2")
    half = {"value": "40", "unit": "ea"}
    plant.agree()
    shipped = plant.send("lot.shipped.v1", "RAW", {"shipment": "S-1", "customer": "BOLT-CO", "order": "SO-1", "quantity": half})
    assert shipped.outcome == "applied"
    plant.send("shipment.voided.v1", "RAW-S-1", {"shipment": "S-1", "reason": {"code": "CARRIER"}})
    plant.hold("DONE", "H-1")
    merged = {"parts": [{"lot": "OTHER"}, {"lot": "RAW", "quantity": {"value": "10", "unit": "ea"}}], "handling_units": ["9" * 18]}
    assert plant.send("lot.merged.v1", "BOTH", merged).outcome == "applied"
    pack = {"lot": "BOX", "quantity": {"value": "2", "unit": "H87"}, "used": {"value": "20", "unit": "ea"}, "handling_units": ["P 1"]}
    assert plant.send("lot.repacked.v1", "BOTH", {"into": [pack], "packed": ["P-2"], "unpacked": ["9" * 18]}).outcome == "applied"
    return list(_written(store))


def _written(store: Store) -> Iterator[dict[str, Any]]:
    for _, change in Feed(store).after(START, 500):
        yield from events_of(change, change.id)


def test_what_we_write_fits_the_schema_of_the_standard(written: list[dict[str, Any]]) -> None:
    schema = json.loads((DATA / "EPCIS-JSON-Schema.json").read_text())
    whole = json.loads(msgspec.json.encode(document(written, "2026-11-23T08:00:00.000000Z", "SimpleEventQuery")))
    errors = [f"{error.json_path}: {error.message[:300]}" for error in Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(whole)]
    assert errors == []
    assert {event["type"] for event in written} == {"ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent"}
    assert {event.get("bizStep") for event in written} >= {
        "receiving", "commissioning", "repackaging", "storing", "holding", "shipping", "packing", "unpacking", "void_shipping"
    }  # fmt: skip
    assert len({event["eventID"] for event in written}) == len(written)
    assert "lot.released.v1" in TYPES


def test_handling_units_are_told_as_aggregations_and_orders_as_transactions(written: list[dict[str, Any]]) -> None:
    told = [(e["action"], e["bizStep"], e["parentID"], e["childQuantityList"]) for e in written if e["type"] == "AggregationEvent"]
    sscc, both, box = f"https://id.gs1.org/00/{'9' * 18}", [{"epcClass": "urn:lotgate:lot:BOTH"}], [{"epcClass": "urn:lotgate:lot:BOX"}]
    assert told == [
        ("ADD", "packing", sscc, both), ("DELETE", "unpacking", sscc, both), ("ADD", "packing", "urn:lotgate:handling_unit:P-2", both),
        ("ADD", "packing", "urn:lotgate:handling_unit:P%201", box),
    ]  # fmt: skip
    linked = [(e["action"], [t["bizTransaction"] for t in e["bizTransactionList"]]) for e in written if e["type"] == "TransactionEvent"]
    assert linked == [("ADD", ["urn:lotgate:desadv:S-1", "urn:lotgate:po:SO-1"][::-1]), ("DELETE", ["urn:lotgate:desadv:S-1"])]
    (merge,) = [e for e in written if e["type"] == "TransformationEvent" and len(e.get("inputQuantityList", ())) == 2]
    assert [part["epcClass"] for part in merge["inputQuantityList"]] == ["urn:lotgate:lot:OTHER", "urn:lotgate:lot:RAW"]


REPACKED = {
    "type": "TransformationEvent", "bizStep": "repackaging", "inputQuantityList": [{"epcClass": "urn:lotgate:lot:A", "quantity": 10}],
    "outputQuantityList": [{"epcClass": "urn:lotgate:lot:B", "quantity": 10}],
}  # fmt: skip


def _lots(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"epcClass": f"urn:lotgate:lot:{name}", "quantity": 5, **more} for name in names]


@pytest.mark.parametrize(("event", "kind", "subject", "said"), [
    (REPACKED, "lot.repacked.v1", "A", {"into": [{"lot": "B", "quantity": {"value": "10", "unit": "ea"}}]}),
    (REPACKED | {"outputQuantityList": _lots("B", uom="KGM")}, "lot.repacked.v1", "A",
     {"into": [{"lot": "B", "quantity": {"value": "5", "unit": "kg"}, "used": {"value": "10", "unit": "ea"}}]}),
    (REPACKED | {"inputQuantityList": [*_lots("A"), {"epcClass": "urn:lotgate:lot:C"}]}, "lot.merged.v1", "B",
     {"parts": [{"lot": "A", "quantity": {"value": "5", "unit": "ea"}}, {"lot": "C"}], "quantity": {"value": "10", "unit": "ea"}}),
    ({"type": "AggregationEvent", "action": "ADD", "bizStep": "packing", "parentID": f"https://id.gs1.org/00/{'1' * 18}",
      "childQuantityList": _lots("A")}, "lot.repacked.v1", "A", {"packed": ["1" * 18]}),
    ({"type": "AggregationEvent", "action": "DELETE", "bizStep": "unpacking", "parentID": "urn:lotgate:handling_unit:P%201",
      "childQuantityList": _lots("A")}, "lot.repacked.v1", "A", {"unpacked": ["P 1"]}),
    ({"type": "TransactionEvent", "action": "DELETE", "bizStep": "void_shipping", "quantityList": _lots("A"),
      "bizTransactionList": [{"type": "desadv", "bizTransaction": "urn:lotgate:desadv:S-1"}]}, "shipment.voided.v1", "A",
     {"shipment": "S-1", "reason": {"code": "void_shipping"}}),
])  # fmt: skip
def test_what_is_repacked_put_together_packed_and_voided_is_understood(
    event: dict[str, Any], kind: str, subject: str, said: dict[str, Any]
) -> None:
    (one,) = read_document(of(event))
    assert one.problem is None, one.problem
    (ours,) = msgspec.json.decode(msgspec.json.encode(one.events))
    assert (ours["type"], ours["subject"], ours["data"]) == (kind, subject, said)


@pytest.mark.parametrize(("event", "words"), [
    (REPACKED | {"inputQuantityList": _lots("A", "B"), "outputQuantityList": _lots("C", "D")}, "which is not said"),
    (REPACKED | {"outputQuantityList": _lots("C", "D", uom="KGM")}, "where units differ"),
    (REPACKED | {"outputQuantityList": [{"epcClass": "urn:lotgate:lot:B"}]}, "how much"),
    ({"type": "ObjectEvent", "action": "OBSERVE", "bizStep": "packing", "quantityList": _lots("A")}, "handling unit"),
    ({"type": "TransactionEvent", "action": "DELETE", "bizStep": "void_shipping", "quantityList": _lots("A")}, "which shipment"),
])  # fmt: skip
def test_a_repacking_that_leaves_open_what_went_where_is_refused(event: dict[str, Any], words: str) -> None:
    assert words in refusal(of(event)).detail


def test_what_we_write_can_be_read_again(written: list[dict[str, Any]]) -> None:
    body = msgspec.json.encode(document(written, "2026-11-23T08:00:00Z", "SimpleEventQuery"))
    found = [event.subject for one in read_document(body) for event in one.events if type(event).__name__ == "LotReceived"]
    assert found == ["RAW", "OTHER"]
