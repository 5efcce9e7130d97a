"""Why, and why not: every rule of a gate, every condition with both values, its verdict, its file and line."""

import re

from msgspec import Struct

from rules import reference
from rules.compiled import (
    ColumnRef,
    Condition,
    Constants,
    Fact,
    FieldRef,
    Kind,
    Operand,
    Requirement,
    Row,
    Rule,
    RuleSet,
    Table,
    Type,
    Value,
    Verdict,
)
from rules.facts import show
from rules.world import World, finder, getter, missing_row, test_of

_PLACEHOLDER = re.compile(r"\{(\w+)\.(\w+)\}")
_EMPTY: Fact = {}


class ConditionExplanation(Struct, frozen=True):
    """One condition with what it saw."""

    text: str
    file: str
    line: int
    left: str
    right: str
    #: pass, fail or unknown
    verdict: str


class RuleExplanation(Struct, frozen=True):
    """One rule with everything it looked at."""

    rule: str
    title: str
    verdict: str
    severity: str
    message: str
    file: str
    line: int
    owner: str
    reference: str
    rationale: str
    conditions: tuple[ConditionExplanation, ...]


def name_of(operand: FieldRef | ColumnRef) -> str:
    """``result.value``, ``row.lower``."""
    return f"{operand.kind}.{operand.name}" if isinstance(operand, FieldRef) else f"row.{operand.name}"


def written(operand: Operand, value: Value | None) -> str:
    """A value as people write it, ``missing`` when it is not there."""
    if isinstance(operand, Constants):
        return "[" + ", ".join(show(v, operand.type) for v in operand.values) + "]"
    if value is None:
        return "missing"
    return show(value, operand.type)


def message_of(rule: Rule, judged: reference.Judged, world: World, types: dict[str, dict[str, Type]]) -> str:
    """The rule's message with the values that decided it; what is missing where it is unknown."""
    outcome = judged.outcome
    if outcome.missing:
        return outcome.missing
    subject = next((r.subject for r in rule.require if r.subject is not None), None)

    def value_of(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        if kind == "row":
            if name not in outcome.row:
                return "–"
            return show(outcome.row[name], _row_type(rule, name, types))
        source = outcome.fact if kind == subject and outcome.fact else world.one.get(kind, _EMPTY)
        value = source.get(name)
        return "–" if value is None else show(value, types[kind][name])

    return _PLACEHOLDER.sub(value_of, rule.message)


def told(text: str, world: World, types: dict[str, dict[str, Type]]) -> str:
    """``text`` with the values of single facts in its placeholders."""

    def value_of(match: re.Match[str]) -> str:
        value = world.one.get(match[1], _EMPTY).get(match[2])
        return "–" if value is None else show(value, types[match[1]][match[2]])

    return _PLACEHOLDER.sub(value_of, text)


def _row_type(rule: Rule, column: str, types: dict[str, dict[str, Type]]) -> Type:
    tables = [used.table for r in rule.require for used in (r.row, r.for_each) if used is not None]
    return next((types[f"table {t}"][column] for t in tables if column in types[f"table {t}"]), Type.CODE)


def explain_rule(
    rule: Rule, judged: reference.Judged, world: World, rules: RuleSet, types: dict[str, dict[str, Type]]
) -> RuleExplanation:
    """``rule`` with every condition it looked at for ``world``."""
    lines = [_line(c, None, world, _EMPTY, {}) for c in rule.applies_to]
    if judged.verdict not in (Verdict.NOT_APPLICABLE, Verdict.NOT_EFFECTIVE):
        for requirement in rule.require:
            lines += _requirement(requirement, world, rules.tables)
    message = "" if judged.verdict is Verdict.PASS else message_of(rule, judged, world, types)
    if judged.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_EFFECTIVE):
        message = ""
    return RuleExplanation(
        rule.id, rule.title, judged.verdict.value, rule.severity.value, message, rule.location.file,
        rule.location.line, rule.owner, rule.reference, rule.rationale, tuple(lines),
    )  # fmt: skip


def _line(
    condition: Condition, subject: str | None, world: World, fact: Fact, row: Row
) -> ConditionExplanation:
    truth = test_of(condition, subject)(world, fact, row)
    left = written(condition.left, getter(condition.left, subject)(world, fact, row))
    right = ""
    if condition.right is not None:
        value = getter(condition.right, subject)(world, fact, row)
        empty = isinstance(condition.right, ColumnRef) and condition.right.name in row and value is None
        right = "no limit" if empty else written(condition.right, value)
    verdict = {True: "pass", False: "fail", None: "unknown"}[truth]
    at = condition.location
    return ConditionExplanation(condition.text, at.file, at.line, left, right, verdict)


def _requirement(
    requirement: Requirement, world: World, tables: dict[str, Table]
) -> list[ConditionExplanation]:
    subject = requirement.subject
    if requirement.kind is Kind.ANY_OF:
        return [_line(c, None, world, _EMPTY, {}) for alternative in requirement.alternatives for c in alternative]
    if requirement.kind is Kind.COUNT:
        return _counts(requirement, world, tables)
    lines: list[ConditionExplanation] = []
    facts = [_EMPTY] if subject is None else list(world.facts.get(subject, ()))
    for fact in facts:
        row: Row = {}
        if requirement.row is not None:
            found = finder(requirement.row, tables, subject)(world, fact)
            if found is None:
                lines.append(_no_row(requirement, world, fact))
                continue
            row = found
        lines += [_line(c, subject, world, fact, row) for c in (*requirement.where, *requirement.check)]
    if requirement.kind is Kind.EVERY and isinstance(requirement.at_least, int) and len(facts) < requirement.at_least:
        lines.append(_tally(requirement, str(len(facts)), str(requirement.at_least), "fail", str(subject)))
    return lines


def _counts(
    requirement: Requirement, world: World, tables: dict[str, Table]
) -> list[ConditionExplanation]:
    counts = reference.tallies(requirement, tables)(world)
    if counts is None:
        return [_no_row(requirement, world, _EMPTY)]
    lines = []
    for count in counts:
        needed = "missing" if count.needed is None else str(count.needed)
        if count.needed is None:
            verdict = "unknown"
        elif count.proven >= count.needed:
            verdict = "pass"
        else:
            verdict = "fail" if count.possible < count.needed else "unknown"
        which = ", ".join(str(v) for v in count.row.values() if isinstance(v, str))
        lines.append(_tally(requirement, str(count.proven), needed, verdict, which or str(requirement.subject)))
    return lines


def _tally(requirement: Requirement, left: str, right: str, verdict: str, which: str) -> ConditionExplanation:
    at = requirement.location
    text = f"number of {requirement.subject} ({which}) >= {right}"
    return ConditionExplanation(text, at.file, at.line, left, right, verdict)


def _no_row(requirement: Requirement, world: World, fact: Fact) -> ConditionExplanation:
    lookup = requirement.row or requirement.for_each
    if lookup is None:
        raise AssertionError("no look-up")
    subject = requirement.subject if requirement.row is not None else None
    text = missing_row(lookup, world, fact, subject)
    return ConditionExplanation(lookup.text, requirement.location.file, requirement.location.line, text, "", "unknown")


