"""What a rule says of facts: pass, fail, unknown, not applicable, not effective. A missing value never passes."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.rulebook import Case

Judge = Callable[..., str]
TABLES = """\
table limits:
  match: [item, characteristic]
  columns: [item, characteristic, lower, upper]
  rows:
    - [RM-1, ph, 6.0, 7.5]
    - [RM-1, free, ~, 10]
table plan:
  match: [quantity]
  columns: [quantity, sample]
  rows:
    - [2..8, 2]
    - [9..50, 13]
table needed:
  match: [item, characteristic]
  columns: [item, characteristic, n]
  rows:
    - [RM-1, ph, 2]
    - [RM-1, free, 1]
"""
EVERY = """\
      - every: result
        row: limits[lot.item, result.characteristic]
        check: [result.value >= row.lower, result.value <= row.upper]
"""


@pytest.mark.parametrize(
    ("condition", "supplier", "verdict"),
    [
        ("supplier.score >= 10", {"score": "10"}, "pass"),
        ("supplier.score >= 10", {"score": "9.999999"}, "fail"),
        ("supplier.score > 10", {"score": "10.000001"}, "pass"),
        ("supplier.score > 10", {"score": "10"}, "fail"),
        ("supplier.score < 10", {"score": "-10"}, "pass"),
        ("supplier.score <= 1.10", {"score": "1.1"}, "pass"),
        ("supplier.score = 08", {"score": "8"}, "pass"),
        ("supplier.score != 8", {"score": "8.0"}, "fail"),
        ("supplier.score >= 10", {}, "unknown"),
        ("supplier.score != 10", {}, "unknown"),
        ("supplier.status = approved", {"status": "approved"}, "pass"),
        ("supplier.status != approved", {"status": "approved"}, "fail"),
        ("supplier.status in [approved, conditional]", {"status": "conditional"}, "pass"),
        ("supplier.status not in [approved, conditional]", {"status": "conditional"}, "fail"),
        ("supplier.status not in [approved]", {}, "unknown"),
        ("supplier.audited = yes", {"audited": "yes"}, "pass"),
        ("supplier.audited = no", {"audited": "yes"}, "fail"),
        ("supplier.audited = no", {}, "unknown"),
        ("supplier.code = no", {"code": "no"}, "pass"),
        ("supplier.code = 1.10", {"code": "1.1"}, "fail"),
        ("supplier.code = 08", {"code": "8"}, "fail"),
        ("supplier.code is present", {"code": "A"}, "pass"),
        ("supplier.code is present", {}, "fail"),
        ("supplier.code is missing", {}, "pass"),
        ("supplier.code is missing", {"code": "A"}, "fail"),
        ("supplier.approved_until >= today", {"approved_until": "2026-03-01"}, "pass"),
        ("supplier.approved_until >= today", {"approved_until": "2026-02-28"}, "fail"),
        ("supplier.approved_until >= today + 30 days", {"approved_until": "2026-03-31"}, "pass"),
        ("supplier.approved_until >= today + 31 days", {"approved_until": "2026-03-31"}, "fail"),
        ("supplier.approved_until > today - 1 day", {"approved_until": "2026-03-01"}, "pass"),
        ("supplier.approved_until = 2028-02-29", {"approved_until": "2028-02-29"}, "pass"),
        ("supplier.code = lot.item", {"code": "RM-1"}, "pass"),
    ],
)
def test_one_condition(verdict_of: Judge, condition: str, supplier: dict[str, str], verdict: str) -> None:
    assert verdict_of(f"      - {condition}\n", supplier=supplier) == verdict


def test_a_kind_of_which_there_is_no_fact_is_unknown(verdict_of: Judge) -> None:
    assert verdict_of("      - supplier.score >= 10\n") == "unknown"


def test_one_false_condition_fails_whatever_is_missing(verdict_of: Judge) -> None:
    lines = "      - supplier.score >= 10\n      - supplier.status = approved\n"
    assert verdict_of(lines, supplier={"status": "probation"}) == "fail"
    assert verdict_of(lines, supplier={"status": "approved"}) == "unknown"


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([{"characteristic": "ph", "value": "6.0"}, {"characteristic": "ph", "value": "7.5"}], "pass"),
        ([{"characteristic": "ph", "value": "5.999999"}], "fail"),
        ([{"characteristic": "free", "value": "-1000000"}], "pass"),
        ([{"characteristic": "free", "value": "10.000001"}], "fail"),
        ([{"characteristic": "ph"}], "unknown"),
        ([{"characteristic": "colour", "value": "1"}], "unknown"),
        ([{"characteristic": "ph"}, {"characteristic": "ph", "value": "9"}], "fail"),
        ([{"characteristic": "colour", "value": "1"}, {"characteristic": "ph", "value": "9"}], "fail"),
        ([], "pass"),
    ],
)
def test_every(verdict_of: Judge, results: list[dict[str, str]], verdict: str) -> None:
    assert verdict_of(EVERY, tables=TABLES, result=results) == verdict


def test_every_of_nothing_is_no_pass_where_some_are_asked_for(verdict_of: Judge) -> None:
    assert verdict_of(EVERY + "        at_least: 1\n", tables=TABLES) == "fail"
    one = [{"characteristic": "ph", "value": "7"}]
    assert verdict_of(EVERY + "        at_least: 1\n", tables=TABLES, result=one) == "pass"
    assert verdict_of(EVERY + "        at_least: 2\n", tables=TABLES, result=one) == "fail"


def test_every_looks_only_where_it_is_told(verdict_of: Judge) -> None:
    lines = EVERY + "        where: [result.gauge = G1]\n"
    good = {"characteristic": "ph", "value": "7", "gauge": "G1"}
    bad = {"characteristic": "ph", "value": "9", "gauge": "G2"}
    whose = {"characteristic": "ph", "value": "9"}
    assert verdict_of(lines, tables=TABLES, result=[good, bad]) == "pass"
    assert verdict_of(lines, tables=TABLES, result=[good, whose]) == "unknown"
    assert verdict_of(lines, tables=TABLES, result=[good, bad | {"gauge": "G1"}]) == "fail"


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        ([], "pass"),
        ([{"hold": "H", "status": "lifted"}], "pass"),
        ([{"hold": "H", "status": "active"}], "fail"),
        ([{"hold": "H"}], "unknown"),
        ([{"hold": "H"}, {"hold": "I", "status": "active"}], "fail"),
    ],
)
def test_none(verdict_of: Judge, holds: list[dict[str, str]], verdict: str) -> None:
    assert verdict_of("      - none: hold\n        where: [hold.status = active]\n", hold=holds) == verdict


@pytest.mark.parametrize(
    ("signatures", "verdict"),
    [
        ([("a", "release"), ("b", "release")], "pass"),
        ([("a", "release"), ("a", "release")], "fail"),
        ([("a", "release")], "fail"),
        ([("a", "release"), ("b", None)], "unknown"),
        ([("a", "release"), (None, "release")], "unknown"),
        ([], "fail"),
    ],
)
def test_count_distinct(verdict_of: Judge, signatures: list[tuple[str | None, str | None]], verdict: str) -> None:
    lines = "      - count: signature\n        where: [signature.meaning = release]\n        distinct: signature.signer\n        at_least: 2\n"
    facts = [{k: v for k, v in (("signer", s), ("meaning", m)) if v is not None} for s, m in signatures]
    assert verdict_of(lines, signature=facts) == verdict


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [((2, 1), "pass"), ((3, 4), "pass"), ((1, 1), "fail"), ((2, 0), "fail"), ((0, 0), "fail")],
)
def test_count_for_each_row(verdict_of: Judge, counts: tuple[int, int], verdict: str) -> None:
    lines = (
        "      - for_each: needed[lot.item]\n        count: result\n"
        "        where: [result.characteristic = row.characteristic]\n        at_least: row.n\n"
    )
    results = [{"characteristic": "ph"}] * counts[0] + [{"characteristic": "free"}] * counts[1]
    assert verdict_of(lines, tables=TABLES, result=results) == verdict


def test_for_each_of_no_row_is_unknown(verdict_of: Judge) -> None:
    lines = "      - for_each: needed[lot.item]\n        count: result\n        at_least: row.n\n"
    assert verdict_of(lines, tables=TABLES, lot={"id": "L", "item": "NEW"}) == "unknown"


@pytest.mark.parametrize(
    ("quantity", "verdict"), [("2", "pass"), ("8", "pass"), ("9", "fail"), ("51", "unknown"), ("8.5", "unknown")]
)
def test_a_row_by_range(verdict_of: Judge, quantity: str, verdict: str) -> None:
    lines = "      - row: plan[lot.quantity]\n        check: [supplier.score >= row.sample]\n"
    lot = {"id": "L", "item": "RM-1", "quantity": quantity}
    assert verdict_of(lines, tables=TABLES, lot=lot, supplier={"score": "2"}) == verdict


@pytest.mark.parametrize(
    ("supplier", "verdict"),
    [
        ({"status": "approved"}, "pass"),
        ({"status": "probation", "audited": "yes", "score": "9"}, "pass"),
        ({"status": "probation", "audited": "yes", "score": "8"}, "fail"),
        ({"status": "probation", "audited": "yes"}, "unknown"),
        ({"audited": "no"}, "unknown"),
        ({"status": "probation", "audited": "no"}, "fail"),
    ],
)
def test_any_of(verdict_of: Judge, supplier: dict[str, str], verdict: str) -> None:
    lines = (
        "      - any_of:\n          - supplier.status = approved\n"
        "          - [supplier.audited = yes, supplier.score >= 9]\n"
    )
    assert verdict_of(lines, supplier=supplier) == verdict


def test_scope(verdict_of: Judge) -> None:
    lines, scope = "      - lot.quantity > 10\n", "      - supplier.status = probation\n"
    lot = {"id": "L", "item": "I", "quantity": "1"}
    assert verdict_of(lines, applies_to=scope, lot=lot, supplier={"status": "approved"}) == "not_applicable"
    assert verdict_of(lines, applies_to=scope, lot=lot, supplier={"status": "probation"}) == "fail"
    assert verdict_of(lines, applies_to=scope, lot=lot) == "unknown"


@pytest.mark.parametrize(
    ("day", "verdict"),
    [("2026-01-31", "not_effective"), ("2026-02-01", "pass"), ("2026-02-28", "pass"), ("2026-03-01", "not_effective")],
)
def test_effective_days_are_both_included(small_plant: Any, day: str, verdict: str) -> None:
    from rules.facts import parse_date

    text = small_plant.rules.replace("{from: 2026-01-01}", "{from: 2026-02-01, to: 2026-02-28}")
    book = small_plant.book(text)
    facts = small_plant.facts(book, lot={"id": "L", "item": "RM-1"}, result=[{"characteristic": "ph", "value": "7"}])
    case = Case("release", facts, parse_date(day, "day"))
    assert {e.rule: e.verdict for e in book.explain(case)}["R-1"] == verdict
    judged = {v.rule for v in book.judge(case).verdicts}
    assert ("R-1" in judged) is (verdict == "pass")


def test_a_rules_own_effective_days_win(small_plant: Any) -> None:
    text = small_plant.rules.replace("    title: The supplier", "    effective: {from: 2030-01-01}\n    title: The supplier")
    book = small_plant.book(text)
    facts = small_plant.facts(book, lot={"id": "L", "item": "RM-1"})
    assert {e.rule: e.verdict for e in book.explain(Case("release", facts, 740_000))}["R-2"] == "not_effective"


def test_a_gate_opens_only_when_every_blocking_rule_passes(small_plant: Any) -> None:
    book = small_plant.book()
    good = {
        "lot": {"id": "L", "item": "RM-1"}, "result": [{"characteristic": "ph", "value": "7"}],
        "supplier": {"status": "approved", "approved_until": "2030-01-01"},
    }  # fmt: skip
    day = 739_676  # 2026-03-01
    assert book.judge(Case("release", small_plant.facts(book, **good), day)).opens
    for missing in ("result", "supplier"):
        facts = small_plant.facts(book, **{k: v for k, v in good.items() if k != missing})
        judgement = book.judge(Case("release", facts, day))
        assert not judgement.opens
        assert judgement.refusing
    for severity, opens in (("block", False), ("hold", False), ("warn", True), ("info", True)):
        other = small_plant.book(small_plant.rules.replace("severity: block", f"severity: {severity}"))
        facts = small_plant.facts(other, lot=good["lot"])
        assert other.judge(Case("release", facts, day)).opens is opens


def test_a_message_names_the_first_offender_with_its_values(small_plant: Any) -> None:
    book = small_plant.book()
    facts = small_plant.facts(
        book, lot={"id": "L", "item": "RM-1"},
        result=[{"characteristic": "ph", "value": "7"}, {"characteristic": "viscosity", "value": "120.5"}],
    )  # fmt: skip
    verdicts = {v.rule: v for v in book.judge(Case("release", facts, 739_676)).verdicts}
    assert verdicts["R-1"].message == "viscosity = 120.5, limits 80 to 120"
    assert verdicts["R-1"].file == "rules.yaml"
    assert verdicts["R-1"].line == 15


def test_an_explanation_shows_both_sides_of_every_condition(small_plant: Any) -> None:
    book = small_plant.book()
    facts = small_plant.facts(
        book, lot={"id": "L", "item": "RM-1"}, supplier={"status": "probation", "approved_until": "2026-03-31"}
    )  # fmt: skip
    explained = {e.rule: e for e in book.explain(Case("release", facts, 739_676))}
    lines = explained["R-2"].conditions
    shown = [(line.text, line.left, line.right, line.verdict, line.line) for line in lines]
    assert ("supplier.status in [approved, conditional]", "probation", "[approved, conditional]", "fail", 35) in shown
    assert ("supplier.approved_until >= today + 30 days", "2026-03-31", "2026-03-31", "pass", 36) in shown


@settings(max_examples=200, deadline=None)
@given(
    value=st.integers(-10**12, 10**12), lower=st.none() | st.integers(-10**9, 10**9), width=st.integers(0, 10**9),
)  # fmt: skip
def test_limits_are_compared_exactly(small_plant: Any, value: int, lower: int | None, width: int) -> None:
    """For any value and limits in millionths: the verdict is what integers say."""
    from rules.units import format_number

    upper = (lower or 0) + width
    row = f"[RM-1, x, {'~' if lower is None else format_number(lower)}, {format_number(upper)}]"
    book = small_plant.book(small_plant.rules.replace("[RM-1, ph, 6.0, 7.5]", row))
    facts = {"lot": [{"id": "L", "item": "RM-1"}], "result": [{"characteristic": "x", "value": value}]}
    verdicts = {v.rule: v.verdict.value for v in book.judge(Case("release", facts, 739_676)).verdicts}
    expected = (lower is None or value >= lower) and value <= upper
    assert verdicts["R-1"] == ("pass" if expected else "fail")


def test_too_few_facts_are_said_to_be_too_few(small_plant: Any) -> None:
    book = small_plant.book(small_plant.rules.replace("at_least: 1", "at_least: 2"))
    for results, words in (
        ([], "no result recorded, at least 2 are needed"),
        ([{"characteristic": "ph", "value": "7"}], "1 result recorded, at least 2 are needed"),
    ):
        facts = small_plant.facts(book, lot={"id": "L", "item": "RM-1"}, result=results)
        messages = {v.rule: v.message for v in book.judge(Case("release", facts, 739_676)).verdicts}
        assert messages["R-1"] == words
