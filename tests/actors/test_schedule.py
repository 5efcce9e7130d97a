"""The clock process: it rings for what is due, tells somebody of what is late, and never stops."""

import threading
from datetime import timedelta
from typing import Any

from actors.broker import Doorbell
from actors.schedule import LATE_SECONDS, Task, escalate_late, run, sweep
from engine.clock import system_clock
from engine.errors import StoreUnavailable
from engine.settings import load_settings
from engine.store.reading import Reading


def rung(owing: Any) -> list[str]:
    """For whom one sweep rings."""
    heard: list[str] = []
    bell = Doorbell(load_settings({"LOTGATE_REDIS_URL": "none"}))
    bell.listen(heard.append)
    sweep(owing.ledger, bell, ("erp", "wms"))
    bell.close()
    return heard


def test_the_sweeper_rings_for_what_is_due_and_for_nothing_else(owing: Any) -> None:
    assert rung(owing) == []
    owing.owe("L", 1, "wms")
    assert rung(owing) == ["wms"]
    owing.ledger.claim("wms", "w", 1, 30)
    assert rung(owing) == []


def test_a_lease_that_ran_out_is_due(owing: Any) -> None:
    owing.owe("L", 1)
    owing.ledger.claim("erp", "dead", 1, 0.0)
    assert rung(owing) == ["erp"]


def test_somebody_is_told_once_of_a_target_that_is_late_and_why(owing: Any) -> None:
    owing.owe("L", 1)
    owing.ledger.targets.report("erp", "open", "erp answered 503: closed for today")
    now = system_clock()
    escalate_late(owing.ledger, now)
    assert Reading(owing.store).escalations() == []
    for minutes in (0, 1, 2):
        escalate_late(owing.ledger, now + timedelta(seconds=LATE_SECONDS, minutes=minutes))
    [told] = Reading(owing.store).escalations()
    assert (told.kind, told.subject) == ("deliveries-late", "erp")
    assert "closed for today" in told.detail


def test_a_pause_that_was_forgotten_is_told_too(owing: Any) -> None:
    owing.owe("L", 1)
    owing.ledger.targets.pause("erp", "pat", "month-end")
    escalate_late(owing.ledger, system_clock() + timedelta(seconds=LATE_SECONDS))
    assert Reading(owing.store).escalations()[0].detail.endswith("it is paused by pat: month-end")


def test_a_task_that_fails_stops_neither_the_others_nor_itself() -> None:
    stop, done = threading.Event(), []

    def fail() -> None:
        done.append("failed")
        raise StoreUnavailable("the database is away")

    def work() -> None:
        done.append("worked")
        if done.count("worked") >= 3:
            stop.set()

    def crash() -> None:
        raise ZeroDivisionError

    run([Task("fail", 0.01, fail), Task("crash", 0.01, crash), Task("work", 0.01, work)], stop)
    assert done.count("worked") == 3
    assert done.count("failed") >= 2
