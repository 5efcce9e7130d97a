"""Orders, allocations, customers and calendars: the newest that was said stands, and only their owner says it."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from engine.errors import EventInvalid, SettingInvalid
from engine.orders import Calendar
from engine.ownership import NotSystemOfRecord
from engine.reference import Kept, Record, ReferenceConflict, References, Wanted, record_owners
from engine.settings import Settings
from engine.store.opening import Store
from rules.compiled import readers_of

ORDER = {
    "customer": "BOLT-CO", "status": "releasable", "deliver_on": "2026-12-01",
    "lines": [{"line": "10", "item": "RING-74", "quantity": {"value": "60", "unit": "ea"}}],
}  # fmt: skip
ALLOCATION = {"lines": [{"line": "10", "lot": "L-1", "quantity": {"value": "60", "unit": "ea"}}]}
CONTENTS = {"order": ORDER, "allocation": ALLOCATION, "customer": {"remaining_days": 90}, "calendar": {"closed_weekdays": [7]}}


def put(references: References, kind: str, content: Any, by: str = "erp", since: str = "2026-11-23", **more: Any) -> Kept:
    raw = msgspec.Raw(json.dumps(content).encode())
    until = more.pop("until", None)
    wanted = Wanted(date.fromisoformat(since), raw, None if until is None else date.fromisoformat(until))
    return references.put(kind, more.pop("key", "SO-1"), wanted, by, **more)


@pytest.fixture
def make(store: Store, clock: Any, rulebook: Any) -> Any:
    def references(owners: str = "") -> References:
        return References(store, clock, lambda: rulebook.vocabulary, record_owners(Settings(record_owners=owners)))

    return references


@pytest.fixture
def references(make: Any) -> References:
    made: References = make()
    return made


def said(references: References, kind: str = "order") -> list[Record]:
    return references.revisions(kind, "SO-1")


@pytest.mark.parametrize("kind", CONTENTS)
def test_each_kind_is_kept_and_listed(references: References, kind: str) -> None:
    assert put(references, kind, CONTENTS[kind]).outcome == "created"
    (found,), _ = references.page(kind, "2026-11-23", None, "", 10)
    assert (found.key, found.revision) == ("SO-1", 1)


def test_what_changes_by_the_hour_may_change_back_on_the_same_day(references: References) -> None:
    for number, status in enumerate(("releasable", "blocked", "releasable"), 1):
        assert put(references, "order", ORDER | {"status": status}).record.revision == number
    (newest,), _ = references.page("order", "2026-11-23", None, "", 10)
    assert json.loads(bytes(newest.content))["status"] == "releasable"
    with pytest.raises(ReferenceConflict, match="newer"):
        put(references, "order", ORDER | {"status": "closed"}, since="2026-11-22")


def test_what_is_said_again_is_no_new_revision_and_yet_fresh(references: References, clock: Any) -> None:
    put(references, "order", ORDER)
    assert [record.confirmed_at for record in said(references)] == [None]
    clock.forward(3600)
    assert put(references, "order", ORDER, dry_run=True).outcome == "unchanged"
    assert [record.confirmed_at for record in said(references)] == [None]
    for _ in range(2):
        assert put(references, "order", ORDER).outcome == "unchanged"
    (record,) = said(references)
    assert (record.recorded_at, record.confirmed_at) == ("2026-11-23T08:00:00.000000Z", "2026-11-23T09:00:00.000000Z")


@pytest.mark.parametrize(("kind", "content", "pointer"), [
    ("order", ORDER | {"lines": [*ORDER["lines"], *ORDER["lines"]]}, "/content/lines/1/line"),
    ("order", ORDER | {"status": "perhaps"}, "/content"),
    ("order", ORDER | {"lines": []}, "/content"),
    ("order", ORDER | {"colour": "red"}, "/content"),
    ("allocation", {"lines": ALLOCATION["lines"] * 2}, "/content/lines/1/lot"),
    ("allocation", {"lines": [ALLOCATION["lines"][0] | {"quantity": {"value": "0", "unit": "ea"}}]}, "/content/lines/0/quantity"),
    ("calendar", {"closed_weekdays": [8]}, "/content"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(references: References, kind: str, content: Any, pointer: str) -> None:
    with pytest.raises(EventInvalid) as caught:
        put(references, kind, content)
    assert caught.value.pointer == pointer


def test_only_the_system_of_record_begins_ends_changes_or_confirms_a_record(make: Any) -> None:
    references = make("order=erp|erp2, allocation=wms")
    with pytest.raises(NotSystemOfRecord, match="The system of record for the order SO-1 is erp or erp2; wms may not"):
        put(references, "order", ORDER, "wms")
    put(references, "order", ORDER, "erp2")
    for change in (ORDER | {"status": "blocked"}, ORDER, None):
        with pytest.raises(NotSystemOfRecord):
            put(references, "order", change, "admin")
    with pytest.raises(NotSystemOfRecord):
        put(references, "order", ORDER, "admin", until="2026-11-24")
    assert said(references)[0].confirmed_at is None
    assert put(references, "customer", CONTENTS["customer"], "anybody").outcome == "created"


def test_a_field_may_have_an_owner_of_its_own(make: Any) -> None:
    references = make("order=erp, order.status=credit")
    put(references, "order", ORDER, "erp")
    assert put(references, "order", ORDER | {"status": "blocked"}, "credit").outcome == "created"
    with pytest.raises(NotSystemOfRecord, match="status of the order SO-1 is credit"):
        put(references, "order", ORDER, "erp")
    with pytest.raises(NotSystemOfRecord, match="deliver_on of the order SO-1 is erp"):
        put(references, "order", ORDER | {"status": "blocked", "deliver_on": "2026-12-24"}, "credit")
    moved = ORDER | {"status": "blocked", "deliver_on": "2026-12-24"}
    assert put(references, "order", moved, "erp").record.revision == 3


@pytest.mark.parametrize("text", ["order", "order=", "orders=erp", "order.colour=erp", "order=erp, order=crm", "=erp", "ORDER=erp"])
def test_an_ownership_that_cannot_be_read_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(SettingInvalid, match="LOTGATE_RECORD_OWNERS"):
        record_owners(Settings(record_owners=text))


def test_a_calendar_knows_when_somebody_is_there() -> None:
    calendar = Calendar(closed_on=[date(2026, 12, 25)], closed_weekdays=[6, 7])
    days = {day: calendar.is_open(date(2026, 12, day)) for day in (24, 25, 26, 27, 28)}
    assert days == {24: True, 25: False, 26: False, 27: False, 28: True}


def test_what_a_change_would_touch_is_said_before_it_is_made(plant: Any, store: Store, clock: Any, rulebook: Any) -> None:
    references = References(store, clock, lambda: rulebook.vocabulary, {}, lambda kinds: readers_of(rulebook.rules, kinds))
    for lot in ("L-1", "L-2"):
        plant.receive(lot)
    plant.receive("OTHER", item="DISC-1")
    plant.hold("L-2", "H-1")
    plan = {"item": "RING-74", "characteristics": [{"characteristic": "surface"}], "sampling": {"aql": "1.0"}}
    put(references, "inspection-plan", plan | {"supplier": "ACME"}, key="P-ACME")
    affects = put(references, "inspection-plan", plan, key="P", dry_run=True).affects
    assert affects is not None
    assert (affects.lots, affects.lots_number, affects.plans) == (["L-1"], 1, ["P-ACME"])
    assert affects.rules == readers_of(rulebook.rules, frozenset({"plan", "characteristic"}))
    fact = {"kind": "lot", "item": "RING-74", "fields": {}}
    affects = put(references, "fact", fact, key="F", dry_run=True).affects
    assert affects is not None
    assert affects.lots == ["L-1", "L-2"]
    assert affects.rules == readers_of(rulebook.rules, frozenset({"lot"}))
    assert put(references, "fact", fact, key="F").affects is None
    assert [record.key for record in references.page("inspection-plan", "2026-11-23", None, "", 10)[0]] == ["P-ACME"]


def test_rules_that_look_at_a_kind_are_named_and_no_others(rulebook: Any) -> None:
    every = {rule.id for rule in rulebook.rules.rules} | {reaction.id for reaction in rulebook.rules.reactions}
    of_results = readers_of(rulebook.rules, frozenset({"result"}))
    assert of_results
    assert set(of_results) < every
    assert readers_of(rulebook.rules, frozenset({"nothing_of_this_name"})) == []
