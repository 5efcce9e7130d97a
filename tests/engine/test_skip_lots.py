"""Skip-lot at the dock: earned by record, chosen by chance, kept by the other gates, lost by a bad lot."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from engine.errors import EventInvalid
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.quality.scorecard import Scorecard
from engine.quality.skip_lot import SkipState, State, draw
from engine.reference import References, Wanted
from engine.scorecards import OrderSampling, Scorecards
from engine.store import track_record as stored
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.track_record import carry_out_orders, count
from engine.tracks import card_of, pair_of
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

#: Earned by two lots, lost by one.
QUICK = {"score": 10, "lots": 5, "one_in_four": 3, "one_in_three": 4, "requalify": 2}
DIAMETER = {"characteristic": "diameter", "unit": "mm", "lower": "73.950", "upper": "74.050", "sample_size": 5}
PLAN = {
    "item": "RING-74", "characteristics": [DIAMETER], "sampling": {"aql": "1.0", "skip_lot": QUICK},
}  # fmt: skip


@pytest.fixture
def references(store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, {})


def put(references: References, content: Any, since: str = "2026-01-01") -> None:
    raw = msgspec.Raw(json.dumps(content).encode())
    references.put("inspection-plan", "P", Wanted(date.fromisoformat(since), raw), "qe")


def lot_of(store: Store, lot: str) -> Any:
    return Reading(store).lot(lot)


def card(store: Store) -> Scorecard:
    (row,) = stored.list_scorecards(store, "RING-74", "ACME")
    return card_of(row.content)


def count_all(store: Store) -> None:
    while count(store):
        pass


def inspect(plant: Any, store: Store, lot: str, good: bool = True) -> None:
    """Receive and inspect a lot of 1,000, Ac 2 (letter J), and count it."""
    plant.receive(lot, quantity="1000")
    plant.inspect(lot, *["74.000" if good else "75.000"] * 5)
    count_all(store)


def earn(plant: Any, store: Store) -> None:
    for number in range(2):
        inspect(plant, store, f"EARN-{number}")
    assert card(store).skip.state is State.SKIP_LOT


def fated(store: Store, *, skipped: bool) -> str:
    """A lot id of which chance says so."""
    with store.reads.connect() as connection:
        secret = bytes.fromhex(connection.execute(text("SELECT secret FROM sampling_secret")).scalar_one())
    return next(
        name for name in (f"LOT-{n}" for n in range(1000))
        if (draw(secret, pair_of("RING-74", "ACME"), name) >= 1 / card(store).skip.frequency) == skipped
    )  # fmt: skip


def test_a_lot_that_is_skipped_goes_to_stock_and_through_the_release_gate(
    plant: Any, store: Store, references: References
) -> None:
    put(references, PLAN)
    earn(plant, store)
    lot = fated(store, skipped=True)
    answer = json.loads(plant.receive(lot, quantity="1000").body)
    types = [c["type"] for c in answer["consequences"]]
    assert types[:2] == ["inspection_plan.assigned.v1", "lot.accepted.v1"]
    plan = lot_of(store, lot).plan
    assert (plan.skip.state, plan.skip.frequency, plan.skip.skipped) == ("skip_lot", 4, True)
    assert plan.why.startswith("normal inspection: nothing has changed it since the first lot; skip-lot: not inspected, 1 lot in 4")
    # The rest of its way is that of every inspected lot: the release gate of these rules lets it through by itself.
    assert answer["state"]["after"] == "released"
    count_all(store)
    assert (card(store).skipped, card(store).lots) == (1, 2)
    assert verify(Reading(store).journals()).intact


def test_a_lot_that_chance_has_chosen_is_inspected(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    earn(plant, store)
    lot = fated(store, skipped=False)
    plant.receive(lot, quantity="1000")
    found = lot_of(store, lot)
    assert (found.state, found.plan.skip.skipped, found.plan.sample_size) == ("quarantined", False, 80)


def test_lots_that_chance_has_chosen_do_not_get_another_chance_by_being_put_together(
    plant: Any, store: Store, references: References
) -> None:
    put(references, PLAN)
    earn(plant, store)
    chosen = fated(store, skipped=False)
    plant.receive(chosen, quantity="500")
    plant.receive("OTHER", quantity="500")
    lucky = fated(store, skipped=True)
    answer = plant.send("lot.merged.v1", lucky, {"parts": [{"lot": chosen}, {"lot": "OTHER"}]})
    assert answer.outcome == "applied"
    found = lot_of(store, lucky)
    assert (found.state, found.plan.skip) == ("quarantined", None)


def test_before_it_is_earned_nothing_is_skipped(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    for number in range(12):
        plant.receive(f"L{number}", quantity="1000")
        found = lot_of(store, f"L{number}")
        assert (found.state, found.plan.skip.state, found.plan.skip.skipped) == ("quarantined", "lot_by_lot", False)


def test_a_bad_lot_interrupts_and_a_second_one_ends_it(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    earn(plant, store)
    inspect(plant, store, fated(store, skipped=False), good=False)
    assert card(store).skip.state is State.INTERRUPTED
    inspect(plant, store, "NEXT", good=False)
    assert lot_of(store, "NEXT").plan.skip.skipped is False
    assert "skip-lot is interrupted" in lot_of(store, "NEXT").plan.why
    # Two of five lots: tightened inspection, and no skipping.
    mine = card(store)
    assert (mine.skip.state, mine.sampling.severity.value) == (State.LOT_BY_LOT, "tightened")
    plant.receive("LAST", quantity="1000")
    assert lot_of(store, "LAST").plan.why == (
        "tightened inspection: 2 of 5 or fewer lots in a row were not accepted, the last one NEXT"
    )


def test_good_lots_take_it_up_again(plant: Any, store: Store, references: References) -> None:
    put(references, PLAN)
    earn(plant, store)
    inspect(plant, store, fated(store, skipped=False), good=False)
    for number in range(2):
        inspect(plant, store, f"AGAIN-{number}")
    assert (card(store).skip.state, card(store).skip.frequency) == (State.SKIP_LOT, 3)


RULE = """\
rulefile: 1
owner: QA
reference: SOP-SQ-014
rules:
  - id: SKIP-OLD-SUPPLIERS-ONLY
    title: Lots are skipped only of suppliers with few rejections
    gate: [dock_to_stock]
    severity: block
    rationale: SOP-SQ-014
    require: [plan.skipped = yes, scorecard.lots >= LEAST, scorecard.skip_frequency >= 2]
    message: "{scorecard.lots} lots so far, LEAST are needed"
"""


@pytest.mark.parametrize(("least", "state"), [("2", "released"), ("3", "quarantined")])
def test_a_rule_has_a_say_in_what_is_skipped(
    store: Store, clock: Any, rulebook: RuleBook, plant: Any, references: References, least: str, state: str
) -> None:
    put(references, PLAN)
    earn(plant, store)
    book = RuleBook.from_sources(rulebook.sources | {"skip.yaml": RULE.replace("LEAST", least)})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    lot = fated(store, skipped=True)
    plant.receive(lot, quantity="1000")
    assert lot_of(store, lot).state == state
    # No rule makes a lot skipped that chance has chosen.
    chosen = fated(store, skipped=False)
    plant.receive(chosen, quantity="1000")
    assert lot_of(store, chosen).state == "quarantined"
    plant.pipeline.stop()
    judge.close()


HOLD = RULE.replace("gate: [dock_to_stock]", "gate: [receive]").replace("severity: block", "severity: hold").replace(
    "[plan.skipped = yes, scorecard.lots >= LEAST, scorecard.skip_frequency >= 2]", "[scorecard.lots >= 100]"
).replace(", LEAST are needed", "")


def test_a_lot_that_is_held_at_the_door_is_inspected_after_all(
    store: Store, clock: Any, rulebook: RuleBook, plant: Any, references: References
) -> None:
    put(references, PLAN)
    earn(plant, store)
    judge = TwoChannelJudge(book := RuleBook.from_sources(rulebook.sources | {"hold.yaml": HOLD}))
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    lot = fated(store, skipped=True)
    plant.receive(lot, quantity="1000")
    assert (lot_of(store, lot).state, lot_of(store, lot).plan.skip.skipped) == ("blocked", True)
    plant.lift(lot, "rule:SKIP-OLD-SUPPLIERS-ONLY")
    assert lot_of(store, lot).state == "quarantined"
    plant.inspect(lot, *["74.000"] * 4)
    assert lot_of(store, lot).state == "quarantined"
    plant.pipeline.stop()
    judge.close()


def test_somebody_ends_skipping_with_a_reason_that_is_shown(
    plant: Any, store: Store, clock: Any, references: References
) -> None:
    put(references, PLAN)
    earn(plant, store)
    wanted = OrderSampling(item="RING-74", severity="lot_by_lot", reason="new press at the supplier", supplier="ACME")
    Scorecards(store, clock).order_sampling(wanted, "qm")
    carry_out_orders(store, "2026-11-23T08:00:00Z")
    assert (card(store).skip.state, card(store).sampling.severity.value) == (State.LOT_BY_LOT, "normal")
    plant.receive("L1", quantity="1000")
    assert lot_of(store, "L1").plan.why == "normal inspection: new press at the supplier (qm)"


REACTION = """\
rulefile: 1
owner: QA
reference: SOP-SQ-012
reactions:
  - id: END-SKIPPING
    title: A held lot ends skip-lot for its supplier
    after: blocked
    do: change_sampling
    to: lot_by_lot
    message: "{lot.id} was blocked"
"""


def test_a_reaction_ends_skipping(
    store: Store, clock: Any, rulebook: RuleBook, plant: Any, references: References
) -> None:
    put(references, PLAN)
    earn(plant, store)
    book = RuleBook.from_sources(rulebook.sources | {"end.yaml": REACTION})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    plant.send("hold.applied.v1", "EARN-0", {"hold": "H", "reason": {"code": "CRACKS"}})
    count_all(store)
    assert card(store).skip == SkipState(last=card(store).skip.last)
    assert card(store).because == "EARN-0 was blocked (reaction END-SKIPPING, lot EARN-0)"
    plant.pipeline.stop()
    judge.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "final"}, "goods that come in"),
        ({"sampling": {"limiting_quality": "5", "skip_lot": {}}}, "with an aql"),
        ({"sampling": {"aql": "1.0", "switching": False, "skip_lot": {}}}, "with switching"),
        ({"sampling": {"aql": "0.010", "skip_lot": {}}}, "at least 0.025"),
        ({"sampling": {"aql": "1.0", "skip_lot": {"score": 101}}}, "cannot be reached"),
        ({"sampling": {"aql": "1.0", "skip_lot": {"one_in_four": 30}}}, "at most"),
        ({"characteristics": [{"characteristic": "d", "unit": "mm", "upper": "1", "variables": {"aql": "1.0"}}]}, "by attributes"),
    ],
)
def test_a_plan_that_cannot_skip_is_refused_with_the_reason(references: References, change: Any, words: str) -> None:
    with pytest.raises(EventInvalid, match=words):
        put(references, PLAN | change)


def test_each_installation_has_a_secret_of_its_own(store: Store) -> None:
    with store.reads.connect() as connection:
        (secret,) = connection.execute(text("SELECT secret FROM sampling_secret")).scalars()
    assert len(bytes.fromhex(secret)) == 32
