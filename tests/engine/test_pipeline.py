"""The committer on both databases: once, in order, durable, and explained."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import text

from engine.answer import Answer
from engine.errors import Overloaded, StoreUnavailable
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.store.opening import Store
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

GOOD = ["74.000", "74.010", "73.990", "74.005", "73.995"]


def body(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


@pytest.fixture(autouse=True)
def the_journal_verifies(plant: Any) -> Any:
    """After every test: each chain holds, and folding it gives the stored lot."""
    yield
    plant.pipeline.stop()
    report = verify(Reading(plant.store).journals())
    assert report.intact, report.breaks


def test_a_good_lot_goes_from_receipt_to_release(plant: Any) -> None:
    assert body(plant.receive("L1"))["state"] == {"before": "absent", "after": "quarantined"}
    answer = body(plant.inspect("L1", *GOOD))
    assert answer["state"]["after"] == "released"
    assert answer["engines"] == ["reference", "durable-rules"]
    assert {d["target"] for d in answer["deliveries"]} == {"erp", "wms"}
    assert [c["type"] for c in answer["consequences"]] == ["inspection.completed.v1", "lot.released.v1"]


def test_a_lot_outside_its_limits_is_blocked(plant: Any) -> None:
    plant.receive("L1")
    answer = body(plant.inspect("L1", *GOOD[:4], "74.051"))
    assert answer["state"]["after"] == "blocked"
    failed = [v for v in answer["verdicts"] if v["verdict"] == "fail"]
    assert failed[0]["rule"] == "SPEC-LIMITS"
    assert "74.051" in failed[0]["message"]


def test_a_replay_gets_the_first_answer_and_has_no_effect(plant: Any, count: Callable[[str], int]) -> None:
    first = plant.receive("L1")
    event = plant.event("lot.received.v1", "L1", json.loads(_data_of(plant.store, "L1")), id="e1")
    again = plant.pipeline.submit(event, "tester").result(20)
    assert (again.status, again.replayed, again.body) == (200, True, first.body)
    assert count("events") == 1
    assert count("journal") == 2


def test_the_same_id_with_other_content_is_refused(plant: Any, count: Callable[[str], int]) -> None:
    plant.receive("L1")
    answer = plant.send("hold.applied.v1", "L1", {"hold": "H", "reason": {"code": "x"}}, id="e1")
    assert answer.status == 409
    assert body(answer)["code"] == "event-id-reused"
    assert count("holds") == 0


def test_concurrent_copies_have_one_effect(plant: Any, count: Callable[[str], int]) -> None:
    plant.receive("L1")
    event = plant.event("hold.applied.v1", "L1", {"hold": "H-1", "reason": {"code": "recall"}})
    futures: list[Future[Answer]] = []
    threads = [
        threading.Thread(target=lambda: futures.append(plant.pipeline.submit(event, "tester"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [f.result(20) for f in futures]
    assert sorted(a.status for a in answers) == [200] * 49 + [201]
    assert len({a.body for a in answers}) == 1
    assert count("holds") == 1


def test_a_business_document_under_a_new_event_id_changes_nothing(plant: Any, count: Callable[[str], int]) -> None:
    plant.receive("L1")
    answer = plant.receive("L1")
    assert (answer.status, body(answer)["outcome"]) == (200, "duplicate")
    assert count("journal") == 2


def test_another_receipt_of_the_same_lot_is_refused_and_journaled(plant: Any) -> None:
    plant.receive("L1")
    answer = plant.receive("L1", receipt="GR-other")
    assert body(answer)["code"] == "lot-exists"
    assert [e.kind for e in Reading(plant.store).journal("L1")] == ["event", "consequence", "refusal"]


def test_an_early_event_waits_for_its_lot(plant: Any, count: Callable[[str], int]) -> None:
    early = plant.inspect("L1", *GOOD)
    assert (early.status, body(early)["waits_for"]) == (202, "lot:L1")
    plant.receive("L1")
    assert Reading(plant.store).lot("L1").state == "released"
    assert count("parked") == 0
    assert Reading(plant.store).event(early.key).outcome == "applied"


def test_early_and_late_in_one_batch(plant: Any) -> None:
    lines = [{"characteristic": "diameter", "value": v, "unit": "mm", "sample": i} for i, v in enumerate(GOOD)]
    lines = [line | {"sample": line["sample"] + 1} for line in lines]  # type: ignore[operator]
    early = plant.event("inspection.recorded.v1", "L1", {"inspection": "IL", "measurements": lines})
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME", "receipt": "G"}
    late = plant.event("lot.received.v1", "L1", data)
    futures = [plant.pipeline.submit(e, "tester") for e in (early, late)]
    assert all(f.result(20).status in (201, 202) for f in futures)
    assert Reading(plant.store).lot("L1").state == "released"


def test_a_hold_that_was_never_placed_cannot_be_lifted_yet(plant: Any) -> None:
    plant.receive("L1")
    assert plant.lift("L1", "H-1").status == 202
    plant.hold("L1", "H-1")
    assert Reading(plant.store).lot("L1").holds == ()


@pytest.mark.parametrize("prepare", ["receive", "released"])
def test_a_hold_lands_and_only_the_last_lift_frees_the_lot(plant: Any, prepare: str) -> None:
    getattr(plant, prepare)("L1")
    plant.hold("L1", "H-1")
    plant.hold("L1", "H-2")
    plant.lift("L1", "H-1")
    assert Reading(plant.store).lot("L1").state == "blocked"
    plant.lift("L1", "H-2")
    assert Reading(plant.store).lot("L1").state == ("inspected" if prepare == "released" else "quarantined")


def test_a_hold_lands_again_under_its_old_id(plant: Any) -> None:
    plant.receive("L1")
    plant.hold("L1", "H-1")
    plant.lift("L1", "H-1")
    assert body(plant.hold("L1", "H-1"))["state"]["after"] == "blocked"


def test_a_held_lot_cannot_be_released(plant: Any) -> None:
    plant.released("L1")
    plant.hold("L1", "H-1")
    answer = plant.send("lot.released.v1", "L1", {})
    assert answer.status == 409
    assert body(answer)["code"] == "transition-not-allowed"
    assert "lift_hold" in body(answer)["allowed"]


def test_a_missing_value_refuses(plant: Any) -> None:
    plant.receive("L1", item="SEALANT-9", quantity="5")
    answer = body(plant.receive("L2", item="NOBODY-KNOWS"))
    assert answer["code"] == "gate-failed"
    assert answer["rules"][0]["verdict"] == "unknown"
    assert "no row in items for NOBODY-KNOWS, A" in answer["rules"][0]["message"]


def test_a_result_in_the_wrong_unit_is_refused(plant: Any) -> None:
    plant.receive("L1")
    lines = [{"characteristic": "diameter", "value": "2.9", "unit": "in"}]
    answer = body(plant.send("inspection.recorded.v1", "L1", {"inspection": "I", "measurements": lines}))
    assert answer["rules"][0]["rule"] == "RESULT-UNIT"


def test_goods_of_an_unapproved_supplier_are_received_on_hold(plant: Any) -> None:
    answer = body(plant.receive("L1", supplier="BADCO"))
    assert answer["state"]["after"] == "blocked"
    assert Reading(plant.store).holds("L1")[0].hold == "rule:SUPPLIER-APPROVED"


def test_an_older_sequence_is_recorded_and_not_applied(plant: Any) -> None:
    plant.receive("L1")
    plant.send("hold.applied.v1", "L1", {"hold": "A", "reason": {"code": "x"}}, sequence="10")
    stale = plant.send("hold.applied.v1", "L1", {"hold": "B", "reason": {"code": "x"}}, sequence="9")
    assert (stale.status, body(stale)["outcome"]) == (200, "stale")
    assert len(Reading(plant.store).lot("L1").holds) == 1


def test_shipping_waits_until_erp_and_wms_agree(plant: Any) -> None:
    plant.released("L1")
    ship = {"shipment": "S-1", "customer": "C"}
    answer = body(plant.send("lot.shipped.v1", "L1", ship))
    assert [r["rule"] for r in answer["rules"]] == ["TARGETS-AGREE"]
    plant.agree()
    assert body(plant.send("lot.shipped.v1", "L1", ship))["state"]["after"] == "shipped"


def test_a_partial_shipment_splits_the_lot_and_conserves_quantity(plant: Any) -> None:
    plant.released("L1")
    plant.agree()
    data = {"shipment": "S-1", "customer": "C", "quantity": {"value": "30", "unit": "ea"}}
    assert plant.send("lot.shipped.v1", "L1", data).status == 201
    left, gone = Reading(plant.store).lot("L1"), Reading(plant.store).lot("L1-S-1")
    assert (left.state, str(left.quantity), gone.state, str(gone.quantity)) == ("released", "70", "shipped", "30")


def test_a_split_cannot_give_more_than_there_is(plant: Any) -> None:
    plant.receive("L1")
    answer = body(plant.send("lot.split.v1", "L1", {"children": [{"lot": "L2", "quantity": {"value": "101", "unit": "ea"}}]}))
    assert answer["rules"][0]["rule"] == "QUANTITY-AVAILABLE"


def test_a_stale_version_is_a_failed_precondition(plant: Any) -> None:
    plant.receive("L1")
    event = plant.event("hold.applied.v1", "L1", {"hold": "H", "reason": {"code": "x"}})
    assert plant.pipeline.submit(event, "tester", if_match=1).result(20).status == 412
    assert plant.pipeline.submit(event, "tester", if_match=2).result(20).status == 201


def test_events_of_one_lot_in_one_batch_see_each_other(plant: Any) -> None:
    plant.receive("L1")
    futures = [
        plant.pipeline.submit(plant.event("hold.applied.v1", "L1", {"hold": f"H{i}", "reason": {"code": "x"}}), "t")
        for i in range(200)
    ]
    versions = [f.result(30).version for f in futures]
    assert versions == list(range(3, 203))
    assert len(Reading(plant.store).lot("L1").holds) == 200


def test_many_lots_at_once_keep_their_order(plant: Any) -> None:
    futures = []
    for number in range(150):
        data = {"item": "RING-74", "revision": "A", "quantity": {"value": "1", "unit": "ea"}, "supplier": "ACME",
                "receipt": f"G{number}"}  # fmt: skip
        futures.append(plant.pipeline.submit(plant.event("lot.received.v1", f"L{number}", data), "t"))
        hold = {"hold": "H", "reason": {"code": "x"}}
        futures.append(plant.pipeline.submit(plant.event("hold.applied.v1", f"L{number}", hold), "t"))
        futures.append(plant.pipeline.submit(plant.event("hold.lifted.v1", f"L{number}", hold), "t"))
    assert {f.result(60).status for f in futures} == {201}
    assert Reading(plant.store).counts() == {"quarantined": 150}


def test_two_pipelines_on_one_database_give_one_effect(
    plant: Any, judge: TwoChannelJudge, rulebook: RuleBook, clock: Any, count: Callable[[str], int]
) -> None:
    other_judge = TwoChannelJudge(rulebook, channel="reference")
    other = Pipeline(plant.store, other_judge, rulebook, clock)
    other.start()
    try:
        plant.receive("L1")
        events = [
            plant.event("hold.applied.v1", "L1", {"hold": f"H{i}", "reason": {"code": "x"}}) for i in range(40)
        ]
        futures = [p.submit(e, "t") for e in events for p in (plant.pipeline, other)]
        statuses = [f.result(60).status for f in futures]
        assert sorted(statuses) == [200] * 40 + [201] * 40
        assert count("holds") == 40
    finally:
        other.stop()


def test_a_full_queue_says_come_back(store: Store, judge: TwoChannelJudge, rulebook: RuleBook, clock: Any, plant: Any) -> None:
    closed = Pipeline(store, judge, rulebook, clock, max_waiting=1)
    event = plant.event("hold.applied.v1", "L1", {"hold": "H", "reason": {"code": "x"}})
    closed.submit(event, "t")
    with pytest.raises(Overloaded):
        closed.submit(event, "t")


def test_a_commit_that_fails_leaves_nothing_and_says_so(plant: Any, count: Callable[[str], int]) -> None:
    plant.receive("L1")
    with plant.store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE deliveries RENAME TO hidden"))
    answers = [plant.pipeline.submit(plant.event("hold.applied.v1", "L1", {"hold": f"H{i}", "reason": {"code": "x"}}), "t")
               for i in range(5)]  # fmt: skip
    for future in answers:
        with pytest.raises(StoreUnavailable):
            future.result(30)
    with plant.store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO deliveries"))
    assert count("holds") == 0
    assert Reading(plant.store).lot("L1").version == 2
    assert plant.hold("L1", "H1").status == 201


def test_one_event_that_cannot_be_kept_does_not_spoil_its_batch(plant: Any) -> None:
    """A quantity that leaves no decimal place for the database is content; here: a hold id that a constraint refuses."""
    plant.receive("L1")
    with plant.store.engine.begin() as connection:
        if plant.store.dialect == "sqlite":
            connection.execute(
                text("CREATE TRIGGER poison BEFORE INSERT ON holds WHEN NEW.hold = 'POISON' "
                     "BEGIN SELECT RAISE(ABORT, 'poison'); END")
            )  # fmt: skip
        else:
            connection.execute(text("ALTER TABLE holds ADD CONSTRAINT poison CHECK (hold <> 'POISON')"))
    names = ["A", "B", "POISON", "C"]
    futures = [plant.pipeline.submit(plant.event("hold.applied.v1", "L1", {"hold": n, "reason": {"code": "x"}}), "t")
               for n in names]  # fmt: skip
    outcomes = []
    for future in futures:
        try:
            outcomes.append(future.result(30).status)
        except StoreUnavailable:
            outcomes.append(503)
    assert outcomes == [201, 201, 503, 201]
    assert [h.hold for h in Reading(plant.store).lot("L1").holds] == ["A", "B", "C"]


def _data_of(store: Store, lot: str) -> str:
    return Reading(store).journal(lot)[0].data


def test_a_step_that_is_not_possible_is_told_before_its_guards_are(plant: Any) -> None:
    plant.receive("L1")
    answer = plant.send("lot.shipped.v1", "L1", {"shipment": "S1", "customer": "C"})
    assert body(answer)["code"] == "transition-not-allowed"
    answer = plant.send("lot.released.v1", "L1", {})
    assert body(answer)["code"] == "transition-not-allowed"
    assert body(answer)["allowed"]
