"""Workers die, stop, and come in twos: every target is told everything, once in effect, never backwards."""

import signal
import time
from typing import Any


def test_a_worker_that_is_killed_in_the_middle_of_load_loses_nothing(plant: Any) -> None:
    with plant.load():
        plant.kill("worker")
        plant.start("worker")
    plant.settle()
    plant.everything_agrees()


def test_a_worker_that_is_killed_between_applying_and_acknowledging_applies_nothing_twice(plant: Any) -> None:
    """The ERP has applied and answered; the database lets nobody write until the worker is dead."""
    with plant.load(8) as lots:
        pass
    plant.settle()
    before = plant.ask("erp", "/_invariants")
    plant.fault("erp", "slow", seconds=0.6, match="status")
    for lot in lots:
        plant.send("hold.applied.v1", lot, {"hold": "H-9", "reason": {"code": "LATE"}})
    plant.until(lambda: "sending" in plant.ledger.counts().get("erp", {}), 5, "nothing is under way")
    with plant.store.engine.begin():
        applied = lambda: plant.ask("erp", "/_invariants")["applications"] - before["applications"]  # noqa: E731
        plant.until(lambda: applied() > 0, 5, "the ERP did nothing")
        time.sleep(0.3)
        plant.kill("worker")
    plant.fault("erp", "off")
    assert plant.ledger.counts()["erp"]["sending"] > 0
    plant.start("worker")
    plant.settle()
    plant.everything_agrees()
    after = plant.ask("erp", "/_invariants")
    assert after["applications"] - before["applications"] == len(lots)
    assert after["duplicates_answered"] > before["duplicates_answered"]


def test_two_workers_and_needless_doorbells_tell_each_status_once(plant: Any) -> None:
    plant.start("worker2")
    bell = _Bell(plant)
    with plant.load(80):
        for _ in range(100):
            bell.ring()
    plant.settle()
    plant.everything_agrees()
    # Nothing was told again: every call that a target answered made something new.
    assert all(line.attempts == 1 for line in plant.ledger.lines(state="delivered", limit=5000, after=bell.from_id))


class _Bell:
    """Rings by Redis, as the web process does, and far too often."""

    def __init__(self, plant: Any) -> None:
        from actors.broker import make_broker
        from engine.settings import load_settings

        self._broker = make_broker(load_settings({"LOTGATE_HOME": str(plant.home)}))
        newest = plant.ledger.lines(limit=100_000)
        self.from_id = newest[-1].id if newest else 0

    def ring(self) -> None:
        import dramatiq

        for target in ("erp", "wms"):
            self._broker.enqueue(
                dramatiq.Message(queue_name=target, actor_name=f"sync_{target}", args=(), kwargs={}, options={})
            )


def test_a_worker_that_is_asked_to_stop_is_gone_within_four_seconds_though_a_target_hangs(plant: Any) -> None:
    plant.fault("erp", "slow", seconds=30, count=4)
    with plant.load(8):
        plant.until(lambda: "erp" in plant.ledger.oldest_open(), 5, "nothing is under way")
        time.sleep(0.2)
        assert plant.kill("worker", signal.SIGTERM) < 4
        # What it held is anybody's at once: no lease is left behind to run out.
        assert plant.ledger.counts().get("erp", {}).get("sending", 0) == 0
        plant.fault("erp", "off")
        plant.start("worker")
    plant.settle()
    plant.everything_agrees()


def test_a_worker_stops_in_time_when_redis_is_gone(plant: Any) -> None:
    plant.kill("redis")
    time.sleep(0.5)
    assert plant.kill("worker", signal.SIGTERM) < 4


def test_no_log_and_no_ledger_shows_a_credential(plant: Any) -> None:
    plant.fault("erp", "status", status=500, count=3)
    with plant.load(8):
        pass
    plant.settle()
    plant.everything_agrees()
    assert "answered 500" in plant.log("worker")
    shown = [plant.log(name) for name in ("worker", "worker2", "web", "clock")]
    shown += [str(line.exchange) + str(line.last_error) for line in plant.ledger.lines(limit=100_000)]
    assert not [text for text in shown if plant.secret in text]
