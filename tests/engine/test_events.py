"""Events: strict where a misreading would be dangerous, and every refusal says where."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decoding import decode_event, scaled
from engine.errors import EventInvalid
from engine.events import TYPES, business_key, content, digest, encode_event, event_key


def received(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "item": "RING-74",
        "revision": "A",
        "quantity": {"value": "100", "unit": "ea"},
        "supplier": "ACME",
        "receipt": "GR-1/10",
    }
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "r-1",
        "source": "wms/dock-1",
        "type": "lot.received.v1",
        "subject": "LOT-1",
        "time": "2026-11-23T08:00:00Z",
        "data": data,
    }
    for name, value in changes.items():
        (data if name in ("quantity", "item", "expires_on", "colour") else event)[name] = value
    return event


def inspection(**measurement: Any) -> dict[str, Any]:
    line = {"characteristic": "diameter", "value": "74.030", "unit": "mm"} | measurement
    return received(type="inspection.recorded.v1") | {"data": {"inspection": "IL-1", "measurements": [line]}}


def refused(event: Any) -> EventInvalid:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    with pytest.raises(EventInvalid) as caught:
        decode_event(body)
    return caught.value


def test_an_event_is_read_exactly() -> None:
    event = decode_event(json.dumps(inspection(value=74.03)).encode())
    assert event.data.measurements[0].value == Decimal("74.03")  # type: ignore[attr-defined]
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        (received(type="lot.recieved.v1"), "/type"),
        (received(specversion="0.3"), "/specversion"),
        (received(subject=""), "/subject"),
        (received(id=""), "/id"),
        (received(id=7), "/id"),
        (received(time="2026-11-23T08:00:00"), "/time"),
        (received(time=0), "/time"),
        (received(colour="red"), "/data"),
        (received(item="x" * 65), "/data/item"),
        (received(expires_on="31.12.2026"), "/data/expires_on"),
        (received(quantity={"value": "-1", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "0", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "1000000001", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "NaN", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "Infinity", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "1e400", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "1e-9999999", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": True, "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": None, "unit": "ea"}), "/data/quantity/value"),
        (received(quantity={"value": "6,0", "unit": "ea"}), "/data/quantity/value"),
        (received(quantity="100 ea"), "/data/quantity"),
        (inspection(value="nan"), "/data/measurements/0/value"),
        (inspection(value="1e-7"), "/data/measurements/0/value"),
        (inspection(value=None), "/data/measurements/0"),
        (inspection(sample=0), "/data/measurements/0/sample"),
        (inspection(value=None, inspected=5, nonconforming=6), "/data/measurements/0/nonconforming"),
        (received(id="a\u0000b"), "/id"),
        (received(source="dock\u0085"), "/source"),
        (inspection(characteristic="a\nb"), "/data/measurements/0/characteristic"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_place_is_named(event: dict[str, Any], pointer: str) -> None:
    error = refused(event)
    assert error.pointer == pointer
    assert not error.malformed


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"a":' * 50_000, b'{"value": NaN}', b'\xef\xbb\xbf{"id":"1"}',
     json.dumps(received()).encode().replace(b"r-1", b"r\xff"),
     json.dumps(received()).encode().replace(b"r-1", b"\\ud800")],
)  # fmt: skip
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    assert refused(body).malformed


def test_deep_nesting_is_refused_and_never_a_crash() -> None:
    assert refused(b"[" * 100_000)
    assert refused(json.dumps(received()).encode()[:-1] + b',"x":' + b"[" * 100_000)


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    assert all(name in refused(received(type="x")).detail for name in TYPES)


def test_extension_attributes_are_allowed_as_cloudevents_asks() -> None:
    event = decode_event(json.dumps(received(partitionkey="7", tracestate="a=b")).encode())
    assert event.subject == "LOT-1"


def test_the_digest_covers_what_is_said_and_not_how_it_was_sent() -> None:
    one = decode_event(json.dumps(received()).encode())
    other = decode_event(json.dumps(received(time="2026-11-24T08:00:00Z", traceparent="00-1"), indent=2).encode())
    changed = decode_event(json.dumps(received(quantity={"value": "101", "unit": "ea"})).encode())
    assert digest(one, content(one)) == digest(other, content(other))
    assert digest(one, content(one)) != digest(changed, content(changed))


def test_identity_is_source_and_id_together() -> None:
    assert event_key("a", "b") == event_key("a", "b")
    assert len({event_key("a", "b"), event_key("b", "a"), event_key("ab", "")}) == 3


def test_a_business_document_is_recognised_under_a_new_event_id() -> None:
    one = decode_event(json.dumps(received(id="1")).encode())
    other = decode_event(json.dumps(received(id="2")).encode())
    assert business_key(one) == business_key(other) == "lot.received.v1|LOT-1|GR-1/10"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**11), max_value=10**11))
def test_scaling_is_exact(value: Decimal) -> None:
    assert Decimal(scaled(value)).scaleb(-6) == value


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(body: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_event(body)


def quantities_in(schema: dict[str, Any], types: dict[str, Any]) -> list[tuple[list[str], dict[str, Any]]]:
    """Every way to a quantity in a data block, with the least block that has it."""
    schema = types.get(schema["$ref"].rpartition("/")[2], {}) if "$ref" in schema else schema
    if schema.get("title") == "Quantity":
        return [([], {"value": "-1", "unit": "ea"})]
    for option in schema.get("anyOf", ()):
        found = quantities_in(option, types)
        if found:
            return found
    if schema.get("type") == "array":
        return [(["0", *way], [least] * schema.get("minItems", 1)) for way, least in quantities_in(schema["items"], types)]  # type: ignore[misc]
    ways = []
    for name, inner in schema.get("properties", {}).items():
        for way, least in quantities_in(inner, types):
            needed = {other: least_of(schema["properties"][other], types) for other in schema.get("required", ()) if other != name}
            ways.append(([name, *way], {**needed, name: least}))
    return ways


def least_of(schema: dict[str, Any], types: dict[str, Any]) -> Any:
    """The least value that fits a schema of a data block."""
    schema = types[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "anyOf" in schema:
        return least_of(schema["anyOf"][0], types)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("title") == "Quantity":
        return {"value": "1", "unit": "ea"}
    if schema.get("format") == "date":
        return "2026-11-27"
    if schema.get("type") == "array":
        return [least_of(schema["items"], types)] * schema.get("minItems", 0)
    if schema.get("type") == "object":
        return {n: least_of(schema["properties"][n], types) for n in schema.get("required", ())}
    return {"integer": 1, "number": 1, "boolean": True}.get(schema.get("type", ""), "X1")


def ways_to_quantities() -> list[tuple[str, list[str], dict[str, Any]]]:
    found = []
    for name, struct in TYPES.items():
        data = next(field.type for field in msgspec.structs.fields(struct) if field.name == "data")
        (schema,), types = msgspec.json.schema_components([data])
        found += [(name, way, least) for way, least in quantities_in(schema, types)]
    return found


@pytest.mark.parametrize(("name", "way", "data"), ways_to_quantities(), ids=lambda v: "/".join(v) if isinstance(v, list) else None)
def test_no_quantity_of_any_type_is_below_nothing(name: str, way: list[str], data: dict[str, Any]) -> None:
    event = received(type=name) | {"data": data}
    error = refused(event)
    assert error.pointer == f"/data/{'/'.join(way)}/value", error.detail
    assert "must be greater than 0" in error.detail
