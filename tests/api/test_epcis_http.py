"""GS1 EPCIS over HTTP."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from tests.engine.test_epcis import DATA, of, received

TYPE = {"Content-Type": "application/ld+json"}


def test_a_document_is_decided_event_by_event_and_once(service: Any) -> None:
    lot = "urn:epc:class:lgtin:4012345.012345.HTTP-1"
    goods = {"lotgate:item": "RING-74", "lotgate:revision": "A"}
    event = received(quantityList=[{"epcClass": lot, "quantity": 5}], ilmd=goods)
    body = of(event, epcisBody={"eventList": [
        event | {"eventTime": "2026-11-23T08:00:00Z", "eventID": "urn:uuid:http-1"}, {"type": "AssociationEvent"},
        event | {"eventTime": "2026-11-23T08:00:00Z", "eventID": "urn:uuid:http-2", "bizStep": "holding", "disposition": "damaged"},
    ]})  # fmt: skip
    answer = service.http.post("/v1/epcis/capture", content=body, headers=TYPE)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["understood"], found["refused"]) == (2, 1)
    assert [(one.get("eventID"), one["outcome"]) for one in found["events"]] == [
        ("urn:uuid:http-1", "understood"), (None, "refused"), ("urn:uuid:http-2", "understood")
    ]  # fmt: skip
    assert found["events"][1]["pointer"] == "/epcisBody/eventList/1/type"
    assert [one["status"] for line in (0, 2) for one in found["events"][line]["results"]] == [201, 201], answer.text
    shown = service.http.get(f"/v1/lots/{quote(lot, safe='')}").json()["lot"]
    assert (shown["item"], shown["state"]) == ("RING-74", "blocked")
    again = service.http.post("/v1/epcis/capture", content=body, headers=TYPE).json()
    assert [one["replayed"] for line in (0, 2) for one in again["events"][line]["results"]] == [True, True]

    other = received(quantityList=[{"epcClass": f"{lot}-B", "quantity": 5}], ilmd=goods, eventID="urn:uuid:http-b")
    assert service.http.post("/v1/epcis/capture", content=of(other), headers=TYPE).status_code == 200

    mine, params = [], {"MATCH_anyEPCClass": lot, "eventType": "ObjectEvent", "limit": "1"}
    page = service.http.get("/v1/epcis/events", params=params)
    while True:
        assert page.headers["GS1-EPCIS-Version"] == "2.0.0"
        mine += page.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        following = page.links.get("next")
        if following is None:
            break
        page = service.http.get(following["url"])  # asks the same question
    # The supplier is approved by nobody: a rule holds the lot first.
    assert [(one["type"], one["bizStep"]) for one in mine] == [
        ("ObjectEvent", "receiving"), ("ObjectEvent", "holding"), ("ObjectEvent", "holding")
    ]  # fmt: skip
    assert mine[0]["quantityList"] == [{"epcClass": lot, "quantity": 5}]


def test_events_are_found_from_an_instant_on_however_it_is_written(service: Any) -> None:
    lot = "urn:epc:class:lgtin:4012345.012345.HTTP-2"
    goods = {"lotgate:item": "RING-74", "lotgate:revision": "A"}
    event = received(quantityList=[{"epcClass": lot, "quantity": 5}], ilmd=goods, eventID="urn:uuid:http-3")
    assert service.http.post("/v1/epcis/capture", content=of(event), headers=TYPE).status_code == 200

    def found(since: datetime) -> int:
        params = {"MATCH_anyEPCClass": lot, "limit": "500", "GE_recordTime": since.isoformat()}
        page = service.http.get("/v1/epcis/events", params=params)
        assert page.status_code == 200, page.text
        return len(page.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"])

    every = service.http.get("/v1/epcis/events", params={"MATCH_anyEPCClass": lot, "limit": "500"}).json()
    first = datetime.fromisoformat(every["epcisBody"]["queryResults"]["resultsBody"]["eventList"][0]["recordTime"])
    elsewhere, second = first.astimezone(timezone(timedelta(hours=-5))), timedelta(seconds=1)
    assert found(elsewhere) == found(first) == found(first.replace(microsecond=0)) > 0
    assert found(elsewhere + timedelta(minutes=1)) == 0
    assert found(first + second) == 0
    for text in ("yesterday", "2026-11-23T08:00:00", "0001-01-01T00:00:00+14:00"):
        assert service.http.get("/v1/epcis/events", params={"GE_recordTime": text}).status_code == 400


def test_what_is_no_document_is_refused_and_so_is_what_the_key_may_not(service: Any) -> None:
    for content, status in ((b"{", 400), (b"{}", 422), (json.dumps({"@context": "https://evil.example/c"}).encode(), 422)):
        assert service.http.post("/v1/epcis/capture", content=content, headers=TYPE).status_code == status
    text = {"Content-Type": "text/plain"}
    assert service.http.post("/v1/epcis/capture", content=b"{}", headers=text).status_code == 415
    assert service.http.get("/v1/epcis/events", params={"nextPageToken": "x"}).status_code == 400
    assert service.http.get("/v1/epcis/events", params={"eventType": "AssociationEvent"}).status_code == 400


def test_the_examples_of_the_standard_are_answered_for(service: Any) -> None:
    for path in sorted(DATA.glob("*.jsonld")):
        answer = service.http.post("/v1/epcis/capture", content=path.read_bytes(), headers=TYPE)
        assert answer.status_code == 200, path.name
        assert all(one["outcome"] == "understood" or one["detail"] for one in answer.json()["events"])


def test_pages_of_one_give_every_event_of_an_entry_once(service: Any) -> None:
    lot = "urn:epc:class:lgtin:4012345.012345.HTTP-P"
    goods = {"lotgate:item": "RING-74", "lotgate:revision": "A"}
    event = received(quantityList=[{"epcClass": lot, "quantity": 5}], ilmd=goods, eventID="urn:uuid:http-p")
    assert service.http.post("/v1/epcis/capture", content=of(event), headers=TYPE).status_code == 200

    def ids(limit: int) -> list[str]:
        found: list[str] = []
        page = service.http.get("/v1/epcis/events", params={"MATCH_anyEPCClass": lot, "limit": str(limit)})
        while True:
            found += [one["eventID"] for one in page.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]]
            if "next" not in page.links:
                return found
            page = service.http.get(page.links["next"]["url"])

    assert len(ids(500)) >= 3, "received, linked to its order, held"
    assert ids(1) == ids(2) == ids(500)
    for token in ("1.1~x", "1.1~-1", "~1"):
        assert service.http.get("/v1/epcis/events", params={"nextPageToken": token}).status_code == 400
