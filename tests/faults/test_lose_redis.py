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
    plant.settle(5)
    plant.everything_agrees()


def test_without_the_clock_process_a_lost_doorbell_is_made_up_for(plant: Any) -> None:
    plant.kill("clock")
    plant.kill("redis")
    with plant.load(8):
        pass
    plant.settle(5)
    plant.everything_agrees()
