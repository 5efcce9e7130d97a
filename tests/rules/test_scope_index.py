"""A lot is asked only the rules that can apply to it, and what they say stays the same."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compiled import Verdict
from rules.reference import Checks, index_gates
from rules.rulebook import Case, RuleBook
from rules.world import world_of
from tests.rules.conftest import book_of

DAY = 740_000
COMMON = {
    "title": "t", "gate": ["release"], "severity": "block", "rationale": "r", "message": "m",
    "require": [{"every": "result", "check": ["result.value <= 7"]}],
}  # fmt: skip


def book(*scopes: list[str]) -> RuleBook:
    rules = [{**COMMON, "id": f"R-{n}", **({"applies_to": scope} if scope else {})} for n, scope in enumerate(scopes)]
    return book_of(json.dumps({"rulefile": "1", "owner": "o", "reference": "r", "rules": rules}))


def verdicts(of: RuleBook, lot: dict[str, Any], value: int = 8) -> dict[str, tuple[str, str]]:
    facts = {"lot": [lot], "result": [{"characteristic": "ph", "value": value * 1_000_000}]}
    judged = of.judge(Case("release", facts, DAY)).verdicts
    return {v.rule: (v.verdict.value, v.message) for v in judged}


def test_only_the_rules_of_its_item_are_looked_at_in_the_order_of_the_files() -> None:
    found = book(["lot.item = A"], [], ["lot.item in [B, A]"], ["lot.item = B"])
    looked_at = index_gates(found.rules)["release"].for_lot({"id": "L1", "item": "A"})
    assert [bound.rule.id for bound in looked_at] == ["R-0", "R-1", "R-2"]
    assert list(verdicts(found, {"id": "L1", "item": "A"})) == ["R-0", "R-1", "R-2"]


def test_a_lot_without_an_item_is_asked_all_of_them_and_none_of_them_is_a_pass() -> None:
    found = verdicts(book(["lot.item = A"], ["lot.item in [B, A]"]), {"id": "L1"}, value=1)
    assert found == {f"R-{n}": ("unknown", "lot.item is missing") for n in (0, 1)}


def test_what_else_the_scope_says_is_still_asked() -> None:
    found = book(["lot.id = L1", "lot.item = A"], ["lot.item = A", "lot.id != L1"])
    assert verdicts(found, {"id": "L1", "item": "A"}) == {"R-0": ("fail", "m")}
    assert list(verdicts(found, {"id": "L2", "item": "A"})) == ["R-1"]


def test_requirements_that_say_the_same_are_one_and_a_different_limit_is_another() -> None:
    found = book(["lot.item = A"], ["lot.item = B"], ["lot.item = C"])
    third = json.loads(json.dumps(COMMON).replace("<= 7", "<= 9"))
    other = book_of(json.dumps({"rulefile": "1", "owner": "o", "reference": "r", "rules": [{**third, "id": "X"}]}))
    checks = Checks(found.rules.tables)
    first, second, *_ = [checks.of(rule) for rule in found.rules.rules]
    assert first[0] is second[0]
    assert checks.of(other.rules.rules[0])[0] is not first[0]
    assert verdicts(other, {"id": "L1", "item": "A"}) == {"X": ("pass", "")}


SCOPES = ["lot.item = A", "lot.item in [A, B]", "lot.item != A", "lot.item not in [A]", "lot.revision = X",
          "lot.revision in [X, Y]", "lot.revision is missing", "lot.quantity = 5", "lot.quantity > 4",
          "lot.recall_open = yes", "lot.state = released"]  # fmt: skip
LOTS = st.fixed_dictionaries(
    {"id": st.just("L1")},
    optional={
        "item": st.sampled_from("ABC"), "revision": st.sampled_from("XYZ"), "quantity": st.sampled_from([4_000_000, 5_000_000]),
        "recall_open": st.booleans(), "state": st.sampled_from(["released", "blocked"]),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(scopes=st.lists(st.lists(st.sampled_from(SCOPES), max_size=3, unique=True), min_size=1, max_size=8), lot=LOTS)
def test_no_rule_that_has_something_to_say_is_left_out(scopes: list[list[str]], lot: dict[str, Any]) -> None:
    """Against every rule of the gate asked by itself, whichever the index would look at."""
    found = book(*scopes)
    world = world_of({"lot": [lot], "result": [{"characteristic": "ph", "value": 8_000_000}]}, found.rules.singles, DAY)
    each = [(bound.rule.id, bound.judge(world).verdict) for bound in index_gates(found.rules)["release"].all]
    silent = (Verdict.NOT_APPLICABLE, Verdict.NOT_EFFECTIVE)
    assert {rule: said for rule, (said, _) in verdicts(found, lot).items()} == {
        rule: verdict.value for rule, verdict in each if verdict not in silent
    }
