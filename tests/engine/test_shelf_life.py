"""Days that follow from reference data: by the record in force when it happened, shown with it, never made longer."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EventInvalid
from engine.lot import Lot
from engine.reference import ReferenceConflict, References
from engine.shelf_life import Applied, ShelfLifeRule, after_opening, at_birth
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.surroundings import Surroundings
from engine.upkeep import rounds
from tests.engine.test_inspection_plans import failing, put

RULE = {"item": "RING-74", "days": 365, "retest_days": 180, "opened_days": 30}


@pytest.fixture
def references(store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


def lasting(references: References, key: str = "SL-1", since: str = "2026-01-01", **more: Any) -> None:
    put(references, key, RULE | more, since, kind="shelf-life")


def test_a_lot_gets_the_days_that_its_event_does_not_say(plant: Any, store: Store, references: References) -> None:
    lasting(references)
    plant.receive("L1", manufactured_on="2026-11-01")
    lot = Reading(store).lot("L1")
    assert (lot.expires_on, lot.retest_on) == (date(2027, 11, 1), date(2027, 4, 30))
    assert lot.expires_by == "SL-1@1: 365 days from manufacture on 2026-11-01"
    assert lot.retest_by == "SL-1@1: 180 days from manufacture on 2026-11-01"
    assert [e.type for e in Reading(store).journal("L1")][:2] == ["lot.received.v1", "shelf_life.computed.v1"]
    plant.receive("L2", manufactured_on="2026-11-01", expires_on="2026-12-31", retest_on="2026-12-01")
    lot = Reading(store).lot("L2")
    assert (lot.expires_on, lot.retest_on, lot.expires_by) == (date(2026, 12, 31), date(2026, 12, 1), "")
    plant.receive("L3", manufactured_on="2026-11-01", expires_on="2026-12-31")
    lot = Reading(store).lot("L3")
    assert (lot.expires_on, lot.retest_on) == (date(2026, 12, 31), None), "a retest after the end would be none"
    plant.receive("L4")
    assert Reading(store).lot("L4").expires_on is None, "nobody knows when it was made: nothing is guessed"
    plant.receive("L5", item="TEN-POINT", manufactured_on="2026-11-01")
    assert Reading(store).lot("L5").expires_on is None


def test_what_is_said_of_the_supplier_comes_first(plant: Any, store: Store, references: References) -> None:
    lasting(references)
    lasting(references, "SL-ACME", supplier="ACME", counts_from="receipt", days=10, retest_days=None)
    lasting(references, "SL-B", revision="B", days=20, retest_days=None)
    plant.receive("L1", manufactured_on="2026-11-01")
    lot = Reading(store).lot("L1")
    assert (lot.expires_on, lot.expires_by) == (date(2026, 12, 3), "SL-ACME@1: 10 days from receipt on 2026-11-23")
    plant.receive("L2", supplier="FABCO", manufactured_on="2026-11-01")
    assert Reading(store).lot("L2").expires_by.startswith("SL-1@1")


def test_the_record_in_force_when_it_happened_counts(plant: Any, store: Store, references: References) -> None:
    lasting(references, counts_from="receipt")
    lasting(references, since="2026-11-22", counts_from="receipt", days=100, retest_days=None)
    day = {"time": "2026-11-20T10:00:00Z"}
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME"}
    plant.send("lot.received.v1", "LATE", data | {"receipt": "GR-1"}, **day)
    plant.send("lot.received.v1", "NOW", data | {"receipt": "GR-2"})
    plant.send("lot.received.v1", "WRONG-CLOCK", data | {"receipt": "GR-3"}, time="2027-06-01T00:00:00Z")
    said = {lot: Reading(store).lot(lot).expires_by for lot in ("LATE", "NOW", "WRONG-CLOCK")}
    assert said == {
        "LATE": "SL-1@1: 365 days from receipt on 2026-11-20", "NOW": "SL-1@2: 100 days from receipt on 2026-11-23",
        "WRONG-CLOCK": "SL-1@2: 100 days from receipt on 2026-11-23",
    }  # fmt: skip
    lasting(references, since="2026-11-23", counts_from="receipt", days=5, retest_days=None)
    assert Reading(store).lot("NOW").expires_on == date(2027, 3, 3), "a lot in work keeps what it has"


def test_the_gate_that_lets_it_in_sees_the_day_too(plant: Any, store: Store, references: References) -> None:
    lasting(references)
    plant.receive("L1", manufactured_on="2026-11-01")
    first = Reading(store).journal("L1")[0]
    assert str(date(2027, 11, 1).toordinal()) in str(first.evidence)


def test_opening_shortens_and_never_lengthens(plant: Any, store: Store, references: References) -> None:
    lasting(references)
    plant.receive("L1", manufactured_on="2026-11-01")
    assert plant.send("lot.opened.v1", "L1", {"opened_on": "2026-11-20"}).outcome == "applied"
    lot = Reading(store).lot("L1")
    assert (lot.opened_on, lot.expires_on) == (date(2026, 11, 20), date(2026, 12, 20))
    assert lot.expires_by == "SL-1@1: 30 days from opening on 2026-11-20"
    assert failing(plant.send("lot.opened.v1", "L1", {"opened_on": "2026-11-21"})) == ["OPENED-ONCE"]
    plant.receive("L2", manufactured_on="2026-11-01", expires_on="2026-12-01")
    assert failing(plant.send("lot.opened.v1", "L2", {"opened_on": "2026-11-24"})) == ["OPENED-BY-NOW"]
    plant.send("lot.opened.v1", "L2", {"opened_on": "2026-11-23"})
    assert (Reading(store).lot("L2").expires_on, Reading(store).lot("L2").expires_by) == (date(2026, 12, 1), "")


def test_a_retest_that_was_passed_sets_the_next(plant: Any, store: Store, clock: Any, references: References) -> None:
    lasting(references, counts_from="receipt", retest_days=10, days=20)
    plant.receive("L1")
    plant.inspect("L1", *["74.000"] * 5)
    assert Reading(store).lot("L1").retest_on == date(2026, 12, 3)
    clock.forward(11 * 86_400)
    list(rounds(store, plant.pipeline, clock, clock.now.date()))
    lot = Reading(store).lot("L1")
    assert (lot.state, lot.retest_on, lot.retest_by) == ("quarantined", None, "")
    plant.inspect("L1", *["74.000"] * 5)
    lot = Reading(store).lot("L1")
    assert (lot.retest_on, lot.expires_on) == (None, date(2026, 12, 13)), "14 December would come after the end"
    plant.receive("L2", expires_on="2030-01-01")
    clock.forward(11 * 86_400)
    list(rounds(store, plant.pipeline, clock, clock.now.date()))
    plant.inspect("L2", *["74.000"] * 5)
    lot = Reading(store).lot("L2")
    today = clock.now.date()
    assert (lot.retest_on, lot.retest_by) == (today + timedelta(days=10), f"SL-1@1: 10 days from the retest of {today}")


def test_quality_sets_days_and_that_is_shown(plant: Any, store: Store, references: References) -> None:
    lasting(references)
    plant.receive("L1", manufactured_on="2026-11-01")
    data = {"expires_on": "2027-01-01", "reason": {"code": "STORED-WARM"}}
    assert plant.send("shelf_life.changed.v1", "L1", data).outcome == "applied"
    lot = Reading(store).lot("L1")
    assert (lot.expires_by, lot.retest_by[:6]) == ("set: STORED-WARM", "SL-1@1")


@pytest.mark.parametrize(
    "content",
    [{"item": "RING-74"}, {"item": "RING-74", "days": 0}, {"item": "RING-74", "days": 10, "retest_days": 11},
     {"days": 10}, {"item": "RING-74", "days": "many"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(references: References, content: Any) -> None:
    with pytest.raises(EventInvalid):
        put(references, "SL-1", content, kind="shelf-life")


def test_no_two_records_are_for_the_same_lots(references: References) -> None:
    lasting(references)
    with pytest.raises(ReferenceConflict, match="shelf life SL-1 is for the same lots"):
        lasting(references, "SL-2", days=7, retest_days=None)


_DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))
_SPANS = st.none() | st.integers(1, 36_525)


@given(made=st.none() | _DAYS, received=_DAYS, days=_SPANS, retest=_SPANS, opened=_SPANS, opened_on=_DAYS, said=st.none() | _DAYS,
       counts=st.sampled_from(["manufacture", "receipt"]))  # fmt: skip
def test_no_day_is_guessed_and_none_is_made_longer(
    made: Any, received: date, days: Any, retest: Any, opened: Any, opened_on: date, said: Any, counts: Any
) -> None:
    rule = ShelfLifeRule(item="I", counts_from=counts, days=days, retest_days=retest, opened_days=opened)
    lot = Lot(id="L", version=1, state="received", item="I", revision="A", quantity=Decimal(1), unit="ea", received_at="", changed_at="", manufactured_on=made, expires_on=said, opened_on=opened_on)  # fmt: skip
    start = made if counts == "manufacture" else received
    found = at_birth(lot, received, Applied("K", 1, rule))
    if start is None:
        assert found is None
    elif found is not None:
        assert found.expires_on is None or (said is None and found.expires_on == start + timedelta(days=days))
        end = found.expires_on or said
        assert found.retest_on is None or found.retest_on == start + timedelta(days=retest)
        assert found.retest_on is None or end is None or found.retest_on <= end
    shorter = after_opening(lot, Applied("K", 1, rule))
    if shorter is not None:
        assert shorter.expires_on == opened_on + timedelta(days=opened)
        assert said is None or shorter.expires_on < said
    elif opened is not None:
        assert said is not None
        assert said <= opened_on + timedelta(days=opened)


def test_the_day_is_that_of_the_plant(rulebook: Any) -> None:
    around = Surroundings("", date(2026, 11, 24).toordinal(), rulebook, timezone=ZoneInfo("Europe/Paris"))
    assert around.day_of(datetime(2026, 11, 22, 23, 30, tzinfo=UTC)) == date(2026, 11, 23)
    assert around.day_of(None) == around.day_of(datetime(2027, 1, 1, tzinfo=UTC)) == date(2026, 11, 24)
