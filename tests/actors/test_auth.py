"""How a target knows who calls: tokens are fetched once for all, renewed when they end or are refused, and never shown."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from actors.connectors.format import ConnectorInvalid, load
from actors.connectors.http import Exchange, Target
from actors.connectors.protocols import target_of
from engine.effects import StockStatus
from engine.ledger import Delivery
from engine.settings import load_settings

FILE = """\
connector: 1
name: mes
base_url: URL
stock: {quality: q, unrestricted: u, restricted: r, blocked: b, issued: i, none: n}
deliver: {method: PUT, path: "/lots/${lot}", json: {s: "${target_stock}"}}
"""
SECRETS = {"LOTGATE_SECRET_ID": "client:1", "LOTGATE_SECRET_KEY": "k3y/secret", "LOTGATE_URL_IDP": "https://idp.example"}
OAUTH = "auth: {kind: oauth2, token_url: TOKENS, client_id: '${secret.id}', client_secret: '${secret.key}', scope: stock}\n"
LOGIN = "auth: {kind: login, path: /login, json: {user: '${secret.id}', pass: '${secret.key}'}, token: body.session.token}\n"


@pytest.fixture
def target(tmp_path: Path, talker: Any) -> Iterator[Any]:
    made: list[Target] = []

    def one(auth: str, url: str = "") -> Target:
        (tmp_path / "mes.yaml").write_text(FILE.replace("URL", url or talker.url) + auth)
        made.append(target_of(load(tmp_path / "mes.yaml", load_settings(SECRETS))))
        return made[-1]

    yield one
    for each in made:
        each.close()


def tell(target: Target, lot: str = "L-1") -> Exchange:
    status = StockStatus(lot, 1, "I", "A", "blocked", "blocked", False, "1", "ea", None, None, [], [])
    return target.deliver([Delivery(1, lot, 1, "mes", status, 1, 1, "2026-11-27T08:00:00Z")])[0]


@pytest.mark.parametrize(("auth", "header", "value"), [
    ("auth: {kind: key, value: 'token ${secret.key}'}\n", "authorization", "token k3y/secret"),
    ("auth: {kind: key, header: X-Api-Key, value: '${secret.key}'}\n", "x-api-key", "k3y/secret"),
    ("auth: {kind: basic, user: '${secret.id}', password: '${secret.key}'}\n", "authorization",
     "Basic " + base64.b64encode(b"client:1:k3y/secret").decode()),
])  # fmt: skip
def test_a_key_is_sent_and_never_kept(talker: Any, target: Any, auth: str, header: str, value: str) -> None:
    talker.say(200, {"you": value})
    told = tell(target(auth))
    assert told.outcome == "applied"
    assert talker.heard[0][1][header] == value
    assert value not in told.kept()
    assert "k3y" not in told.kept()


def test_oauth_asks_for_a_token_as_the_standard_says_and_keeps_it(talker: Any, target: Any) -> None:
    one = target(OAUTH.replace("TOKENS", "/token"))
    talker.say(200, {"access_token": "t0ken-1", "token_type": "Bearer", "expires_in": 3600})
    for _ in range(3):
        talker.say(200, {"token": "t0ken-1"})
    told = [tell(one) for _ in range(3)]
    assert [t.outcome for t in told] == ["applied"] * 3
    line, headers, _ = talker.heard[0]
    assert line == "POST /token"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"client%3A1:k3y%2Fsecret").decode()
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(talker.bodies[0].decode()) == {"grant_type": ["client_credentials"], "scope": ["stock"]}
    assert [h["authorization"] for _, h, _ in talker.heard[1:]] == ["Bearer t0ken-1"] * 3
    assert all("t0ken" not in t.kept() for t in told)


def test_a_client_may_say_who_it_is_in_the_form(talker: Any, target: Any) -> None:
    talker.say(200, {"access_token": "t", "expires_in": 3600})
    talker.say(200, {})
    tell(target(OAUTH.replace("TOKENS", "/token").replace("scope: stock", "client: form, fields: {audience: erp}")))
    assert parse_qs(talker.bodies[0].decode()) == {
        "grant_type": ["client_credentials"], "audience": ["erp"], "client_id": ["client:1"], "client_secret": ["k3y/secret"],
    }  # fmt: skip


@pytest.mark.parametrize("auth", [OAUTH.replace("TOKENS", "/token"), LOGIN])
def test_a_token_that_is_refused_is_fetched_anew_once(talker: Any, target: Any, auth: str) -> None:
    one = target(auth)
    for number in (1, 2):
        talker.say(200, {"access_token": f"t{number}", "expires_in": 3600, "session": {"token": f"t{number}"}})
        talker.say(401)
    told = tell(one)
    assert (told.outcome, told.away) == ("auth", True)
    assert [line for line, _, _ in talker.heard] == ["POST /token" if "oauth2" in auth else "POST /login", "PUT /lots/L-1"] * 2
    talker.say(200, {"access_token": "t3", "expires_in": 3600, "session": {"token": "t3"}})
    talker.say(200, {})
    assert tell(one).outcome == "applied", "what was refused is not kept"


def test_a_token_that_is_about_to_end_is_not_used(talker: Any, target: Any) -> None:
    one = target(OAUTH.replace("TOKENS", "/token"))
    for number in (1, 2):
        talker.say(200, {"access_token": f"t{number}", "expires_in": "0"})
        talker.say(200, {})
        assert tell(one).outcome == "applied"
    assert [h.get("authorization") for line, h, _ in talker.heard if line.startswith("PUT")] == ["Bearer t1", "Bearer t2"]


@pytest.mark.parametrize(("status", "body", "outcome"), [
    (400, {"error": "invalid_client"}, "auth"), (401, {}, "auth"), (200, {"access_token": ""}, "auth"), (200, [], "auth"),
    (200, b"<html>k3y/secret</html>", "auth"), (503, {}, "retry"), (429, {}, "throttle"),
])  # fmt: skip
def test_a_login_that_gives_no_token_is_told_and_nothing_is_sent(
    talker: Any, target: Any, status: int, body: Any, outcome: str
) -> None:
    talker.say(status, body)
    told = tell(target(OAUTH.replace("TOKENS", "/token")))
    assert (told.outcome, told.away, told.unsent) == (outcome, True, True)
    assert f"the token endpoint answered {status}" in told.detail
    assert "k3y" not in told.kept() + told.detail
    assert len(talker.heard) == 1


def test_many_callers_fetch_one_token(talker: Any, target: Any) -> None:
    one = target(LOGIN)
    held = threading.Event()

    def login(connection: Any) -> None:
        held.wait(5)
        content = b'{"session": {"token": "t1"}}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))

    talker.do(login)
    for _ in range(8):
        talker.say(200, {})
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(tell, one, f"L-{number}") for number in range(8)]
        held.set()
        assert [a.result(10).outcome for a in asked] == ["applied"] * 8
    assert [line for line, _, _ in talker.heard].count("POST /login") == 1


def test_a_csrf_token_comes_with_its_cookies_and_is_fetched_again_when_it_is_stale(talker: Any, target: Any) -> None:
    one = target("auth: {kind: key, value: 'Basic ${secret.key}'}\ncsrf: {path: /ticket}\n")
    talker.say(200, {}, x_csrf_token="c1-secret", Set_Cookie="SID=one; path=/; HttpOnly")
    talker.say(403, b"no", x_csrf_token="Required")
    talker.say(200, {}, x_csrf_token="c2-secret", Set_Cookie="SID=two; path=/")
    talker.say(200, {"echo": "c2-secret two"})
    told = tell(one)
    assert told.outcome == "applied"
    heard = [(line, h.get("x-csrf-token"), h.get("cookie"), h.get("authorization")) for line, h, _ in talker.heard]
    key = "Basic k3y/secret"
    assert heard == [
        ("GET /ticket", "Fetch", None, key), ("PUT /lots/L-1", "c1-secret", "SID=one", key),
        ("GET /ticket", "Fetch", None, key), ("PUT /lots/L-1", "c2-secret", "SID=two", key),
    ]  # fmt: skip
    assert "c2-secret" not in told.kept()


def test_a_403_that_says_nothing_of_a_ticket_is_what_it_is(talker: Any, target: Any) -> None:
    talker.say(200, {}, x_csrf_token="c1")
    talker.say(403, {})
    assert tell(target("csrf: {path: /ticket}\n")).outcome == "auth"
    assert len(talker.heard) == 2


@pytest.mark.parametrize(("auth", "said"), [
    ("auth: {kind: kerberos}\n", "mes.yaml:6:8: auth.kind: Invalid value 'kerberos'"),
    ("auth: {kind: key, value: '${secret.nothing}'}\n", "auth.value: ${secret.nothing} is not set; set LOTGATE_SECRET_NOTHING"),
    ("auth: {kind: key, value: '${lot}'}\n", "auth.value: ${lot} is not known"),
    ("auth: {kind: basic, user: u}\n", "auth: Object missing required field `password`"),
    (LOGIN.replace("body.session.token", "bdoy.token"), "auth.token: bdoy is not known; known: body, headers, status, text"),
    (LOGIN.replace("token: body.session.token", "token: body.token, value: Bearer"), "auth.value: it has no ${token} in it"),
    (OAUTH.replace("TOKENS", "idp/token"), "auth.token_url: 'idp/token' is neither a path nor an http or https address"),
    (OAUTH.replace("TOKENS", "'${url.nowhere}/token'"), "auth.token_url: ${url.nowhere} is not known"),
    ("csrf: {path: ticket}\n", "csrf.path: Expected `str` matching regex"),
])  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, auth: str, said: str) -> None:
    (tmp_path / "mes.yaml").write_text(FILE.replace("URL", "http://mes.example") + auth)
    with pytest.raises(ConnectorInvalid) as caught:
        load(tmp_path / "mes.yaml", load_settings(SECRETS))
    assert said in caught.value.detail


def test_the_token_endpoint_may_be_another_house(tmp_path: Path) -> None:
    (tmp_path / "mes.yaml").write_text(FILE.replace("URL", "http://mes.example") + OAUTH.replace("TOKENS", "'${url.idp}/o/token?x=1'"))
    found = load(tmp_path / "mes.yaml", load_settings(SECRETS))
    assert getattr(found.auth, "token_url") == "https://idp.example/o/token?x=1"  # noqa: B009
