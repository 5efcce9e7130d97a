"""One concession over several lots: what is used by it never exceeds its limit, whoever decides, and however at once."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.clock import Clock
from engine.concessions import Accounts, Move
from engine.decoding import decode_event
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store.concessions import read_totals, read_used_in, read_uses
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

NUMBERS = itertools.count(1)


def ea(value: Any, unit: str = "ea") -> dict[str, str]:
    return {"value": str(value), "unit": unit}


def concession(quantity: Any = 100, number: str = "C-7", **more: Any) -> dict[str, Any]:
    limit = {} if quantity is None else {"quantity": ea(quantity)}
    return {"number": number, "valid_until": "2026-12-31"} | limit | more


def use(**said: Any) -> dict[str, Any]:
    return {"decision": "use_as_is", "reason": {"code": "MRB"}, "concession": concession() | said}


def rejected(plant: Any, lot: str, quantity: str = "60", /, **more: Any) -> None:
    plant.receive(lot, quantity=quantity, **more)
    plant.inspect(lot, *["75.000"] * 5)
    assert Reading(plant.store).lot(lot).state == "blocked"


def used_as_is(plant: Any, lot: str, **said: Any) -> Any:
    return plant.send("lot.dispositioned.v1", lot, use(**said))


def refused(answer: Any) -> list[tuple[str, str]]:
    rules = json.loads(answer.body).get("rules", [])
    return [(rule["rule"], rule["message"]) for rule in rules if rule["verdict"] != "pass"]


def totals(store: Store) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {
        (one.number, one.unit): (str(one.used), None if one.permitted is None else str(one.permitted))
        for one in read_totals(store, limit=50)
    }


def uses(store: Store, number: str = "C-7") -> dict[str, str]:
    return {one.lot: str(one.quantity) for one in read_uses(store, number, limit=50)}


def test_the_second_lot_gets_what_the_first_has_left(plant: Any, store: Store) -> None:
    for lot in ("A", "B", "C"):
        rejected(plant, lot, "40" if lot == "C" else "60")
    assert used_as_is(plant, "A").status == 201
    answer = used_as_is(plant, "B")
    assert answer.status == 409
    assert refused(answer) == [(
        "CONCESSION-QUANTITY",
        "concession C-7 permits 100 ea; 60 ea are used by A (60 ea); 40 ea are left, not 60",
    )]  # fmt: skip
    assert Reading(store).journal("B")[-1].kind == "refusal"
    assert used_as_is(plant, "C", quantity=None).status == 201, "who says no limit is under the one that was said"
    assert totals(store) == {("C-7", "ea"): ("100", "100")}
    assert uses(store) == {"A": "60", "C": "40"}


@pytest.mark.parametrize(
    ("said", "rule", "words"),
    [
        ({"quantity": ea(200)}, "CONCESSION-AS-GRANTED", "was said to permit 100 ea, here it is 200 ea; where it was amended, say why"),
        ({"quantity": ea(100, "kg")}, "CONCESSION-AS-GRANTED", "here it is 100 kg"),
        ({"quantity": ea(50, "kg"), "amends": "MRB 12"}, "CONCESSION-AS-GRANTED", "here it is 50 kg"),
        ({"quantity": ea(70), "amends": "MRB 12"}, "CONCESSION-QUANTITY", "permits 70 ea; 60 ea are used by A (60 ea); 10 ea are left"),
        ({"quantity": ea(100), "valid_until": "2026-11-01"}, "CONCESSION-VALID", "ended on 2026-11-01"),
    ],
)  # fmt: skip
def test_another_limit_than_was_said_is_refused(plant: Any, store: Store, said: Any, rule: str, words: str) -> None:
    rejected(plant, "A")
    rejected(plant, "B")
    assert used_as_is(plant, "A").status == 201
    found = refused(used_as_is(plant, "B", **said))
    assert found[0][0] == rule
    assert words in found[0][1]
    assert totals(store) == {("C-7", "ea"): ("60", "100")}


def test_an_amended_concession_permits_what_it_says_now(plant: Any, store: Store) -> None:
    for lot in ("A", "B"):
        rejected(plant, lot)
    assert used_as_is(plant, "A").status == 201
    assert used_as_is(plant, "B", quantity=ea(120), amends="MRB 12 of 2026-11-20").status == 201
    assert totals(store) == {("C-7", "ea"): ("120", "120")}


def test_a_lot_in_another_unit_is_not_used_by_it(plant: Any, store: Store) -> None:
    rejected(plant, "A")
    assert used_as_is(plant, "A").status == 201
    rejected(plant, "B")
    plant.send("lot.repacked.v1", "B", {"into": [{"lot": "K", "quantity": ea(3, "box"), "used": ea(60)}]})
    assert refused(used_as_is(plant, "K", quantity=None)) == [("UNIT-OF-LOT", "concession C-7 is in ea, the lot in box")]


def test_parts_count_for_the_whole_and_nothing_is_given_back_by_using_it_up(plant: Any, store: Store) -> None:
    rejected(plant, "A")
    assert used_as_is(plant, "A").status == 201
    plant.send("lot.consumed.v1", "A", {"quantity": ea(10), "order": "MO-1"})
    plant.send("lot.split.v1", "A", {"children": [{"lot": "A.1", "quantity": ea(20)}]})
    plant.send("lot.repacked.v1", "A.1", {"into": [{"lot": "BOX", "quantity": ea(2, "box"), "used": ea(5)}]})
    assert totals(store) == {("C-7", "ea"): ("60", "100")}
    assert uses(store) == {"A": "40", "A.1": "15", "BOX": "5"}
    answer = plant.send("lot.merged.v1", "M", {"parts": [{"lot": "A", "quantity": ea(10)}, {"lot": "A.1"}]})
    assert answer.status == 201, answer.body
    assert uses(store) == {"A": "30", "BOX": "5", "M": "25"}
    # Used again by the same concession, a lot counts once.
    for lot in ("M",):
        plant.hold(lot, "H")
        plant.lift(lot, "H")
    assert totals(store) == {("C-7", "ea"): ("60", "100")}
    plant.send("reinspection.requested.v1", "M", {"reason": {"code": "DOUBT"}})
    assert uses(store) == {"A": "30", "BOX": "5"}, "what is inspected again is used by no concession"
    assert totals(store) == {("C-7", "ea"): ("35", "100")}


def test_a_lot_that_goes_over_to_another_concession_frees_what_is_still_there(plant: Any, store: Store, clock: Any) -> None:
    from datetime import date

    from engine.upkeep import end_concessions

    rejected(plant, "A")
    assert used_as_is(plant, "A").status == 201
    plant.send("lot.consumed.v1", "A", {"quantity": ea(10), "order": "MO-1"})
    clock.forward(40 * 86_400)
    assert end_concessions(store, plant.pipeline, clock, date(2027, 1, 2)) == 1
    later = {"number": "C-8", "valid_until": "2027-06-30"}
    assert refused(used_as_is(plant, "A", **later | {"quantity": ea(49)}))[0][0] == "CONCESSION-QUANTITY"
    assert used_as_is(plant, "A", **later).status == 201
    assert totals(store) == {("C-7", "ea"): ("10", "100"), ("C-8", "ea"): ("50", "100")}


def test_parts_of_one_decision_count_together_with_other_lots(plant: Any, store: Store) -> None:
    rejected(plant, "A")
    rejected(plant, "B")
    assert used_as_is(plant, "A").status == 201

    def decided(first: int, second: int) -> Any:
        parts = [
            {"quantity": ea(first), "decision": "use_as_is", "concession": concession()},
            {"quantity": ea(second), "decision": "use_as_is", "concession": concession()},
            {"quantity": ea(60 - first - second), "decision": "scrap"},
        ]
        return plant.send("usage_decision.made.v1", "B", {"parts": parts, "reason": {"code": "MRB"}})

    assert [rule for rule, _ in refused(decided(20, 21))] == ["CONCESSION-QUANTITY"]
    assert totals(store) == {("C-7", "ea"): ("60", "100")}
    assert decided(20, 20).status == 201
    assert uses(store) == {"A": "60", "B-1": "20", "B-2": "20"}
    # A part that was used is divided: what counted of it counts for its parts.
    parts = [{"quantity": ea(15), "decision": "release"}, {"quantity": ea(5), "decision": "block"}]
    answer = plant.send("usage_decision.made.v1", "B-1", {"parts": parts, "reason": {"code": "SORT"}})
    assert answer.status == 201, answer.body
    assert uses(store) == {"A": "60", "B-1-1": "15", "B-1-2": "5", "B-2": "20"}


def test_the_decision_of_a_record_is_held_against_what_is_left(plant: Any, store: Store) -> None:
    rejected(plant, "A")
    rejected(plant, "B")
    assert used_as_is(plant, "A").status == 201
    plant.send("quality_record.opened.v1", "B", {
        "record": "NC", "kind": "nonconformance", "severity": "major", "text": "scratches"})  # fmt: skip
    plant.send("quality_record.changed.v1", "B", {"record": "NC", "step": "investigate", "text": "a burr"})

    def decide(**said: Any) -> Any:
        one = {"decision": "use_as_is", "quantity": ea(60), "concession": concession(**said)}
        return plant.send("quality_record.changed.v1", "B", {
            "record": "NC", "step": "decide", "text": "use", "dispositions": [one]})  # fmt: skip

    assert refused(decide())[0][0] == "CONCESSION-QUANTITY"
    assert decide(number="C-8", quantity=80).status == 201
    rejected(plant, "C", "30")
    assert used_as_is(plant, "C", number="C-8", quantity=ea(80)).status == 201
    carried_out = {"decision": "use_as_is", "reason": {"code": "MRB"}, "record": "NC"}
    answer = plant.send("lot.dispositioned.v1", "B", carried_out)
    assert refused(answer) == [(
        "CONCESSION-QUANTITY", "concession C-8 permits 80 ea; 30 ea are used by C (30 ea); 50 ea are left, not 60",
    )]  # fmt: skip


# -- at once -------------------------------------------------------------------------------------------------------


def event(lot: str, data: dict[str, Any]) -> Any:
    envelope = {"specversion": "1.0", "id": f"c{next(NUMBERS)}", "source": "test/mrb", "type": "lot.dispositioned.v1",
                "subject": lot, "data": data}  # fmt: skip
    return decode_event(json.dumps(envelope).encode())


def test_lots_of_one_batch_do_not_use_the_same_quantity(plant: Any, store: Store) -> None:
    lots = [f"L{number}" for number in range(6)]
    for lot in lots:
        rejected(plant, lot, "30")
    answers = plant.pipeline.process([submission(event(lot, use()), "tester") for lot in lots])
    assert [answer.status for answer in answers] == [201, 201, 201, 409, 409, 409]
    assert totals(store) == {("C-7", "ea"): ("90", "100")}


def test_a_decision_by_a_record_of_the_same_batch_is_counted_too(plant: Any, store: Store) -> None:
    for lot in ("A", "B"):
        rejected(plant, lot)
        plant.send("quality_record.opened.v1", lot, {
            "record": "NC", "kind": "nonconformance", "severity": "major", "text": "scratches"})  # fmt: skip
        plant.send("quality_record.changed.v1", lot, {"record": "NC", "step": "investigate", "text": "a burr"})
        one = {"decision": "use_as_is", "quantity": ea(60), "concession": concession()}
        plant.send("quality_record.changed.v1", lot, {"record": "NC", "step": "decide", "text": "use", "dispositions": [one]})
    carried_out = {"decision": "use_as_is", "reason": {"code": "MRB"}, "record": "NC"}
    answers = plant.pipeline.process([submission(event(lot, carried_out), "tester") for lot in ("A", "B")])
    assert sorted(answer.status for answer in answers) == [201, 409]
    assert totals(store) == {("C-7", "ea"): ("60", "100")}


@pytest.fixture
def committers(store: Store, rulebook: RuleBook, clock: Clock, plant: Any) -> Iterator[list[Pipeline]]:
    """Three committers on one database, as three processes are."""
    with closing(TwoChannelJudge(rulebook)) as one, closing(TwoChannelJudge(rulebook)) as two:
        more = [Pipeline(store, judge, rulebook, clock) for judge in (one, two)]
        for pipeline in more:
            pipeline.start()
        yield [plant.pipeline, *more]
        for pipeline in more:
            pipeline.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("batched", [1, 4])
def test_processes_that_decide_at_once_never_use_more_than_is_permitted(
    plant: Any, store: Store, committers: list[Pipeline], batched: int
) -> None:
    lots = [f"L{number}" for number in range(12)]
    for lot in lots:
        rejected(plant, lot, "30")
    answers: list[Any] = []
    start = threading.Barrier(len(committers))

    def decide(pipeline: Pipeline, mine: list[str]) -> None:
        start.wait(20)
        for at in range(0, len(mine), batched):
            waiting = [pipeline.submit(event(lot, use()), "tester") for lot in mine[at : at + batched]]
            answers.extend(future.result(30) for future in waiting)

    threads = [
        threading.Thread(target=decide, args=(pipeline, lots[number::3])) for number, pipeline in enumerate(committers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answer.status for answer in answers) == [201] * 3 + [409] * 9
    assert totals(store) == {("C-7", "ea"): ("90", "100")}
    assert sum(Reading(store).lot(lot).state == "released" for lot in lots) == 3
    assert verify(Reading(store).journals()).intact


# -- against a reference count ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(
    st.sampled_from(["use", "use", "use", "split", "split", "consume", "reinspect", "inspect", "scrap", "hold", "merge"]),
    st.integers(0, 3), st.integers(1, 30),
), min_size=12, max_size=25), batched=st.booleans())  # fmt: skip
def test_whatever_happens_the_total_is_what_the_journals_say_and_within_the_limit(
    plant: Any, store: Store, steps: list[tuple[str, int, int]], batched: bool
) -> None:
    run = f"R{next(NUMBERS)}"
    number, limit = f"C-{run}", Decimal(100)
    lots = [f"{run}.{index}" for index in range(3)]
    for lot in lots:
        rejected(plant, lot, "50")
    pending: list[Any] = []
    for kind, index, amount in steps:
        lot = lots[index % len(lots)]
        new = f"{run}.{len(lots)}"
        type_, data = {
            "use": ("lot.dispositioned.v1", use(number=number, quantity=ea(100))),
            "split": ("lot.split.v1", {"children": [{"lot": new, "quantity": ea(amount)}]}),
            "consume": ("lot.consumed.v1", {"quantity": ea(amount), "order": "MO"}),
            "reinspect": ("reinspection.requested.v1", {"reason": {"code": "DOUBT"}}),
            "inspect": ("inspection.recorded.v1", {"inspection": f"I{next(NUMBERS)}", "measurements": [
                {"characteristic": "diameter", "value": "75", "unit": "mm", "sample": n} for n in range(1, 6)]}),
            "scrap": ("lot.dispositioned.v1", {"decision": "scrap", "reason": {"code": "MRB"}, "reference": "CC-1"}),
            "hold": ("hold.applied.v1", {"hold": f"H{next(NUMBERS)}", "reason": {"code": "Q"}}),
            "merge": ("lot.merged.v1", {"parts": [{"lot": lot}, {"lot": lots[(index + 1) % len(lots)]}]}),
        }[kind]  # fmt: skip
        if kind in ("split", "merge"):
            lots.append(new)
        subject = new if kind == "merge" else lot
        pending.append(submission(plant.event(type_, subject, data, id=f"p{next(NUMBERS)}"), "tester"))
        if not batched:
            plant.pipeline.process(pending)
            pending = []
    plant.pipeline.process(pending)
    counted = counted_by_journals(store, lots, number)
    total = {one.number: one.used for one in read_totals(store, limit=5000)}.get(number, Decimal(0))
    assert total == sum(counted.values()) <= limit
    listed = {one.lot: one.quantity for one in read_uses(store, number, limit=500)}
    assert listed == {lot: quantity for lot, quantity in counted.items() if quantity}


def counted_by_journals(store: Store, lots: list[str], number: str) -> dict[str, Decimal]:
    """What counts of each lot, read from the journals in the order in which they were written: the plain way."""
    reading, place = Reading(store), order(store)
    found = [entry for lot in lots if (lot, 1) in place for entry in reading.journal(lot, limit=500)]
    entries = sorted((e for e in found if e.kind != "refusal"), key=lambda entry: place[entry.lot, entry.version])
    under: dict[str, bool] = {}
    left: dict[str, Decimal] = {}
    counted: dict[str, Decimal] = {}
    for entry in entries:
        lot, data = entry.lot, json.loads(entry.data)
        if entry.trigger == "receive":
            left[lot], under[lot], counted[lot] = Decimal(data["quantity"]["value"]), False, Decimal(0)
        elif entry.trigger == "use_as_is":
            if not under[lot]:
                counted[lot] += left[lot]
            under[lot] = True
        elif entry.trigger == "reinspect":
            if under[lot]:
                counted[lot] -= left[lot]
            under[lot] = False
        elif entry.trigger == "consume":
            left[lot] -= Decimal(data["quantity"]["value"])
        elif entry.trigger == "split":
            left[lot] -= sum(Decimal(child["quantity"]["value"]) for child in data["children"])
        elif entry.trigger == "merge_into":
            left[lot] -= Decimal(data["quantity"]["value"])
            if under[lot]:
                counted[lot] -= Decimal(data["quantity"]["value"])
                counted[data["into"]] = counted.get(data["into"], Decimal(0)) + Decimal(data["quantity"]["value"])
        elif entry.trigger in ("split_off", "merge"):
            left[lot] = Decimal(data["lot"]["quantity"])
            under[lot] = data["lot"].get("concession") is not None
            counted.setdefault(lot, Decimal(0))
            if entry.trigger == "split_off" and under[lot]:
                counted[lot] += left[lot]
                counted[data["parent"]] -= left[lot]
    return counted


def order(store: Store) -> dict[tuple[str, int], int]:
    from sqlalchemy import text

    with store.reads.connect() as connection:
        rows = connection.execute(text("SELECT lot, version, position FROM journal")).all()
    return {(str(lot), int(version)): int(position) for lot, version, position in rows}


def test_a_refusal_names_lots_of_the_same_plant_only(plant: Any, store: Store) -> None:
    """Whoever may look at a lot of a plant reads its refusals, and may look at no other plant."""
    for number in range(6):
        rejected(plant, f"D{number}", "10", plant="SOUTH")
        assert used_as_is(plant, f"D{number}").status == 201
    rejected(plant, "N1", "30", plant="NORTH")
    words = "concession C-7 permits 100 ea; 60 ea are used by others (60 ea); 40 ea are left, not 50"
    rejected(plant, "N2", "50", plant="NORTH")
    assert refused(used_as_is(plant, "N2")) == [("CONCESSION-QUANTITY", words)]
    assert used_as_is(plant, "N1").status == 201
    plant.send("lot.split.v1", "N1", {"children": [{"lot": "N1.1", "quantity": ea(10)}]})
    rejected(plant, "NOWHERE", "20")
    words = "concession C-7 permits 100 ea; 90 ea are used by N1 (20 ea), N1.1 (10 ea), others (60 ea); 10 ea are left, not 50"
    assert refused(used_as_is(plant, "N2")) == [("CONCESSION-QUANTITY", words)]
    assert "used by others (90 ea);" in refused(used_as_is(plant, "NOWHERE"))[0][1], "lots of no plant are no key's"
    assert "D0" not in "".join(entry.evidence for entry in Reading(store).journal("N2"))
    # Decided in one batch, a lot that was just used is known with its plant as well.
    for lot, where in (("W6", "WEST"), ("W7", "WEST"), ("N3", "NORTH")):
        rejected(plant, lot, "10" if lot == "W6" else "20", plant=where)
    answers = plant.pipeline.process([submission(event(lot, use()), "tester") for lot in ("W6", "W7", "N3")])
    assert [answer.status for answer in answers] == [201, 409, 409]
    assert "used by W6 (10 ea), others (90 ea);" in refused(answers[1])[0][1]
    assert "used by N1 (20 ea), N1.1 (10 ea), others (70 ea);" in refused(answers[2])[0][1]
    assert {one: str(amount) for one, amount in read_used_in(store, "C-7", ["SOUTH"]).items()} == {"ea": "60"}


def test_a_lot_never_gives_more_than_counts_of_it() -> None:
    accounts = Accounts()
    accounts.apply([Move("C", "ea", Decimal(10), target="A"), Move("C", "ea", Decimal(25), "A", "B")])
    assert accounts.total("C", "ea").used == 10
    assert (accounts.counts("C", "A", "ea"), accounts.counts("C", "B", "ea")) == (0, 10)
