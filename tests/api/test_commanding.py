"""Typed commands: the same pipeline in one call."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., dict[str, Any]]
HOLD = {"hold": "H-9", "reason": {"code": "SUSPECT"}}


def act(
    service: Any, lot: str, command: str, body: Any = None, key: str | None = "k", **headers: str
) -> httpx.Response:
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    if key is not None:
        sent["Idempotency-Key"] = f"{key}" if key.startswith(("=", '"')) else f"{lot}-{command}-{key}"
    return (
        service.http.post(f"/v1/lots/{lot}/{command}", json=body, headers=sent)
        if body is not None
        else (service.http.post(f"/v1/lots/{lot}/{command}", headers=sent))
    )


def test_a_command_is_an_event_of_its_principal(service: Any, receipt: Make) -> None:
    lot = receipt()["subject"]
    created = act(service, lot, "receive", receipt()["data"])
    assert created.status_code == 201, created.text
    assert created.json()["event"]["source"] == "api/admin"
    held = act(service, lot, "hold", HOLD)
    assert held.status_code == 201
    assert held.json()["state"]["after"] == "blocked"
    assert held.headers["etag"] == service.http.get(f"/v1/lots/{lot}").headers["etag"]
    lifted = act(service, lot, "lift-hold", {"hold": "H-9", "reason": {"code": "CLEARED"}})
    assert lifted.status_code == 201


def test_the_same_key_acts_once_quoted_or_not(service: Any, receipt: Make) -> None:
    lot = receipt()["subject"]
    service.submit(receipt())
    first = act(service, lot, "hold", HOLD, key=f'"{lot}-quoted"')
    again = act(service, lot, "hold", HOLD, key=f'"{lot}-quoted"')
    bare = service.http.post(f"/v1/lots/{lot}/hold", json=HOLD, headers={"Idempotency-Key": f"{lot}-quoted"})
    assert [first.status_code, again.status_code, bare.status_code] == [201, 200, 200]
    assert bare.headers["idempotency-replayed"] == "true"
    assert bare.content == first.content
    other = act(service, lot, "hold", {**HOLD, "hold": "H-10"}, key=f'"{lot}-quoted"')
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")


def test_a_command_without_a_key_is_400_and_leads_to_its_page(service: Any, receipt: Make) -> None:
    answer = act(service, "X", "hold", HOLD, key=None)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/idempotency-key-required"
    assert service.http.get(answer.json()["type"]).status_code == 200


@pytest.mark.parametrize("key", ["=" + "x" * 256, '"', '""', "=\u00e4"])
def test_a_key_that_cannot_be_used_is_400(service: Any, key: str) -> None:
    answer = service.http.post(
        "/v1/lots/X/hold", json=HOLD, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 400


def test_pointers_lead_into_the_body_that_was_sent(service: Any) -> None:
    answer = act(service, "X", "consume", {"quantity": {"value": "-1", "unit": "ea"}, "order": "O"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/quantity/value"


def test_release_needs_no_body_and_answers_with_the_rules_that_refuse(service: Any, receipt: Make) -> None:
    lot = receipt()["subject"]
    service.submit(receipt())
    answer = act(service, lot, "release")
    assert answer.status_code == 409
    assert answer.json()["type"] in ("/problems/transition-not-allowed", "/problems/gate-failed")


def test_an_unknown_command_is_404_and_a_record_is_405(service: Any) -> None:
    assert act(service, "X", "explode", {}).status_code == 404
    answer = act(service, "X", "journal", {})
    assert (answer.status_code, "GET" in answer.headers["allow"]) == (405, True)


def test_if_match_guards_a_command(service: Any, receipt: Make) -> None:
    lot = receipt()["subject"]
    service.submit(receipt())
    assert act(service, lot, "hold", HOLD, if_match='"77"').status_code == 412
    assert (
        act(
            service, lot, "hold", HOLD, if_match=service.http.get(f"/v1/lots/{lot}").headers["etag"]
        ).status_code
        == 201
    )


def test_a_traceparent_header_is_kept(service: Any, receipt: Make) -> None:
    lot = receipt()["subject"]
    service.submit(receipt())
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    act(service, lot, "hold", HOLD, traceparent=trace)
    act(service, lot, "lift-hold", {"hold": "H-9", "reason": {"code": "OK"}}, traceparent="00-nonsense")
    traces = [
        e["traceparent"]
        for e in service.http.get(f"/v1/lots/{lot}/journal").json()["data"]
        if e["source"] == "api/admin"
    ]
    assert traces == [trace, None]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{} , "subject": "OTHER"', b"null", b"3"])
def test_a_body_that_is_no_data_block_is_refused(service: Any, body: bytes) -> None:
    answer = service.http.post(
        "/v1/lots/X/hold", content=body, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
