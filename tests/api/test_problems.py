"""Problem details: every error has a page, a constant title, and no secrets."""

import importlib
import logging
import pkgutil
import re
import sqlite3
from pathlib import Path
from typing import Any

import litestar.exceptions
import msgspec
import pytest
from sqlalchemy.exc import OperationalError

import actors
import engine
from api.problem_types import CATALOGUE, handbook
from api.problems import Refused, explain
from engine.answer import TITLES
from engine.errors import EventInvalid, LotgateError, Overloaded, StoreUnavailable


def error_classes() -> list[type[LotgateError]]:
    for floor in (engine, actors):
        for module in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}."):
            importlib.import_module(module.name)
    found, left = [], [LotgateError]
    while left:
        kind = left.pop()
        found.append(kind)
        left += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_of_engine_and_actors_has_a_page(kind: type[LotgateError]) -> None:
    row = CATALOGUE[kind.code]
    if kind is not Refused:
        assert (row.title, row.status) == (kind.title, kind.status)


def test_every_refusal_of_the_pipeline_has_a_page_with_its_title() -> None:
    assert {code: CATALOGUE[code].title for code in TITLES} == TITLES


def test_the_handbook_in_the_documentation_is_the_catalogue() -> None:
    assert (Path(__file__).parents[2] / "docs" / "problems.md").read_text() == handbook()


def test_every_exception_of_litestar_becomes_a_problem() -> None:
    for kind in vars(litestar.exceptions).values():
        if isinstance(kind, type) and issubclass(kind, litestar.exceptions.HTTPException):
            error = kind(template_name="x") if "Template" in kind.__name__ else kind(detail="x")
            made, _ = explain(error, "/here", "c-1")
            assert made.type.removeprefix("/problems/") in CATALOGUE
            assert made.status >= 400


def test_an_unforeseen_error_shows_nothing_and_is_logged_under_its_reference(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        made, _ = explain(KeyError("SELECT secret FROM /var/lib"), "/v1/lots", "c-77")
    assert made.status == 500
    assert "secret" not in msgspec.json.encode(made).decode()
    assert "c-77" in caplog.text
    assert "secret" in caplog.text


def test_what_the_engine_could_not_do_now_says_when_to_come_back() -> None:
    for error in (Overloaded("full"), StoreUnavailable("gone")):
        made, headers = explain(error, "/v1/events", "c")
        assert made.status == 503
        assert int(headers["retry-after"]) >= 1


def test_a_database_that_does_not_answer_is_503_without_its_words() -> None:
    error = OperationalError("SELECT secret", {}, sqlite3.OperationalError("disk I/O error"))
    made, headers = explain(error, "/v1/lots", "c")
    assert (made.status, headers) == (503, {"retry-after": "2"})
    assert "secret" not in made.detail


def test_python_errors_about_the_request_are_the_callers() -> None:
    for error in (
        UnicodeDecodeError("utf-8", b"x", 0, 1, "y"),
        RecursionError(),
        EventInvalid("x", malformed=True),
    ):
        assert explain(error, "/", "c")[0].status == 400


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_type_leads_to_its_page_without_a_key(service: Any, code: str) -> None:
    with service.client("wrong") as stranger:
        answer = stranger.get(f"/problems/{code}")
    assert answer.status_code == 200
    assert CATALOGUE[code].title in answer.text
    assert answer.headers["content-type"].startswith("text/markdown")


def test_every_refusal_is_a_complete_problem(service: Any) -> None:
    refusals = [
        service.http.get("/v1/nothing"),
        service.http.delete("/v1/lots"),
        service.http.get("/v1/lots?limit=0"),
        service.http.get("/v1/lots/%FF"),
        service.submit(b"{"),
        service.submit(b"{}"),
        service.http.get("/problems/none"),
        service.http.get("/v1/lots/" + "x" * 5000),
        service.http.post("/v1/lots/X/hold"),
        service.http.post("/v1/deliveries/x/replay"),
        service.http.post("/v1/deliveries/999999999999/replay"),
        service.http.post("/v1/deliveries/replay", content="{", headers={"Content-Type": "application/json"}),
        service.http.get("/v1/deliveries?state=lost"),
        service.http.get("/v1/lots/a%00b"),
    ]
    for answer in refusals:
        assert 400 <= answer.status_code < 500, (answer.request.url, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["title"] == CATALOGUE[problem["type"].removeprefix("/problems/")].title
        assert problem["detail"]
        assert problem["instance"]
        assert problem["correlation_id"] == answer.headers["x-request-id"]


def test_a_request_id_is_echoed_made_or_replaced(service: Any) -> None:
    for path in ("/healthz", "/v1/lots", "/v1/nothing"):
        assert (
            service.http.get(path, headers={"X-Request-Id": "my-Id_1.2"}).headers["x-request-id"]
            == "my-Id_1.2"
        )
        made = {service.http.get(path).headers["x-request-id"] for _ in range(3)}
        assert len(made) == 3
        for hostile in ("x" * 65, "a b", "<script>", "a;b", "é".encode()):
            answer = service.http.get(path, headers={"X-Request-Id": hostile})
            assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"])
    assert service.submit(b"{", x_request_id="mine").json()["correlation_id"] == "mine"
