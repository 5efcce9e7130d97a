"""The way in: signing in with a key, what a session opens and what ends it, and strangers everywhere."""

import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from api.app import create_app
from api.sessions import csrf_of
from engine.people import hash_of
from engine.settings import load_settings
from tests.console.conftest import Visitor
from tests.console.test_console_lots import page_of, reader, submit

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def stranger(service: Any) -> Any:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        yield client


def signed_in(service: Any, key: str) -> httpx.Client:
    """A browser's cookie, in a client without a key."""
    client = httpx.Client(base_url=service.url, timeout=20)
    answer = client.post("/console/login", data={"key": key})
    assert answer.status_code == 303, answer.text
    return client


def csrf(client: httpx.Client) -> str:
    return csrf_of(client.cookies["lotgate_session"])


def test_somebody_signs_in_works_and_signs_out(service: Any, browser: Browser, receipt: Make) -> None:
    lot = submit(service, receipt("in"))["lot"]
    context = browser.new_context()
    person = Visitor(context.new_page(), service)
    page = person.open(page_of(lot))
    expect(page.locator("h1")).to_have_text("Sign in")
    assert person.offences() == []
    page.locator("input[name=key]").fill(service.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_contain_text(lot)
    expect(page.locator("#pulse")).to_contain_text("Live")
    page.locator("#act-hold summary").click()
    page.locator("#act-hold input[name=reason]").fill("SUSPECT")
    page.get_by_role("button", name="Hold lot").click()
    expect(page.locator("#title .state")).to_have_text("blocked")
    [cookie] = context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        "lotgate_session", True, "Strict", "/console")  # fmt: skip
    assert person.complaints == []
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("Sign in")
    page.goto(service.url + page_of(lot))
    expect(page.locator("h1")).to_have_text("Sign in")
    context.close()


def test_a_wrong_key_opens_nothing_and_is_not_said_why(stranger: httpx.Client) -> None:
    for key in ("wrong", "", "lotgate_test_" + "x" * 40):
        answer = stranger.post("/console/login", data={"key": key})
        assert answer.status_code == 403
        assert "opens nothing" in answer.text
        assert "set-cookie" not in answer.headers


def test_the_database_holds_nothing_that_opens_the_console(service: Any) -> None:
    client = signed_in(service, service.key)
    token = client.cookies["lotgate_session"]
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        rows = database.execute("SELECT * FROM sessions").fetchall()
    assert any(hash_of(token) in row for row in rows)
    assert token not in str(rows)
    assert service.key not in str(rows)


def test_a_session_opens_the_console_and_nothing_else(service: Any) -> None:
    client = signed_in(service, service.key)
    assert client.get("/console").status_code == 200
    cookie = {"Cookie": f"lotgate_session={client.cookies['lotgate_session']}"}
    for path in ("/v1/lots", "/metrics", "/v1/feed"):
        assert httpx.get(service.url + path, headers=cookie).status_code == 401, path
    assert httpx.get(service.url + "/consoles", headers=cookie).status_code == 401


def test_a_post_needs_what_only_our_own_pages_carry(service: Any, receipt: Make) -> None:
    lot = submit(service, receipt("csrf"))["lot"]
    client = signed_in(service, service.key)
    form = {"token": "t", "reason": "SUSPECT"}
    other = csrf(signed_in(service, service.key))
    for seal in ({}, {"csrf": ""}, {"csrf": "x" * 32}, {"csrf": other}):
        assert client.post(page_of(lot) + "/hold", data=form | seal).status_code == 403
    json_like = client.post(page_of(lot) + "/hold", content=b'{"a":1}', headers={"Content-Type": "text/plain"})
    assert json_like.status_code == 415
    assert client.post(page_of(lot) + "/hold", data=form | {"csrf": csrf(client)}).status_code == 303
    assert re.search(r'name="csrf" value="([0-9a-f]{32})"', client.get(page_of(lot)).text)[1] == csrf(client)  # type: ignore[index]


def test_a_session_ends_with_its_key_and_by_itself(service: Any) -> None:
    key = reader(service, "console-ending", '["read"]')
    first, second, third = (signed_in(service, key) for _ in range(3))
    assert all(one.get("/console").status_code == 200 for one in (first, second, third))
    gone = "2026-01-01T00:00:00.000000Z"
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        for column, client in (("ends_at", first), ("seen_at", second)):
            token = hash_of(client.cookies["lotgate_session"])
            database.execute(f"UPDATE sessions SET {column} = ? WHERE token_hash = ?", (gone, token))
    until(lambda: first.get("/console").status_code == 401 == second.get("/console").status_code)
    assert third.get("/console").status_code == 200
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute("UPDATE api_keys SET revoked_at = ? WHERE id = 'console-ending'", (gone,))
    until(lambda: third.get("/console").status_code == 401)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_strangers_are_sent_to_sign_in_from_every_page(tmp_path: Any, stranger: httpx.Client) -> None:
    application = create_app(load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_REDIS_URL": "none"}))
    try:
        routes = [r for r in application.door._app.routes if r.path.startswith("/console")]  # type: ignore[attr-defined]
    finally:
        application.engine.close()
    assert len(routes) > 25
    for route in routes:
        path = re.sub(r"\{[^}]*\}", "1", route.path)
        # Whoever cannot sign in needs help, too.
        if path == "/console/login" or path.startswith(("/console/static", "/console/help")):
            continue
        for method in route.methods - {"OPTIONS"}:
            answer = stranger.request(method, path, headers={"Sec-Fetch-Mode": "cors"})
            assert answer.status_code == 401, (method, path)
            if method == "GET":
                sent = stranger.get(path, headers={"Sec-Fetch-Mode": "navigate"})
                assert sent.status_code == 303, path
                assert sent.headers["location"].startswith("/console/login"), path


def test_a_browser_that_was_given_the_host_alone_finds_the_console(stranger: httpx.Client) -> None:
    led = stranger.get("/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9"})
    assert (led.status_code, led.headers["location"]) == (303, "/console")
    assert stranger.get("/", headers={"Accept": "application/json"}).status_code == 401


def test_a_wrong_address_of_the_console_is_a_page_that_leads_back(service: Any, stranger: httpx.Client) -> None:
    as_browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/console/no-such-page", "/console/lots/A/no-such-page", "/console/logout", "/console/<i>"):
        for client, link in ((service.http, '"/console">Back to lots'), (stranger, '"/console/login">Sign in')):
            answer = client.get(path, headers=as_browser)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert "The console has no page /console/" in answer.text
            assert link in answer.text
            assert "<i>" not in answer.text
    assert '"/console/deliveries">Back to deliveries' in service.http.get("/console/deliveries/999999").text
    assert '"/console/help">Back to help' in stranger.get("/console/help/nothing").text
    assert service.http.post("/console/numbers", headers=as_browser).status_code == 405
    for path in ("/console/no-such-page", "/consoles"):
        assert service.http.get(path).headers["content-type"] == "application/problem+json"
    assert service.http.get("/v1/nothing", headers=as_browser).headers["content-type"] == "application/problem+json"


def test_after_signing_in_nobody_is_led_elsewhere(service: Any, stranger: httpx.Client) -> None:
    for onward in ("//evil.example", "https://evil.example", "/v1/lots", "/console/../v1/lots", "/console\\evil", "/consolex"):
        answer = stranger.post("/console/login", data={"key": service.key, "next": onward})
        assert answer.headers["location"] == "/console", onward
    kept = stranger.post("/console/login", data={"key": service.key, "next": "/console/lots/A%2F1?before=3"})
    assert kept.headers["location"] == "/console/lots/A%2F1?before=3"
    secure = stranger.post("/console/login", data={"key": service.key}, headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["set-cookie"].endswith("; Secure")


def test_a_key_limited_to_a_plant_sees_that_plant_only(service: Any, receipt: Make) -> None:
    mine = submit(service, receipt("mine", plant="CON-N"))["lot"]
    other = submit(service, receipt("other", plant="CON-S"))["lot"]
    key = "lotgate_console_limited"
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        row = ("con-limited", hash_of(key), "con-limited", '["admin"]', '["CON-N"]')
        database.execute("INSERT INTO api_keys (id, secret_hash, name, roles, plants, created_at) VALUES (?, ?, ?, ?, ?, '2026-01-01')", row)
    with service.client(key) as http:
        until(lambda: http.get("/v1/lots?plant=CON-N").status_code == 200)
    client = signed_in(service, key)
    assert client.get("/console").headers["location"] == "/console?plant=CON-N"
    board = client.get("/console?plant=CON-N").text
    assert mine in board
    assert other not in board
    assert other not in client.get("/console", params={"plant": "CON-N", "q": other}).text
    assert client.get("/console?plant=CON-S").status_code == 403
    assert client.get(page_of(mine)).status_code == 200
    assert 'id="family"' not in client.get(page_of(mine)).text
    assert client.get(page_of(other)).status_code == 403
    held = client.post(page_of(other) + "/hold", data={"token": "t", "reason": "X", "csrf": csrf(client)})
    assert held.status_code == 403
    for path in ("/console/backlog", "/console/tasks", "/console/deliveries", "/console/system", "/console/recalls",
                 "/console/rules", "/console/quality", "/console/readiness", "/console/deliveries/1", "/console/audit",
                 "/console/audit/export?lot=X", "/console/reference", page_of(mine) + "/family",
                 page_of(mine) + "/family.csv"):  # fmt: skip
        assert client.get(path).status_code == 403, path
