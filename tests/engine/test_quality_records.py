"""Nonconformances, deviations, corrective actions and signatures: their lives, what rules see, what is refused."""

import json
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from engine import events as ev
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.quality_lists import OVERDUE, records, tell_of_overdue
from engine.records import STATUSES, STEPS, next_status
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.tasks import Tasks
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.engine.conftest import judged_by

RULES = """\
rulefile: 1
owner: QA
reference: SOP-QA-001
rules:
  - id: NO-OPEN-NC
    title: Every nonconformance that matters is closed
    gate: [release]
    severity: block
    rationale: SOP-QA-012
    require:
      - none: nonconformance
        where:
          - nonconformance.severity in [major, critical]
          - nonconformance.status != closed
    message: "{nonconformance.number} is {nonconformance.status}"
  - id: TWO-SIGNATURES
    title: Two people sign for the release, none of whom inspected
    gate: [release]
    severity: block
    rationale: 21 CFR 211.22
    require:
      - count: signature
        where: [signature.meaning = release, signature.inspected = no]
        distinct: signature.signer
        at_least: 2
    message: "two people have to sign for the release"
"""


@pytest.fixture
def signing(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Any:
    """The plant of the other tests, under rules that ask for signatures and closed records."""
    with judged_by(plant, rulebook, clock, RULES):
        yield plant


def body(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


def failing(answer: Any) -> list[str]:
    return [rule["rule"] for rule in body(answer)["rules"] if rule["verdict"] != "pass"]


def open_record(plant: Any, lot: str, record: str = "NC-1", **more: Any) -> Any:
    data = {"record": record, "kind": "nonconformance", "severity": "major", "text": "cracks at the rim"} | more
    return plant.send("quality_record.opened.v1", lot, data)


def step(plant: Any, lot: str, name: str, record: str = "NC-1", **more: Any) -> Any:
    return plant.send("quality_record.changed.v1", lot, {"record": record, "step": name, "text": "as seen"} | more)


def sign(plant: Any, store: Store, lot: str, signer: str, meaning: str = "release", version: int | None = None) -> Any:
    there = Reading(store).lot(lot)
    data = ev.Signing(meaning=meaning, version=version or there.version, digest=there.head, signer=signer)
    number = f"sign-{signer}-{meaning}-{there.version}"
    event = ev.LotSigned(specversion="1.0", id=number, source=f"api/{signer}", subject=lot, data=data)
    return plant.pipeline.submit(event, signer).result(20)


def inspect(plant: Any, lot: str, inspector: str = "mk") -> Any:
    lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
    data = {"inspection": f"IL-{lot}", "measurements": lines, "inspector": inspector}
    return plant.send("inspection.recorded.v1", lot, data)


def test_a_major_nonconformance_is_closed_by_way_of_cause_and_decision(plant: Any, store: Store) -> None:
    plant.receive("L1")
    assert open_record(plant, "L1").status == 201
    for name in ("close", "decide", "reopen"):
        answer = step(plant, "L1", name)
        assert (answer.status, failing(answer)) == (409, ["RECORD-STEP"])
    assert "a cause and a decision come first" in body(step(plant, "L1", "close"))["rules"][0]["message"]
    step(plant, "L1", "contain")
    step(plant, "L1", "investigate", text="the press was too cold")
    step(plant, "L1", "decide", text="scrap what is cracked", owner="press-shop", due_on="2026-12-01")
    step(plant, "L1", "close")
    (record,) = Reading(store).lot("L1").records
    assert (record.status, record.cause, record.decision) == (
        "closed", "the press was too cold", "scrap what is cracked"
    )  # fmt: skip
    assert (record.owner, record.due_on) == ("press-shop", "2026-12-01")
    step(plant, "L1", "reopen")
    assert Reading(store).lot("L1").records[0].closed_at is None
    assert verify(Reading(store).journals()).intact


def test_a_minor_one_is_closed_at_once_and_may_turn_out_major(plant: Any, store: Store) -> None:
    plant.receive("L1")
    open_record(plant, "L1", severity="minor")
    assert failing(step(plant, "L1", "close", severity="critical")) == ["RECORD-STEP"]
    assert step(plant, "L1", "close").status == 201
    open_record(plant, "L1", record="NC-2", severity="minor")
    step(plant, "L1", "contain", record="NC-2", severity="critical")
    assert failing(step(plant, "L1", "close", record="NC-2")) == ["RECORD-STEP"]


def test_records_that_are_there_or_are_not(plant: Any) -> None:
    plant.receive("L1")
    open_record(plant, "L1")
    assert failing(open_record(plant, "L1")) == ["RECORD-IS-NEW"]
    assert failing(step(plant, "L1", "close", record="NC-9")) == ["RECORD-KNOWN"]


def test_an_open_nonconformance_shuts_the_gate_until_it_is_closed(signing: Any, store: Store) -> None:
    signing.receive("L1")
    inspect(signing, "L1")
    open_record(signing, "L1")
    for signer in ("pn", "qa"):
        assert sign(signing, store, "L1", signer).status == 201
    refused = signing.send("lot.released.v1", "L1", {})
    assert failing(refused) == ["NO-OPEN-NC"]
    for name in ("investigate", "decide", "close"):
        step(signing, "L1", name)
    assert body(signing.send("lot.released.v1", "L1", {}))["state"]["after"] == "released"


def test_two_people_sign_and_none_who_inspected(signing: Any, store: Store) -> None:
    signing.receive("L1")
    inspect(signing, "L1", inspector="mk")
    sign(signing, store, "L1", "mk")
    sign(signing, store, "L1", "pn")
    assert failing(signing.send("lot.released.v1", "L1", {})) == ["TWO-SIGNATURES"]
    assert failing(sign(signing, store, "L1", "pn")) == ["SIGNED-ONCE"]
    assert sign(signing, store, "L1", "pn", meaning="review").status == 201
    sign(signing, store, "L1", "qa")
    assert body(signing.send("lot.released.v1", "L1", {}))["state"]["after"] == "released"
    signatures = Reading(store).lot("L1").signatures
    journal = {e.version: e.hash for e in Reading(store).journal("L1", limit=100)}
    # Each is bound to everything up to what was signed.
    assert all(journal[s.version] == s.digest for s in signatures)


def test_what_has_changed_since_it_was_shown_is_not_signed(plant: Any, store: Store) -> None:
    plant.receive("L1")
    assert failing(sign(plant, store, "L1", "qa", version=1)) == ["SIGNED-AS-IT-IS"]
    assert Reading(store).lot("L1").signatures == ()


def test_signatures_end_with_what_was_inspected(plant: Any, store: Store) -> None:
    plant.receive("L1")
    sign(plant, store, "L1", "qa", meaning="review")
    plant.hold("L1", "H-1")
    plant.lift("L1", "H-1")
    assert [s.signer for s in Reading(store).lot("L1").signatures] == ["qa"]
    inspect(plant, "L1")
    assert Reading(store).lot("L1").signatures == ()


def test_a_part_that_is_split_off_is_signed_anew(plant: Any, store: Store) -> None:
    plant.receive("L1")
    sign(plant, store, "L1", "qa")
    open_record(plant, "L1")
    plant.send("lot.split.v1", "L1", {"children": [{"lot": "L1-A", "quantity": {"value": "40", "unit": "ea"}}]})
    child = Reading(store).lot("L1-A")
    assert child.signatures == ()
    assert [r.record for r in child.records] == ["NC-1"]
    assert len(records(store, plant.pipeline._clock().date())) == 2


def test_lists_say_what_is_under_way_and_overdue(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L1")
    open_record(plant, "L1", due_on="2026-11-22", owner="qe")
    open_record(plant, "L1", record="D-1", kind="deviation", severity="minor")
    open_record(plant, "L1", record="CA-1", kind="corrective_action", due_on="2026-11-23")
    step(plant, "L1", "close", record="D-1")
    today = clock().date()
    found = records(store, today)
    assert [(line.record.record, line.overdue) for line in found] == [("CA-1", False), ("NC-1", True)]
    assert [line.record.record for line in records(store, today, status="closed")] == ["D-1"]
    assert [line.record.record for line in records(store, today, kind="corrective_action")] == ["CA-1"]
    first = found[0].record
    assert len(records(store, today, after=(first.opened_at, "L1", first.record))) == 1
    assert tell_of_overdue(store, clock, today) == 1
    assert tell_of_overdue(store, clock, today) == 0
    (task,) = Tasks(store, clock).lines(kind=OVERDUE)
    assert task.detail == "nonconformance NC-1 of lot L1 was due on 2026-11-22"


def test_what_a_reaction_opens_is_a_record_too(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> None:
    reaction = """\
rulefile: 1
owner: QA
reference: SOP-QA-020
reactions:
  - id: NC-ON-BLOCK
    title: A nonconformance for whatever is blocked
    after: blocked
    do: open_nonconformance
    message: "{lot.id} was blocked"
  - id: TELL
    title: Somebody hears of it
    after: blocked
    do: notify
    message: "{lot.id} was blocked"
"""
    book = RuleBook.from_sources(rulebook.sources | {"reaction.yaml": reaction})
    with closing(TwoChannelJudge(book)) as judge:
        plant.pipeline.stop()
        plant.pipeline = Pipeline(store, judge, book, clock)
        plant.pipeline.start()
        plant.receive("L1")
        plant.inspect("L1", *["75.000"] * 5)
        (record,) = Reading(store).lot("L1").records
        assert (record.kind, record.severity, record.status) == ("nonconformance", "major", "open")
        assert step(plant, "L1", "contain", record=record.record).status == 201
        plant.pipeline.stop()
    with store.reads.connect() as connection:
        rows = connection.execute(text("SELECT status FROM quality_records")).scalars().all()
    assert list(rows) == ["contained"]
    assert verify(Reading(store).journals()).intact


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12), st.sampled_from(["minor", "major", "critical"]))
def test_no_way_leads_past_cause_and_decision(steps: list[str], severity: str) -> None:
    status, been = "open", ["open"]
    for name in steps:
        after = next_status(status, name, severity)
        if after is None:
            continue
        assert after in STATUSES
        if after == "closed" and severity != "minor":
            last = been[len(been) - 1 - been[::-1].index("open") :]
            assert last[-2:] == ["investigated", "decided"]
        status = after
        been.append(after)
