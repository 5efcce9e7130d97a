"""What the verdicts of a gate come to, then and now, and how the changes are counted."""

from typing import Any

import pytest

from rules.backtest import Backtest, Past, day_in_force, in_force_on, outcome
from rules.compiled import Severity, Verdict
from rules.facts import parse_date
from rules.rulebook import SHIPPED, VOCABULARY_FILE, Case, RuleBook, RuleVerdict

VOCABULARY = (SHIPPED / VOCABULARY_FILE).read_text(encoding="utf-8")
FAIL, UNKNOWN, PASS = Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS
BLOCK, HOLD, WARN = Severity.BLOCK, Severity.HOLD, Severity.WARN


def verdict(what: Verdict, severity: Severity = BLOCK, on_fail: str | None = None, rule: str = "A") -> RuleVerdict:
    return RuleVerdict(rule, what, severity, "" if what is PASS else "no", "a.yaml", 1, on_fail)


@pytest.mark.parametrize(
    ("verdicts", "gate", "more", "expected"),
    [
        ([], "release", {}, "open"),
        ([verdict(PASS)], "release", {}, "open"),
        ([verdict(FAIL, WARN)], "release", {}, "open"),
        ([verdict(FAIL)], "release", {}, "shut"),
        ([verdict(UNKNOWN)], "release", {}, "shut"),
        ([verdict(FAIL, HOLD)], "release", {}, "shut"),
        ([verdict(FAIL, HOLD)], "receive", {"fact": True}, "open, with a hold"),
        ([verdict(FAIL, HOLD), verdict(FAIL)], "receive", {"fact": True}, "shut"),
        ([verdict(FAIL, BLOCK, "block")], "release", {}, "shut, and the lot rejected"),
        ([verdict(UNKNOWN, BLOCK, "block")], "release", {}, "shut"),
        ([verdict(FAIL, BLOCK, "block")], "ship", {}, "shut"),
        ([verdict(PASS)], "release", {"agreed": False}, "shut"),
        ([verdict(PASS)], "receive", {"agreed": False, "fact": True}, "open, with a hold"),
        ([verdict(FAIL, BLOCK, "block")], "release", {"agreed": False}, "shut"),
    ],
)
def test_the_outcome_follows_from_the_verdicts(
    verdicts: list[RuleVerdict], gate: str, more: dict[str, bool], expected: str
) -> None:
    assert outcome(verdicts, gate, **({"agreed": True, "fact": False} | more)) == expected


def rules(*conditions: str, effective: str = "") -> RuleBook:
    """One rule a condition, A, B, C …, at the gate release."""
    lines = ["rulefile: 1", "owner: QC", "reference: SOP-1", "rules:"]
    for name, condition in zip("ABCDE", conditions, strict=False):
        lines += [
            f"  - id: {name}", "    title: t", "    gate: [release]", "    severity: block", "    rationale: r",
            f"    require: [{condition}]", '    message: "{lot.quantity} is wrong"', *([effective] if effective else []),
        ]  # fmt: skip
    return RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": "\n".join(lines) + "\n"})


def past(lot: str, quantity: int, judged_by: RuleBook, **fields: Any) -> Past:
    fact = {"id": lot, "item": "X", "revision": "A", "state": "inspected", "quantity": quantity * 10**6, "unit": "ea"}
    case = Case("release", {"lot": [fact | fields]}, parse_date("2026-03-01", ""))
    return Past(lot, 3, "2026-03-01T00:00:00Z", case, judged_by.verdicts(case)[0], True, False)


def test_changes_are_counted_by_the_rule_that_makes_them() -> None:
    then = rules("lot.quantity > 0", "lot.quantity < 100")
    run = Backtest(rules("lot.quantity > 5", "lot.quantity < 200"), as_of="2026-03-01")
    changed = [run.add(past(f"L{n}", n, then, supplier="ACME" if n < 10 else "NORD")) for n in (0, 3, 50, 150)]
    assert changed == [False, True, False, True]
    report = run.report()
    assert (report.judged, report.changed, report.stricter, report.looser) == (4, 2, 1, 1)
    assert {t.name: (t.stricter, t.looser) for t in report.by_rule} == {"A": (1, 0), "B": (0, 1)}
    assert {t.name: (t.stricter, t.looser) for t in report.by_supplier} == {"ACME": (1, 0), "NORD": (0, 1)}
    assert [(e.lot, e.rule, e.before, e.after, e.message) for e in report.examples] == [
        ("L3", "A", "open", "shut", "3 is wrong"), ("L150", "B", "shut", "open", "150 is wrong"),
    ]  # fmt: skip


def test_the_same_outcome_for_other_reasons_is_counted_apart() -> None:
    run = Backtest(rules("lot.item = Y", "lot.quantity > 0"))
    assert run.add(past("L1", 0, rules("lot.item = X", "lot.quantity > 0"))) is False
    assert run.report().other_reasons == 1


def test_examples_are_few_however_many_changes_there_are() -> None:
    then, run = rules("lot.quantity > 0"), Backtest(rules("lot.quantity > 100"))
    for number in range(1, 51):
        run.add(past(f"L{number}", number, then))
    report = run.report()
    assert (report.changed, len(report.examples)) == (50, 3)


def test_effective_dates_are_looked_at_on_one_day_for_the_whole_history() -> None:
    later = rules("lot.quantity > 5", effective="    effective: {from: 2027-01-01}")
    today = parse_date("2026-06-01", "")
    assert day_in_force(later, today) == parse_date("2027-01-01", "")
    book, left = in_force_on(later, day_in_force(later, today))
    assert left == ()
    assert Backtest(book).add(past("L1", 1, rules("lot.quantity > 0"))) is True
    _, left = in_force_on(later, today)
    assert left == ("A",)
