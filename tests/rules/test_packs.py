"""The shipped packs: their own tests pass, and would notice if a rule were weakened."""

from typing import Any

import pytest

from rules.cases import run_tests
from rules.findings import RulePackError
from rules.rulebook import SHIPPED, RuleBook


@pytest.fixture(scope="module")
def shipped() -> RuleBook:
    return RuleBook.load(SHIPPED)


def test_every_expectation_of_the_shipped_packs_is_met(shipped: RuleBook) -> None:
    report = run_tests(shipped)
    assert report.passed, str(report)
    assert report.untested == ()
    assert len(report.results) >= 30


def test_the_gates_that_let_material_out_are_guarded(shipped: RuleBook) -> None:
    assert {"receive", "release", "ship"} <= shipped.gates()


def test_every_shipped_rule_says_why_and_whose_it_is(shipped: RuleBook) -> None:
    for rule in shipped.rules.rules:
        assert rule.rationale
        assert rule.owner
        assert rule.reference
        assert rule.message


OPPOSITES = {" <= ": " > ", " >= ": " < ", " < ": " >= ", " > ": " <= ", " = ": " != ", " != ": " = ", " in [": " not in ["}


def weakened(sources: dict[str, str], rule: Any) -> dict[str, str] | None:
    """The sources with one condition of ``rule`` turned round; None when it has none of one line."""
    lines = [c.location.line for r in rule.require for c in (*r.check, *r.where)]
    if not lines:
        return None
    file = rule.location.file
    texts = sources[file].split("\n")
    line = texts[lines[0] - 1]
    for sign, opposite in OPPOSITES.items():
        if sign in line:
            texts[lines[0] - 1] = line.replace(sign, opposite, 1)
            return sources | {file: "\n".join(texts)}
    return None


def test_a_rule_turned_round_is_noticed_by_its_own_tests(shipped: RuleBook) -> None:
    tried = 0
    for rule in shipped.rules.rules:
        sources = weakened(shipped.sources, rule)
        if sources is None:
            continue
        tried += 1
        try:
            report = run_tests(RuleBook.from_sources(sources))
        except RulePackError:
            continue
        assert not report.passed, f"nobody noticed that {rule.id} was turned round"
    assert tried >= 8


def test_the_digest_names_names_and_contents(shipped: RuleBook) -> None:
    same = RuleBook.from_sources(dict(reversed(shipped.sources.items())))
    assert same.digest == shipped.digest
    name = next(n for n in shipped.sources if n.endswith("spec_limits.yaml"))
    changed = RuleBook.from_sources(shipped.sources | {name: shipped.sources[name] + "\n"})
    assert changed.digest != shipped.digest
    renamed = {("x" + n if n == name else n): text for n, text in shipped.sources.items()}
    assert RuleBook.from_sources(renamed).digest != shipped.digest
