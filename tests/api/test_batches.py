"""POST /v1/events/batch over real HTTP: order, isolation of bad items, streaming in both directions."""

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx

Make = Callable[..., dict[str, Any]]
ARRAY = {"Content-Type": "application/cloudevents-batch+json"}
LINES = {"Content-Type": "application/x-ndjson"}


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_array_is_answered_in_order(service: Any, receipt: Make) -> None:
    events = [receipt(str(n)) for n in range(3)]
    answer = service.http.post("/v1/events/batch", content=json.dumps(events), headers=ARRAY)
    assert answer.status_code == 200
    results = answer.json()
    assert [(r["index"], r["status"], r["id"]) for r in results] == [
        (n, 201, e["id"]) for n, e in enumerate(events)
    ]
    assert results[0]["decision"]["lot"] == events[0]["subject"]


def test_an_empty_array_is_answered_with_an_empty_array(service: Any) -> None:
    answer = service.http.post("/v1/events/batch", content="[]", headers=ARRAY)
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_batch_may_also_be_sent_to_the_event_address(service: Any, receipt: Make) -> None:
    answer = service.http.post("/v1/events", content=json.dumps([receipt()]), headers=ARRAY)
    assert [r["status"] for r in answer.json()] == [201]


def test_what_is_no_array_is_refused_whole(service: Any) -> None:
    assert service.http.post("/v1/events/batch", content="{}", headers=ARRAY).status_code == 422
    assert service.http.post("/v1/events/batch", content="[", headers=ARRAY).status_code == 400
    assert service.http.post("/v1/events/batch", content="[" * 100_000, headers=ARRAY).status_code == 400
    many = service.http.post("/v1/events/batch", content="[" + ",".join(["1"] * 10_001) + "]", headers=ARRAY)
    assert many.status_code == 413


def test_a_bad_line_spoils_only_itself(service: Any, receipt: Make) -> None:
    lines = [json.dumps(receipt(str(n))) for n in range(1000)]
    lines[10] = "{"
    lines[500] = json.dumps({**receipt("500"), "specversion": "2"})
    lines[990] = '"\\ud800"'
    results = lines_of(service.http.post("/v1/events/batch", content="\n".join(lines), headers=LINES))
    assert [r["index"] for r in results] == list(range(1000))
    assert [n for n, r in enumerate(results) if r["status"] != 201] == [10, 500, 990]
    assert {results[n]["status"] for n in (10, 500, 990)} <= {400, 422}
    assert results[500]["problem"]["errors"][0]["pointer"] == "/specversion"
    assert service.http.get(f"/v1/lots/{results[999]['lot']}").status_code == 200


def test_blank_lines_are_skipped_and_line_ends_may_be_crlf(service: Any, receipt: Make) -> None:
    body = "\r\n\r\n".join(json.dumps(receipt(str(n))) for n in range(3)) + "\r\n\r\n"
    results = lines_of(service.http.post("/v1/events/batch", content=body, headers=LINES))
    assert [(r["index"], r["status"]) for r in results] == [(0, 201), (1, 201), (2, 201)]


def test_events_of_one_lot_see_each_others_effects(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    story = [event, *(hold(event["subject"], f"H-{n}") for n in range(20))]
    body = "\n".join(map(json.dumps, story))
    results = lines_of(service.http.post("/v1/events/batch", content=body, headers=LINES))
    assert [r["status"] for r in results] == [201] * 21
    versions = [r["version"] for r in results]
    assert versions == sorted(set(versions))
    assert results[20]["decision"]["state"]["before"] == "blocked"


def test_a_repeated_item_is_replayed_within_the_batch(service: Any, receipt: Make) -> None:
    event = json.dumps(receipt())
    results = lines_of(service.http.post("/v1/events/batch", content=f"{event}\n{event}", headers=LINES))
    assert [r["status"] for r in results] == [201, 200]
    assert results[1]["replayed"] is True
    assert results[0]["decision"] == results[1]["decision"]


def test_minimal_results_leave_the_decision_out(service: Any, receipt: Make) -> None:
    answer = service.http.post(
        "/v1/events/batch", content=json.dumps(receipt()), headers={**LINES, "Prefer": "return=minimal"}
    )
    result = lines_of(answer)[0]
    assert result["status"] == 201
    assert result["version"] >= 1
    assert "decision" not in result


def test_a_line_that_is_too_long_is_413_and_the_next_goes_on(service: Any, receipt: Make) -> None:
    body = b'{"x": "' + b"y" * 1_200_000 + b'"}\n' + json.dumps(receipt()).encode()
    results = lines_of(service.http.post("/v1/events/batch", content=body, headers=LINES))
    assert [r["status"] for r in results] == [413, 201]


def test_results_come_while_the_sender_is_still_sending(service: Any, receipt: Make) -> None:
    head = (
        "POST /v1/events/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        f"Authorization: Bearer {service.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = b""
        for n in range(3):
            line = json.dumps(receipt(str(n))).encode() + b"\n"
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            while b'"index":%d' % n not in answer:
                got = connection.recv(65536)
                assert got, answer
                answer += got
        connection.sendall(b"0\r\n\r\n")
        while not answer.endswith(b"0\r\n\r\n"):
            got = connection.recv(65536)
            assert got, answer
            answer += got
    assert answer.count(b'"status":201') == 3


def test_if_match_on_a_batch_is_400(service: Any, receipt: Make) -> None:
    answer = service.http.post(
        "/v1/events/batch", content=json.dumps(receipt()), headers={**LINES, "If-Match": '"1"'}
    )
    assert answer.status_code == 400
