"""Past decisions: explained as they were decided, and judged again, on both databases."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from engine.as_decided import AsDecided, as_decided
from engine.backtesting import backtest
from engine.decoding import decode_event
from engine.errors import NotFound
from engine.explaining import UnknownTrigger
from engine.history import decisions
from engine.pipeline import Pipeline
from engine.rulesets import RuleSets
from engine.store.opening import Store
from rules.backtest import Report
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

UTC = ZoneInfo("UTC")
#: For what is the same on every database: one is enough.
ANY_DATABASE = pytest.mark.parametrize("database_url", [""], ids=["sqlite"])
RULES = """\
rulefile: 1
owner: QC
reference: SOP-1
table limits:
  match: [item]
  columns: [item, lower, upper]
  rows:
    - [RING, 9.0, 11.0]
    - [DISC, 9.0, 11.0]
rules:
  - id: SUPPLIER-KNOWN
    title: The supplier is one of ours
    gate: [receive]
    severity: hold
    rationale: SOP-2
    require:
      - lot.supplier in [ACME, NORD]
    message: "{lot.supplier} is none of ours"
  - id: UNIT
    title: Millimetres
    gate: [record_inspection]
    severity: block
    rationale: SOP-3
    require:
      - every: result
        check: [result.unit = mm]
    message: "{result.unit} is not mm"
  - id: LIMITS
    title: Within its limits
    gate: [release]
    severity: block
    rationale: SOP-4
    on_fail: block
    require:
      - every: result
        at_least: 1
        row: limits[lot.item]
        check: [result.value >= row.lower, result.value <= row.upper]
    message: "{result.value} is not within {row.lower} to {row.upper}"
reactions:
  - id: AUTO
    title: Release by itself
    after: inspected
    do: release
    when: [lot.quantity > 0]
"""


class Works:
    """A plant with three kinds of decisions: receipts, inspections, releases."""

    def __init__(self, store: Store, clock: Any, folder: Path) -> None:
        folder.mkdir()
        (folder / "rules.yaml").write_text(RULES)
        self.store, self.clock = store, clock
        self.sets = RuleSets(store, clock, one_person=True)
        self.book = self.sets.book(self.sets.ensure_first(folder))
        self.judge = TwoChannelJudge(self.book, channel="reference")
        self.pipeline = Pipeline(store, self.judge, self.book, clock)
        self.pipeline.start()
        self._number = 0

    def send(self, type_: str, lot: str, data: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        envelope = {
            "specversion": "1.0", "id": f"e{self._number}", "source": "test", "type": type_, "subject": lot, "data": data,
        }  # fmt: skip
        answer = self.pipeline.submit(decode_event(json.dumps(envelope).encode()), "tester").result(20)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def lot(self, lot: str, *values: str, item: str = "RING", supplier: str = "ACME", unit: str = "mm") -> dict[str, Any]:
        quantity = {"value": "10", "unit": "ea"}
        data = {"item": item, "revision": "A", "quantity": quantity, "supplier": supplier, "receipt": lot}
        answer = self.send("lot.received.v1", lot, data)
        for number, value in enumerate(values, 1):
            line = {"characteristic": "width", "value": value, "unit": unit, "sample": 1}
            answer = self.send("inspection.recorded.v1", lot, {"inspection": f"{lot}-{number}", "measurements": [line]})
        return answer

    def decided(self, lot: str, trigger: str, version: int | None = None) -> AsDecided:
        return as_decided(self.store, self.sets, UTC, lot, trigger, version)

    def again(self, changed: str, to: str, **more: Any) -> Report:
        candidate = RuleBook.from_sources(self.book.sources | {"rules.yaml": RULES.replace(changed, to)})
        return backtest(self.store, UTC, candidate, date(2026, 11, 23), **more)

    def adopt(self, changed: str, to: str) -> None:
        """Another set in force from now on."""
        self.book = RuleBook.from_sources(self.book.sources | {"rules.yaml": RULES.replace(changed, to)})
        self.sets.stage(self.book.sources, "anna")
        self.pipeline.rulebook, self.pipeline.judge = self.book, TwoChannelJudge(self.book, channel="reference")


@pytest.fixture
def works(store: Store, clock: Any, tmp_path: Path) -> Iterator[Works]:
    running = Works(store, clock, tmp_path / "rules")
    yield running
    running.pipeline.stop()


# -- as decided --------------------------------------------------------------------------------------------------


def test_an_old_decision_is_explained_by_the_rules_and_facts_of_then(works: Works) -> None:
    assert works.lot("L1", "10.5")["state"]["after"] == "released"
    old = works.book.digest
    works.adopt("[RING, 9.0, 11.0]", "[RING, 9.0, 10.0]")
    works.clock.forward(86400 * 400)
    then = works.decided("L1", "release")
    assert then.rule_set == old != works.book.digest
    assert (then.open, then.reproduced, then.differences) == (True, True, ())
    limits = next(r for r in then.rules if r.rule == "LIMITS")
    assert [(c.text, c.left, c.right) for c in limits.conditions] == [
        ("result.value >= row.lower", "10.5", "9"), ("result.value <= row.upper", "10.5", "11"),
    ]  # fmt: skip


@ANY_DATABASE
def test_a_rejection_is_explained_with_the_message_of_then(works: Works) -> None:
    assert works.lot("L1", "12")["state"]["after"] == "blocked"
    then = works.decided("L1", "release")
    assert (then.open, then.reproduced) == (False, True)
    assert [v.message for v in then.verdicts if v.rule == "LIMITS"] == ["12 is not within 9 to 11"]


def test_a_refused_inspection_is_explained_by_results_that_were_never_accepted(works: Works) -> None:
    answer = works.lot("L1", "10", unit="in")
    assert answer["rules"][0]["message"] == "in is not mm"
    then = works.decided("L1", "record_inspection")
    assert (then.kind, then.open, then.reproduced) == ("refusal", False, True)


def test_each_of_several_decisions_has_the_results_of_its_time(works: Works) -> None:
    works.lot("L1", "10")
    works.send("reinspection.requested.v1", "L1", {"reason": {"code": "customer"}})
    works.send(
        "inspection.recorded.v1", "L1",
        {"inspection": "again", "measurements": [{"characteristic": "width", "value": "12", "unit": "mm", "sample": 1}]},
    )  # fmt: skip
    found = [d for chunk in decisions(works.store, UTC) for d in chunk if d.case.gate == "release"]
    assert [[int(r["value"]) for r in d.case.facts["result"]] for d in found] == [[10_000_000], [12_000_000]]
    first = works.decided("L1", "release", found[0].version)
    assert first.open
    assert first.reproduced
    assert not works.decided("L1", "release").open


def test_a_lot_that_was_split_off_keeps_its_parents_results(works: Works) -> None:
    works.lot("L1", "10")
    works.send("lot.split.v1", "L1", {"children": [{"lot": "L1-A", "quantity": {"value": "4", "unit": "ea"}}]})
    works.send("hold.applied.v1", "L1-A", {"hold": "H1", "reason": {"code": "recall"}})
    works.send("hold.lifted.v1", "L1-A", {"hold": "H1", "reason": {"code": "fine"}})
    works.send("lot.released.v1", "L1-A", {})
    then = works.decided("L1-A", "release")
    assert (then.open, then.reproduced) == (True, True)


def test_every_recorded_decision_is_reproduced(works: Works) -> None:
    for number, value in enumerate(("10", "12", "8.999999", "11", "9")):
        works.lot(f"L{number}", value, supplier="ACME" if number % 2 else "NOBODY")
    past = [d for chunk in decisions(works.store, UTC) for d in chunk]
    assert len(past) >= 12
    for decision in past:
        assert works.sets.book(decision.rule_set).judge(decision.case).verdicts == decision.verdicts


def test_what_was_changed_in_the_record_is_not_reproduced(works: Works, store: Store) -> None:
    works.lot("L1", "10")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE results SET measurements = replace(measurements, '\"10\"', '\"12\"')"))
    then = works.decided("L1", "release")
    assert not then.reproduced
    assert then.differences == ("LIMITS: recorded pass, judged again fail 12 is not within 9 to 11",)


@ANY_DATABASE
def test_a_decision_that_never_was_is_not_found(works: Works) -> None:
    works.lot("L1")
    with pytest.raises(NotFound, match="has no decision that rules judged for release; there are: none"):
        works.decided("L1", "release")
    with pytest.raises(NotFound, match="at version 99"):
        works.decided("L1", "receive", 99)
    with pytest.raises(UnknownTrigger):
        works.decided("L1", "explode")


# -- backtest ----------------------------------------------------------------------------------------------------


def test_a_backtest_says_which_decisions_would_change_by_rule_item_and_supplier(works: Works) -> None:
    works.lot("L1", "10")
    works.lot("L2", "10.8")
    works.lot("L3", "10.9", item="DISC", supplier="NORD")
    works.lot("L4", "12")
    report = works.again("11.0]", "10.5]")
    assert (report.changed, report.stricter, report.looser) == (2, 2, 0)
    assert [(t.name, t.stricter) for t in report.by_rule] == [("LIMITS", 2)]
    assert {t.name: t.stricter for t in report.by_item} == {"RING": 1, "DISC": 1}
    assert {t.name: t.stricter for t in report.by_supplier} == {"ACME": 1, "NORD": 1}
    example = next(e for e in report.examples if e.lot == "L2")
    assert (example.before, example.after) == ("open", "shut, and the lot rejected")
    assert example.message == "10.8 is not within 9 to 10.5"


@ANY_DATABASE
def test_a_backtest_says_which_refusals_would_not_have_been(works: Works) -> None:
    works.lot("L1", "12")
    report = works.again("11.0]", "13.0]")
    assert (report.stricter, report.looser) == (0, 1)
    assert [(t.name, t.looser) for t in report.by_rule] == [("LIMITS", 1)]


@ANY_DATABASE
def test_a_hold_on_a_receipt_is_not_the_same_as_a_refusal(works: Works) -> None:
    works.lot("L1", supplier="NOBODY")
    report = works.again("severity: hold", "severity: block")
    assert [(e.before, e.after, e.rule) for e in report.examples] == [("open, with a hold", "shut", "SUPPLIER-KNOWN")]


@ANY_DATABASE
def test_the_same_rules_change_nothing(works: Works) -> None:
    for number, value in enumerate(("10", "12", "8")):
        works.lot(f"L{number}", value)
    report = works.again("owner: QC", "owner: QC ")
    assert (report.changed, report.other_reasons) == (0, 0)
    assert report.judged == sum(len(chunk) for chunk in decisions(works.store, UTC)) > 0


@ANY_DATABASE
def test_a_rule_that_begins_later_is_judged_as_if_it_had_begun(works: Works) -> None:
    works.lot("L1", "10.8")
    later = "on_fail: block\n    effective: {from: 2027-01-01}"
    narrow = RULES.replace("11.0]", "10.5]").replace("on_fail: block", later)
    candidate = RuleBook.from_sources(works.book.sources | {"rules.yaml": narrow})
    report = backtest(works.store, UTC, candidate, date(2026, 11, 23))
    assert (report.as_of, report.changed, report.not_in_force) == ("2027-01-01", 1, ())
    today = backtest(works.store, UTC, candidate, date(2026, 11, 23), as_of=date(2026, 11, 23))
    assert today.not_in_force == ("LIMITS",)


@ANY_DATABASE
def test_a_candidate_that_guards_nothing_would_have_shut_the_release_gate(works: Works) -> None:
    works.lot("L1", "10")
    report = works.again("gate: [release]", "gate: [use_as_is]")
    assert [(t.name, t.stricter) for t in report.by_gate] == [("release", 1)]
    assert report.by_rule[0].name == "(no rule guards the gate)"


def test_only_the_asked_time_is_judged(works: Works) -> None:
    works.lot("L1", "10.8")
    works.clock.forward(86400)
    works.lot("L2", "10.8")
    since, until = "2026-11-24T00:00:00.000000Z", "2026-11-23T23:59:59.999999Z"
    assert {e.lot for e in works.again("11.0]", "10.5]", since=since).examples} == {"L2"}
    assert {e.lot for e in works.again("11.0]", "10.5]", until=until).examples} == {"L1"}


@ANY_DATABASE
def test_against_the_active_set_only_what_the_candidate_adds_is_told(works: Works) -> None:
    works.lot("L1", "10.8")
    active = RuleBook.from_sources(works.book.sources | {"rules.yaml": RULES.replace("11.0]", "10.5]")})
    assert works.again("11.0]", "10.5]").changed == 1
    assert works.again("11.0]", "10.5]", against=active).changed == 0


def test_a_backtest_writes_nothing(works: Works, count: Callable[[str], int]) -> None:
    works.lot("L1", "10")
    tables = ("journal", "events", "lots", "results", "deliveries", "rule_sets", "rule_set_steps", "escalations")
    before = [count(table) for table in tables]
    works.again("11.0]", "9.5]")
    assert [count(table) for table in tables] == before
