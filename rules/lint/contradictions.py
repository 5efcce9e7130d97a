"""Conditions that can never be true together, or always are: a rule that never judges looks like one that passes."""

from collections.abc import Iterator, Sequence

from rules.compiled import Condition, FieldRef, Kind, Requirement, Rule
from rules.lint.domains import contradiction, is_always_true, leaves_nothing
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook

NAME = "contradictions"


def check(book: RuleBook) -> Iterator[Remark]:
    """Every rule's conditions, and every reaction's."""
    for rule in book.rules.rules:
        yield from _together(rule.applies_to, f"rule {rule.id} never applies", Level.ERROR)
        yield from _requirements(rule.require, f"rule {rule.id}")
        yield from _against_itself(rule)
        for condition in _all(rule):
            yield from _alone(condition, book)
    for reaction in book.rules.reactions:
        yield from _requirements(reaction.when, f"reaction {reaction.id}")


def _all(rule: Rule) -> Iterator[Condition]:
    yield from rule.applies_to
    for requirement in rule.require:
        yield from (*requirement.where, *requirement.check)
        for alternative in requirement.alternatives:
            yield from alternative


def _requirements(requirements: Sequence[Requirement], what: str) -> Iterator[Remark]:
    plain = [c for r in requirements if r.kind is Kind.CONDITIONS and r.row is None for c in r.check]
    yield from _together(plain, f"{what} can never pass", Level.ERROR)
    for r in requirements:
        meaning = {
            Kind.EVERY: f"{what}: no {r.subject} is ever looked at",
            Kind.NONE: f"{what}: no {r.subject} is ever found, so this always passes",
            Kind.COUNT: f"{what}: no {r.subject} is ever counted",
        }.get(r.kind, f"{what} can never pass")
        if contradiction(r.where) is not None:
            yield from _together(r.where, meaning, Level.ERROR)
        elif r.kind is not Kind.CONDITIONS or r.row is not None:
            every = f"{what}: every {r.subject} that it looks at fails" if r.kind is Kind.EVERY else meaning
            yield from _together((*r.where, *r.check), every, Level.ERROR)
        for alternative in r.alternatives:
            yield from _together(alternative, f"{what}: this alternative can never be true", Level.WARNING)


def _together(conditions: Sequence[Condition], meaning: str, level: Level) -> Iterator[Remark]:
    found = contradiction(conditions)
    if found is None:
        return
    late, early = found
    why = "it is compared with itself" if early is None else f"it contradicts line {early.location.line}, {early.text}"
    yield Remark(NAME, level, late.location, f"{meaning}: {late.text} cannot be true here", why)


def _against_itself(rule: Rule) -> Iterator[Remark]:
    """``applies_to`` and ``require`` that exclude each other: the rule fails whenever it applies."""
    plain = [c for r in rule.require if r.kind is Kind.CONDITIONS and r.row is None for c in r.check]
    if contradiction(rule.applies_to) is not None or contradiction(plain) is not None:
        return
    found = contradiction((*rule.applies_to, *plain))
    if found is not None:
        late = found[0]
        words = f"rule {rule.id} fails whenever it applies: {late.text} contradicts applies_to"
        yield Remark(NAME, Level.WARNING, late.location, words, "if that is meant, say so in the rationale")


def _alone(condition: Condition, book: RuleBook) -> Iterator[Remark]:
    left = condition.left
    choices = book.vocabulary[left.kind].fields[left.name].choices if isinstance(left, FieldRef) else ()
    if is_always_true(condition, choices):
        words = f"{condition.text} is true of every value"
        yield Remark(NAME, Level.WARNING, condition.location, words, "leave it out, or ask whether it is present")
    elif leaves_nothing(condition, choices):
        words = f"{condition.text} is true of no value"
        yield Remark(NAME, Level.ERROR, condition.location, words, "all of them are listed")
