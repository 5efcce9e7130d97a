"""Electronic signatures over HTTP: who it is is asked again, and what was shown is what is signed."""

import json
import sqlite3
import time
from typing import Any

import httpx
import pytest

from engine.people import hash_of


@pytest.fixture(scope="module")
def signer(service: Any) -> httpx.Client:
    key = "lotgate_test_qa_anna"
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute(
            "INSERT INTO api_keys (id, secret_hash, name, roles, created_at) VALUES (?, ?, ?, ?, '2026-01-01')",
            ("qa-anna", hash_of(key), "qa-anna", '["sign", "release"]'),
        )
    client = service.client(key)
    client.headers["X-Test-Key"] = key
    deadline = time.monotonic() + 30
    while client.get("/v1/lots").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return client


def sign(client: httpx.Client, lot: str, number: str, **changes: Any) -> httpx.Response:
    shown = client.get(f"/v1/lots/{lot}").json()["lot"]
    wanted = {
        "meaning": "review", "version": shown["version"], "digest": shown["head"], "key": client.headers["X-Test-Key"],
    } | changes  # fmt: skip
    return client.post(f"/v1/lots/{lot}/sign", json=wanted, headers={"Idempotency-Key": number})


@pytest.fixture
def lot(service: Any, receipt: Any) -> str:
    event = receipt()
    assert service.submit(event).status_code == 201
    return str(event["subject"])


def test_a_signature_says_who_when_and_what_for(service: Any, signer: httpx.Client, lot: str) -> None:
    version = service.http.get(f"/v1/lots/{lot}").json()["lot"]["version"]
    answer = sign(signer, lot, f"s1-{lot}", role="release", text="reviewed")
    assert answer.status_code == 201
    (found,) = service.http.get(f"/v1/lots/{lot}").json()["lot"]["signatures"]
    assert (found["signer"], found["meaning"], found["version"], found["role"]) == (
        "qa-anna", "review", version, "release"
    )  # fmt: skip
    journal = service.http.get(f"/v1/lots/{lot}/journal").json()["data"]
    assert next(e["hash"] for e in journal if e["version"] == version) == found["digest"]
    # The key is nowhere: not in the journal, not in the log.
    key = signer.headers["X-Test-Key"]
    assert key not in json.dumps(journal)
    assert key not in (service.home / "web.log").read_text()


def test_whoever_cannot_say_again_who_it_is_does_not_sign(service: Any, signer: httpx.Client, lot: str) -> None:
    for wrong in ("lotgate_00000000_nonsense", service.key):
        answer = sign(signer, lot, f"s2-{lot}", key=wrong)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (403, "/key")
    assert sign(signer, lot, f"s3-{lot}", role="inspect").status_code == 403
    assert "signatures" not in service.http.get(f"/v1/lots/{lot}").json()["lot"]


def test_what_is_not_as_it_was_shown_is_not_signed(signer: httpx.Client, lot: str) -> None:
    answer = sign(signer, lot, f"s4-{lot}", digest="0" * 64)
    assert (answer.status_code, answer.json()["rules"][0]["rule"]) == (409, "SIGNED-AS-IT-IS")
    assert sign(signer, lot, f"s5-{lot}", digest="short").status_code == 422


def test_a_signature_is_never_an_event_that_somebody_sends(service: Any, lot: str) -> None:
    event = {
        "specversion": "1.0", "id": f"forged-{lot}", "source": "mes/1", "type": "lot.signed.v1", "subject": lot,
        "data": {"meaning": "release", "version": 2, "digest": "0" * 64, "signer": "qa-anna"},
    }  # fmt: skip
    answer = service.submit(event)
    assert answer.status_code == 422
    stated = {"kind": "signature", "fields": {"signer": "qa-anna", "meaning": "release"}}
    refused = service.http.post(
        f"/v1/lots/{lot}/state-fact", json=stated, headers={"Idempotency-Key": f"forged-fact-{lot}"}
    )
    assert refused.status_code == 409
    assert "filled by Lotgate itself" in refused.json()["detail"]


def test_records_are_listed(service: Any, lot: str) -> None:
    data = {"record": "NC-7", "kind": "nonconformance", "severity": "minor", "text": "scratched"}
    made = service.http.post(f"/v1/lots/{lot}/open-record", json=data, headers={"Idempotency-Key": f"nc-{lot}"})
    assert made.status_code == 201
    page = service.http.get("/v1/quality/records", params={"lot": lot}).json()
    assert [line["record"]["record"] for line in page["data"]] == ["NC-7"]
    assert service.http.get("/v1/quality/records", params={"status": "strange"}).status_code == 400
    assert service.http.get("/v1/quality/records", params={"cursor": "MTpub25zZW5zZQ"}).status_code == 400


def test_a_board_signs_the_decision_of_a_record_and_it_is_carried_out(
    service: Any, signer: httpx.Client, lot: str
) -> None:
    def post(name: str, body: Any) -> httpx.Response:
        key = {"Idempotency-Key": f"{name}-{len(json.dumps(body))}-{lot}"}
        answer: httpx.Response = service.http.post(f"/v1/lots/{lot}/{name}", json=body, headers=key)
        return answer

    whole = service.http.get(f"/v1/lots/{lot}").json()["lot"]
    unit, quantity = whole["unit"], str(whole["quantity"])
    less = str(int(quantity) - 10)
    ten = {"value": "10", "unit": unit}
    post("hold", {"hold": "MRB", "reason": {"code": "R"}})
    post("open-record", {"record": "NC-8", "kind": "nonconformance", "severity": "major", "text": "bent", "quantity": ten})
    post("change-record", {"record": "NC-8", "step": "investigate", "text": "dropped"})
    said = {"record": "NC-8", "step": "decide", "text": "scrap", "board": ["release"],
            "dispositions": [{"decision": "scrap", "quantity": ten}]}  # fmt: skip
    assert post("change-record", said).status_code == 201
    parts = [{"decision": "scrap", "quantity": ten}, {"decision": "block", "quantity": {"value": less, "unit": unit}}]
    decision = {"parts": parts, "reason": {"code": "MRB"}}
    refused = sign(signer, lot, f"b0-{lot}", meaning="disposition", record="NC-8")
    assert [rule["rule"] for rule in refused.json()["rules"]] == ["BOARD-ROLE"]
    assert sign(signer, lot, f"b1-{lot}", meaning="disposition", record="NC-8", role="release").status_code == 201
    (record,) = service.http.get(f"/v1/lots/{lot}").json()["lot"]["records"]
    assert [(one["role"], one["signer"]) for one in record["signed"]] == [("release", "qa-anna")]
    answer = post("decide-usage", decision)
    assert answer.status_code == 201, answer.text
    ended = [service.http.get(f"/v1/lots/{lot}{tail}").json()["lot"] for tail in ("", "-1", "-2")]
    assert [one.get("closed") for one in ended] == ["split", "scrapped", None]
