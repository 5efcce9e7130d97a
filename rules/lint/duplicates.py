"""Rules that say what another rule says already: twice the same, or only where a stricter one applies anyway."""

from collections.abc import Iterator

from rules.compiled import Rule, Severity
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook
from rules.versions import requirement_lines

NAME = "duplicates"
_WEIGHT = {Severity.INFO: 0, Severity.WARN: 1, Severity.HOLD: 2, Severity.BLOCK: 3}


def check(book: RuleBook) -> Iterator[Remark]:
    """Pairs of rules that require the same; only rules with equal requirements are compared."""
    alike: dict[tuple[str, ...], list[Rule]] = {}
    for rule in book.rules.rules:
        alike.setdefault(tuple(sorted(requirement_lines(rule.require))), []).append(rule)
    for rules in alike.values():
        for at, later in enumerate(rules):
            for earlier in rules[:at]:
                yield from _pair(earlier, later)


def _pair(first: Rule, second: Rule) -> Iterator[Remark]:
    if not _meet(first, second):
        return
    one, two = _scope(first), _scope(second)
    if one == two and set(first.gates) & set(second.gates):
        yield _remark(second, first, "says the same as")
        return
    for inner, outer, narrow, wide in ((first, second, one, two), (second, first, two, one)):
        covered = set(inner.gates) <= set(outer.gates) and _WEIGHT[inner.severity] <= _WEIGHT[outer.severity]
        if wide < narrow and covered:
            yield _remark(inner, outer, "never decides anything: wherever it applies, so does the stricter")
            return


def _remark(rule: Rule, other: Rule, words: str) -> Remark:
    place = f"{other.location.file} line {other.location.line}"
    return Remark(NAME, Level.WARNING, rule.location, f"rule {rule.id} {words} {other.id}", f"see {place}")


def _scope(rule: Rule) -> frozenset[str]:
    return frozenset(" ".join(c.text.split()) for c in rule.applies_to)


def _meet(first: Rule, second: Rule) -> bool:
    """Is there a day on which both are in force?"""
    start = max(first.effective_from or 0, second.effective_from or 0)
    ends = [r.effective_to for r in (first, second) if r.effective_to is not None]
    return not ends or start <= min(ends)
