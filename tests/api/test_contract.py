"""Version 1 is frozen: nothing that a caller relies on goes away unnoticed."""

import copy
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from engine.decoding import decode_event
from engine.events import TYPES
from tests.api import contract

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return contract.present()


def test_nothing_that_a_caller_relies_on_has_changed(now: dict[str, Any]) -> None:
    """Additions are welcome: `make contract` writes them down. A break needs a new version of the path or the type."""
    assert contract.breaks(json.loads(contract.KEPT.read_text(encoding="utf-8")), now) == []


def openapi(of: dict[str, Any]) -> Any:
    return of["openapi"]


def field(of: dict[str, Any], schema: str, part: str = "openapi") -> Any:
    return of[part]["components"]["schemas"][schema]


def call(of: dict[str, Any], path: str, method: str) -> Any:
    return of["openapi"]["paths"][path][method]


#: What somebody might do, and the words it is refused with.
BREAKS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a call removed": (lambda c: c["openapi"]["paths"].pop("/v1/parked"), "GET /v1/parked: the call is gone"),
    "a method removed": (lambda c: c["openapi"]["paths"]["/v1/subscriptions"].pop("post"), "the call is gone"),
    "a field of an answer removed": (
        lambda c: field(c, "LotLine")["properties"].pop("state"), "GET /v1/lots 200.data[].state: the field is gone"),
    "a field of an answer renamed": (
        lambda c: field(c, "LotView")["properties"].update(steps=field(c, "LotView")["properties"].pop("next_steps")),
        "next_steps: the field is gone"),
    "a field of an answer left out at times": (
        lambda c: field(c, "Decision")["required"].remove("lot"), "lot: it is no longer always there"),
    "an answer that can be null": (
        lambda c: field(c, "LotLine")["properties"].update(item={"anyOf": [{"type": "string"}, {"type": "null"}]}), "item: it can be null now"),
    "a field of an event removed": (
        lambda c: field(c, "Receipt", "asyncapi")["properties"].pop("plant"), "lot.received.v1.data.plant: the field is gone"),
    "a field of an event required": (
        lambda c: field(c, "Receipt", "asyncapi")["required"].append("plant"), "plant: it has become required"),
    "a field of a command required": (
        lambda c: field(c, "Receipt")["required"].append("plant"), "plant: it has become required"),
    "an enumeration narrowed": (
        lambda c: field(c, "Disposition", "asyncapi")["properties"]["decision"]["enum"].remove("scrap"), "it takes fewer values"),
    "a length narrowed": (
        lambda c: field(c, "Quantity", "asyncapi")["properties"]["unit"].update(maxLength=3), "maxLength has become 3"),
    "a type changed": (
        lambda c: field(c, "Quantity", "asyncapi")["properties"]["value"].update(type="number"), "its type was number/string"),
    "a parameter removed": (
        lambda c: call(c, "/v1/lots", "get")["parameters"].pop(0), "the query parameter state is gone"),
    "a parameter required": (
        lambda c: call(c, "/v1/lots", "get")["parameters"][0].update(required=True), "has become required"),
    "a body required": (
        lambda c: call(c, "/v1/rules/rollback", "post")["requestBody"].update(required=True), "a body has become required"),
    "a media type removed": (
        lambda c: call(c, "/v1/events/batch", "post")["requestBody"]["content"].pop("application/x-ndjson"), "is taken no longer"),
    "a status removed": (
        lambda c: call(c, "/v1/events", "post")["responses"].pop("202"), "it answers 202 no longer"),
    "an event type removed": (
        lambda c: c["asyncapi"]["components"]["messages"].pop("lot.split.v1"), "lot.split.v1: the event type is gone"),
    "a change with less in it": (
        lambda c: field(c, "Change", "asyncapi")["properties"].pop("principal"), "change.principal: the field is gone"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BREAKS))
def test_what_breaks_a_caller_is_refused_in_words(now: dict[str, Any], what: str) -> None:
    change, words = BREAKS[what]
    after = copy.deepcopy(now)
    change(after)
    found = contract.breaks(now, after)
    assert any(words in sentence for sentence in found), found


def test_additions_break_nobody(now: dict[str, Any]) -> None:
    after = copy.deepcopy(now)
    after["openapi"]["paths"]["/v1/new"] = {"get": call(now, "/v1/lots", "get")}
    call(after, "/v1/lots", "get")["parameters"].append(
        {"name": "colour", "in": "query", "required": False, "schema": {"type": "string"}}
    )
    field(after, "LotLine")["properties"]["colour"] = {"type": "string"}
    field(after, "Receipt", "asyncapi")["properties"]["colour"] = {"type": "string"}
    field(after, "Disposition", "asyncapi")["properties"]["decision"]["enum"].append("repair")
    assert contract.breaks(now, now) == []
    assert contract.breaks(now, after) == []


# -- what is served ----------------------------------------------------------------------------------------------


def test_every_event_type_has_a_schema_that_is_read_once(service: Any) -> None:
    for kind in TYPES:
        answer = service.http.get(f"/schema/events/{kind}")
        assert answer.headers["content-type"] == "application/schema+json"
        schema = answer.json()
        assert schema["$id"] == f"/schema/events/{kind}"
        assert schema["properties"]["type"]["enum"] == [kind]
        assert schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]["additionalProperties"] is False
        again = service.http.get(f"/schema/events/{kind}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert service.http.get("/schema/events/lot.melted.v1").status_code == 404


def test_asyncapi_names_what_goes_in_and_out_and_every_reference_leads_somewhere(service: Any) -> None:
    answer = service.http.get("/schema/asyncapi.json")
    assert answer.headers["content-type"] == "application/vnd.aai.asyncapi+json"
    served = answer.json()
    assert served["asyncapi"] == "3.0.0"
    assert set(served["channels"]["events"]["messages"]) == set(TYPES)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            mine = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return mine + [r for inner in part.values() for r in references(inner)]
        return [r for inner in part for r in references(inner)] if isinstance(part, list) else []

    found = references(served)
    assert len(found) > 2 * len(TYPES)
    for reference in found:
        target: Any = served
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    openapi = service.http.get("/schema/openapi.json")
    again = service.http.get("/schema/openapi.json", headers={"If-None-Match": openapi.headers["etag"]})
    assert again.status_code == 304


# -- a foreign client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event], ids=["structured", "binary"])
def test_the_official_sdk_of_cloudevents_is_understood(service: Any, receipt: Make, write: Any) -> None:
    event = receipt(write.__name__ + " é%/1")
    attributes: dict[str, Any] = {name: value for name, value in event.items() if name != "data"}
    attributes |= {"correlationid": "sdk", "datacontenttype": "application/json"}
    attributes["time"] = datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    message = write(CloudEvent(attributes, event["data"]))
    first = service.http.post("/v1/events", content=message.body, headers=message.headers)
    assert first.status_code == 201, first.text
    assert first.json()["lot"] == event["subject"]
    assert decode_event(json.dumps(event).encode()).subject == first.json()["lot"]
    assert service.http.post("/v1/events", content=message.body, headers=message.headers).status_code == 200
