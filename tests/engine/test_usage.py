"""What becomes of a lot by parts: quantities balance, boards sign, concessions end; all of it or nothing is done."""

import itertools
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.upkeep import end_concessions
from rules.rulebook import RuleBook
from tests.engine.conftest import judged_by

RULES = """\
rulefile: 1
owner: QA
reference: SOP-QA-001
rules:
  - id: BOARD-SIGNS
    title: What is used as it is was decided by a board
    gate: [use_as_is]
    severity: block
    rationale: SOP-QA-014
    require:
      - every: nonconformance
        check: [nonconformance.board = yes, nonconformance.signed = yes]
    message: "{nonconformance.number} was signed by no board"
  - id: SMALL-PARTS
    title: A part that is scrapped is small
    gate: [scrap]
    severity: block
    rationale: SOP-QA-014
    require: [lot.quantity <= 500]
    message: "{lot.quantity} {lot.unit} are too much to scrap"
  - id: NO-OPEN-NC
    title: Every nonconformance is closed
    gate: [release]
    severity: block
    rationale: SOP-QA-012
    require:
      - none: nonconformance
        where: [nonconformance.status != closed]
    message: "{nonconformance.number} is {nonconformance.status}"
"""


@pytest.fixture
def board(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Iterator[Any]:
    """The plant of the other tests, under rules that ask for boards."""
    with judged_by(plant, rulebook, clock, RULES):
        yield plant


def failing(answer: Any) -> list[str]:
    return [rule["rule"] for rule in json.loads(answer.body).get("rules", []) if rule["verdict"] != "pass"]


def ea(value: Any) -> dict[str, str]:
    return {"value": str(value), "unit": "ea"}


def part(decision: str, quantity: Any, **more: Any) -> dict[str, Any]:
    return {"decision": decision, "quantity": ea(quantity), **more}


def decide(plant: Any, lot: str, *parts: dict[str, Any], **more: Any) -> Any:
    return plant.send("usage_decision.made.v1", lot, {"parts": list(parts), "reason": {"code": "UD"}} | more)


def inspected(plant: Any, store: Store, lot: str = "L", quantity: str = "1000", about: Any = None) -> None:
    """A lot with good results and an open nonconformance, which keeps it from being released by itself."""
    plant.receive(lot, quantity=quantity)
    data = {"record": "NC", "kind": "nonconformance", "severity": "major", "text": "scratches"}
    data |= {} if about is None else {"quantity": ea(about)}
    assert plant.send("quality_record.opened.v1", lot, data).status == 201
    plant.inspect(lot, *["74.000"] * 5)
    assert Reading(store).lot(lot).state == "inspected"


def step(plant: Any, name: str, lot: str = "L", **more: Any) -> Any:
    return plant.send("quality_record.changed.v1", lot, {"record": "NC", "step": name, "text": "t"} | more)


def sign(plant: Any, store: Store, signer: str, role: str, lot: str = "L") -> Any:
    now = Reading(store).lot(lot)
    data = ev.Signing(meaning="disposition", version=now.version, digest=now.head, signer=signer, role=role, record="NC")
    event = ev.LotSigned(specversion="1.0", id=f"s{now.version}{signer}{role}", source="api/x", subject=lot, data=data)
    return plant.pipeline.submit(event, signer).result(20)


def test_nine_hundred_are_released_and_a_hundred_blocked_in_one_command(board: Any, store: Store) -> None:
    inspected(board, store, about=100)
    answer = decide(board, "L", part("release", 900), part("block", 100, lot="L-BAD"), record="NC")
    assert answer.status == 201, answer.body
    lots = {name: Reading(store).lot(name) for name in ("L", "L-1", "L-BAD")}
    assert [(n, lot.state, str(lot.quantity), lot.closed) for n, lot in lots.items()] == [
        ("L", "inspected", "0", "split"), ("L-1", "released", "900", None), ("L-BAD", "blocked", "100", None),
    ]  # fmt: skip
    assert [h.hold for h in lots["L-BAD"].holds] == ["usage-decision"]
    assert (lots["L-1"].records, [r.record for r in lots["L-BAD"].records]) == ((), ["NC"])
    entry = Reading(store).journal("L-1")[-1]
    assert (entry.trigger, json.loads(entry.evidence)["gate"]) == ("release", "release")


@pytest.mark.parametrize(
    ("parts", "rule", "words"),
    [
        ((part("release", 899), part("block", 100)), "PARTS-BALANCE", "the parts are 999 ea, the lot 1000: 1 ea are not decided"),
        ((part("release", 901), part("block", 100)), "PARTS-BALANCE", "the parts are 1001 ea, the lot 1000: 1 ea are not there"),
        ((part("release", 900), {"decision": "block", "quantity": {"value": "1", "unit": "kg"}}), "UNIT-OF-LOT", "in kg"),
        ((part("block", 500, lot="X"), part("block", 500, lot="X")), "CHILDREN-DIFFER", "a lot id of its own"),
    ],
)  # fmt: skip
def test_what_does_not_balance_is_refused_in_words(board: Any, store: Store, parts: Any, rule: str, words: str) -> None:
    inspected(board, store)
    answer = decide(board, "L", *parts)
    assert failing(answer) == [rule]
    assert words in json.loads(answer.body)["rules"][0]["message"]
    lot = Reading(store).lot("L")
    assert (lot.state, str(lot.quantity)) == ("inspected", "1000")
    assert Reading(store).journal("L")[-1].kind == "refusal"


def test_one_part_that_may_not_be_keeps_all_from_being_done(board: Any, store: Store) -> None:
    inspected(board, store)
    answer = decide(board, "L", part("release", 400), part("scrap", 600, lot="L-S"))
    assert failing(answer) == ["NO-OPEN-NC", "SMALL-PARTS"]
    messages = [rule["message"] for rule in json.loads(answer.body)["rules"]]
    assert messages[0] == "L-1 (400 ea, release): NC is open"
    assert messages[1] == "L-S (600 ea, scrap): 600 ea are too much to scrap"
    assert len(Reading(store).lots(limit=10)) == 1
    board.receive("THERE")
    assert failing(decide(board, "L", part("block", 400, lot="THERE"), part("block", 600))) == ["CHILD-IS-NEW"]


def test_a_board_of_different_people_decides_and_it_is_carried_out_as_decided(board: Any, store: Store) -> None:
    inspected(board, store, about=300)
    step(board, "investigate")
    concession = {"number": "C-7", "valid_until": "2026-12-31", "quantity": ea(200)}
    wanted = [part("use_as_is", 200, concession=concession), part("scrap", 100)]
    assert failing(step(board, "decide", dispositions=[part("scrap", 301)])) == ["DISPOSITIONS-BALANCE"]
    assert failing(step(board, "decide", dispositions=[part("scrap", 300)], board=["hold", "hold"])) == ["BOARD-ROLES-DIFFER"]
    assert step(board, "decide", dispositions=wanted, board=["release", "inspect"]).status == 201
    parts = (part("release", 700), part("use_as_is", 200, lot="U"), part("scrap", 100, lot="S"))
    assert failing(decide(board, "L", *parts, record="NC")) == ["RECORD-DECIDED"]
    assert failing(step(board, "close")) == ["BOARD-SIGNED"]
    assert failing(sign(board, store, "ann", "hold")) == ["BOARD-ROLE"]
    assert sign(board, store, "ann", "release").status == 201
    assert failing(sign(board, store, "ann", "inspect")) == ["SIGNED-ONCE", "BOARD-DIFFERENT-PEOPLE"]
    assert failing(decide(board, "L", *parts, record="NC")) == ["RECORD-DECIDED"]
    assert sign(board, store, "bob", "inspect").status == 201
    other = (part("release", 700), part("use_as_is", 100, lot="U"), part("scrap", 200, lot="S"))
    assert failing(decide(board, "L", *other, record="NC")) == ["DISPOSED-AS-DECIDED"]
    assert failing(decide(board, "L", part("release", 800), part("scrap", 200), record="NC"))[0] == "QUANTITY-OF-RECORD"
    answer = decide(board, "L", *parts, record="NC")
    assert answer.status == 201, answer.body
    used = Reading(store).lot("U")
    assert (used.state, used.concession.number, used.disposition) == ("released", "C-7", "use_as_is")
    assert (Reading(store).lot("S").closed, Reading(store).lot("L-1").state) == ("scrapped", "released")
    # The record in the part that was used says no quantity any more: it was of the whole.
    assert used.records[0].dispositions == ()


def test_a_concession_ends_by_the_clock_and_is_enforced_at_every_door(board: Any, store: Store, clock: Any) -> None:
    inspected(board, store, quantity="50")
    until = {"number": "C-1", "valid_until": "2026-11-25"}
    board.hold("L", "H")
    step(board, "investigate")
    step(board, "decide", board=["release"])
    sign(board, store, "ann", "release")
    said = {"decision": "use_as_is", "reason": {"code": "MRB"}}

    def use(**concession: Any) -> Any:
        return board.send("lot.dispositioned.v1", "L", said | {"concession": until | concession})

    assert failing(use()) == ["NO-ACTIVE-HOLD"]
    board.lift("L", "H")
    board.send("inspection.recorded.v1", "L", {"inspection": "X", "measurements": [
        {"characteristic": "diameter", "value": "74", "unit": "mm"}]})  # fmt: skip
    # Rejected, so that it may be disposed of: a part of it by a usage decision.
    late = part("use_as_is", 20, lot="U", concession=until | {"valid_until": "2026-11-22"})
    assert failing(decide(board, "L", late, part("block", 30))) == ["CONCESSION-VALID"]
    much = part("use_as_is", 20, lot="U", concession=until | {"quantity": ea(19)})
    assert failing(decide(board, "L", much, part("block", 30))) == ["CONCESSION-QUANTITY"]
    twice = [part("use_as_is", 10, lot=n, concession=until | {"quantity": ea(19)}) for n in ("U", "V")]
    assert failing(decide(board, "L", *twice, part("block", 30))) == ["CONCESSION-QUANTITY"]
    good = part("use_as_is", 20, lot="U", concession=until | {"quantity": ea(20)})
    assert decide(board, "L", good, part("block", 30)).status == 201
    day = date(2026, 11, 25)
    assert end_concessions(store, board.pipeline, clock, day) == 0
    clock.forward(3 * 86_400)
    used = {"quantity": ea(1), "order": "MO"}
    assert failing(board.send("lot.consumed.v1", "U", used)) == ["CONCESSION-VALID"]
    assert end_concessions(store, board.pipeline, clock, date(2026, 11, 26)) == 1
    lot = Reading(store).lot("U")
    assert (lot.state, [h.hold for h in lot.holds]) == ("blocked", ["concession-ended"])
    assert end_concessions(store, board.pipeline, clock, date(2026, 11, 26)) == 0
    assert failing(board.send("lot.dispositioned.v1", "U", said | {"concession": until})) == ["CONCESSION-VALID"]
    renewed = said | {"concession": until | {"number": "C-2", "valid_until": "2027-01-31"}}
    answer = board.send("lot.dispositioned.v1", "U", renewed)
    assert answer.status == 201, answer.body
    lot = Reading(store).lot("U")
    assert (lot.state, lot.holds, lot.concession.number) == ("released", (), "C-2")


def test_a_repaired_lot_is_inspected_again(board: Any, store: Store) -> None:
    inspected(board, store, quantity="10")
    assert decide(board, "L", part("repair", 4, lot="R", reference="RO-1"), part("block", 6)).status == 201
    lot = Reading(store).lot("R")
    assert (lot.state, lot.disposition, lot.inspection_stands, lot.rejected) == ("quarantined", "repair", False, False)


NUMBERS = itertools.count(1000)
DECISIONS = ["release", "block", "use_as_is", "rework", "repair", "return_to_supplier", "scrap"]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(st.tuples(st.sampled_from(DECISIONS), st.decimals("0.001", "400", places=3)), min_size=2, max_size=6),
    off=st.sampled_from(["0", "0", "0", "0.001", "-0.001"]), number=st.integers(0, 10**9),
)  # fmt: skip
def test_whatever_is_decided_of_parts_nothing_is_made_or_lost(
    board: Any, store: Store, parts: list[tuple[str, Decimal]], off: str, number: int
) -> None:
    lot = f"Q{next(NUMBERS)}"
    whole = sum((quantity for _, quantity in parts), Decimal(off))
    if whole <= 0:
        return
    inspected(board, store, lot, f"{whole:f}")
    step(board, "cancel", lot)
    if number % 3 == 0:
        board.hold(lot, "H")
    before = Reading(store).lot(lot)
    answer = decide(board, lot, *(part(decision, f"{quantity:f}") for decision, quantity in parts))
    family = [Reading(store).lot(lot), *(Reading(store).lot(line.id) for line in Reading(store).search(f"{lot}-"))]
    assert sum((one.quantity for one in family), Decimal(0)) == whole
    held = number % 3 == 0 and {"release", "use_as_is", "rework", "repair"} & {decision for decision, _ in parts}
    assert (answer.status == 201) == (Decimal(off) == 0 and not held), answer.body
    if answer.status == 201:
        assert Decimal(off) == 0
        assert [one.quantity for one in sorted(family[1:], key=lambda one: one.id)] == [quantity for _, quantity in parts]
    else:
        assert family == [family[0]]
        assert (family[0].quantity, family[0].state) == (before.quantity, before.state)
