"""What time itself brings about: shelf life ends, parked events are met or given up. On both databases."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from engine.batch import PARKED_FOR_SECONDS
from engine.journal import verify
from engine.ledger import Ledger
from engine.store.reading import Reading
from engine.upkeep import expire_lots, give_up_parked, retest_lots, rounds, take_up_parked


def state(plant: Any, lot: str) -> str:
    return str(Reading(plant.store).lot(lot).state)


@pytest.fixture(autouse=True)
def the_journal_verifies(plant: Any) -> Any:
    yield
    plant.pipeline.stop()
    assert verify(Reading(plant.store).journals()).intact


def release(plant: Any, lot: str, expires_on: str | None = None) -> None:
    more = {} if expires_on is None else {"expires_on": expires_on}
    plant.receive(lot, **more)
    plant.inspect(lot, *["74.000"] * 5)
    assert state(plant, lot) == "released"


def test_a_released_lot_is_blocked_on_the_day_after_its_last(plant: Any, clock: Any) -> None:
    release(plant, "L1", "2026-12-01")
    release(plant, "L2", "2026-12-02")
    release(plant, "L3")
    assert expire_lots(plant.store, plant.pipeline, clock, date(2026, 12, 1)) == 0
    assert expire_lots(plant.store, plant.pipeline, clock, date(2026, 12, 2)) == 1
    assert [state(plant, lot) for lot in ("L1", "L2", "L3")] == ["blocked", "released", "released"]
    assert [h.hold for h in Reading(plant.store).lot("L1").holds] == ["expired"]


def test_expiry_is_told_once_however_often_the_clock_looks(plant: Any, clock: Any, count: Callable[[str], int]) -> None:
    release(plant, "L1", "2026-12-01")
    for _ in range(3):
        expire_lots(plant.store, plant.pipeline, clock, date(2026, 12, 2))
        clock.forward(60)
    entries = Reading(plant.store).journal("L1")
    assert [e.trigger for e in entries].count("expire") == 1


def extend(plant: Any, lot: str, **days: str) -> Any:
    return plant.send("shelf_life.changed.v1", lot, {"reason": {"code": "RETESTED"}, **days})


def failing(decided: Any) -> list[str]:
    assert decided.status == 409
    return [v["rule"] for v in json.loads(decided.body)["rules"] if v["verdict"] == "fail"]


def test_a_lot_goes_back_to_inspection_on_its_day_of_retest_and_once(plant: Any, clock: Any) -> None:
    for lot, day in (("L1", "2026-12-01"), ("L2", "2026-12-02")):
        plant.receive(lot, retest_on=day)
        plant.inspect(lot, *["74.000"] * 5)
    plant.receive("L3")
    assert retest_lots(plant.store, plant.pipeline, clock, date(2026, 11, 30)) == 0
    assert retest_lots(plant.store, plant.pipeline, clock, date(2026, 12, 1)) == 1
    assert [state(plant, lot) for lot in ("L1", "L2", "L3")] == ["quarantined", "released", "quarantined"]
    assert retest_lots(plant.store, plant.pipeline, clock, date(2026, 12, 1)) == 0
    entries = Reading(plant.store).journal("L1")
    assert [(e.trigger, e.data) for e in entries][-1] == ("retest_due", '{"due_on":"2026-12-01"}')
    assert Reading(plant.store).lot("L1").retest_on is None


def test_shelf_life_is_put_off_after_a_retest_and_only_then(plant: Any, clock: Any) -> None:
    plant.receive("L1", expires_on="2026-12-31", retest_on="2026-12-01")
    early = extend(plant, "L1", expires_on="2027-06-30", retest_on="2027-03-01")
    assert (early.status, failing(early)) == (409, ["SHELF-LIFE-TESTED"])
    plant.inspect("L1", *["74.000"] * 5)
    assert failing(extend(plant, "L1", expires_on="2027-06-30")) == ["SHELF-LIFE-TESTED"], "that was the first test"
    assert retest_lots(plant.store, plant.pipeline, clock, date(2026, 12, 1)) == 1
    assert failing(extend(plant, "L1", expires_on="2027-06-30")) == ["SHELF-LIFE-TESTED"], "the old results are void"
    plant.inspect("L1", *["74.000"] * 5)
    assert extend(plant, "L1", expires_on="2027-06-30", retest_on="2027-03-01").status == 201
    lot = Reading(plant.store).lot("L1")
    assert (str(lot.expires_on), str(lot.retest_on), lot.state) == ("2027-06-30", "2027-03-01", "released")
    assert failing(extend(plant, "L1", expires_on="2027-12-31")) == ["SHELF-LIFE-TESTED"], "one test, one time"
    assert expire_lots(plant.store, plant.pipeline, clock, date(2027, 1, 1)) == 0
    assert retest_lots(plant.store, plant.pipeline, clock, date(2027, 3, 1)) == 1


def test_shelf_life_is_made_shorter_without_a_test_and_days_have_to_make_sense(plant: Any, clock: Any) -> None:
    release(plant, "L1", "2026-12-31")
    assert failing(extend(plant, "L1")) == ["SHELF-LIFE-SAID"]
    assert failing(extend(plant, "L1", retest_on="2027-01-01")) == ["RETEST-BEFORE-EXPIRY"]
    assert failing(extend(plant, "L1", retest_on="2020-01-01")) == ["RETEST-AHEAD"]
    assert extend(plant, "L1", expires_on="2026-12-01").status == 201
    assert expire_lots(plant.store, plant.pipeline, clock, date(2026, 12, 2)) == 1
    assert state(plant, "L1") == "blocked"


def test_a_rejected_lot_stays_rejected_when_its_retest_is_due(plant: Any, clock: Any) -> None:
    plant.receive("L1", retest_on="2026-12-01")
    plant.inspect("L1", *["74.900"] * 5)
    plant.receive("L2", retest_on="2026-12-01")
    plant.hold("L2", "H")
    assert retest_lots(plant.store, plant.pipeline, clock, date(2026, 12, 1)) == 2
    rejected, held = Reading(plant.store).lot("L1"), Reading(plant.store).lot("L2")
    assert (rejected.state, rejected.rejected, rejected.inspection_stands) == ("blocked", True, False)
    assert (held.state, held.retest_on, len(held.holds)) == ("blocked", None, 1)


def test_a_first_day_may_be_set_at_any_time(plant: Any, clock: Any) -> None:
    plant.receive("L1")
    assert extend(plant, "L1", expires_on="2027-01-31", retest_on="2027-01-01").status == 201
    assert failing(extend(plant, "L1", retest_on="2027-01-02")) == ["SHELF-LIFE-TESTED"]


def test_targets_are_told_what_expires_first(plant: Any, clock: Any) -> None:
    release(plant, "L1", "2026-12-31")
    extend(plant, "L1", expires_on="2026-12-15")
    lines = Ledger(plant.store, clock).lines(lot="L1", target="wms")
    assert [json.loads(bytes(line.status))["expires_on"] for line in lines][-2:] == ["2026-12-31", "2026-12-15"]


def test_an_event_that_came_early_is_taken_up_when_another_process_made_its_lot(plant: Any, clock: Any) -> None:
    early = plant.hold("L1", "H1")
    assert early.status == 202
    # As if another process had committed the lot without seeing what was parked meanwhile.
    with plant.store.engine.begin() as connection:
        connection.execute(text("UPDATE parked SET waits_for = 'nothing'"))
    plant.receive("L1")
    with plant.store.engine.begin() as connection:
        connection.execute(text("UPDATE parked SET waits_for = 'lot:L1'"))
    assert state(plant, "L1") == "quarantined"
    assert take_up_parked(plant.store, plant.pipeline) == 1
    assert state(plant, "L1") == "blocked"
    assert take_up_parked(plant.store, plant.pipeline) == 0


def test_an_event_that_waited_in_vain_is_given_up_and_somebody_is_told(
    plant: Any, clock: Any, count: Callable[[str], int]
) -> None:
    parked = plant.hold("L1", "H1")
    clock.forward(PARKED_FOR_SECONDS - 1)
    assert give_up_parked(plant.store, clock) == 0
    clock.forward(2)
    assert give_up_parked(plant.store, clock) == 1
    assert count("parked") == 0
    found = Reading(plant.store).event(parked.key)
    answer = json.loads(bytes(found.answer))
    assert answer["outcome"] == "expired"
    assert "L1" in answer["detail"]
    with plant.store.reads.connect() as connection:
        rows = connection.execute(text("SELECT kind, subject, detail FROM escalations")).all()
    assert [(r.kind, r.subject) for r in rows] == [("parked-expired", "L1")]
    assert give_up_parked(plant.store, clock) == 0


def test_an_event_that_was_given_up_is_answered_so_when_it_is_sent_again(plant: Any, clock: Any) -> None:
    event = plant.event("hold.applied.v1", "L1", {"hold": "H1", "reason": {"code": "recall"}})
    plant.pipeline.submit(event, "tester").result(20)
    clock.forward(PARKED_FOR_SECONDS + 1)
    give_up_parked(plant.store, clock)
    again = plant.pipeline.submit(event, "tester").result(20)
    assert again.replayed
    assert json.loads(again.body)["outcome"] == "expired"


def test_one_round_does_everything(plant: Any, clock: Any) -> None:
    release(plant, "L1", "2026-11-30")
    plant.hold("L2", "H1")
    clock.forward(PARKED_FOR_SECONDS + 1)
    done = dict(rounds(plant.store, plant.pipeline, clock, date(2026, 12, 1)))
    assert done["expired lots"] == 1
    assert done["parked events given up"] == 1
