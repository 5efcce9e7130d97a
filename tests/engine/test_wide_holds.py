"""Holds on scopes and by filters: a lot is held exactly when a hold that is not lifted covers it, in any order."""

import contextlib
import itertools
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json
from sqlalchemy import text

from engine import events as ev
from engine import wide_holds
from engine.errors import EventInvalid, NotFound
from engine.explaining import explain
from engine.holds import lines_of
from engine.lifecycle import TRIGGERS
from engine.pipeline import Pipeline
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from engine.wide_holds import Filter, LiftMany, OpenHold, Outdated, Preview, WideHolds, WrongRole, carry_out
from rules.judge import TwoChannelJudge
from tests.engine.test_family import settle as pass_on
from tests.engine.test_genealogy import produce, released

BAD = ev.Reason(code="SUSPECT", text="rings crack")
OVER = ev.Reason(code="CLEARED")
RECEIPT = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME"}
RUNS = itertools.count(1)


def settle(plant: Any, store: Store, clock: Any) -> None:
    """What the clock process does until nothing is left."""
    for _ in range(200):
        if not carry_out(store, plant.pipeline, clock) and not any(
            wide.state in ("placing", "lifting") for wide in WideHolds(store, clock).lines()
        ):
            return
    raise AssertionError("it does not end")


def held(store: Store, lot: str) -> list[str]:
    return [hold.hold for hold in Reading(store).lot(lot).holds]


def item_hold(item: str = "RING-74", **more: Any) -> OpenHold:
    return OpenHold("item", Filter(item=item), BAD, **more)


def test_a_hold_on_an_item_lands_on_what_is_there_and_on_what_comes(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("OLD")
    plant.receive("OTHER", item="TEN-POINT")
    wides = WideHolds(store, clock)
    wides.open(item_hold(id="W-1", owner="pat"), "pat")
    plant.receive("BETWEEN")
    assert held(store, "BETWEEN") == ["wide:W-1"], "the event that brings it places it, whatever the clock does"
    assert held(store, "OLD") == []
    settle(plant, store, clock)
    plant.receive("LATER")
    for lot in ("OLD", "BETWEEN", "LATER"):
        seen = Reading(store).lot(lot)
        assert [(h.hold, h.scope, h.reason, h.owner) for h in seen.holds] == [("wide:W-1", "item", "SUSPECT", "pat")]
        assert seen.state == "blocked"
        assert Reading(store).holds(lot) == lines_of(Reading(store).journal(lot))
    assert held(store, "OTHER") == []
    assert [(w.state, w.stands, w.done) for w in wides.lines()] == [("placed", True, 2)]
    assert (wides.counts(), wides.lines(states=("lifted",))) == ({"placed": 1}, [])
    assert Reading(store).number(item="RING-74") == len(Reading(store).lots(item="RING-74"))
    wides.lift("W-1", OVER, "pat")
    plant.receive("AFTER")
    assert held(store, "AFTER") == [], "it is lifted from the scope at once"
    settle(plant, store, clock)
    for lot in ("OLD", "BETWEEN", "LATER"):
        seen = Reading(store).lot(lot)
        assert (seen.holds, seen.state) == ((), "quarantined")
    view = wides.view("W-1")
    assert (view.hold.state, view.hold.stands, view.hold.done) == ("lifted", False, 3)
    assert [(s.step, s.detail) for s in view.steps] == [
        ("opened", "hold on lots of item RING-74"), ("placed", "2 lots"), ("lift-asked", "CLEARED"), ("lifted", "3 lots"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "match", "fits"),
    [
        ("supplier", {"supplier": "ACME"}, {"supplier": "ACME"}),
        ("order", {"order": "PO-7"}, {"order": "PO-7"}),
        ("item", {"item": "RING-74", "plant": "P1"}, {"plant": "P1"}),
    ],
)
def test_scopes_are_what_lots_are_born_with(
    plant: Any, store: Store, clock: Any, scope: Any, match: dict[str, str], fits: dict[str, str]
) -> None:
    WideHolds(store, clock).open(OpenHold(scope, Filter(**match), BAD, id="W-1"), "pat")
    plant.receive("YES", **fits)
    plant.receive("NO", **dict.fromkeys(fits, "FABCO"))
    assert (held(store, "YES"), held(store, "NO")) == (["wide:W-1"], [])


def test_a_production_order_is_held_with_everything_it_makes(plant: Any, store: Store, clock: Any) -> None:
    WideHolds(store, clock).open(OpenHold("order", Filter(order="MO-1"), BAD, id="W-1"), "pat")
    produce(plant, "MADE", "MO-1")
    produce(plant, "OTHER", "MO-2", "MADE")
    pass_on(plant, store)
    assert (held(store, "MADE"), held(store, "OTHER")) == (["wide:W-1"], ["wide:W-1@MADE"])


def test_a_filter_is_for_what_is_there_now(plant: Any, store: Store, clock: Any) -> None:
    released(plant, "GOOD")
    plant.receive("NEW")
    wides = WideHolds(store, clock)
    look = wides.preview(Preview(Filter(item="RING-74", states=["released"])))
    assert (look.lots, look.states, look.items, look.first) == (1, {"released": 1}, {"RING-74": 1}, ["GOOD"])
    opened = OpenHold("filter", Filter(item="RING-74", states=["released"]), BAD, id="W-1", digest=look.digest)
    wides.open(opened, "pat")
    settle(plant, store, clock)
    released(plant, "LATER")
    assert [held(store, lot) for lot in ("GOOD", "NEW", "LATER")] == [["wide:W-1"], [], []]


def test_what_was_looked_at_is_what_is_done_or_nothing(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("A")
    wides = WideHolds(store, clock)
    look = wides.preview(Preview(Filter(supplier="ACME")))
    plant.receive("B")
    wanted = OpenHold("filter", Filter(supplier="ACME"), BAD, digest=look.digest)
    with pytest.raises(Outdated, match="There are 2 lots now"):
        wides.open(wanted, "pat")
    assert wides.lines() == []
    assert wides.preview(Preview(Filter(supplier="ACME"))).digest != look.digest


def test_the_same_call_again_is_the_same_hold(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("A")
    wides = WideHolds(store, clock)
    look = wides.preview(Preview(Filter(item="RING-74")))
    first, new = wides.open(item_hold(id="W-1", digest=look.digest), "pat")
    plant.receive("B")
    again, anew = wides.open(item_hold(id="W-1", digest=look.digest), "pat")
    assert (new, anew, again.id, again.opened_at) == (True, False, first.id, first.opened_at)
    with pytest.raises(EventInvalid, match="another wide hold W-1"):
        wides.open(item_hold("BOLT", id="W-1"), "pat")
    with pytest.raises(NotFound):
        wides.view("NEVER")


@pytest.mark.parametrize(
    ("scope", "selection", "pointer"),
    [
        ("item", Filter(supplier="ACME"), "/selection/item"),
        ("item", Filter(item="RING-74", states=["released"]), "/selection/states"),
        ("supplier", Filter(supplier="ACME", received_from="2026-11-23T08:00:00Z"), "/selection/received_from"),
        ("filter", Filter(), "/selection"),
        ("filter", Filter(lots=["NEVER-WAS"]), "/selection/lots/0"),
    ],
)
def test_what_cannot_be_meant_is_refused(store: Store, clock: Any, scope: Any, selection: Any, pointer: str) -> None:
    wides = WideHolds(store, clock)
    with pytest.raises(EventInvalid) as refused:
        wides.open(OpenHold(scope, selection, BAD), "pat")
    assert refused.value.pointer == pointer
    assert wides.lines() == []


def test_many_lots_are_held_and_lifted_in_pages_and_a_crash_repeats_nothing(
    plant: Any, store: Store, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_holds, "PAGE", 4)
    for number in range(10):
        plant.receive(f"L{number}")
    wides = WideHolds(store, clock)
    wides.open(item_hold(id="W-1"), "pat")
    carry_out(store, plant.pipeline, clock)
    crash(store, "placing")
    settle(plant, store, clock)
    assert wides.get("W-1").done == 10
    before = [len(Reading(store).journal(f"L{number}")) for number in range(10)]
    wides.lift("W-1", OVER, "pat")
    carry_out(store, plant.pipeline, clock)
    crash(store, "lifting")
    settle(plant, store, clock)
    assert (wides.get("W-1").done, wides.get("W-1").refused) == (10, 0)
    assert [len(Reading(store).journal(f"L{number}")) for number in range(10)] == [n + 1 for n in before]


def crash(store: Store, state: str) -> None:
    """As if the page was said, and how far it had come was not written down."""
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE wide_holds SET cursor = '', done = 0 WHERE state = :state"), {"state": state})


def test_it_can_be_lifted_while_it_is_being_placed(
    plant: Any, store: Store, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_holds, "PAGE", 2)
    for number in range(6):
        plant.receive(f"L{number}")
    wides = WideHolds(store, clock)
    wides.open(item_hold(id="W-1"), "pat")
    carry_out(store, plant.pipeline, clock)
    wides.lift("W-1", OVER, "pat")
    settle(plant, store, clock)
    assert [held(store, f"L{number}") for number in range(6)] == [[]] * 6


def test_a_named_hold_is_lifted_from_the_lots_that_a_filter_finds(plant: Any, store: Store, clock: Any) -> None:
    for lot, supplier in (("A", "ACME"), ("B", "FABCO"), ("C", "ACME")):
        plant.receive(lot, supplier=supplier)
        plant.hold(lot, "H-1")
    plant.receive("D")
    wides = WideHolds(store, clock)
    look = wides.preview(Preview(Filter(supplier="ACME"), lifts="H-1"))
    assert look.first == ["A", "C"]
    wides.lift_many(LiftMany("H-1", Filter(supplier="ACME"), OVER, id="W-1", digest=look.digest), "pat")
    settle(plant, store, clock)
    assert [held(store, lot) for lot in "ABCD"] == [[], ["H-1"], [], []]
    assert (wides.get("W-1").state, wides.get("W-1").done) == ("lifted", 2)


def test_a_hold_is_lifted_in_the_role_that_it_names(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("A")
    plant.send("hold.applied.v1", "A", {"hold": "H-1", "reason": {"code": "X"}, "lift_role": "release"})
    lift = {"hold": "H-1", "reason": {"code": "CLEARED"}}
    for role in (None, "inspect"):
        answer = plant.send("hold.lifted.v1", "A", lift if role is None else lift | {"role": role})
        assert answer.outcome == "refused"
        assert b"hold H-1 is lifted in the role release" in answer.body
    entry = Reading(store).journal("A")[-1]
    assert (entry.kind, entry.trigger, b"LIFT-ROLE" in json.encode(entry.evidence)) == ("refusal", "lift_hold", True)
    assert held(store, "A") == ["H-1"]
    assert Reading(store).holds("A")[0].lift_role == "release"
    assert plant.send("hold.lifted.v1", "A", lift | {"role": "release"}).outcome == "applied"
    plant.hold("A", "H-2")
    assert plant.send("hold.lifted.v1", "A", {"hold": "H-2", "reason": {"code": "C"}, "role": "release"}).outcome == "refused"


def test_what_was_made_of_the_lot_asks_for_the_same_role(plant: Any, store: Store) -> None:
    plant.receive("A")
    produce(plant, "B", "MO-1", "A")
    plant.send("hold.applied.v1", "A", {"hold": "H-1", "reason": {"code": "X"}, "lift_role": "release"})
    pass_on(plant, store)
    assert [(h.hold, h.lift_role) for h in Reading(store).lot("B").holds] == [("H-1@A", "release")]
    assert plant.send("hold.lifted.v1", "B", {"hold": "H-1@A", "reason": {"code": "C"}}).outcome == "refused"
    lift = {"hold": "H-1", "reason": {"code": "C"}, "role": "release"}
    assert plant.send("hold.lifted.v1", "A", lift).outcome == "applied"
    pass_on(plant, store)
    assert held(store, "B") == []


def test_a_wide_hold_is_lifted_in_its_role_and_who_tried_is_kept(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("A")
    wides = WideHolds(store, clock)
    wides.open(item_hold(id="W-1", lift_role="release"), "pat")
    settle(plant, store, clock)
    with pytest.raises(WrongRole, match="lifted in the role release; this was said in the role hold"):
        wides.lift("W-1", OVER, "kim")
    assert [(s.step, s.by) for s in wides.view("W-1").steps][-1] == ("lift-refused", "kim")
    many = LiftMany("wide:W-1", Filter(item="RING-74"), OVER, id="W-2")
    wides.lift_many(many, "kim")
    settle(plant, store, clock)
    assert (wides.get("W-2").done, wides.get("W-2").refused) == (0, 1)
    assert held(store, "A") == ["wide:W-1"]
    wides.lift("W-1", OVER, "lee", "release")
    settle(plant, store, clock)
    assert held(store, "A") == []


def test_it_is_said_beforehand_that_a_hold_lands(plant: Any, store: Store, clock: Any, rulebook: Any) -> None:
    plant.receive("A")
    for trigger in TRIGGERS:
        said = explain(store, rulebook, clock, "A", trigger, clock.now.toordinal())
        if trigger == "hold":
            assert (said.open, said.guards) == (True, ())


def test_a_part_is_held_as_a_lot_of_its_own(plant: Any, store: Store) -> None:
    released(plant, "A")
    part = {"hold": "H-1", "reason": {"code": "DENT"}, "quantity": {"value": "30", "unit": "ea"}, "child": "A.dented"}
    assert plant.send("hold.applied.v1", "A", part).outcome == "applied"
    rest, dented = Reading(store).lot("A"), Reading(store).lot("A.dented")
    assert (rest.state, rest.quantity, rest.holds) == ("released", Decimal(70), ())
    assert (dented.state, dented.quantity, [h.hold for h in dented.holds]) == ("blocked", Decimal(30), ["H-1"])
    assert dented.parent == "A"
    too_much = part | {"hold": "H-2", "quantity": {"value": "71", "unit": "ea"}, "child": "B"}
    for wrong, rule in (
        (too_much, b"QUANTITY-AVAILABLE"), (part | {"hold": "H-3", "quantity": {"value": "1", "unit": "kg"}}, b"UNIT-OF-LOT"),
        (part | {"hold": "H-4"}, b"CHILD-IS-NEW"),
    ):  # fmt: skip
        answer = plant.send("hold.applied.v1", "A", wrong)
        assert (answer.outcome, rule in answer.body) == ("refused", True)
    plant.send("hold.applied.v1", "A", {"hold": "H-5", "reason": {"code": "X"}, "quantity": {"value": "70", "unit": "ea"}})
    assert held(store, "A") == ["H-5"], "all of it is the whole lot"
    plant.send("lot.dispositioned.v1", "A.dented", {"decision": "scrap", "reason": {"code": "X"}, "reference": "CC"})
    answer = plant.send("hold.applied.v1", "A.dented", part | {"hold": "H-6", "quantity": {"value": "1", "unit": "ea"}, "child": "C"})
    assert b"PART-OF-WHAT-IS-THERE" in answer.body


def test_a_lift_that_came_early_waits_for_the_hold_on_the_part(plant: Any, store: Store) -> None:
    released(plant, "A")
    assert plant.lift("A.x", "H-1").outcome == "parked"
    part = {"hold": "H-1", "reason": {"code": "DENT"}, "quantity": {"value": "30", "unit": "ea"}, "child": "A.x"}
    assert plant.send("hold.applied.v1", "A", part).outcome == "applied"
    assert held(store, "A.x") == []


def test_goods_that_come_back_fall_under_what_stands(plant: Any, store: Store, clock: Any) -> None:
    released(plant, "A")
    plant.agree()
    assert plant.send("lot.shipped.v1", "A", {"shipment": "S-1", "customer": "C"}).outcome == "applied"
    WideHolds(store, clock).open(item_hold(id="W-1"), "pat")
    settle(plant, store, clock)
    assert held(store, "A") == [], "it has left; recalls are for that"
    back = {"rma": "R-1", "quantity": {"value": "100", "unit": "ea"}}
    assert plant.send("lot.returned.v1", "A", back).outcome == "applied"
    assert (held(store, "A"), Reading(store).lot("A").state) == (["wide:W-1"], "blocked")


def test_lots_that_come_in_while_it_is_placed_are_held_all_the_same(
    plant: Any, store: Store, clock: Any, rulebook: Any
) -> None:
    """Another process receives while holds are opened and lifted: no lot slips through, and none is held too long."""
    stop, sent = threading.Event(), []
    with contextlib.closing(TwoChannelJudge(rulebook)) as judge:
        other = Pipeline(store, judge, rulebook, clock)

        def receive() -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                lots = [f"R-{number}-{n}" for n in range(3)]
                events = [plant.event("lot.received.v1", lot, {**RECEIPT, "receipt": lot}, id=lot) for lot in lots]
                assert {a.status for a in other.process([submission(e, "tester") for e in events])} == {201}
                sent.extend(lots)

        thread = threading.Thread(target=receive)
        thread.start()
        wides = WideHolds(store, clock)
        for number in range(12):
            wides.open(item_hold(id=f"W-{number}"), "pat")
            settle(plant, store, clock)
            if number % 4:
                wides.lift(f"W-{number}", OVER, "pat")
                settle(plant, store, clock)
        stop.set()
        thread.join()
        other.stop()
    assert len(sent) >= 6
    assert {tuple(held(store, lot)) for lot in sent} == {("wide:W-0", "wide:W-4", "wide:W-8")}


STEPS = st.lists(
    st.tuples(st.sampled_from(["receive", "open", "lift", "hand-lift", "work", "again"]), st.integers(0, 5), st.integers(0, 1)),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_a_lot_is_held_exactly_when_a_hold_that_is_not_lifted_covers_it(
    plant: Any, store: Store, clock: Any, steps: list[tuple[str, int, int]]
) -> None:
    run = next(RUNS)
    orders, suppliers = [f"PO{run}-0", f"PO{run}-1"], ["ACME", "FABCO"]
    wides, lots, opened, lifted = WideHolds(store, clock), {}, {}, set()
    by_hand: set[tuple[str, str]] = set()
    sent: list[Any] = []

    def send(event: Any) -> Any:
        sent.append(event)
        return plant.pipeline.submit(event, "tester").result(20)

    for step, number, which in steps:
        lot, wide = f"L{run}-{number}", f"W{run}-{number}"
        if step == "receive" and lot not in lots:
            lots[lot] = (orders[number % 2], suppliers[which])
            send(plant.event("lot.received.v1", lot, {
                "item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"},
                "supplier": suppliers[which], "receipt": f"GR-{lot}", "order": orders[number % 2], "plant": f"P{run}",
            }))  # fmt: skip
        elif step == "open" and wide not in opened:
            scope: Any = "order" if number % 2 else "supplier"
            value = orders[which] if number % 2 else suppliers[which]
            opened[wide] = (scope, value)
            wides.open(OpenHold(scope, Filter(plant=f"P{run}", **{scope: value}), BAD, id=wide), "pat")
        elif step == "lift" and wide in opened:
            lifted.add(wide)
            wides.lift(wide, OVER, "pat")
        elif step == "hand-lift" and lot in lots:
            for name in held(store, lot):
                by_hand.add((lot, name))
                send(plant.event("hold.lifted.v1", lot, {"hold": name, "reason": {"code": "GOOD"}}))
        elif step == "work":
            carry_out(store, plant.pipeline, clock)
        elif step == "again" and sent:
            plant.pipeline.submit(sent[number % len(sent)], "tester").result(20)
    settle(plant, store, clock)
    for lot, (order, supplier) in lots.items():
        covering = {
            f"wide:{wide}" for wide, (scope, value) in opened.items()
            if wide not in lifted and value == (order if scope == "order" else supplier)
        }  # fmt: skip
        assert set(held(store, lot)) == {name for name in covering if (lot, name) not in by_hand}
        assert Reading(store).holds(lot) == lines_of(Reading(store).journal(lot))
