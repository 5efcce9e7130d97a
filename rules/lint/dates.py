"""Effective dates of a rule's versions: two in force on one day, or a day on which none is."""

import re
from collections.abc import Iterator
from itertools import pairwise

from rules.compiled import Rule, Type
from rules.facts import show
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook

NAME = "dates"
#: What people put behind an id when a rule gets a successor: ``-2026``, ``.v2``, ``-B``, ``_2``.
_VERSION = re.compile(r"[-_.](?:v?\d+|\d{4}(?:-\d{2}){0,2}|[A-Z])$", re.IGNORECASE)


def check(book: RuleBook) -> Iterator[Remark]:
    """Rules that are versions of each other: the same id but for its ending, at a common gate, with dates."""
    families: dict[str, list[Rule]] = {}
    for rule in book.rules.rules:
        families.setdefault(_VERSION.sub("", rule.id), []).append(rule)
    for versions in families.values():
        dated = [r for r in versions if r.effective_from is not None or r.effective_to is not None]
        if len(dated) > 1 and len({(r.effective_from, r.effective_to) for r in dated}) > 1:
            ordered = sorted(dated, key=lambda r: (r.effective_from or 0, r.effective_to or 10**9))
            for first, second in pairwise(ordered):
                yield from _pair(first, second)


def _pair(first: Rule, second: Rule) -> Iterator[Remark]:
    if not set(first.gates) & set(second.gates):
        return
    begins, ends = second.effective_from or 0, first.effective_to
    if ends is None or begins <= ends:
        last = [day for day in (ends, second.effective_to) if day is not None]
        until = f"to {_day(min(last))}" if last else "for ever"
        words = f"rules {first.id} and {second.id} are both in force from {_day(begins)} {until}"
        hint = f'write "to: {_day(begins - 1)}" in {first.id}' if begins > 1 else "give one of them dates"
        yield Remark(NAME, Level.WARNING, second.location, words, hint)
    elif begins > ends + 1:
        words = f"neither {first.id} nor {second.id} is in force from {_day(ends + 1)} to {_day(begins - 1)}"
        yield Remark(NAME, Level.WARNING, second.location, words, f'write "from: {_day(ends + 1)}" in {second.id}')


def _day(ordinal: int) -> str:
    return show(max(1, ordinal), Type.DATE)
