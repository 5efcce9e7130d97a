"""Facts that other systems state: kinds and fields that a plant's vocabulary adds, and rules that ask for them."""

import json
from typing import Any

import pytest

from engine.journal import verify
from engine.pipeline import Pipeline
from engine.stated import MAX_FACTS
from engine.store.opening import Store
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

KINDS = """
  supplier:
    one: true
    fields:
      status: {type: choice, values: [approved, probation], required: true}
      score: number
"""
RULES = """\
rulefile: 1
owner: QA
reference: SOP-QA-004
rules:
  - id: CERTIFICATE
    title: A signed and valid certificate
    gate: [release]
    severity: block
    rationale: SOP
    require:
      - count: certificate
        where: [certificate.type = coa, certificate.signed = yes, certificate.expires_on >= today]
        at_least: 1
    message: no certificate
  - id: SCORE
    title: A supplier of some standing
    gate: [release]
    severity: block
    rationale: SOP
    require: [supplier.status = approved, supplier.score >= 7.5, lot.colour = red]
    message: "score {supplier.score}"
"""


@pytest.fixture
def telling(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Any:
    words = rulebook.sources["vocabulary.yaml"]
    words = words.replace("      inspection_complete: yes_no\n", "      inspection_complete: yes_no\n      colour: code\n") + KINDS
    book = RuleBook.from_sources(rulebook.sources | {"vocabulary.yaml": words, "told.yaml": RULES})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    yield plant
    plant.pipeline.stop()
    judge.close()
    assert verify(Reading(store).journals()).intact


def state(plant: Any, kind: str, key: str = "", withdrawn: bool = False, **fields: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": kind, "key": key, "fields": fields} | ({"withdrawn": True} if withdrawn else {})
    body: dict[str, Any] = json.loads(plant.send("fact.stated.v1", "L1", data).body)
    return body


def lot_state(plant: Any) -> str:
    return str(Reading(plant.store).lot("L1").state)


def test_a_lot_is_released_by_itself_when_the_last_missing_fact_arrives(telling: Any) -> None:
    telling.receive("L1")
    telling.inspect("L1", *["74.00"] * 5)
    assert lot_state(telling) == "inspected"
    state(telling, "certificate", "C-1", type="coa", signed=True, expires_on="2027-01-01")
    state(telling, "lot", colour="red")
    assert lot_state(telling) == "inspected"
    answer = state(telling, "supplier", status="approved", score="7.5")
    assert answer["state"] == {"before": "inspected", "after": "released"}
    assert answer["engines"] == ["reference", "durable-rules"]
    assert [c["type"] for c in answer["consequences"]] == ["lot.released.v1"]


def test_a_missing_or_wrong_fact_keeps_the_gate_shut(telling: Any) -> None:
    telling.receive("L1")
    telling.inspect("L1", *["74.00"] * 5)
    refused = json.loads(telling.send("lot.released.v1", "L1", {}).body)
    assert {r["rule"]: r["verdict"] for r in refused["rules"]} == {"CERTIFICATE": "fail", "SCORE": "unknown"}
    state(telling, "supplier", status="approved", score="7.499999")
    state(telling, "lot", colour="red")
    state(telling, "certificate", "C-1", type="coa", signed=False, expires_on="2027-01-01")
    refused = json.loads(telling.send("lot.released.v1", "L1", {}).body)
    assert {r["rule"]: r["verdict"] for r in refused["rules"]} == {"CERTIFICATE": "fail", "SCORE": "fail"}
    assert "score 7.499999" in str(refused)


def test_a_fact_is_replaced_by_its_key_and_withdrawn(telling: Any) -> None:
    telling.receive("L1")
    state(telling, "certificate", "C-1", type="coa", signed=True)
    state(telling, "certificate", "C-2", type="coc")
    state(telling, "certificate", "C-1", type="coa", signed=False)
    facts = Reading(telling.store).lot("L1").facts
    assert facts == {"certificate": {"C-1": {"type": "coa", "signed": "no"}, "C-2": {"type": "coc"}}}
    state(telling, "certificate", "C-2", withdrawn=True)
    state(telling, "certificate", "C-1", withdrawn=True)
    assert Reading(telling.store).lot("L1").facts == {}


@pytest.mark.parametrize(
    ("kind", "fields", "detail"),
    [
        ("certificat", {"type": "coa"}, 'did you mean "certificate"?'),
        ("result", {"characteristic": "x"}, "is filled by Lotgate itself"),
        ("hold", {"hold": "x"}, "is filled by Lotgate itself"),
        ("lot", {"quantity": "5"}, "lot.quantity is filled by Lotgate itself"),
        ("lot", {"color": "red"}, 'did you mean "colour"?'),
        ("certificate", {"typ": "coa"}, 'did you mean "type"?'),
        ("certificate", {"type": "xyz"}, "allowed: coa, coc"),
        ("certificate", {"signed": True}, "A certificate always has type"),
        ("certificate", {"type": "coa", "signed": "maybe"}, "is yes or no"),
        ("certificate", {"type": "coa", "expires_on": "1.1.2027"}, "write year-month-day"),
        ("supplier", {"status": "approved", "score": "7,5"}, "use a point, not a comma: 7.5"),
        ("supplier", {"status": "approved", "score": "NaN"}, "is not a number"),
    ],
)
def test_what_the_vocabulary_does_not_know_is_refused_with_the_reason(
    telling: Any, kind: str, fields: dict[str, Any], detail: str
) -> None:
    telling.receive("L1")
    answer = state(telling, kind, "K", **fields)
    assert answer["code"] == "fact-invalid"
    assert detail in answer["detail"]
    assert Reading(telling.store).lot("L1").facts == {}


def test_a_lot_has_room_for_so_many_facts_and_no_more(telling: Any) -> None:
    telling.receive("L1")
    for number in range(MAX_FACTS):
        telling.pipeline.submit(
            telling.event("fact.stated.v1", "L1", {"kind": "certificate", "key": f"C{number}", "fields": {"type": "coa"}}), "t"
        )
    assert state(telling, "certificate", "one-more", type="coa")["code"] == "fact-invalid"
    assert state(telling, "certificate", "C0", type="coc")["outcome"] == "applied"


def test_a_fact_for_a_lot_that_is_not_there_waits_for_it(telling: Any) -> None:
    assert state(telling, "lot", colour="red")["outcome"] == "parked"
    telling.receive("L1")
    assert Reading(telling.store).lot("L1").facts == {"lot": {"": {"colour": "red"}}}


def test_children_of_a_split_keep_what_was_stated_of_their_parent(telling: Any) -> None:
    telling.receive("L1")
    state(telling, "supplier", status="approved", score=8)
    telling.send("lot.split.v1", "L1", {"children": [{"lot": "L1a", "quantity": {"value": "40", "unit": "ea"}}]})
    assert Reading(telling.store).lot("L1a").facts == {"supplier": {"": {"status": "approved", "score": "8"}}}
