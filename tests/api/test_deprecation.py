"""A call that will go away says so itself, in the documents, and to whoever uses the client: and works as ever."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, delete, get

from api import openapi
from api.client import notice as told
from api.client.caller import Caller
from api.deprecation import table_of, telling_deprecation, words_of
from api.operations import OPERATIONS
from api.parameters import Deprecated, Operation

GOING = Deprecated(
    since=datetime(2027, 1, 1, tzinfo=UTC),
    sunset=datetime(2027, 12, 31, tzinfo=UTC),
    instead="ask `/v1/lots`",
    page="https://lotgate.example/going",
)
OLD = Operation(
    method="get", path="/v1/old/{lot}/list", id="old", summary="What was.", answers={200: str}, deprecated=GOING
)
LATER = Operation(
    method="delete", path="/v1/later", id="later", summary="Will be.", answers={204: None},
    deprecated=Deprecated(since=GOING.since, instead="do nothing"),
)  # fmt: skip


@get("/v1/old/{lot:str}/list")
async def old(lot: str) -> str:
    return f"as ever: {lot}"


@get("/v1/new")
async def new() -> str:
    return "new"


@delete("/v1/later")
async def later() -> None:
    return None


@pytest.fixture
def app() -> Any:
    return telling_deprecation(Litestar([old, new, later], openapi_config=None), (OLD, LATER))


def ask(app: Any, method: str, path: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


def test_its_answers_say_so_and_it_works_as_ever(app: Any) -> None:
    answer = ask(app, "GET", "/v1/old/L-1/list")
    assert answer.text == "as ever: L-1"
    assert answer.headers["deprecation"] == "@1798761600"
    assert parsedate_to_datetime(answer.headers["sunset"]) == GOING.sunset
    assert answer.headers["sunset"] == "Fri, 31 Dec 2027 00:00:00 GMT"
    assert answer.headers["link"] == '<https://lotgate.example/going>; rel="deprecation"; type="text/html"'
    gone = ask(app, "DELETE", "/v1/later")
    assert gone.headers["deprecation"] == "@1798761600"
    assert "sunset" not in gone.headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/new"), ("POST", "/v1/old/L/list"), ("GET", "/v1/old/L/list/more"), ("GET", "/v1/later")]
)
def test_other_calls_say_nothing(app: Any, method: str, path: str) -> None:
    assert "deprecation" not in ask(app, method, path).headers


def test_where_nothing_goes_away_nothing_stands_in_between() -> None:
    bare = Litestar([new], openapi_config=None)
    assert telling_deprecation(bare, (Operation(method="get", path="/v1/new", id="new", summary="x", answers={}),)) is bare


def test_the_documents_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "OPERATIONS", (*OPERATIONS, OLD))
    calls = openapi.document()["paths"]
    assert calls["/v1/old/{lot}/list"]["get"]["deprecated"] is True
    assert calls["/v1/old/{lot}/list"]["get"]["description"].endswith(words_of(GOING))
    assert "deprecated" not in calls["/v1/lots"]["get"]
    assert table_of((OLD,)) == [
        "- `GET /v1/old/{lot}/list`: Deprecated since 2027-01-01: ask `/v1/lots`. It will not answer any more from 2027-12-31 on."
    ]


def test_the_page_has_every_call_that_will_go_away() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
    assert "\n".join(table_of(OPERATIONS)) in page


@pytest.mark.parametrize(
    "wrong", [{"since": datetime(2027, 1, 1)}, {"since": GOING.since, "sunset": datetime(2026, 1, 1, tzinfo=UTC)}]  # noqa: DTZ001
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Deprecated(instead="x", **wrong)


class _Old(BaseHTTPRequestHandler):
    """A service of which the call for events will go away."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "2")
        self.send_header("Deprecation", "@1798761600")
        self.send_header("Sunset", "Fri, 31 Dec 2027 00:00:00 GMT")
        self.send_header("Link", '<https://lotgate.example/going>; rel="deprecation"')
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def going() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Old)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_client_warns_once(going: str, caplog: pytest.LogCaptureFixture) -> None:
    told._said.clear()
    with caplog.at_level(logging.WARNING, "lotgate.client"), Caller(going, "k") as caller:
        assert [caller.send(b"{}").status for _ in range(3)] == [201] * 3
    [said] = [record.getMessage() for record in caplog.records if record.name == "lotgate.client"]
    assert said == (
        "POST /v1/events is deprecated; it will not answer any more from Fri, 31 Dec 2027 00:00:00 GMT on;"
        " see https://lotgate.example/going"
    )
