"""Every call of the contract, with what is meant and with what is not: only documented answers, never a fault of ours.

What is sent is made from the document that is served: sound values, values at the edges, and rubbish.
"""

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from api.openapi import document
from api.operations import OPERATIONS
from api.problem_types import CATALOGUE

Make = Callable[..., dict[str, Any]]
#: Calls of each operation; together with the rest of the file a few seconds.
CALLS = 10
RUBBISH: list[Any] = [
    "", " ", "0", "-1", "1e999", "null", "%", "%00", "..", "../../etc/passwd", "a" * 300, "é€😀", "'; DROP TABLE lots --",
    "<script>", "{{7*7}}", "\\", "/", "?", "#", "*", "true", "9" * 30, "2026-02-30", "RING-74",
]  # fmt: skip
WORSE: list[Any] = [
    None, True, -1, 0, 1.5, 10**25, [], {}, [[]], {"": None}, "\u0000", "\ud800".encode("utf-16", "surrogatepass").hex(),
]  # fmt: skip
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document()))
#: Litestar answers these before any handler: an address that a hostile path part makes another one.
OF_ROUTING = {404, 405}


class Sender:
    """Makes values that a schema takes, and now and then one that it does not."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)

    def value(self, schema: Any, depth: int = 0) -> Any:
        if self.chance.random() < 0.07 or depth > 6:
            return self.chance.choice(RUBBISH + WORSE)
        while "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self.value(self.chance.choice(schema[several]), depth)
        if "enum" in schema:
            return self.chance.choice(schema["enum"])
        kind = schema.get("type", "string")
        kind = self.chance.choice(kind) if isinstance(kind, list) else kind
        return getattr(self, f"_{kind}")(schema, depth)

    def _object(self, schema: Any, depth: int) -> Any:
        fields, required = schema.get("properties", {}), schema.get("required", [])
        made = {n: self.value(f, depth + 1) for n, f in fields.items() if n in required or self.chance.random() < 0.4}
        if self.chance.random() < 0.05:
            made["unknown"] = 1
        if isinstance(schema.get("additionalProperties"), dict):
            made["any"] = self.value(schema["additionalProperties"], depth + 1)
        return made

    def _array(self, schema: Any, depth: int) -> Any:
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(self.chance.randint(0, 3))]

    def _string(self, schema: Any, depth: int) -> Any:
        if schema.get("format") == "decimal":
            return self.chance.choice(["1", "2.5", "74.03", "0.000001"])
        if schema.get("format") == "date":
            return "2026-11-23"
        if schema.get("format") == "date-time":
            return "2026-11-23T08:00:00Z"
        return self.chance.choice(["RING-74", "A", "X-1", "release", "erp", "lot", "1"])

    def _integer(self, schema: Any, depth: int) -> Any:
        return self.chance.choice([schema.get("minimum", 0), schema.get("maximum", 9), 1])

    _number = _integer

    def _boolean(self, schema: Any, depth: int) -> Any:
        return self.chance.random() < 0.5

    def _null(self, schema: Any, depth: int) -> Any:
        return None

    def text(self, schema: Any) -> str:
        value = self.value(schema)
        return value if isinstance(value, str) else json.dumps(value)


def send(service: Any, operation: Any, sender: Sender, lot: str) -> Any:
    call = DOCUMENT["paths"][operation.path][operation.method]
    path, query, headers = operation.path, {}, {}
    for parameter in call.get("parameters", ()):
        text = sender.text(parameter["schema"])
        if parameter["in"] == "path":
            sound = parameter["name"] == "lot" and sender.chance.random() < 0.7
            path = path.replace(f"{{{parameter['name']}}}", quote(lot if sound else text or "x", safe=""))
        elif parameter["required"] or sender.chance.random() < 0.4:
            if parameter["in"] == "query":
                query[parameter["name"]] = text
            else:
                headers[parameter["name"]] = text.encode("ascii", "replace").decode().replace("\0", "?").strip() or "?"
    if "heartbeat" in str(call.get("parameters")):
        query["after"] = "nowhere"  # a stream that begins would not end
    query.pop("wait", None)
    content = None
    if call.get("requestBody", {}).get("content"):
        media = sender.chance.choice(list(call["requestBody"]["content"]))
        headers["Content-Type"] = media
        content = json.dumps(sender.value(call["requestBody"]["content"][media]["schema"])).encode()
        if sender.chance.random() < 0.1:
            content = sender.chance.choice([b"", b"{", b"\xff\xfe", b"[" * 5000, content[:-1]])
    return service.http.request(operation.method.upper(), path, params=query, headers=headers, content=content)


@pytest.fixture(scope="module")
def lot(service: Any) -> str:
    """A lot that is there."""
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": 9, "unit": "ea"}, "supplier": "A", "receipt": "every"}
    event = {"specversion": "1.0", "id": "every/1", "source": "every", "type": "lot.received.v1", "subject": "every/1"}
    assert service.submit(event | {"data": data}).status_code == 201
    return event["subject"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_call_gives_only_what_is_documented(service: Any, lot: str, operation: Any) -> None:
    sender = Sender(operation.id)
    documented = DOCUMENT["paths"][operation.path][operation.method]["responses"]
    for _ in range(CALLS):
        answer = send(service, operation, sender, lot)
        what = f"{answer.request.method} {answer.request.url} {answer.request.content[:300]!r}: {answer.text[:300]}"
        hostile = answer.status_code in OF_ROUTING and "{" in operation.path
        assert str(answer.status_code) in documented or hostile, f"{answer.status_code} is not documented: {what}"
        assert answer.status_code < 500, what
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if answer.status_code >= 400:
            problem = answer.json()
            assert kind == "application/problem+json", what
            code = problem["type"].removeprefix("/problems/")
            assert (CATALOGUE[code].status, problem["status"]) == (answer.status_code,) * 2, what
            assert answer.headers["x-request-id"], what
        elif answer.content:
            fits(answer.content, operation, answer.status_code, kind, what)


def fits(content: bytes, operation: Any, status: int, kind: str, what: str) -> None:
    """The body has the type that the table of operations says."""
    if kind != "application/json":
        assert kind in (operation.answer_media_type, "application/x-ndjson", "text/csv"), what
        return
    found = operation.answers[status]
    if operation.id == "submit_batch":
        found = list[dict[str, Any]]  # its decisions are kept as they were written
    for one in found if isinstance(found, tuple) else (found,):
        try:
            msgspec.json.decode(content, type=one)
        except msgspec.ValidationError as error:
            last = error
        else:
            return
    raise AssertionError(f"{last}: {what}")
