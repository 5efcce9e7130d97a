"""What the tests inside rule files have shown: which rules came out how, which conditions were true, false and missing.

A condition that no test has made false may be mistyped and nobody would know. What may not enter: the running of
tests (rules/cases.py) and the judging (rules/reference.py).
"""

from collections.abc import Iterator

from msgspec import Struct

from rules.cases import TestReport, run_tests
from rules.compiled import Condition, Kind, Rule, Verdict
from rules.explain import RuleExplanation
from rules.rulebook import Case, RuleBook

_Key = tuple[str, int, str]


class ConditionCoverage(Struct, frozen=True):
    """How often tests saw one condition how."""

    text: str
    file: str
    line: int
    true: int
    false: int
    missing: int

    @property
    def shown(self) -> int:
        """0, 1 or 2: has it been true, has it been false?"""
        return (self.true > 0) + (self.false > 0)


class RuleCoverage(Struct, frozen=True):
    """How often tests saw a rule come out how, and its conditions."""

    rule: str
    file: str
    line: int
    #: Verdict -> number of tests that expected it and got it.
    verdicts: dict[str, int]
    conditions: tuple[ConditionCoverage, ...]


class Coverage(Struct, frozen=True):
    """All rules, and the share of conditions' two sides that some test has shown."""

    rules: tuple[RuleCoverage, ...]
    #: Sides that were shown, of two for every condition.
    shown: int
    sides: int

    @property
    def share(self) -> float:
        """0 to 1; 1 for rules without a condition."""
        return self.shown / self.sides if self.sides else 1.0


class _Watched(RuleBook):
    """A rule book that remembers what it explained."""

    def __init__(self, book: RuleBook) -> None:
        self.__dict__.update(book.__dict__)
        self.explained: list[tuple[RuleExplanation, ...]] = []
        self.cases: list[Case] = []

    def explain(self, case: Case, rule: str | None = None) -> tuple[RuleExplanation, ...]:
        found = super().explain(case, rule)
        self.explained.append(found)
        self.cases.append(case)
        return found


def cases_of_tests(book: RuleBook) -> list[Case]:
    """Every case that the tests inside the files judge."""
    watched = _Watched(book)
    run_tests(watched)
    return watched.cases


def run_with_coverage(book: RuleBook) -> tuple[TestReport, Coverage]:
    """Run every test and count what its rule looked at: only expectations count, not what was judged beside them."""
    watched = _Watched(book)
    report = run_tests(watched)
    verdicts: dict[str, dict[str, int]] = {}
    seen: dict[tuple[str, _Key], list[int]] = {}
    for result, explanations in zip(report.results, watched.explained, strict=True):
        if not result.passed:
            continue
        explanation = next(e for e in explanations if e.rule == result.rule)
        counts = verdicts.setdefault(result.rule, {})
        counts[result.found] = counts.get(result.found, 0) + 1
        for line in explanation.conditions:
            place = seen.setdefault((result.rule, (line.file, line.line, _plain(line.text))), [0, 0, 0])
            place[("pass", "fail", "unknown").index(line.verdict)] += 1
    rules = tuple(_rule(rule, verdicts.get(rule.id, {}), seen) for rule in book.rules.rules)
    conditions = [c for r in rules for c in r.conditions]
    return report, Coverage(rules, sum(c.shown for c in conditions), 2 * len(conditions))


def _rule(rule: Rule, verdicts: dict[str, int], seen: dict[tuple[str, _Key], list[int]]) -> RuleCoverage:
    lines = []
    for key in dict.fromkeys(_keys(rule)):
        true, false, missing = seen.get((rule.id, key), (0, 0, 0))
        lines.append(ConditionCoverage(key[2], key[0], key[1], true, false, missing))
    ordered = {v.value: verdicts.get(v.value, 0) for v in Verdict}
    return RuleCoverage(rule.id, rule.location.file, rule.location.line, ordered, tuple(lines))


def _keys(rule: Rule) -> Iterator[_Key]:
    """Every condition that is written in the rule, and every count that it asks for."""
    yield from map(_key, rule.applies_to)
    for r in rule.require:
        if r.kind is Kind.COUNT:
            yield r.location.file, r.location.line, f"number of {r.subject}"
            continue
        yield from map(_key, (*r.where, *r.check))
        for alternative in r.alternatives:
            yield from map(_key, alternative)


def _key(condition: Condition) -> _Key:
    return condition.location.file, condition.location.line, condition.text


def _plain(text: str) -> str:
    """A tally without the values it was made with."""
    return text.partition(" (")[0] if text.startswith("number of ") else text


def words(coverage: Coverage) -> str:
    """For people: every condition that was not shown both ways, then the sum."""
    found = []
    for rule in coverage.rules:
        counts = ", ".join(f"{n} {name}" for name, n in rule.verdicts.items() if n) or "no test"
        found.append(f"{rule.file}:{rule.line}: {rule.rule}: {counts}")
        for c in rule.conditions:
            gaps = [side for side, n in (("true", c.true), ("false", c.false)) if not n]
            if gaps:
                found.append(f"    line {c.line}: {c.text}   was never {' or '.join(gaps)}")
    found.append(f"{coverage.shown} of {coverage.sides} sides of conditions shown ({coverage.share:.0%})")
    return "\n".join(found)
