"""What a target's answers do to a delivery: a target on a real socket that says whatever it is told to say."""

import email.utils
import time
from typing import Any

import pytest

from actors.breaker import BreakerState
from engine.store.reading import Reading

SECRET = "tok-5ecret-91"
HTML = b"<html><body>Sign in to the guest network</body></html>"


def test_a_page_of_a_proxy_is_not_an_agreement(owing: Any, talker: Any, deliverer: Any) -> None:
    owing.owe("L", 1)
    one = deliverer(talker.url)
    for body in (HTML, b"", b"null", b'{"welcome": true}', b"\xff\xfe", b"[" * 20_000):
        talker.say(200, body)
        one.run()
        assert owing.line("L", 1).state == "pending", body[:20]
        owing.make_due()
    talker.say(200, {"applied": True})
    one.run()
    assert owing.line("L", 1).state == "delivered"


def test_garbage_never_gives_up_a_delivery(owing: Any, talker: Any, deliverer: Any) -> None:
    """Whatever stands between will be taken away; the delivery is not to blame."""
    owing.owe("L", 1)
    one = deliverer(talker.url, limits={"attempts": 2, "timeout_s": 1.0})
    for _ in range(4):
        talker.say(200, HTML)
        one.run()
        owing.make_due()
    assert owing.line("L", 1).state == "pending"


def test_a_key_that_is_not_accepted_stops_the_target_and_somebody_is_told_once(
    owing: Any, talker: Any, deliverer: Any
) -> None:
    for n in range(20):
        owing.owe(f"L{n}", 1)
    one = deliverer(talker.url, deliver_batch=None, register_batch=None, limits={"concurrency": 1, "timeout_s": 1.0})
    talker.say(401, {"error": "expired"})
    one.run()
    assert len(talker.heard) == 1
    assert one.breaker.state is BreakerState.OPEN
    assert owing.ledger.counts() == {"erp": {"pending": 20}}
    [escalation] = Reading(owing.store).escalations()
    assert (escalation.kind, escalation.subject) == ("target-auth", "erp")
    one.breaker.record(True)
    owing.make_due()
    talker.say(403, {"error": "expired"})
    one.run()
    assert len(Reading(owing.store).escalations()) == 1


@pytest.mark.parametrize("when", ["7", "date"])
def test_retry_after_is_a_number_of_seconds_or_a_date(owing: Any, talker: Any, deliverer: Any, when: str) -> None:
    text = when if when != "date" else email.utils.formatdate(time.time() + 7, usegmt=True)
    owing.owe("L", 1)
    talker.say(429, {}, Retry_After=text)
    began = time.time()
    deliverer(talker.url).run()
    assert 5 < owing.line("L", 1).due_at - began < 9


@pytest.mark.parametrize("when", ["soon", "-5", "99999999999999", "Thu, 99 Nov 2026 08:00:00 GMT", "²"])
def test_a_strange_retry_after_neither_harms_nor_parks_a_delivery_for_ever(
    owing: Any, talker: Any, deliverer: Any, when: str
) -> None:
    owing.owe("L", 1)
    talker.say(503, {}, Retry_After=when.encode().decode("latin-1"))
    deliverer(talker.url).run()
    line = owing.line("L", 1)
    assert line.state == "pending"
    assert line.due_at - time.time() < 901


def test_a_redirect_is_not_followed(owing: Any, talker: Any, deliverer: Any) -> None:
    owing.owe("L", 1)
    talker.say(302, {}, Location=talker.url + "/elsewhere")
    deliverer(talker.url).run()
    assert owing.line("L", 1).state == "dead"
    assert len(talker.heard) == 1


def test_a_batch_that_is_answered_with_too_few_results_is_no_agreement(owing: Any, talker: Any, deliverer: Any) -> None:
    for n in range(3):
        owing.owe(f"L{n}", 1)
    talker.say(200, {"results": [{"outcome": "applied"}]})
    deliverer(talker.url).run()
    assert owing.ledger.counts() == {"erp": {"pending": 3}}


def test_a_target_without_the_batch_call_is_told_one_by_one(owing: Any, talker: Any, deliverer: Any) -> None:
    for n in range(3):
        owing.owe(f"L{n}", 1)
    talker.say(404, {"error": "no-such-call"})
    for _ in range(3):
        talker.say(200, {"applied": True})
    assert deliverer(talker.url).run() == 3
    assert [line for line, _, _ in talker.heard][1:] == [f"POST /api/lots/L{n}/status" for n in range(3)]


def test_a_result_that_nobody_knows_is_looked_at_by_a_person(owing: Any, talker: Any, deliverer: Any) -> None:
    owing.owe("A", 1)
    owing.owe("B", 1)
    talker.say(200, {"results": [{"outcome": "applied"}, {"outcome": "postponed"}]})
    deliverer(talker.url).run()
    assert (owing.line("A", 1).state, owing.line("B", 1).state) == ("delivered", "dead")
    assert "postponed" in str(owing.line("B", 1).last_error)


def test_the_ids_and_keys_of_every_delivery_reach_the_target_as_they_are(
    owing: Any, talker: Any, deliverer: Any
) -> None:
    owing.owe("a b/c%€", 4)
    talker.say(200, {"applied": True})
    deliverer(talker.url).run()
    [(line, headers, body)] = talker.heard
    assert line == "POST /api/lots/a%20b%2Fc%25%E2%82%AC/status"
    assert headers["idempotency-key"] == "lotgate:erp:a%20b%2Fc%25%E2%82%AC:4"
    assert body == {
        "version": 4, "stock": "unrestricted", "state": "released", "quantity": "10", "unit": "ea", "reasons": []
    }  # fmt: skip


def test_a_lot_that_is_called_dot_dot_leads_nowhere_else(owing: Any, talker: Any, deliverer: Any) -> None:
    owing.owe("..", 1)
    talker.say(200, {"applied": True})
    deliverer(talker.url).run()
    assert talker.heard[0][0] == "POST /api/lots/%2E%2E/status"


def test_a_secret_is_sent_and_neither_logged_nor_kept(
    owing: Any, talker: Any, deliverer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    owing.owe("L", 1)
    telling = {
        "method": "POST", "path": "/lots", "json": {"lot": "${lot}"},
        "headers": {"Authorization": "Bearer ${secret.token}", "X-Tenant": "t-${secret.token}"},
    }  # fmt: skip
    one = deliverer(talker.url, secrets={"token": SECRET}, deliver=telling, deliver_batch=None, register_batch=None)
    talker.say(500, {"you sent": f"Bearer {SECRET}"})
    talker.say(422, {"you sent": f"Bearer {SECRET}"})
    for _ in range(2):
        one.run()
        owing.make_due()
    assert talker.heard[0][1]["authorization"] == f"Bearer {SECRET}"
    line = owing.line("L", 1)
    assert line.state == "dead"
    assert '"Authorization":"***"' in line.exchange
    assert '"X-Tenant":"t-***"' in line.exchange
    kept = [line.exchange, line.last_error, caplog.text, *(e.detail for e in Reading(owing.store).escalations())]
    assert not [text for text in kept if SECRET in str(text)]


def test_a_fault_of_our_own_is_carried_by_its_delivery_alone(owing: Any, talker: Any, deliverer: Any) -> None:
    """A connector that cannot write one lot's request still tells the others."""
    telling = {"method": "POST", "path": "/lots", "headers": {"X-Lot": "${lot}"}, "json": {"lot": "${lot}"}}
    owing.owe("bad\nlot", 1)
    owing.owe("good", 1)
    one = deliverer(talker.url, deliver=telling, deliver_batch=None, register_batch=None)
    talker.say(200, {"applied": True})
    one.run()
    assert (owing.line("bad\nlot", 1).state, owing.line("good", 1).state) == ("dead", "delivered")
    assert "cannot be written as HTTP" in str(owing.line("bad\nlot", 1).last_error)


def test_a_refusal_deep_inside_a_success_is_no_agreement(owing: Any, talker: Any, deliverer: Any) -> None:
    """As of systems that answer every error with 200."""
    owing.owe("L", 1)
    lines = [{"body": {"error": {"data": {"name": "AccessDenied"}}}, "outcome": "auth"}]
    deliver = {"method": "POST", "path": "/call", "json": {"lot": "${lot}"}, "classify": lines}
    one = deliverer(talker.url, deliver=deliver, deliver_batch=None, register_batch=None)
    talker.say(200, {"error": {"code": 200, "data": {"name": "AccessDenied", "debug": "trace"}}})
    one.run()
    assert owing.line("L", 1).state == "pending"
    assert one.breaker.state is BreakerState.OPEN
    one.breaker.record(True)
    owing.make_due()
    talker.say(200, {"result": True})
    one.run()
    assert owing.line("L", 1).state == "delivered"
