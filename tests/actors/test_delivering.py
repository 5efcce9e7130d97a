"""Telling a target: against the real sandbox systems, out of a real ledger."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from actors.breaker import BreakerState
from actors.deliver import Deliverer
from engine.store.reading import Reading


def deliver_until(one: Deliverer, done: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it was not delivered in time"
        one.run()
        time.sleep(0.02)


def test_an_unknown_lot_is_registered_and_then_told(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    owing.owe(lot, 3)
    assert deliverer(erp.url).run() == 1
    assert owing.line(lot, 3).state == "delivered"
    assert [entry["status"] for entry in erp.log()][-3:] == [404, 201, 200]
    seen = erp.lot(lot)
    assert (seen["version"], seen["stock"], seen["quantity"]) == (3, "unrestricted", "10")


def test_the_wms_hears_the_same_in_its_own_words(owing: Any, wms: Any, deliverer: Any, lot: str) -> None:
    owing.owe(lot, 2, "wms", state="blocked", stock="blocked", allocatable=False, reasons=["rejected"])
    deliverer(wms.url, "wms").run()
    seen = wms.lot(lot)
    assert (seen["revision_no"], seen["status"], seen["allocatable"]) == (2, "BLOCKED", False)
    assert seen["reasons"] == ["rejected"]


def test_only_the_newest_status_of_a_lot_is_told(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    for version, stock in ((2, "quality"), (3, "blocked"), (5, "unrestricted")):
        owing.owe(lot, version, stock=stock)
    deliverer(erp.url).run()
    assert [owing.line(lot, v).state for v in (2, 3, 5)] == ["superseded", "superseded", "delivered"]
    assert erp.lot(lot)["version"] == 5
    assert {entry["key"].rsplit(":", 1)[1] for entry in erp.log("/status") if entry["key"]} >= {"5"}


def test_many_lots_are_told_in_few_calls(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    lots = [f"{lot}-{n}" for n in range(50)]
    for name in lots:
        owing.owe(name, 1, stock="quality")
    before = len(erp.log())
    assert deliverer(erp.url, limits={"concurrency": 2, "timeout_s": 2.0}).run() == 50
    assert {erp.lot(name)["version"] for name in lots} == {1}
    assert len(erp.log()) - before < 50 + 50  # 50 look-ups of ours are in it


def test_one_bad_element_spoils_only_itself(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    """Real systems keep master data: the lot is there, with another unit."""
    erp.http.post(
        "/api/lots", json={"lot": f"{lot}-bad", "item": "RING-74", "revision": "A", "quantity": "1", "unit": "kg"}
    )
    for name in (f"{lot}-a", f"{lot}-bad", f"{lot}-b"):
        owing.owe(name, 1)
    deliverer(erp.url).run()
    assert [owing.line(f"{lot}-{n}", 1).state for n in ("a", "bad", "b")] == ["delivered", "dead", "delivered"]
    assert "another unit" in str(owing.line(f"{lot}-bad", 1).last_error)


def test_a_lost_answer_is_asked_again_under_the_same_key_and_applied_once(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(lot, 1)
    one = deliverer(erp.url)
    one.run()
    erp.fault("lost_answer", count=1)
    owing.owe(lot, 2)
    one.run()
    waiting = owing.line(lot, 2)
    assert waiting.state == "pending"
    assert "broke off without an answer" in str(waiting.last_error)
    owing.make_due()
    deliver_until(one, lambda: owing.line(lot, 2).state == "delivered")
    keys = [(e["key"], e["fault"]) for e in erp.log("/status") if e["key"] and e["key"].endswith(":2")]
    assert [fault for _, fault in keys if fault] == ["lost_answer"]
    assert len({key for key, _ in keys}) == 1
    assert erp.http.get("/_invariants").json()["duplicate_applications"] == 0


@pytest.mark.parametrize(("fault", "words"), [
    ({"mode": "status", "status": 500}, "answered 500"),
    ({"mode": "status", "status": 503}, "answered 503"),
    ({"mode": "drop"}, "broke off without an answer"),
    ({"mode": "slow", "seconds": 1.5}, "did not answer within 0.3 s"),
])  # fmt: skip
def test_what_may_pass_is_tried_again(
    owing: Any, erp: Any, deliverer: Any, lot: str, fault: dict[str, Any], words: str
) -> None:
    owing.owe(lot, 1)
    one = deliverer(erp.url, limits={"timeout_s": 0.3})
    erp.fault(**fault, count=1)
    one.run()
    assert owing.line(lot, 1).state == "pending"
    assert words in str(owing.line(lot, 1).last_error)
    owing.make_due()
    deliver_until(one, lambda: owing.line(lot, 1).state == "delivered")
    assert erp.lot(lot)["version"] == 1


def test_a_target_that_asks_for_time_gets_it(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    for n in range(3):
        owing.owe(f"{lot}-{n}", 1)
    one = deliverer(erp.url, deliver_batch=None, register_batch=None, limits={"concurrency": 1, "timeout_s": 1.0})
    erp.fault("status", status=503, retry_after=2, count=1)
    before = len(erp.log())
    began = time.time()
    one.run()
    assert len(erp.log()) - before == 1  # the others did not even try
    assert one.breaker.state is BreakerState.OPEN
    first = next(d for d in owing.ledger.lines(target="erp") if d.attempts)
    assert first.due_at - began >= 2
    deliver_until(one, lambda: not owing.ledger.counts())
    assert time.time() - began >= 2


def test_what_never_will_be_accepted_is_dead_with_the_whole_exchange_and_somebody_is_told(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(lot, 1, item="no\nitem")
    deliverer(erp.url).run()
    line = owing.line(lot, 1)
    assert line.state == "dead"
    assert "422" in str(line.last_error)
    assert '"status":404' in line.exchange  # the first call
    assert '"status":422' in line.exchange  # the registration that was refused
    assert '"item":"no\\nitem"' in line.exchange
    escalation = Reading(owing.store).escalations()[0]
    assert (escalation.kind, escalation.subject) == ("delivery-dead", lot)
    assert "erp does not take version 1" in escalation.detail


def test_a_dead_delivery_is_told_after_a_replay(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    owing.owe(lot, 1)
    one = deliverer(erp.url)
    erp.fault("status", status=422, count=1)
    one.run()
    assert owing.line(lot, 1).state == "dead"
    assert owing.ledger.replay(identity=owing.line(lot, 1).id) == 1
    one.run()
    assert owing.line(lot, 1).state == "delivered"


def test_a_delivery_that_the_target_keeps_failing_on_is_given_up(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(lot, 1)
    one = deliverer(erp.url, limits={"timeout_s": 1.0, "attempts": 3})
    erp.fault("status", status=500)
    for _ in range(3):
        one.run()
        owing.make_due()
    line = owing.line(lot, 1)
    assert (line.state, line.attempts) == ("dead", 3)
    assert str(line.last_error).startswith("given up after 3 attempts; the last: erp answered 500")


def test_an_outage_gives_up_nothing_before_its_time(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    """503 says something about the target, not about this delivery: attempts do not count against it."""
    owing.owe(lot, 1)
    limits = {"timeout_s": 1.0, "attempts": 2, "give_up_s": 2.0}
    one = deliverer(erp.url, limits=limits)
    erp.fault("status", status=503)
    for _ in range(4):
        one.run()
        owing.make_due()
    assert owing.line(lot, 1).state == "pending"
    time.sleep(2.0)
    one.run()
    assert owing.line(lot, 1).state == "dead"
    assert "hours after its commit" in str(owing.line(lot, 1).last_error)


def test_a_target_that_claims_to_know_what_was_never_decided_is_not_believed(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    one = deliverer(erp.url)
    owing.owe(lot, 7)
    one.run()
    with owing.store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM deliveries")  # a database that was restored from an old copy
    owing.owe(lot, 2)
    one.run()
    assert owing.line(lot, 2).state == "dead"
    assert "newer version than was ever decided here" in str(owing.line(lot, 2).last_error)


def test_a_paused_target_is_told_nothing_until_it_is_resumed(
    owing: Any, erp: Any, wms: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(lot, 1)
    owing.owe(lot, 1, "wms")
    paused = owing.ledger.targets.pause("erp", "pat", "month-end closing")
    assert (paused.paused_by, paused.reason) == ("pat", "month-end closing")
    to_erp, to_wms = deliverer(erp.url), deliverer(wms.url, "wms")
    assert (to_erp.run(), to_wms.run()) == (0, 1)
    assert owing.ledger.due() == []
    assert owing.ledger.targets.resume("erp").paused_at is None
    assert owing.ledger.due() == ["erp"]
    assert to_erp.run() == 1


def test_the_breaker_spares_a_target_that_is_down_and_operators_see_it(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    for n in range(40):
        owing.owe(f"{lot}-{n}", 1)
    rests = {"failures": 3, "open_s": 0.3, "longest_s": 0.3}
    one = deliverer(erp.url, breaker=rests, deliver_batch=None, register_batch=None)
    one.run()  # all told: closed is noted
    assert owing.ledger.targets.state("erp").breaker == "closed"
    for n in range(40):
        owing.owe(f"{lot}-{n}", 2)
    erp.fault("status", status=503)
    before = len(erp.log())
    one.run()
    assert len(erp.log()) - before < 10
    seen = owing.ledger.targets.state("erp")
    assert seen.breaker == "open"
    assert "503" in str(seen.breaker_detail)
    assert one.run() == 0  # nothing is even claimed
    erp.fault("off")
    time.sleep(0.3)
    deliver_until(one, lambda: not owing.ledger.counts())
    assert owing.ledger.targets.state("erp").breaker == "closed"


def test_a_worker_whose_lease_was_taken_over_calls_no_more_and_writes_nothing(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    """Two processes, one of which stood still for too long while it held a lease."""
    owing.owe(lot, 1)
    erp.fault("slow", seconds=0.6, count=1)
    slow = deliverer(erp.url, limits={"timeout_s": 2.0})
    thread = threading.Thread(target=slow.run)
    thread.start()
    time.sleep(0.2)
    with owing.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET lease_until = 0")
    quick = owing.ledger.claim("erp", "quick", 1, 30)
    assert [d.version for d in quick] == [1]
    thread.join(5)
    assert owing.line(lot, 1).state == "sending"
    assert owing.ledger.complete(quick[0])


def test_leases_are_renewed_while_a_slow_target_works(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    """The lease is shorter than all that waits behind it: it must not run out while the worker lives."""
    for n in range(9):
        owing.owe(f"{lot}-{n}", 1)
    limits = {"concurrency": 1, "timeout_s": 0.5}
    one = deliverer(erp.url, limits=limits, deliver_batch=None, register_batch=None)
    one._lease_seconds = 4.0
    one._helping.size = 9
    erp.fault("slow", seconds=0.4, match="/status")
    erp.http.post("/api/lots/register-batch", json={"items": [
        {"lot": f"{lot}-{n}", "item": "RING-74", "revision": "A", "quantity": "1", "unit": "ea"} for n in range(9)
    ]})  # fmt: skip
    one.run()
    assert {(line.state, line.attempts) for line in owing.ledger.lines()} == {("delivered", 1)}


def test_a_target_that_hangs_takes_one_thread_however_often_it_is_rung(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(lot, 1)
    erp.fault("slow", seconds=0.8, count=1)
    one = deliverer(erp.url, limits={"timeout_s": 2.0})
    first = threading.Thread(target=one.run)
    first.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert [one.run() for _ in range(20)] == [0] * 20
    assert time.monotonic() - began < 0.3
    first.join(5)
    assert owing.line(lot, 1).state == "delivered"


def test_what_is_committed_during_a_slow_call_does_not_wait_for_it(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    owing.owe(f"{lot}-slow", 1)
    erp.fault("slow", seconds=1.5, count=1)
    one = deliverer(erp.url, limits={"timeout_s": 2.0})
    thread = threading.Thread(target=one.run)
    thread.start()
    time.sleep(0.2)
    owing.owe(f"{lot}-next", 1)
    one.run()
    time.sleep(0.5)
    assert owing.line(f"{lot}-next", 1).state == "delivered"
    assert owing.line(f"{lot}-slow", 1).state == "sending"
    thread.join(5)


def test_a_target_is_never_called_more_often_at_once_than_it_bears(owing: Any, talker: Any, deliverer: Any) -> None:
    import socket

    now, most = [0], [0]

    def slowly(connection: socket.socket) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.05)
        now[0] -= 1
        body = b'{"applied": true}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    for n in range(12):
        owing.owe(f"L{n}", 1)
        talker.do(slowly)
    limits = {"concurrency": 3, "timeout_s": 2.0}
    assert deliverer(talker.url, limits=limits, deliver_batch=None, register_batch=None).run() == 12
    assert most[0] == 3


def test_a_rate_limit_holds(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    for n in range(4):
        owing.owe(f"{lot}-{n}", 1)
        erp.http.post(
            "/api/lots", json={"lot": f"{lot}-{n}", "item": "RING-74", "revision": "A", "quantity": "1", "unit": "ea"}
        )
    one = deliverer(erp.url, limits={"per_second": 4.0, "timeout_s": 1.0}, deliver_batch=None, register_batch=None)
    one._rate._left = 0.0
    began = time.monotonic()
    one.run()
    assert 0.8 < time.monotonic() - began < 3
    assert not owing.ledger.counts()


def test_a_clock_that_was_set_back_by_an_hour_holds_nothing_up(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    owing.owe(f"{lot}-new", 1)
    owing.owe(f"{lot}-claimed", 1)
    with owing.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET due_at = due_at + 3600")
        connection.exec_driver_sql(
            "UPDATE deliveries SET state = 'sending', lease_until = due_at + 30 WHERE lot LIKE '%claimed'"
        )
    assert owing.ledger.due() == ["erp"]
    deliverer(erp.url).run()
    assert not owing.ledger.counts()
