"""Two rule sets compared in words: what a person has to know before saying yes to the newer one.

Rules, reactions, tables, the vocabulary and the tests, each change in a sentence. What may not enter: who may say
yes, and when it counts; that is engine/rulesets.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from rules.compiled import Condition, Kind, ReactionRule, Requirement, Rule, Table, Type
from rules.facts import KindOfFact, show
from rules.parse import Node
from rules.rulebook import RuleBook
from rules.units import format_number

#: Rows of one table that are told one by one; the rest are counted.
MAX_ROWS = 200
_RULE_WORDS = ("title", "severity", "on_fail", "message", "owner", "reference", "rationale")


class Change(Struct, frozen=True):
    """One difference."""

    #: added, removed or changed
    kind: str
    #: ``rule SPEC-LIMITS``, ``table spec_limits``, ``vocabulary lot.colour``, ``tests incoming/items.yaml``
    what: str
    words: str

    def __str__(self) -> str:
        return f"{self.what}: {self.words}"


def differences(old: RuleBook, new: RuleBook) -> tuple[Change, ...]:
    """What is different in ``new``, most weighty first. Empty only when the files are the same."""
    changes = [
        *_rules(old, new),
        *_reactions(old, new),
        *_tables(old, new),
        *_vocabulary(old, new),
        *_tests(old, new),
    ]
    if not changes and old.digest != new.digest:
        names = sorted(n for n in {*old.sources, *new.sources} if old.sources.get(n) != new.sources.get(n))
        changes = [Change("changed", f"file {name}", "only comments or layout") for name in names]
    return tuple(changes)


def _pairs(old: Iterable[Any], new: Iterable[Any]) -> Iterator[tuple[str, Any, Any]]:
    """(id, old or None, new or None), removed ones first."""
    before, after = {r.id: r for r in old}, {r.id: r for r in new}
    for name in (*(n for n in before if n not in after), *after):
        yield name, before.get(name), after.get(name)


# -- rules -------------------------------------------------------------------------------------------------------


def _rules(old: RuleBook, new: RuleBook) -> Iterator[Change]:
    for name, was, is_ in _pairs(old.rules.rules, new.rules.rules):
        what = f"rule {name}"
        if is_ is None:
            yield Change("removed", what, f"gone; it was: {was.title} ({_weight(was)})")
        elif was is None:
            yield Change("added", what, f"new: {is_.title} ({_weight(is_)}{_since(is_)})")
        else:
            yield from (Change("changed", what, words) for words in _rule_words(was, is_))


def _weight(rule: Rule) -> str:
    return f"{rule.severity.value} at {', '.join(rule.gates)}"


def _since(rule: Rule | ReactionRule) -> str:
    return f", {_days(rule)}" if rule.effective_from is not None or rule.effective_to is not None else ""


def _days(rule: Rule | ReactionRule) -> str:
    parts = [
        f"{word} {show(day, Type.DATE)}"
        for word, day in (("from", rule.effective_from), ("to", rule.effective_to))
        if day is not None
    ]
    return " ".join(parts) or "always"


def _rule_words(was: Rule, is_: Rule) -> Iterator[str]:
    for gate in was.gates:
        if gate not in is_.gates:
            yield f"no longer guards {gate}"
    for gate in is_.gates:
        if gate not in was.gates:
            yield f"now also guards {gate}"
    for name in _RULE_WORDS:
        before, after = _word(getattr(was, name)), _word(getattr(is_, name))
        if before != after:
            yield f"{name} was {before}, is {after}"
    if (was.effective_from, was.effective_to) != (is_.effective_from, is_.effective_to):
        yield f"in force was {_days(was)}, is {_days(is_)}"
    yield from _lines("applies to", _texts(was.applies_to), _texts(is_.applies_to))
    yield from _lines("requires", requirement_lines(was.require), requirement_lines(is_.require))


def _word(value: Any) -> str:
    if value is None:
        return "not set"
    return str(getattr(value, "value", None) or f'"{value}"')


def _texts(conditions: Iterable[Condition]) -> list[str]:
    return [" ".join(c.text.split()) for c in conditions]


def _lines(verb: str, before: list[str], after: list[str]) -> Iterator[str]:
    for line in before:
        if line not in after:
            yield f"no longer {verb}: {line}"
    for line in after:
        if line not in before:
            yield f"now {verb}: {line}"


def requirement_lines(requirements: Iterable[Requirement]) -> list[str]:
    """Requirements as lines of text, each line whole without its neighbours."""
    found: list[str] = []
    for r in requirements:
        found += _requirement(r)
    return found


def _requirement(r: Requirement) -> Iterator[str]:
    head = r.kind.value if r.kind is not Kind.CONDITIONS else ""
    if r.subject is not None:
        where = _texts(r.where)
        head += f" {r.subject}" + (f" where {' and '.join(where)}" if where else "")
    if r.distinct is not None:
        head += f" (distinct {r.distinct})"
    for look_up, word in ((r.row, "row"), (r.for_each, "for each")):
        if look_up is not None:
            head += f" [{word} {look_up.text}]"
    head = head.strip()
    if r.at_least or r.kind is Kind.COUNT:
        least = r.at_least if isinstance(r.at_least, int) else f"row.{r.at_least.name}"
        yield f"{head}: at least {least}"
    elif r.kind is Kind.NONE:
        yield head
    if r.alternatives:
        yield "any of: " + ", or ".join(" and ".join(_texts(a)) for a in r.alternatives)
    for line in _texts(r.check):
        yield f"{head}: {line}" if head else line


def _reactions(old: RuleBook, new: RuleBook) -> Iterator[Change]:
    for name, was, is_ in _pairs(old.rules.reactions, new.rules.reactions):
        what = f"reaction {name}"
        if is_ is None:
            yield Change("removed", what, f"gone; it was: {_deed(was)} after {was.after}")
        elif was is None:
            yield Change("added", what, f"new: {is_.title} ({_deed(is_)} after {is_.after}{_since(is_)})")
        else:
            yield from (Change("changed", what, words) for words in _reaction_words(was, is_))


def _reaction_words(was: ReactionRule, is_: ReactionRule) -> Iterator[str]:
    if (was.do, was.to, was.after) != (is_.do, is_.to, is_.after):
        yield f"was {_deed(was)} after {was.after}, is {_deed(is_)} after {is_.after}"
    for name, first, second in (("title", was.title, is_.title), ("message", was.message, is_.message)):
        if first != second:
            yield f'{name} was "{first}", is "{second}"'
    if (was.effective_from, was.effective_to) != (is_.effective_from, is_.effective_to):
        yield f"in force was {_days(was)}, is {_days(is_)}"
    yield from _lines("when", requirement_lines(was.when), requirement_lines(is_.when))


def _deed(reaction: ReactionRule) -> str:
    return f"{reaction.do} to {reaction.to}" if reaction.to else reaction.do


# -- tables ------------------------------------------------------------------------------------------------------


def _tables(old: RuleBook, new: RuleBook) -> Iterator[Change]:
    before, after = old.rules.tables, new.rules.tables
    for name in sorted({*before, *after}):
        what = f"table {name}"
        if name not in after:
            yield Change("removed", what, f"gone; it had {len(before[name].rows)} rows")
        elif name not in before:
            yield Change("added", what, f"new, with {len(after[name].rows)} rows")
        elif (before[name].columns, before[name].match) != (after[name].columns, after[name].match):
            now = after[name]
            words = f"its columns are now {', '.join(now.columns)}, matched by {', '.join(now.match)}"
            yield Change("changed", what, words)
        else:
            yield from _rows(what, before[name], after[name])


def _rows(what: str, old: Table, new: Table) -> Iterator[Change]:
    before, after = _keyed(old), _keyed(new)
    told = 0
    rest = 0
    for key in dict.fromkeys((*before, *after)):
        was, is_ = before.get(key), after.get(key)
        if was == is_:
            continue
        if told == MAX_ROWS:
            rest += 1
            continue
        told += 1
        yield _row(what, ", ".join(key), was, is_)
    if rest:
        yield Change("changed", what, f"and {rest} more rows")


def _row(what: str, key: str, was: Mapping[str, str] | None, is_: Mapping[str, str] | None) -> Change:
    if is_ is None:
        return Change("removed", what, f"row {key} is gone ({_cells(was or {})})")
    if was is None:
        return Change("added", what, f"row {key} is new ({_cells(is_)})")
    words = [f"{c} was {was[c]}, is {is_[c]}" for c in is_ if was[c] != is_[c]]
    return Change("changed", what, f"row {key}: {'; '.join(words)}")


def _cells(row: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items()) or "no other columns"


def _keyed(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    """Rows by their match columns, every cell as people write it."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    others = [c for c in table.columns if c not in table.match]
    for number, row in enumerate(table.rows):
        key = tuple(
            _range(table, number) if at == table.range_at else show(row[c], table.types[c])
            for at, c in enumerate(table.match)
        )
        rows[key] = {c: show(row[c], table.types[c]) for c in others}
    return rows


def _range(table: Table, number: int) -> str:
    found = table.ranges[number]
    return f"{format_number(found.low)}..{format_number(found.high)}"


# -- vocabulary and tests ----------------------------------------------------------------------------------------


def _vocabulary(old: RuleBook, new: RuleBook) -> Iterator[Change]:
    before, after = _fields(old.vocabulary), _fields(new.vocabulary)
    for name in sorted({*before, *after}):
        what = f"vocabulary {name}"
        if name not in after:
            yield Change("removed", what, f"gone; it was {before[name]}")
        elif name not in before:
            yield Change("added", what, f"new: {after[name]}")
        elif before[name] != after[name]:
            yield Change("changed", what, f"was {before[name]}, is {after[name]}")


def _fields(vocabulary: Mapping[str, KindOfFact]) -> dict[str, str]:
    found = {}
    for kind in vocabulary.values():
        found[kind.name] = "one a lot" if kind.one else "many a lot"
        for field in kind.fields.values():
            words = field.type.value
            words += f" in {field.unit}" if field.unit else ""
            words += f" ({', '.join(field.choices)})" if field.choices else ""
            found[f"{kind.name}.{field.name}"] = words + (", required" if field.required else "")
    return found


def _tests(old: RuleBook, new: RuleBook) -> Iterator[Change]:
    before, after = _test_texts(old), _test_texts(new)
    for file in sorted({*before, *after}):
        was, is_ = before.get(file, {}), after.get(file, {})
        what = f"tests {file}"
        for name in was:
            if name not in is_:
                yield Change("removed", what, f'"{name}" is gone')
        for name, text in is_.items():
            if name not in was:
                yield Change("added", what, f'"{name}" is new')
            elif was[name] != text:
                yield Change("changed", what, f'"{name}" was changed')


def _test_texts(book: RuleBook) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in book.files:
        for node in (file.tests.items or []) if file.tests is not None else []:
            title = (node.entries or {}).get("name")
            if title is not None:
                found.setdefault(file.name, {})[title[1].text or ""] = _plain(node)
    return found


def _plain(node: Node) -> Any:
    """A tree without its positions."""
    if node.entries is not None:
        return {name: _plain(value) for name, (_, value) in node.entries.items()}
    return [_plain(item) for item in node.items] if node.items is not None else node.text
