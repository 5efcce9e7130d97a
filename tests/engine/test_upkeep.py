"""What time itself brings about: shelf life ends, parked events are met or given up. On both databases."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from engine.batch import PARKED_FOR_SECONDS
from engine.journal import verify
from engine.store.reading import Reading
from engine.upkeep import expire_lots, give_up_parked, rounds, take_up_parked


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
