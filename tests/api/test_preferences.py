"""What a caller may ask for beside the call: less of an answer, some fields, that the lot is there."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]
MINIMAL = {"Prefer": "respond-async, return=minimal; wait=1"}


def test_a_minimal_answer_has_its_headers_and_no_body(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    first = service.submit(event, Prefer="return=minimal")
    assert (first.status_code, first.content, first.headers["preference-applied"]) == (201, b"", "return=minimal")
    assert first.headers["etag"] == '"2"'
    whole = service.http.get(first.headers["location"])
    assert whole.json()["subject"] == event["subject"]
    again = service.submit(event, Prefer="return=minimal")
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (200, b"", "true")
    path, key = f"/v1/lots/{event['subject']}/hold", {"Idempotency-Key": event["subject"]}
    command = service.http.post(path, json=hold("x")["data"], headers={**MINIMAL, **key})
    assert (command.status_code, command.content, command.headers["etag"]) == (201, b"", '"3"')


def test_a_refusal_is_told_whole_whatever_was_preferred(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    release = {**event, "id": "rel", "type": "lot.released.v1", "data": {}}
    refused = service.submit(release, Prefer="return=minimal")
    assert (refused.status_code, refused.json()["status"]) == (409, 409)
    assert "preference-applied" not in refused.headers


@pytest.mark.parametrize("prefer", ["return=representation", "minimal", "return=minimally", ""])
def test_other_preferences_are_ignored(service: Any, receipt: Make, prefer: str) -> None:
    assert service.submit(receipt(prefer.replace("=", "-")), Prefer=prefer).json()["outcome"] == "applied"


def test_if_match_with_a_star_asks_that_the_lot_is_there(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    lot = event["subject"]
    absent = service.submit(hold(lot), If_Match="*")
    assert (absent.status_code, absent.json()["type"]) == (412, "/problems/precondition-failed")
    assert "There is no lot" in absent.json()["detail"]
    assert service.submit(event).status_code == 201
    assert service.submit(hold(lot), If_Match="*").status_code == 201
    key = {"Idempotency-Key": lot, "If-Match": "*"}
    assert service.http.post(f"/v1/lots/{lot}/hold", json=hold(lot, "H-2")["data"], headers=key).status_code == 201


@pytest.mark.parametrize("tag", ['"1", "2"', 'W/"1"', "1", "**", '"x"'])
def test_an_if_match_that_is_no_version_is_400(service: Any, hold: Make, tag: str) -> None:
    assert service.submit(hold("nobody"), If_Match=tag).status_code == 400


def test_a_key_that_was_used_for_something_else_is_422_and_does_nothing(
    service: Any, receipt: Make, hold: Make
) -> None:
    event = receipt()
    lot = event["subject"]
    service.submit(event)
    key, data = {"Idempotency-Key": f"k-{lot}"}, hold(lot)["data"]
    assert service.http.post(f"/v1/lots/{lot}/hold", json=data, headers=key).status_code == 201
    for path, body in ((f"{lot}/hold", {**data, "hold": "H-9"}), (f"{lot}/release", {}), ("other/hold", data)):
        other = service.http.post(f"/v1/lots/{path}", json=body, headers=key)
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
        assert other.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert service.http.post(f"/v1/lots/{lot}/hold", json=data, headers=key).status_code == 200
    assert len(service.http.get(f"/v1/lots/{lot}/holds").json()["data"]) == 1


def test_only_the_fields_that_were_asked_for_are_given(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    rows = service.http.get("/v1/lots", params={"fields": "id,version", "limit": 2}).json()["data"]
    assert all(set(row) == {"id", "version"} for row in rows)
    one = service.http.get(f"/v1/lots/{event['subject']}", params={"fields": "next_steps"})
    assert set(one.json()) == {"next_steps"}
    assert one.headers["etag"] == '"2"'
    for path in ("/v1/lots", f"/v1/lots/{event['subject']}"):
        refused = service.http.get(path, params={"fields": "id,colour"})
        assert (refused.status_code, refused.json()["type"]) == (400, "/problems/parameter-invalid")
