"""Logins and tokens when things go wrong: nothing leaks, nobody waits for long, no write goes out after its lease."""

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from msgspec import json

from actors.connectors.http import Exchange, Target
from actors.connectors.masks import MASK, Masks
from engine.effects import StockStatus
from engine.ledger import Delivery
from tests.actors.test_auth import LOGIN, OAUTH, target, tell

__all__ = ["target"]
TOKENS = OAUTH.replace("TOKENS", "/token")
LIMITS = "limits: {timeout_s: 0.4}\n"


@pytest.mark.parametrize("form", [
    str, lambda s: quote(s, safe=""), quote_plus, lambda s: json.encode(s).decode()[1:-1], repr,
    lambda s: base64.b64encode(s.encode()).decode(), lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    lambda s: json.encode(s).decode()[1:-1].replace("/", "\\/"), lambda s: s.replace("&", "&amp;").replace("<", "&lt;"),
])  # fmt: skip
def test_a_secret_is_masked_however_it_is_written(form: Callable[[str], str]) -> None:
    secret = 'pä/ss wo<rd\n&"q"uoted\\key'
    written = form(secret)
    assert Masks([secret]).text(f"you sent {written}!") in (
        f"you sent {MASK}!",
        f"you sent '{MASK}'!",
        f"you sent {MASK}=!",
    )


def test_the_password_of_a_basic_header_is_masked_without_the_word_basic(talker: Any, target: Any) -> None:
    words = base64.b64encode(b"client:1:k3y/secret").decode()
    talker.say(400, {"decoded": words})
    told = tell(target("auth: {kind: basic, user: '${secret.id}', password: '${secret.key}'}\n"))
    assert words not in told.kept() + told.detail


def test_tokens_that_ended_long_ago_are_not_looked_for_for_ever() -> None:
    masks = Masks(["fixed-secret"])
    for number in range(10_000):
        masks.fetched(f"token-{number}")
    assert masks.text("fixed-secret token-9999") == f"{MASK} {MASK}"
    assert len(masks) < 500


def test_a_number_that_a_login_gives_is_no_secret(talker: Any, target: Any) -> None:
    """Odoo's login gives the number of the user: 2, and there is a 2 in every text."""
    text = "auth: {kind: login, path: /login, token: string(body.result), header: X-User, value: '${token}'}\n"
    talker.say(200, {"result": 2})
    talker.say(400, {"error": "lot L-2 of 2026 has 2 in WH2"})
    told = tell(target(text), "L-2")
    assert "lot L-2 of 2026 has 2 in WH2" in told.detail
    assert told.calls[0].path == "/lots/L-2"


@pytest.mark.parametrize(("status", "body"), [
    (201, {"access_token": "t0ken-secret"}), (200, {"access-token": "t0ken-secret"}), (200, b"access_token=t0ken-secret"),
])  # fmt: skip
def test_what_a_login_gave_is_not_told_when_it_was_not_what_was_asked_for(
    talker: Any, target: Any, status: int, body: Any
) -> None:
    talker.say(status, body)
    told = tell(target(TOKENS))
    assert (told.outcome, "t0ken" in told.kept() + told.detail) == ("auth", False), told
    talker.say(status, body)
    told = tell(target(LOGIN))
    assert (told.outcome, "t0ken" in told.kept() + told.detail) == ("auth", False), told


def test_a_token_that_is_no_header_is_not_told(talker: Any, target: Any) -> None:
    talker.say(200, {"session": {"token": "t0ken\nsecret"}})
    told = tell(target(LOGIN))
    assert "t0ken" not in told.kept() + told.detail, told
    talker.say(200, {"session": {"token": " t0ken-secret\n"}})
    talker.say(200, {})
    assert tell(target(LOGIN)).outcome == "applied"
    assert talker.heard[-1][1]["authorization"] == "Bearer t0ken-secret"


@pytest.mark.parametrize("said", ["²", "9" * 5000, -1, [], {}, None, True, 1e300, "soon"])
def test_an_end_that_is_no_number_of_seconds_is_no_trouble(talker: Any, target: Any, said: Any) -> None:
    talker.say(200, {"access_token": "t0ken-1", "expires_in": said})
    talker.say(200, {})
    assert tell(target(TOKENS)).outcome == "applied"


def test_a_token_that_never_lasts_long_is_not_fetched_for_every_call(talker: Any, target: Any) -> None:
    one = target(TOKENS)
    talker.say(200, {"access_token": "t0ken-1", "expires_in": 20})
    for _ in range(3):
        talker.say(200, {})
    assert [tell(one).outcome for _ in range(3)] == ["applied"] * 3
    assert [line for line, _, _ in talker.heard].count("POST /token") == 1


def test_a_login_that_asks_for_time_is_given_it(talker: Any, target: Any) -> None:
    talker.say(429, {}, Retry_After="77")
    told = tell(target(TOKENS))
    assert (told.outcome, told.retry_after_seconds) == ("throttle", 77.0)
    talker.say(503, {}, Retry_After="78")
    told = tell(target("csrf: {path: /ticket}\n"))
    assert (told.outcome, told.retry_after_seconds) == ("retry", 78.0)


@pytest.mark.parametrize("auth", [LOGIN, TOKENS, "csrf: {path: /ticket}\n"])
def test_a_login_that_hangs_holds_everybody_up_for_one_time_out_alone(talker: Any, target: Any, auth: str) -> None:
    one = target(auth + LIMITS)
    for _ in range(16):
        talker.do(lambda _: time.sleep(2))
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda number: tell(one, f"L-{number}"), range(16)))
    assert time.monotonic() - began < 1.2
    assert {(t.outcome, t.away, t.unsent) for t in told} == {("retry", True, True)}


def test_no_write_goes_out_when_the_lease_ended_during_the_login(talker: Any, target: Any) -> None:
    def slow(connection: Any) -> None:
        time.sleep(0.8)
        content = b'{"session": {"token": "t0ken-1"}}'
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)
        )

    one = target(LOGIN)
    talker.do(slow)
    talker.say(200, {})
    told = _told(one, lambda: False)
    assert (told.outcome, told.away, told.unsent) == ("retry", True, True)
    assert [line for line, _, _ in talker.heard] == ["POST /login"]
    talker.lines.clear()
    talker.say(401)
    talker.do(slow)
    talker.say(200, {})
    assert _told(one, lambda: False).outcome == "retry"
    assert [line for line, _, _ in talker.heard] == ["POST /login", "PUT /lots/L-1", "POST /login"]


def _told(target: Target, may_call: Callable[[], bool]) -> Exchange:
    status = StockStatus("L-1", 1, "I", "A", "blocked", "blocked", False, "1", "ea", None, None, [], [])
    return target.deliver([Delivery(1, "L-1", 1, "mes", status, 1, 1, "2026-11-27T08:00:00Z")], may_call)[0]


def test_a_ticket_is_asked_for_with_the_key_whatever_its_header(talker: Any, target: Any) -> None:
    talker.say(200, {}, x_csrf_token="c1-secret")
    talker.say(200, {})
    auth = "auth: {kind: key, header: X-Api-Key, value: '${secret.key}'}\ncsrf: {path: /ticket}\n"
    assert tell(target(auth)).outcome == "applied"
    assert talker.heard[0][1].get("x-api-key") == "k3y/secret"


def test_a_token_that_is_refused_when_the_ticket_is_fetched_is_fetched_anew(talker: Any, target: Any) -> None:
    one = target(LOGIN + "csrf: {path: /ticket}\n")
    talker.say(200, {"session": {"token": "t0ken-1"}})
    talker.say(401)
    talker.say(200, {"session": {"token": "t0ken-2"}})
    talker.say(200, {}, x_csrf_token="c1-secret")
    talker.say(200, {})
    assert tell(one).outcome == "applied"
    assert [h.get("authorization") for _, h, _ in talker.heard][-1] == "Bearer t0ken-2"


def test_a_system_that_sets_ever_new_cookies_is_not_sent_them_all(talker: Any, target: Any) -> None:
    one = target("csrf: {path: /ticket}\n")
    for number in range(100):
        talker.say(200, {}, x_csrf_token=f"c{number}-secret", Set_Cookie=f"S{number}=value-{number}; path=/")
        talker.say(403, {}, x_csrf_token="required")
    for _ in range(100):
        tell(one)
    assert max(len(h.get("cookie", "")) for _, h, _ in talker.heard) < 1000
