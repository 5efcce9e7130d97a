"""What lint says of conditions is true of every lot there can be, and it says so of every rule of which it is true."""

import itertools
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compiled import Verdict
from rules.coverage import run_with_coverage
from rules.facts import parse_date
from rules.findings import RulePackError
from rules.lint.examination import examine, remarks
from rules.rulebook import VOCABULARY_FILE, Case, RuleBook
from rules.versions import differences
from tests.rules.two_engines import rule_file
from tests.rules.two_engines import vocabulary as random_vocabulary

VOCABULARY = """\
kinds:
  lot:
    one: true
    fields:
      id: {type: code, required: true}
      item: code
      quantity: number
      expires_on: date
      urgent: yes_no
"""
TODAY = parse_date("2026-03-01", "")
QUANTITIES = ["quantity > 1", "quantity >= 1", "quantity < 1", "quantity <= 1", "quantity = 1", "quantity != 1",
              "quantity > 2", "quantity < 2", "quantity in [1, 2]", "quantity not in [1, 2]"]  # fmt: skip
ITEMS = ["item = X", "item != X", "item = Y", "item in [X, Y]", "item not in [X, Y]", "item is present", "item is missing"]
DATES = ["expires_on >= today", "expires_on < today", "expires_on > today + 1 days", "expires_on = today",
         "expires_on is missing", "expires_on is present"]  # fmt: skip
FLAGS = ["urgent = yes", "urgent = no", "urgent != yes", "urgent is present"]
LINES = [f"lot.{line}" for line in (*QUANTITIES, *ITEMS, *DATES, *FLAGS)]
LISTS = st.lists(st.sampled_from(LINES), min_size=1, max_size=3, unique=True)


def written(identity: str, applies: list[str], require: list[str]) -> str:
    lines = [f"  - id: {identity}", "    title: t", "    gate: [release]", "    severity: block", "    rationale: r",
             '    message: "m"']  # fmt: skip
    for name, conditions in (("applies_to", applies), ("require", require)):
        lines += [f"    {name}:", *(f"      - {c}" for c in conditions)] if conditions else []
    return "\n".join(lines) + "\n"


def book(*rules: str) -> RuleBook:
    text = "rulefile: 1\nowner: o\nreference: r\nrules:\n" + "".join(rules)
    return RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": text})


def lots() -> Iterator[dict[str, int | str | bool]]:
    """A lot on each side of every bound that the conditions have, and without each value."""
    numbers = [None, *(int(q * 10**6) for q in (0.5, 1, 1.5, 2, 2.5))]
    values = itertools.product(numbers, [None, "X", "Y", "Z"], [None, *range(TODAY - 1, TODAY + 4)], [None, True, False])
    for quantity, item, day, urgent in values:
        fact = {"id": "L", "quantity": quantity, "item": item, "expires_on": day, "urgent": urgent}
        yield {name: value for name, value in fact.items() if value is not None}


LOTS = list(lots())


def verdicts(rules: RuleBook) -> Iterator[dict[str, Verdict]]:
    for lot in LOTS:
        yield {v.rule: v.verdict for v in rules.verdicts(Case("release", {"lot": [lot]}, TODAY))[0]}


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.just([]), LISTS), LISTS)
def test_a_rule_that_can_never_pass_is_named_and_no_other(applies: list[str], require: list[str]) -> None:
    rules = book(written("A", applies, require))
    found = [r.message for r in remarks(rules) if r.check == "contradictions" and "is true of" not in r.message]
    passes = any(v.get("A") is Verdict.PASS for v in verdicts(rules))
    assert passes == (not found), (found, applies, require)
    if any("never applies" in message for message in found):
        assert not any(v.get("A") in (Verdict.PASS, Verdict.FAIL) for v in verdicts(rules))


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.just([]), LISTS), st.one_of(st.just([]), LISTS), LISTS)
def test_a_rule_in_anothers_shadow_never_fails_alone(one: list[str], other: list[str], require: list[str]) -> None:
    rules = book(written("A", one, require), written("B", other, require))
    for remark in remarks(rules):
        if remark.check == "duplicates":
            words = remark.message.split()
            inner, outer = words[1], words[-1]
            assert all(v.get(outer) is Verdict.FAIL for v in verdicts(rules) if v.get(inner) is Verdict.FAIL)


@settings(max_examples=60, deadline=None)
@given(rule_file(), rule_file())
def test_whatever_can_be_loaded_can_be_examined_and_compared(first: str, second: str) -> None:
    books = []
    for text in (first, second):
        try:
            books.append(RuleBook.from_sources({VOCABULARY_FILE: random_vocabulary(), "a.yaml": text}))
        except RulePackError:
            return
    for rules in books:
        assert examine(rules).obstacles  # none of its rules has a test
        run_with_coverage(rules)
        assert differences(rules, rules) == ()
    changes = differences(*books)
    assert bool(changes) == (books[0].digest != books[1].digest)
    assert all(change.what and change.words for change in changes)
