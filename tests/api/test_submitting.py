"""POST /v1/events over real HTTP: what is accepted, what is refused, and how."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]


def test_a_valid_event_is_answered_with_the_committed_decision(service: Any, receipt: Make) -> None:
    answer = service.submit(receipt())
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    decision = answer.json()
    assert decision["outcome"] == "applied"
    assert decision["state"]["before"] == "absent"
    assert answer.headers["etag"] == f'"{decision["version"]}"'
    assert service.http.get(answer.headers["location"]).json()["answer"] == decision


def test_binary_mode_is_the_same_event(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    binary = service.http.post(
        "/v1/events",
        content=json.dumps(event["data"]),
        headers={
            "Content-Type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": event["id"],
            "ce-source": event["source"],
            "ce-type": event["type"],
            "ce-subject": event["subject"],
            "ce-time": event["time"],
        },
    )
    assert binary.status_code == 200, binary.text
    assert binary.headers["idempotency-replayed"] == "true"


def test_a_structured_body_wins_over_contradicting_headers(service: Any, receipt: Make) -> None:
    event = receipt()
    answer = service.submit(event, ce_id="another", ce_subject="another")
    assert answer.status_code == 201
    assert answer.json()["event"]["id"] == event["id"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": ""}, "/source"),
        ({"type": "lot.vanished.v1"}, "/type"),
        ({"type": ""}, "/type"),
        ({"subject": ""}, "/subject"),
        ({"subject": "x" * 65}, "/subject"),
        ({"time": "2026-11-23T08:00:00"}, "/time"),
        ({"time": 0}, "/time"),
        ({"subject": "a\u0001b"}, "/subject"),
        ({"id": "a\u0085b"}, "/id"),
        ({"data": {}}, "/data"),
    ],
)
def test_an_envelope_that_does_not_fit_is_422_with_a_pointer(
    service: Any, receipt: Make, change: dict[str, Any], pointer: str
) -> None:
    answer = service.submit({**receipt(), **change})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion", "subject", "data"])
def test_a_missing_member_is_422_and_named(service: Any, receipt: Make, name: str) -> None:
    event = receipt()
    del event[name]
    answer = service.submit(event)
    assert answer.status_code == 422
    assert name in answer.json()["detail"]


def test_an_unknown_field_in_the_data_is_422_with_a_pointer(service: Any, receipt: Make) -> None:
    answer = service.submit(receipt(colour="red"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/data"
    assert "colour" in answer.json()["detail"]


@pytest.mark.parametrize(
    "value",
    [
        '"nan"',
        '"Infinity"',
        '"-inf"',
        "true",
        "null",
        "NaN",
        "Infinity",
        "1e999",
        '"1e999"',
        '""',
        "[]",
        "0",
        "-5",
        '"0.0000001"',
        "10000000000000",
    ],
)
def test_a_quantity_that_is_no_number_is_never_accepted(service: Any, receipt: Make, value: str) -> None:
    body = json.dumps(receipt()).replace('"value": "100"', f'"value": {value}').encode()
    answer = service.submit(body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe\x00",
        b'\xef\xbb\xbf{"id":1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "\xc0\xa0"}',
        b"{}{}",
        b"null\x00",
    ],
)
def test_what_is_not_json_is_400_and_counted(service: Any, body: bytes) -> None:
    counted = 'lotgate_refused_requests_total{code="malformed"}'
    before = service.metric(counted)
    answer = service.submit(body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "/problems/malformed"
    assert service.metric(counted) == before + 1


def test_deep_nesting_in_an_extension_is_no_server_error(service: Any, receipt: Make) -> None:
    for depth in (100, 900, 1100, 5000, 100_000):
        body = (
            json.dumps(receipt(f"={depth}"))[:-1].encode() + b', "ext": ' + b"[" * depth + b"]" * depth + b"}"
        )
        assert service.submit(body).status_code in (200, 201, 400, 422)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/msgpack", ""]
)
def test_other_media_types_are_415(service: Any, receipt: Make, content_type: str) -> None:
    answer = service.http.post(
        "/v1/events", content=json.dumps(receipt()), headers={"Content-Type": content_type}
    )
    assert answer.status_code == 415
    assert answer.json()["type"] == "/problems/unsupported-media-type"


def test_a_compressed_body_is_415(service: Any, receipt: Make) -> None:
    answer = service.submit(receipt(), content_encoding="gzip")
    assert answer.status_code == 415
    assert answer.json()["type"] == "/problems/unsupported-content-encoding"


def test_ce_datacontenttype_and_bad_percent_encoding_are_400(service: Any, receipt: Make) -> None:
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "s",
        "ce-type": "lot.released.v1",
    }
    bad = service.http.post(
        "/v1/events", content="{}", headers={**headers, "ce-datacontenttype": "application/json"}
    )
    assert bad.status_code == 400
    bad = service.http.post("/v1/events", content="{}", headers={**headers, "ce-subject": "%C0%A0"})
    assert bad.status_code == 400


def test_a_replay_gets_the_first_answer_however_it_is_written(service: Any, receipt: Make) -> None:
    event = receipt()
    first = service.submit(event)
    again = service.submit(event)
    reordered = dict(reversed(event.items())) | {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    spaced = service.submit(json.dumps(reordered, indent=4).encode())
    for replay in (again, spaced):
        assert replay.status_code == 200
        assert replay.headers["idempotency-replayed"] == "true"
        assert replay.content == first.content
    journal = service.http.get(f"/v1/lots/{event['subject']}/journal").json()["data"]
    assert [entry["event_id"] for entry in journal if entry["kind"] == "event"] == [event["id"]]


def test_the_same_id_with_other_content_is_409(service: Any, receipt: Make) -> None:
    event = receipt()
    first = service.submit(event)
    answer = service.submit(receipt(supplier="OTHER"))
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/event-id-reused"
    assert service.http.get(f"/v1/lots/{event['subject']}").headers["etag"] == first.headers["etag"]


def test_fifty_concurrent_copies_have_one_effect(service: Any, receipt: Make) -> None:
    event = receipt()
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: service.submit(event), range(50)))
    assert sorted(a.status_code for a in answers) == [200] * 49 + [201]
    assert len({a.content for a in answers}) == 1


def test_a_validation_failure_does_not_use_up_the_id(service: Any, receipt: Make) -> None:
    assert service.submit(receipt(quantity={"value": "-1", "unit": "ea"})).status_code == 422
    assert service.submit(receipt()).status_code == 201


def test_an_event_before_its_lot_is_parked_and_taken_up(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    early = service.submit(hold(event["subject"]))
    assert early.status_code == 202
    assert service.http.get(early.headers["location"]).json()["outcome"] == "parked"
    assert any(
        p["subject"] == event["subject"] for p in service.http.get("/v1/parked?limit=500").json()["data"]
    )
    service.submit(event)
    assert service.http.get(early.headers["location"]).json()["outcome"] == "applied"
    assert service.http.get(f"/v1/lots/{event['subject']}").json()["lot"]["state"] == "blocked"


def test_a_stale_if_match_is_412_and_a_current_one_applies(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    version = service.submit(event).headers["etag"]
    stale = service.submit(hold(event["subject"]), if_match='"99"')
    assert stale.status_code == 412
    assert stale.json()["type"] == "/problems/precondition-failed"
    assert service.http.get(f"/v1/lots/{event['subject']}").headers["etag"] == version
    assert service.submit(hold(event["subject"]), if_match=version).status_code == 201


def test_of_two_simultaneous_changes_of_one_version_one_wins(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    version = service.submit(event).headers["etag"]
    with ThreadPoolExecutor(2) as callers:
        both = list(
            callers.map(
                lambda name: service.submit(hold(event["subject"], name), if_match=version), ("H-1", "H-2")
            )
        )
    assert sorted(answer.status_code for answer in both) == [201, 412]


@pytest.mark.parametrize("value", ["3", 'W/"3"', '"3", "4"', '"x"', '"-1"'])
def test_an_if_match_that_is_no_version_is_400(service: Any, receipt: Make, value: str) -> None:
    assert service.submit(receipt(), if_match=value).status_code == 400


def test_a_step_the_state_does_not_allow_is_409_with_what_is_allowed(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    answer = service.submit({**event, "id": "x-" + event["subject"], "type": "lot.released.v1", "data": {}})
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["type"] == "/problems/transition-not-allowed"
    assert problem["state"]
    assert "release" not in problem["allowed"]
    assert "hold" in problem["allowed"]
    kinds = [e["kind"] for e in service.http.get(f"/v1/lots/{event['subject']}/journal").json()["data"]]
    assert kinds[-1] == "refusal"


def test_other_methods_are_405_with_allow(service: Any) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = service.http.request(method, "/v1/events")
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]
    options = service.http.request("OPTIONS", "/v1/events")
    assert options.status_code == 204
    assert "POST" in options.headers["allow"]


def test_a_duplicate_json_key_means_the_same_everywhere(service: Any, receipt: Make) -> None:
    subjects = []
    for index, (path, content_type) in enumerate(
        [
            ("/v1/events", "application/cloudevents+json"),
            ("/v1/events/batch", "application/cloudevents-batch+json"),
            ("/v1/events/batch", "application/x-ndjson"),
        ]
    ):
        event = receipt(str(index))
        text = '{"subject": "FIRST", ' + json.dumps(event)[1:]
        body = f"[{text}]" if "batch+json" in content_type else text
        answer = service.http.post(path, content=body, headers={"Content-Type": content_type})
        subjects.append((event["subject"] in answer.text, "FIRST" in answer.text))
    assert subjects == [(True, False)] * 3
