"""A recall holds everything it should and nothing else, through crashes; its balance adds up."""

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from engine import events as ev
from engine.balance import Holding, balance
from engine.errors import EventInvalid, NotFound
from engine.family import pass_holds_on
from engine.recalls import PAGE, RECALL, Measured, Recalls, Selection, carry_out, checked
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.store.recalls import select_lots
from engine.tasks import Tasks
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.conftest import Plant
from tests.engine.test_genealogy import consume, produce, released

BAD = ev.Reason(code="CRACKS", text="rings crack")


def settle(plant: Any, store: Store, clock: Any) -> None:
    """What the clock process does until nothing is left."""
    for _ in range(200):
        if not carry_out(store, plant.pipeline, clock) + pass_holds_on(store, plant.pipeline):
            with store.reads.connect() as connection:
                left = connection.execute(text("SELECT count(*) FROM spreading")).scalar_one()
            if not left and not any(r.state in ("opening", "closing") for r in Recalls(store, clock).lines()):
                return
    raise AssertionError("it does not end")


@pytest.fixture
def family(plant: Any) -> None:
    """RAW-1 (100): 40 split off and shipped, 50 used up in MO-1, 10 left; MO-1 made PART-1, of which 5 went to DONE-1."""
    released(plant, "RAW-1")
    released(plant, "OTHER")
    plant.send("lot.split.v1", "RAW-1", {"children": [{"lot": "RAW-1.A", "quantity": {"value": "40", "unit": "ea"}}]})
    plant.agree()
    assert plant.send("lot.shipped.v1", "RAW-1.A", {"shipment": "S-1", "customer": "BOLT-CO"}).outcome == "applied"
    for number in range(10):
        data = {"quantity": {"value": "5", "unit": "ea"}, "order": "MO-1", "confirmation": f"K-{number}"}
        assert plant.send("lot.consumed.v1", "RAW-1", data).outcome == "applied"
    produce(plant, "PART-1", "MO-1")
    produce(plant, "DONE-1", "MO-2", "PART-1")


def test_a_process_parameter_selects_the_lots_that_it_spoilt(plant: Any, store: Store, clock: Any) -> None:
    for lot, values in (("LOW", "73.96"), ("GOOD", "74.000"), ("EDGE", "74.01"), ("HIGH", "74.02")):
        plant.receive(lot)
        plant.inspect(lot, *["74.000"] * 4, values)
    plant.receive("SILENT")
    recalls = Recalls(store, clock)

    def found(**measured: Any) -> dict[str, int]:
        return recalls.preview(Selection(measured=Measured(characteristic="diameter", **measured))).states

    def named(**measured: Any) -> list[str]:
        wanted = checked(store, Selection(measured=Measured(characteristic="diameter", **measured)))
        return select_lots(store, wanted, "", 100)

    assert named(above=Decimal("74.01")) == ["HIGH"], "the bound itself is not meant"
    assert named(above=Decimal("74.01"), below=Decimal("73.97")) == ["HIGH", "LOW"]
    assert named(below=Decimal("80"), unit="mm") == ["EDGE", "GOOD", "HIGH", "LOW"]
    assert named(below=Decimal("80"), unit="in") == []
    assert sum(found(above=Decimal("74.015")).values()) == 1
    other = Selection(measured=Measured(characteristic="weight", above=Decimal(0)))
    assert recalls.preview(other).selected == 0
    for nothing in ({}, {"above": Decimal("NaN")}, {"below": Decimal("Infinity")}):
        with pytest.raises(EventInvalid) as wrong:
            found(**nothing)
        assert wrong.value.pointer == "/selection/measured"
    recalls.open(Selection(measured=Measured(characteristic="diameter", above=Decimal("74.01"))), BAD, "qa", "R-1")
    settle(plant, store, clock)
    assert [h.hold for h in Reading(store).lot("HIGH").holds] == ["recall:R-1"]
    assert not Reading(store).lot("EDGE").holds


@pytest.mark.usefixtures("family")
def test_a_preview_shows_everything_and_changes_nothing(plant: Any, store: Store, clock: Any, count: Any) -> None:
    before = {table: count(table) for table in ("journal", "holds", "recalls", "deliveries", "spreading")}
    extent = Recalls(store, clock).preview(Selection(lots=["RAW-1"]))
    assert (extent.selected, extent.lots, extent.truncated) == (1, 4, None)
    assert extent.states == {"quarantined": 2, "released": 1, "shipped": 1}
    assert [(s.lot, s.customer, s.shipment, s.quantity) for s in extent.shipped] == [("RAW-1.A", "BOLT-CO", "S-1", "40")]
    line = extent.balance[0]
    assert (line.item, line.unit, line.made, line.in_house, line.shipped, line.consumed, line.unaccounted) == (
        "RING-74", "ea", 110, 20, 40, 50, 0
    )  # fmt: skip
    assert {table: count(table) for table in before} == before


@pytest.mark.usefixtures("family")
def test_it_holds_everything_made_of_the_lots_and_lifts_that_again(plant: Any, store: Store, clock: Any) -> None:
    recalls = Recalls(store, clock)
    opened, new = recalls.open(Selection(lots=["RAW-1"]), BAD, "pat", "R-1")
    assert (opened.state, new) == ("opening", True)
    with pytest.raises(EventInvalid, match="still placing"):
        recalls.close("R-1", "pat", "too soon")
    settle(plant, store, clock)
    view = recalls.view("R-1")
    assert (view.recall.state, view.recall.selected, view.recall.held_at is not None) == ("open", 1, True)
    assert [node.id for node in recalls.lots("R-1")] == ["DONE-1", "PART-1", "RAW-1", "RAW-1.A"]
    assert view.extent.states == {"blocked": 3, "shipped": 1}
    for lot in ("DONE-1", "PART-1", "RAW-1", "RAW-1.A"):
        assert [(h.hold, h.scope) for h in Reading(store).lot(lot).holds] == [("recall:R-1", "recall")]
    assert Reading(store).lot("RAW-1.A").recall_open
    assert Reading(store).lot("OTHER").holds == ()
    task = Tasks(store, clock).lines(kind="recall")[0]
    assert task.detail == "recall R-1 (CRACKS) holds 4 lots; 1 of them were shipped, to 1 customers"
    recalls.close("R-1", "pat", "they are good")
    settle(plant, store, clock)
    closed = recalls.get("R-1")
    assert (closed.state, closed.closed_by, closed.note) == ("closed", "pat", "they are good")
    for lot in ("DONE-1", "PART-1", "RAW-1", "RAW-1.A"):
        assert Reading(store).lot(lot).holds == ()
    assert Tasks(store, clock).lines(kind="recall") == []


def test_news_of_recalled_lots_goes_before_everything_that_waits(plant: Any, store: Store, clock: Any) -> None:
    for number in range(5):
        plant.receive(f"L{number}")
    clock.forward(60)
    Recalls(store, clock).open(Selection(lots=["L4"]), BAD, "pat", "R-1")
    settle(plant, store, clock)
    with store.reads.connect() as connection:
        query = text("SELECT lot FROM deliveries WHERE target = 'erp' AND state = 'pending' ORDER BY due_at, id")
        assert connection.execute(query).scalars().all()[0] == "L4"


def test_many_lots_are_held_in_pages_and_a_crash_repeats_nothing(plant: Any, store: Store, clock: Any) -> None:
    number = PAGE + 20
    futures = [
        plant.pipeline.submit(
            plant.event("lot.received.v1", f"L{n:04}", {
                "item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "BADCO",
                "receipt": f"GR-{n}",
            }), "tester",
        )
        for n in range(number)
    ]  # fmt: skip
    assert {future.result(60).outcome for future in futures} == {"applied"}
    plant.receive("GOOD")
    recalls = Recalls(store, clock)
    recalls.open(Selection(supplier="BADCO", item="RING-74"), BAD, "pat", "R-1")
    assert carry_out(store, plant.pipeline, clock) == PAGE
    assert recalls.get("R-1").selected == PAGE
    with store.engine.begin() as connection:  # a crash before the page was noted
        connection.execute(text("UPDATE recalls SET cursor = '', selected = 0"))
    settle(plant, store, clock)
    assert recalls.get("R-1").selected == number
    assert len(recalls.lots("R-1")) == number
    assert Reading(store).lot("L0003").version == 3
    assert Reading(store).lot("GOOD").holds == ()


def test_what_cannot_be_meant_is_refused(plant: Any, store: Store, clock: Any) -> None:
    recalls = Recalls(store, clock)
    plant.receive("L1")
    plant.receive("L2")
    with pytest.raises(EventInvalid, match="never means everything"):
        recalls.preview(Selection())
    with pytest.raises(EventInvalid, match="no lot NEVER"):
        recalls.open(Selection(lots=["L1", "NEVER"]), BAD, "pat")
    with pytest.raises(EventInvalid, match="time zone"):
        recalls.preview(Selection(received_from="2026-11-23T08:00:00"))
    with pytest.raises(NotFound):
        recalls.view("R-9")
    first, _ = recalls.open(Selection(lots=["L1"]), BAD, "pat", "R-1")
    assert recalls.open(Selection(lots=["L1"]), BAD, "pat", "R-1") == (first, False)
    with pytest.raises(EventInvalid, match="another recall"):
        recalls.open(Selection(lots=["L2"]), BAD, "pat", "R-1")
    assert recalls.preview(Selection(supplier="NOBODY")).lots == 0


def test_a_selection_is_everything_that_is_said(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L1")
    clock.forward(3600)
    plant.receive("L2", plant="P2")
    plant.receive("L3", supplier="BOLTS")
    recalls = Recalls(store, clock)

    def selected(**said: Any) -> int:
        return recalls.preview(Selection(**said)).selected

    assert selected(supplier="ACME") == 2
    assert selected(supplier="ACME", plant="P2") == 1
    assert selected(received_from="2026-11-23T08:30:00Z") == 2
    assert selected(received_until="2026-11-23T09:30:00+01:00") == 1
    assert selected(lots=["L1", "L2"], supplier="BOLTS") == 0


def test_a_lot_that_is_held_by_a_person_too_stays_held(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L1")
    plant.hold("L1", "H-1")
    recalls = Recalls(store, clock)
    recalls.open(Selection(lots=["L1"]), BAD, "pat", "R-1")
    settle(plant, store, clock)
    assert {h.source for h in Reading(store).lot("L1").holds} == {"test/plant", RECALL}
    recalls.close("R-1", "pat", "over")
    settle(plant, store, clock)
    assert [h.hold for h in Reading(store).lot("L1").holds] == ["H-1"]


_AMOUNTS = st.integers(1, 1000)


@given(
    st.lists(st.tuples(_AMOUNTS, st.lists(st.tuples(st.sampled_from(["split", "use"]), _AMOUNTS), max_size=5),
                       st.sampled_from([None, "shipped", "scrapped", "returned"])), max_size=6)
)  # fmt: skip
def test_whatever_is_split_used_and_sent_the_balance_adds_up(
    lots: list[tuple[int, list[tuple[str, int]], str | None]]
) -> None:
    found, used, made, number = [], {}, Decimal(0), 0
    for quantity, steps, end in lots:
        number += 1
        name, left = f"L{number}", Decimal(quantity)
        made += left
        for step, amount in steps:
            taken = min(left, Decimal(amount))
            left -= taken
            if step == "use":
                used[name] = used.get(name, Decimal(0)) + taken
            else:
                number += 1
                found.append(Holding(f"L{number}", "RING-74", "ea", taken, taken, None, name))
        closed = end if left else "consumed"
        found.append(Holding(name, "RING-74", "ea", Decimal(quantity), left, closed, None))
    lines = balance(found, used)
    assert len(lines) == bool(found)
    for line in lines:
        assert line.made == made
        assert line.unaccounted == 0
        parts = (line.in_house, line.shipped, line.consumed, line.scrapped, line.returned, line.regraded)
        assert sum(parts) == made


def test_a_regraded_lot_is_made_of_another_item_and_what_is_missing_is_said() -> None:
    lots = [
        Holding("A", "X", "kg", Decimal(10), Decimal(10), "regraded", None),
        Holding("A2", "Y", "kg", Decimal(10), Decimal("9.5"), None, "A"),
    ]
    x, y = balance(lots, {})
    assert (x.item, x.made, x.regraded, x.unaccounted) == ("X", 10, 10, 0)
    assert (y.item, y.made, y.in_house, y.unaccounted) == ("Y", 10, Decimal("9.5"), Decimal("0.5"))


def test_a_lot_of_which_only_the_revision_was_regraded_is_counted_once() -> None:
    lots = [
        Holding("A", "X", "ea", Decimal(100), Decimal(90), "regraded", None),
        Holding("A1", "X", "ea", Decimal(10), Decimal(10), "scrapped", "A"),
        Holding("A2", "X", "ea", Decimal(90), Decimal(90), None, "A"),
    ]
    (line,) = balance(lots, {})
    assert (line.made, line.regraded, line.scrapped, line.in_house, line.unaccounted) == (100, 0, 10, 90, 0)


def test_a_lot_cannot_be_regraded_to_what_it_is(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L")
    plant.hold("L", "H")
    said = {"decision": "regrade", "reason": {"code": "mrb"}, "item": "RING-74", "revision": "A", "child": "L.G"}
    answer = plant.send("lot.dispositioned.v1", "L", said)
    assert (answer.outcome, b"RING-74 A already" in answer.body) == ("refused", True)
    assert Reading(store).lot("L").closed is None
    assert plant.send("lot.dispositioned.v1", "L", said | {"revision": "B"}).outcome == "applied"
    (line,) = Recalls(store, clock).preview(Selection(lots=["L"])).balance
    assert (line.made, line.in_house, line.unaccounted) == (100, 100, 0)


@pytest.mark.usefixtures("family")
def test_what_is_made_of_recalled_lots_later_is_held_too(plant: Any, store: Store, clock: Any) -> None:
    Recalls(store, clock).open(Selection(lots=["RAW-1"]), BAD, "pat", "R-1")
    settle(plant, store, clock)
    produce(plant, "LATER", "MO-1")
    assert consume(plant, "RAW-1", "MO-9").outcome == "refused"
    settle(plant, store, clock)
    assert [h.hold for h in Reading(store).lot("LATER").holds] == ["recall:R-1"]


KEPT = """\
rulefile: 1
owner: QA
reference: SOP-1
effective: {from: 2020-01-01}
rules:
  - id: ORDER-KEEPS
    title: What was made for the navy is released by it alone
    gate: [lift_hold]
    severity: block
    rationale: SOP-1
    applies_to: [lot.order is present]
    require: [lot.order != NAVY]
    message: "the navy lifts what is on {lot.id}"
"""


def test_a_lot_whose_hold_a_rule_keeps_is_told_once_and_the_recall_ends_when_somebody_lifts_it(
    store: Store, clock: Any, tmp_path: Path
) -> None:
    shutil.copytree(SHIPPED_RULES, tmp_path / "rules")
    (tmp_path / "rules" / "kept.yaml").write_text(KEPT)
    book = RuleBook.load(tmp_path / "rules")
    judge = TwoChannelJudge(book, channel="reference")
    plant = Plant(store, judge, book, clock)
    try:
        plant.receive("FREE")
        plant.receive("KEPT", order="NAVY")
        recalls = Recalls(store, clock)
        recalls.open(Selection(lots=["FREE", "KEPT"]), BAD, "pat", "R-1")
        settle(plant, store, clock)
        recalls.close("R-1", "pat", "they are good")
        said = [carry_out(store, plant.pipeline, clock) for _ in range(5)]
        assert said == [2, 0, 0, 0, 0], "nobody is asked again and again"
        assert recalls.get("R-1").state == "closing"
        assert Reading(store).lot("FREE").holds == ()
        assert [hold.hold for hold in Reading(store).lot("KEPT").holds] == ["recall:R-1"]
        refused = [entry for entry in Reading(store).journal("KEPT", after=0, limit=50) if entry.kind == "refusal"]
        assert len(refused) == 1
        with store.engine.begin() as connection:
            # Somebody for whom the rule does not stand has lifted it.
            connection.execute(text("UPDATE holds SET lifted_at = '2026-11-27T08:00:00Z' WHERE lot = 'KEPT'"))
        settle(plant, store, clock)
        assert recalls.get("R-1").state == "closed"
    finally:
        plant.pipeline.stop()
        judge.close()
