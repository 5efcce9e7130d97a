"""Placeholders that exist but will read "–", and braces that are none: the message is all that many people see."""

import re
from collections.abc import Iterator

from rules.compiled import Kind, Rule
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook

NAME = "placeholders"
_PLACEHOLDER = re.compile(r"\{(\w+)\.(\w+)\}")


def check(book: RuleBook) -> Iterator[Remark]:
    """Every rule's message."""
    for rule in book.rules.rules:
        yield from _counted(rule, book)
        rest = _PLACEHOLDER.sub("", rule.message)
        if "{" in rest or "}" in rest:
            words = f"the message of rule {rule.id} has a brace that belongs to no placeholder"
            yield Remark(NAME, Level.WARNING, rule.location, words, "a placeholder is written {lot.quantity}")


def _counted(rule: Rule, book: RuleBook) -> Iterator[Remark]:
    """A count has no single fact that decided, so its fields cannot be shown."""
    single = {r.subject for r in rule.require if r.kind in (Kind.EVERY, Kind.NONE)}
    for match in _PLACEHOLDER.finditer(rule.message):
        kind = book.vocabulary.get(match[1])
        if kind is not None and not kind.one and match[1] not in single:
            words = f"the message of rule {rule.id} uses {match[0]}, but a count has no single {match[1]} to show"
            yield Remark(NAME, Level.WARNING, rule.location, words, "it will read –; say it without the value")
