"""Every parser of bytes that strangers send: it understands them or says no in its own words, and never breaks.

Decoders of events, tokens, archives, inbound files and rule files have tests of their own beside them; here is the rest.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.access import Principal
from api.answers import version_of, wants_minimal
from api.batch import _items
from api.body import Patience, lines
from api.cloudevents import attribute, mode_of, read_event, structured
from api.commands import COMMANDS, event_of, idempotency_key
from api.conditional import has_tag
from api.door import Visit, path_part
from api.pages import names_place
from api.problems import Refused, explain
from api.queries import (
    cursor_after,
    fields_of,
    limit_of,
    number_of,
    number_position_of,
    one_of,
    position_of,
    read_query,
)
from api.sessions import cookie_of
from api.views import LotView
from engine.clock import instant, parse_instant
from engine.decoding import decode_event
from engine.epcis import gtin_of, lot_of, unit_of, word_of
from engine.epcis_in import read_document
from engine.errors import EventInvalid, LotgateError
from engine.feed import id_of, place_of
from engine.outbound import OutboundRefused, destination

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "data" / "epcis").glob("*.jsonld"))]
HEADER = st.one_of(st.binary(max_size=80), st.text("\"\\W/*,;=%éabc0123456789 .-+return=minimal", max_size=60).map(lambda t: t.encode("latin-1", "replace")))  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
EVENT = {"specversion": "1.0", "id": "e", "source": "s", "type": "lot.received.v1", "subject": "L", "time": "2026-11-23T08:00:00Z",
         "data": {"item": "I", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "S", "receipt": "R"}}  # fmt: skip
_NAMES = st.sampled_from(
    [b"ce-id", b"ce-source", b"ce-type", b"ce-specversion", b"ce-subject", b"ce-time", b"ce-data", b"ce-", b"ce-datacontenttype", b"ce-x1",
     b"ce-\xff", b"ce-sequence", b"ce-traceparent", b"content-type", b"content-encoding"]
)  # fmt: skip


def broken(call: Callable[[], Any], *allowed: type[Exception]) -> None:
    """``call`` may answer, or refuse in its own words: a problem below 500."""
    said: Exception | None = None
    try:
        call()
    except allowed as error:
        said = error
    assert said is None or explain(said, "/", "c")[0].status < 500, said


def visit(**headers: bytes) -> Visit:
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return Visit(Principal("p", frozenset({"admin"})), names, b"r")


@given(HEADER)
@example(b'"')
@example(b'""')
@example(b"W/")
def test_headers_are_understood_or_refused(value: bytes) -> None:
    broken(lambda: idempotency_key(value), Refused)
    broken(lambda: version_of(value), Refused)
    assert wants_minimal(visit(prefer=value)) in (True, False)
    assert has_tag(value, '"3"') in (True, False)
    assert isinstance(cookie_of(value, b"lotgate"), str)
    broken(lambda: attribute("id", value), EventInvalid)
    broken(lambda: path_part(value.decode("latin-1")), UnicodeDecodeError, Refused)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200))
def test_a_key_is_the_same_quoted_and_bare(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert idempotency_key(quoted.encode()) == text
    if text[0] != '"':
        assert idempotency_key(text.encode()) == text


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_an_attribute_written_as_the_binding_says_is_read_back(text: str) -> None:
    sent = "".join(
        c if 0x21 <= ord(c) <= 0x7E and c not in '"%' else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text
    )
    assert attribute("id", sent.encode()) == text


@given(st.dictionaries(_NAMES, HEADER, max_size=10), st.one_of(st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode())))
def test_binary_mode_is_understood_or_refused(headers: dict[bytes, bytes], body: bytes) -> None:
    broken(lambda: mode_of(headers), Refused)
    broken(lambda: read_event(structured(headers, body)), EventInvalid)


@given(st.sampled_from(sorted(COMMANDS)), st.one_of(st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode())), HEADER)
def test_commands_are_understood_or_refused(command: str, body: bytes, trace: bytes) -> None:
    sent = visit(idempotency_key=b"k", content_type=b"application/json", traceparent=trace)
    broken(lambda: event_of(sent, "L", command, body), EventInvalid, Refused)


@given(st.sampled_from(["id", "source", "subject", "time", "sequence", "data", "type", "specversion", "extra"]), JSON)
def test_an_event_with_one_part_replaced_is_understood_or_refused(part: str, value: Any) -> None:
    broken(lambda: read_event(json.dumps(EVENT | {part: value}).encode()), EventInvalid)


@given(st.datetimes(), st.integers(-23 * 60 - 59, 23 * 60 + 59))
@example(datetime.fromisoformat("0001-01-01T00:00:00"), 1)
@example(datetime.fromisoformat("9999-12-31T23:59:59"), -1)
def test_a_time_at_any_end_of_the_calendar_is_kept_or_refused(moment: datetime, zone: int) -> None:
    sign, minutes = "+" if zone >= 0 else "-", abs(zone)
    text = f"{moment.isoformat(timespec='seconds')}{sign}{minutes // 60:02}:{minutes % 60:02}"
    body = json.dumps(EVENT | {"time": text}).encode()
    try:
        parse_instant(text)
    except ValueError:
        with pytest.raises(EventInvalid, match="The time") as refused:
            decode_event(body)
        assert refused.value.pointer == "/time"
        return
    event = decode_event(body)
    assert event.time is not None
    assert instant(event.time) == instant(parse_instant(text))
    assert parse_instant(instant(event.time)).tzinfo == UTC
    assert event.time.utcoffset() in (timedelta(minutes=zone), timedelta(0))


@given(st.text(max_size=40))
@example("0001-01-01T00:00:00+23:59")
def test_a_text_is_an_instant_or_none(text: str) -> None:
    try:
        assert parse_instant(instant(parse_instant(text))) == parse_instant(text)
    except ValueError:
        pass  # no other error: this is what callers turn into a 400


@given(st.one_of(st.binary(max_size=80), st.lists(st.tuples(st.sampled_from(["limit", "cursor", "fields", "state", "x"]), st.binary(max_size=20))).map(
    lambda pairs: b"&".join(name.encode() + b"=" + value for name, value in pairs))))  # fmt: skip
def test_queries_are_understood_or_refused(text: bytes) -> None:
    def read() -> None:
        query = read_query({"query_string": text}, ("limit", "cursor", "fields", "state"))  # type: ignore[arg-type,typeddict-item]
        assert all(value and "\0" not in value for value in query.values())
        limit_of(query), position_of(query), fields_of(query, LotView), one_of(query, "state", ("released",))

    broken(read, Refused)


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=100), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_back_as_it_was_given(text: str, number: int) -> None:
    assert position_of({"cursor": cursor_after(text)}) == text
    assert number_position_of({"cursor": cursor_after(number)}) == number


@given(st.text(max_size=60))
def test_places_and_numbers_are_understood_or_refused(text: str) -> None:
    broken(lambda: position_of({"cursor": text}), Refused)
    broken(lambda: number_position_of({"cursor": text}), Refused)
    broken(lambda: number_of(text, "n"), Refused)
    broken(lambda: names_place(text, 3), Refused)
    place = place_of(text)
    assert place is None or place_of(id_of(place)) == place


@given(st.one_of(st.binary(max_size=100), JSON.map(lambda v: json.dumps(v).encode()), st.lists(JSON, max_size=5).map(lambda v: json.dumps(v).encode())))
def test_a_batch_is_items_or_refused(body: bytes) -> None:
    broken(lambda: [json.loads(item) for item in _items(body)], EventInvalid, Refused)


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20), st.integers(1, 40))
def test_lines_are_those_of_the_whole_however_they_come(body: bytes, sizes: list[int], limit: int) -> None:
    pieces, rest = [], body
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    pieces.append(rest)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def read() -> list[bytes | None]:
        return [line async for line in lines(receive, Patience(), limit)]  # type: ignore[arg-type]

    whole = body.split(b"\n")
    expected = [line if len(line) <= limit else None for line in (whole if whole[-1] else whole[:-1])]
    assert asyncio.run(read()) == expected


@given(st.one_of(st.binary(max_size=200), JSON.map(lambda v: json.dumps(v).encode())))
def test_no_bytes_break_the_reader_of_epcis(body: bytes) -> None:
    broken(lambda: read_document(body), EventInvalid, LotgateError)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for name, one in inner for deeper in _paths(one, (*path, name)))]


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), st.data(), JSON)
def test_a_document_of_epcis_with_any_part_replaced_is_understood_or_refused(sample: bytes, data: st.DataObject, value: Any) -> None:
    document = json.loads(sample)
    path = data.draw(st.sampled_from([path for path in _paths(document) if path]))
    at = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    broken(lambda: read_document(json.dumps(document).encode()), EventInvalid, LotgateError)


@given(st.text(max_size=60))
def test_names_of_epcis_are_understood_or_not(text: str) -> None:
    for read in (lot_of, gtin_of, unit_of, word_of):
        for name in (text, f"urn:epc:class:lgtin:{text}", f"https://id.gs1.org/01/{text}", f"urn:epcglobal:cbv:bizstep:{text}"):
            assert read(name) is None or isinstance(read(name), str)


@given(st.one_of(st.text(max_size=80), st.text(max_size=60).map(lambda t: "https://" + t), st.text("[]:@/#%.0123456789abcfx-", max_size=40).map(lambda t: "http://" + t)))
def test_an_address_is_taken_apart_or_refused(url: str) -> None:
    try:
        found = destination(url)
    except OutboundRefused:
        return
    assert found.scheme in ("http", "https")
    assert found.host
    assert 0 < found.port < 65536
    assert found.path.isascii()
