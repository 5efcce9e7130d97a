"""CloudEvents HTTP binding: modes, header values, and binary mode as structured mode."""

import json

import pytest

from api.cloudevents import Mode, attribute, mode_of, structured
from api.problems import Refused
from engine.decoding import decode_event
from engine.errors import EventInvalid

CE = {b"ce-specversion": b"1.0", b"ce-id": b"1", b"ce-source": b"s", b"ce-type": b"lot.released.v1"}


@pytest.mark.parametrize(
    ("content_type", "mode"),
    [
        (b"application/cloudevents+json", Mode.STRUCTURED),
        (b"Application/CloudEvents+JSON; Charset=UTF-8", Mode.STRUCTURED),
        (b'application/cloudevents+json;charset="utf-8"', Mode.STRUCTURED),
        (b"application/json", Mode.STRUCTURED),
        (b"application/cloudevents-batch+json", Mode.BATCH),
        (b"application/x-ndjson", Mode.LINES),
    ],
)
def test_the_content_type_chooses_the_mode(content_type: bytes, mode: Mode) -> None:
    assert mode_of({b"content-type": content_type}) is mode


def test_json_with_ce_headers_is_binary_mode() -> None:
    assert mode_of({b"content-type": b"application/json", **CE}) is Mode.BINARY
    assert mode_of({b"content-type": b"application/vnd.plant.receipt+json", **CE}) is Mode.BINARY
    assert mode_of(CE) is Mode.BINARY


def test_a_structured_body_wins_over_ce_headers() -> None:
    assert mode_of({b"content-type": b"application/cloudevents+json", **CE}) is Mode.STRUCTURED


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/x-www-form-urlencoded"},
        {b"content-type": b"application/msgpack"},
        {b"content-type": b"text/plain", **CE},
        {b"content-type": b"application/cloudevents+json; charset=latin-1"},
        {b"content-type": b"application/cloudevents+json", b"content-encoding": b"gzip"},
    ],
)
def test_anything_else_is_415(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Refused) as refused:
        mode_of(headers)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a b", "a b"),
        (b'"a b"', "a b"),
        (b"a%20b", "a b"),
        (b"%e2%82%ac", "€"),
        (b"%E2%82%AC", "€"),
        (b'"say \\"hi\\""', 'say "hi"'),
        (b"50%25", "50%"),
    ],
)
def test_header_values_are_unquoted_and_percent_decoded(value: bytes, text: str) -> None:
    assert attribute("subject", value) == text


@pytest.mark.parametrize("value", [b"%C0%A0", b"%ff", b"100%", b"%zz", b"%ED%A0%80"])
def test_header_values_that_cannot_be_decoded_are_malformed(value: bytes) -> None:
    with pytest.raises(EventInvalid) as refused:
        attribute("subject", value)
    assert refused.value.malformed
    assert refused.value.pointer == "/subject"


def test_binary_mode_reads_as_the_same_event() -> None:
    data = {"hold": "H-1", "reason": {"code": "SUSPECT"}}
    headers = {
        **CE,
        b"ce-type": b"hold.applied.v1",
        b"ce-subject": b"LOT%2F1",
        b"content-type": b"application/json",
    }
    binary = decode_event(structured(headers, json.dumps(data).encode()))
    whole = decode_event(
        json.dumps(
            {
                "specversion": "1.0",
                "id": "1",
                "source": "s",
                "type": "hold.applied.v1",
                "subject": "LOT/1",
                "datacontenttype": "application/json",
                "data": data,
            }
        ).encode()
    )
    assert binary == whole


@pytest.mark.parametrize("name", [b"ce-datacontenttype", b"ce-data", b"ce-Bad", b"ce-a_b", b"ce-"])
def test_headers_that_are_no_attributes_are_malformed(name: bytes) -> None:
    with pytest.raises(EventInvalid) as refused:
        structured({**CE, name: b"x"}, b"{}")
    assert refused.value.malformed


@pytest.mark.parametrize("body", [b'{}, "subject": "OTHER"', b'{"hold": 1', b"\xff", b"[" * 100_000])
def test_a_binary_body_cannot_write_into_the_envelope(body: bytes) -> None:
    with pytest.raises(EventInvalid) as refused:
        structured({**CE, b"ce-subject": b"LOT-1"}, body)
    assert refused.value.malformed
