"""A target that is down, hangs or comes back empty-handed harms itself only."""

import statistics
import time
from typing import Any


def test_an_erp_that_is_down_for_a_while_delays_the_wms_by_nothing(plant: Any) -> None:
    with plant.load(40) as quiet:
        pass
    plant.settle()
    with plant.load(40) as lots:
        plant.kill("erp")
        time.sleep(2.0)
        assert plant.ledger.targets.state("erp").breaker == "open"
        assert plant.ledger.targets.state("wms").breaker == "closed"
    plant.until(lambda: "wms" not in plant.ledger.counts(), 5, "the WMS waits for the ERP")
    assert plant.ledger.counts()["erp"]["pending"] > 0
    plant.start("erp")
    plant.settle(60)
    plant.everything_agrees()
    assert plant.ledger.targets.state("erp").breaker == "closed"
    assert not plant.ledger.lines(state="dead")
    _is_unchanged(plant, quiet, lots)


def test_a_target_that_hangs_leaves_the_other_as_quick_as_ever(plant: Any) -> None:
    """Each call to the ERP hangs until it is given up; the WMS has threads, connections and a breaker of its own."""
    with plant.load(40) as quiet:
        pass
    plant.settle()
    plant.fault("erp", "slow", seconds=30)
    with plant.load(40) as lots:
        time.sleep(2.0)
    plant.until(lambda: "wms" not in plant.ledger.counts(), 5, "the WMS waits for the ERP")
    plant.fault("erp", "off")
    plant.settle(60)
    plant.everything_agrees()
    _is_unchanged(plant, quiet, lots)


def test_a_target_that_loses_every_third_answer_ends_in_agreement(plant: Any) -> None:
    with plant.load(40):
        for mode in ("lost_answer", "drop", "status", "lost_answer"):
            plant.fault("erp", mode, count=4)
            plant.fault("wms", mode, count=4)
            time.sleep(0.2)
    plant.settle(60)
    for target in ("erp", "wms"):
        plant.fault(target, "off")  # fewer calls than faults may have been enough
    plant.everything_agrees()


def _is_unchanged(plant: Any, before: list[str], during: list[str]) -> None:
    """The time from commit to agreement with the WMS: as before, give or take what two busy cores do."""
    quiet, troubled = (plant.agreement_seconds(lots, "wms") for lots in (before, during))
    assert statistics.median(troubled) < 4 * statistics.median(quiet) + 0.3
    assert troubled[int(len(troubled) * 0.95)] < 4 * quiet[int(len(quiet) * 0.95)] + 1.0
