"""The state API over real HTTP: lots, their records, pages, conditional reads."""

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

Make = Callable[..., dict[str, Any]]


def test_a_lot_says_what_it_is_what_can_follow_and_who_knows(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    answer = service.http.get(f"/v1/lots/{event['subject']}").json()
    assert answer["lot"]["item"] == "RING-74"
    steps = {step["trigger"]: step for step in answer["next_steps"]}
    assert "hold" in steps
    assert "ship" not in steps
    assert {t["target"] for t in answer["targets"]} == {"erp", "wms"}
    assert all(
        t["agrees"] is False and t["acknowledged_version"] is None and t["sent_version"]
        for t in answer["targets"]
    )


def test_a_conditional_read_of_an_unchanged_lot_is_304_without_a_body(
    service: Any, receipt: Make, hold: Make
) -> None:
    event = receipt()
    service.submit(event)
    path = f"/v1/lots/{event['subject']}"
    tag = service.http.get(path).headers["etag"]
    assert not tag.startswith("W/")
    unchanged = service.http.get(path, headers={"If-None-Match": f'"0", {tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    service.submit(hold(event["subject"]))
    assert service.http.get(path, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    "lot", ["A/1", "a b", "50%", "€", "a%2Fb", "?x=1", "#1", "..", ".", "a/../b", "ü\u0308"]
)
def test_any_lot_id_can_be_read_by_its_percent_encoded_address(service: Any, receipt: Make, lot: str) -> None:
    event = receipt(f"={lot}")
    assert service.submit(event).status_code == 201
    path = "/v1/lots/" + quote(lot, safe="").replace(".", "%2E")
    with service.client(service.key) as caller:
        for sub in ("", "/journal", "/results", "/holds", "/deliveries"):
            assert caller.get(path + sub).status_code == 200, path + sub
        assert caller.get(path).json()["lot"]["id"] == lot
        command = caller.post(
            path + "/hold",
            json={"hold": "H", "reason": {"code": "X"}},
            headers={"Idempotency-Key": f"k{lot}".encode().hex()},
        )
        assert command.status_code == 201, command.text


def test_the_records_of_a_lot(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    lot = event["subject"]
    service.submit(event)
    inspection = {
        "specversion": "1.0",
        "id": f"i-{lot}",
        "source": "lims",
        "type": "inspection.recorded.v1",
        "subject": lot,
        "data": {
            "inspection": "IL-1",
            "measurements": [{"characteristic": "diameter", "value": "74.030", "unit": "mm", "sample": 1}],
        },
    }
    assert service.submit(inspection).status_code == 201
    service.submit(hold(lot))
    journal = service.http.get(f"/v1/lots/{lot}/journal").json()
    assert [e["version"] for e in journal["data"]] == list(range(1, len(journal["data"]) + 1))
    assert journal["next"] is None
    assert all(
        a["hash"] == b["prev_hash"] for a, b in zip(journal["data"], journal["data"][1:], strict=False)
    )
    results = service.http.get(f"/v1/lots/{lot}/results").json()["data"]
    assert results[0]["measurements"][0]["value"] == "74.030"
    holds = service.http.get(f"/v1/lots/{lot}/holds").json()["data"]
    assert [(h["hold"], h["reason"], h["lifted_at"]) for h in holds] == [("H-1", "SUSPECT", None)]
    deliveries = service.http.get(f"/v1/lots/{lot}/deliveries").json()["data"]
    assert {d["target"] for d in deliveries} == {"erp", "wms"}
    assert all(d["status"]["lot"] == lot for d in deliveries)


def test_a_journal_is_read_in_pages(service: Any, receipt: Make, hold: Make) -> None:
    event = receipt()
    story = [event, *(hold(event["subject"], f"H-{n}") for n in range(12))]
    service.http.post(
        "/v1/events/batch",
        content="\n".join(map(json.dumps, story)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    path = f"/v1/lots/{event['subject']}/journal"
    whole = service.http.get(path).json()["data"]
    assert walk(service, path, limit=5) == whole


def walk(service: Any, path: str, **parameters: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        sent = {**parameters, **({"cursor": cursor} if cursor else {})}
        answer = service.http.get(path, params=sent)
        assert answer.status_code == 200, answer.text
        rows += answer.json()["data"]
        cursor = answer.json()["next"]
        if cursor is None:
            return rows


def test_a_walk_during_inserts_repeats_and_skips_nothing(service: Any, receipt: Make) -> None:
    def load(first: int, last: int) -> None:
        body = "\n".join(
            json.dumps(receipt(f"={n * 7919 % 10007:05}-walk", plant="WALK")) for n in range(first, last)
        )
        service.http.post(
            "/v1/events/batch",
            content=body,
            headers={"Content-Type": "application/x-ndjson", "Prefer": "return=minimal"},
        )

    load(0, 1000)
    there = {row["id"] for row in walk(service, "/v1/lots", plant="WALK", limit=500)}
    assert len(there) == 1000
    inserting = threading.Thread(target=load, args=(1000, 2000))
    inserting.start()
    seen = [row["id"] for row in walk(service, "/v1/lots", plant="WALK", limit=37)]
    inserting.join()
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_filters_narrow_the_list(service: Any, receipt: Make, hold: Make) -> None:
    for n, supplier in enumerate(("ACME", "NORDRING", "ACME")):
        service.submit(receipt(str(n), plant="FILTER", supplier=supplier, order="PO-1"))
    blocked = receipt("0")["subject"]
    service.submit(hold(blocked))
    assert len(walk(service, "/v1/lots", plant="FILTER")) == 3
    assert len(walk(service, "/v1/lots", plant="FILTER", item="RING-74")) == 3
    assert [r["id"] for r in walk(service, "/v1/lots", plant="FILTER", state="blocked")] == [blocked]
    assert len(walk(service, "/v1/lots", plant="FILTER", supplier="NORDRING")) == 1
    assert len(walk(service, "/v1/lots", order="PO-1", plant="FILTER")) == 3
    assert walk(service, "/v1/lots", plant="FILTER", item="WAFER-FLOW") == []
    assert walk(service, "/v1/lots", plant="FILTER' OR '1'='1") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=-1",
        "limit=1e3",
        "limit=",
        "cursor=junk",
        "cursor=%00",
        "cursor=",
        "state=lost",
        "colour=red",
        "limit=1&limit=2",
        "item=%ff",
    ],
)
def test_a_query_that_cannot_be_used_is_400(service: Any, query: str) -> None:
    answer = service.http.get(f"/v1/lots?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "/problems/parameter-invalid"


def test_head_answers_like_get_without_a_body(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    for path in (f"/v1/lots/{event['subject']}", "/v1/lots", "/healthz", "/problems"):
        get, head = service.http.get(path), service.http.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers.get("etag") == get.headers.get("etag")
        assert head.headers["content-type"] == get.headers["content-type"]


def test_other_methods_are_405_with_allow(service: Any) -> None:
    for path in ("/v1/lots", "/v1/lots/X", "/v1/lots/X/journal", "/healthz"):
        answer = service.http.delete(path)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        options = service.http.options(path)
        assert options.status_code == 204
        assert "GET" in options.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/lots/NONE",
        "/v1/lots/NONE/journal",
        "/v1/lots/NONE/results",
        "/v1/lots/NONE/holds",
        "/v1/lots/NONE/deliveries",
        "/v1/lots/NONE/explain",
        "/v1/events/NONE",
        "/v1/nothing",
    ],
)
def test_what_does_not_exist_is_404(service: Any, path: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


def test_a_lot_explains_why_it_cannot_be_released(service: Any, receipt: Make) -> None:
    event = receipt()
    service.submit(event)
    answer = service.http.get(f"/v1/lots/{event['subject']}/explain", params={"trigger": "release"})
    assert answer.status_code == 200
    assert answer.json()["open"] is False
    unknown = service.http.get(f"/v1/lots/{event['subject']}/explain", params={"trigger": "vanish"})
    assert unknown.status_code == 422
