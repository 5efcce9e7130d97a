"""Redis is only the doorbell: emptied, killed or away, nothing is lost, and nothing waits for it."""

from typing import Any


def test_redis_emptied_in_the_middle_of_load_loses_nothing(plant: Any) -> None:
    with plant.load() as lots:
        for _ in range(5):
            plant.redis().flushall()
    plant.settle(5)
    plant.everything_agrees()
    assert len(plant.agreement_seconds(lots, "erp")) >= len(lots)


def test_redis_killed_in_the_middle_of_load_makes_deliveries_late_and_no_more(plant: Any) -> None:
    with plant.load() as lots:
        plant.kill("redis")
    # Nobody rings: workers look by themselves.
    plant.settle(5)
    plant.everything_agrees()
    assert plant.agreement_seconds(lots, "wms")[-1] < 5
    plant.start("redis")
    with plant.load(8):
        pass
    plant.settle(10)
    plant.everything_agrees()


def test_a_worker_that_starts_without_redis_and_without_the_clock_process_delivers(plant: Any) -> None:
    for name in ("clock", "redis", "worker"):
        plant.kill(name)
    plant.start("worker")
    with plant.load(8):
        pass
    plant.settle(10)
    plant.everything_agrees()
