"""Tests inside rule files: given facts and a day, expected verdicts. Written in the same words as the rules."""

from datetime import date

from msgspec import Struct

from rules.compiled import Rule, Value, Verdict
from rules.facts import BadValue, KindOfFact, parse_date, parse_value
from rules.findings import Findings, Location, did_you_mean
from rules.parse import Node
from rules.rulebook import Case, RuleBook

TEST_KEYS = ("name", "at", "given", "expect")


class Result(Struct, frozen=True):
    """One expectation of one test."""

    test: str
    file: str
    line: int
    rule: str
    expected: str
    found: str

    @property
    def passed(self) -> bool:
        """True when the rule said what was expected."""
        return self.expected == self.found


class TestReport(Struct, frozen=True):
    """Every expectation, every mistake in the tests, and the rules that lack a test."""

    results: tuple[Result, ...]
    mistakes: tuple[str, ...]
    #: Rules without a test that expects a pass, or none that expects fail or unknown.
    untested: tuple[str, ...]

    __test__ = False

    @property
    def passed(self) -> bool:
        """True when every expectation is met and every test could be read."""
        return not self.mistakes and all(r.passed for r in self.results)

    def __str__(self) -> str:
        lines = list(self.mistakes)
        lines += [
            f"{r.file}:{r.line}: {r.test}: {r.rule} is {r.found}, expected {r.expected}"
            for r in self.results
            if not r.passed
        ]
        lines += [f"{rule} has no test that passes and one that does not" for rule in self.untested]
        failed = sum(not r.passed for r in self.results)
        lines.append(f"{len(self.results) - failed} expectations met, {failed} not")
        return "\n".join(lines)


def run_tests(book: RuleBook) -> TestReport:
    """Run every test of every file by the reference evaluator."""
    findings = Findings()
    results: list[Result] = []
    rules = {rule.id: rule for rule in book.rules.rules}
    for file in book.files:
        for node in (file.tests.items or []) if file.tests is not None else []:
            results += _run(node, file.name, book, rules, findings)
    expected: dict[str, set[str]] = {}
    for result in results:
        expected.setdefault(result.rule, set()).add(result.expected)
    untested = []
    for rule in book.rules.rules:
        seen = expected.get(rule.id, set())
        if "pass" not in seen or not seen & {"fail", "unknown"}:
            untested.append(rule.id)
    return TestReport(tuple(results), tuple(str(f) for f in findings.all), tuple(untested))


def _run(node: Node, file: str, book: RuleBook, rules: dict[str, Rule], findings: Findings) -> list[Result]:
    entries = node.entries or {}
    for name, (key, _) in entries.items():
        if name not in TEST_KEYS:
            findings.add(key.at, f'"{name}" is not known in a test', did_you_mean(name, TEST_KEYS))
    title = entries["name"][1].text if "name" in entries else None
    expect = entries["expect"][1].entries if "expect" in entries else None
    if title is None or expect is None:
        findings.add(node.at, 'a test has "name:" and "expect: {RULE: pass}"')
        return []
    before = len(findings.all)
    today = _day(entries, findings)
    facts = _facts(entries, book, findings)
    results = []
    for rule_id, (key, wanted) in expect.items():
        rule = rules.get(rule_id)
        if rule is None:
            words = f'test "{title}" expects something of rule {rule_id}, which does not exist'
            findings.add(key.at, words, did_you_mean(rule_id, rules))
            continue
        if wanted.text not in {v.value for v in Verdict}:
            hint = did_you_mean(wanted.text or "", [v.value for v in Verdict])
            findings.add(wanted.at, f'"{wanted.text}" is not a verdict', hint)
            continue
        if len(findings.all) == before:
            case = Case(rule.gates[0], facts, today)
            found = book.explain(case, rule_id)[0].verdict
            results.append(Result(title, file, key.at.line, rule_id, wanted.text or "", found))
    return results


def _day(entries: dict[str, tuple[Node, Node]], findings: Findings) -> int:
    entry = entries.get("at")
    if entry is None:
        return date(2026, 1, 1).toordinal()
    try:
        return parse_date(entry[1].text or "", "at")
    except BadValue as error:
        findings.add(entry[1].at, str(error), error.hint)
        return 1


def _facts(
    entries: dict[str, tuple[Node, Node]], book: RuleBook, findings: Findings
) -> dict[str, list[dict[str, Value]]]:
    facts: dict[str, list[dict[str, Value]]] = {}
    given = entries["given"][1] if "given" in entries else None
    if given is None or given.entries is None or "lot" not in given.entries:
        findings.add(given.at if given else Location("", 1, 1), 'a test has "given: {lot: {…}}"')
        return facts
    for name, (key, body) in given.entries.items():
        kind = book.vocabulary.get(name)
        if kind is None:
            findings.add(key.at, f'there is no kind of fact "{name}"', did_you_mean(name, book.vocabulary))
            continue
        items = [body] if body.entries is not None else body.items or []
        facts[name] = [_fact(item, kind, findings) for item in items]
    return facts


def _fact(node: Node, kind: KindOfFact, findings: Findings) -> dict[str, Value]:
    fact: dict[str, Value] = {}
    for name, (key, value) in (node.entries or {}).items():
        field = kind.fields.get(name)
        if field is None:
            hint = did_you_mean(name, kind.fields, f"{kind.name}.")
            findings.add(key.at, f'"{kind.name}" has no field "{name}"', hint)
            continue
        try:
            fact[name] = parse_value(value.text or "", field.type, field.choices, f"{kind.name}.{name}")
        except BadValue as error:
            findings.add(value.at, str(error), error.hint)
    for field in kind.fields.values():
        if field.required and field.name not in fact:
            findings.add(node.at, f'a {kind.name} always has "{field.name}"; this one has none')
    return fact


