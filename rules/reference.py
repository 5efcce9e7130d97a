"""The reference evaluator: three-valued, authoritative. Rules compiled to closures, indexed by gate and lot.

True, False and None (unknown: something is missing). A rule fails when any requirement is False, is unknown when any
is None, passes otherwise: so nothing that cannot be evaluated ever looks like a pass.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from rules.compiled import (
    ColumnRef,
    Condition,
    Constant,
    Constants,
    Fact,
    FieldRef,
    Kind,
    Requirement,
    Row,
    Rule,
    RuleSet,
    Table,
    Value,
    Verdict,
)
from rules.world import EMPTY, TRUE, Check, Outcome, Test, World, conjunction, finder, getter, missing_row


def check_of(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    """A closure that evaluates ``requirement``."""
    builders = {
        Kind.CONDITIONS: _conditions, Kind.EVERY: _every, Kind.NONE: _none, Kind.COUNT: _count, Kind.ANY_OF: _any_of,
    }  # fmt: skip
    return builders[requirement.kind](requirement, tables)


def _conditions(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    test = conjunction(requirement.check, None)
    conditions = requirement.check
    if requirement.row is None:

        def check(world: World) -> Outcome:
            truth = test(world, EMPTY, EMPTY)
            if truth is None:
                return Outcome(None, missing=_missing(conditions, None, world, EMPTY, EMPTY))
            return Outcome(truth)

        return check
    lookup = requirement.row
    find = finder(lookup, tables, None)

    def check_row(world: World) -> Outcome:
        row = find(world, EMPTY)
        if row is None:
            return Outcome(None, missing=missing_row(lookup, world, EMPTY, None))
        truth = test(world, EMPTY, row)
        missing = _missing(conditions, None, world, EMPTY, row) if truth is None else ""
        return Outcome(truth, row=row, missing=missing)

    return check_row


def _every(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    subject = requirement.subject
    if subject is None:
        raise AssertionError("every without a kind")
    where = conjunction(requirement.where, subject) if requirement.where else None
    test = conjunction(requirement.check, subject)
    find = None if requirement.row is None else finder(requirement.row, tables, subject)
    at_least = requirement.at_least if isinstance(requirement.at_least, int) else 0

    def check(world: World) -> Outcome:
        unknown: Outcome | None = None
        count = 0
        for fact in world.facts.get(subject, ()):
            row: Row | None = EMPTY if find is None else find(world, fact)
            chosen = True if where is None else where(world, fact, row or EMPTY)
            if chosen is False:
                continue
            count += 1
            if row is None or chosen is None:
                truth: bool | None = None
            else:
                truth = test(world, fact, row)
            if truth is False:
                return Outcome(False, fact, row or EMPTY)
            if truth is None and unknown is None:
                unknown = Outcome(None, fact, row or EMPTY, _why(requirement, world, fact, row))
        if count < at_least:
            needed = f"at least {at_least} {'is' if at_least == 1 else 'are'} needed"
            return Outcome(False, missing=f"{count or 'no'} {subject} recorded, {needed}")
        return unknown or TRUE

    return check


def _none(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    subject = requirement.subject
    if subject is None:
        raise AssertionError("none without a kind")
    where = conjunction(requirement.where, subject) if requirement.where else None
    find = None if requirement.row is None else finder(requirement.row, tables, subject)

    def check(world: World) -> Outcome:
        unknown: Outcome | None = None
        for fact in world.facts.get(subject, ()):
            row: Row | None = EMPTY if find is None else find(world, fact)
            truth = True if where is None else where(world, fact, row or EMPTY)
            if truth is True and row is None:
                truth = None
            if truth is True:
                return Outcome(False, fact, row or EMPTY)
            if truth is None and unknown is None:
                unknown = Outcome(None, fact, row or EMPTY, _why(requirement, world, fact, row))
        return unknown or TRUE

    return check


class Tally(Struct, frozen=True):
    """A count: how many are proven, how many are possible, how many are needed."""

    proven: int
    possible: int
    #: None: the needed number is missing.
    needed: int | None
    row: Row = EMPTY


def tallies(requirement: Requirement, tables: Mapping[str, Table]) -> Callable[[World], list[Tally] | None]:
    """A closure that counts for a COUNT requirement, once for every row of ``for_each``; None: no row at all.

    Both engines count with this; each then compares for itself.
    """
    subject = requirement.subject
    if subject is None:
        raise AssertionError("count without a kind")
    where = conjunction(requirement.where, subject) if requirement.where else None
    distinct, at_least = requirement.distinct, requirement.at_least
    rows_of = _rows(requirement, tables)
    if distinct is None and len(requirement.where) == 1:
        only = requirement.where[0]
        same = only.op == "=" and isinstance(only.left, FieldRef) and only.left.kind == subject
        if same and isinstance(only.right, ColumnRef):
            return _grouped(subject, only.left.name, only.right.name, at_least, rows_of)

    def count(world: World) -> list[Tally] | None:
        rows = rows_of(world)
        if rows is None:
            return None
        found = []
        for row in rows:
            proven: list[Any] = []
            possible: list[Any] = []
            for number, fact in enumerate(world.facts.get(subject, ())):
                truth = True if where is None else where(world, fact, row)
                value = number if distinct is None else fact.get(distinct)
                if truth is False:
                    continue
                possible.append(number if value is None else value)
                if truth is True and value is not None:
                    proven.append(value)
            needed = at_least if isinstance(at_least, int) else _needed(row.get(at_least.name))
            if distinct is None:
                found.append(Tally(len(proven), len(possible), needed, row))
            else:
                found.append(Tally(len(set(proven)), len(set(possible)), needed, row))
        return found

    return count


def _grouped(
    subject: str, name: str, column: str, at_least: int | ColumnRef, rows_of: Callable[[World], Sequence[Row] | None]
) -> Callable[[World], list[Tally] | None]:
    """As :func:`tallies` for ``where: [kind.field = row.column]``: facts are counted once, not once a row."""

    def count(world: World) -> list[Tally] | None:
        rows = rows_of(world)
        if rows is None:
            return None
        counts: dict[Any, int] = {}
        for fact in world.facts.get(subject, ()):
            value = fact.get(name)
            counts[value] = counts.get(value, 0) + 1
        blank = counts.pop(None, 0)
        every = sum(counts.values()) + blank
        found = []
        for row in rows:
            cell = row.get(column)
            proven = counts.get(cell, 0)
            possible = every if cell is None else proven + blank
            needed = at_least if isinstance(at_least, int) else _needed(row.get(at_least.name))
            found.append(Tally(0 if cell is None else proven, possible, needed, row))
        return found

    return count


def _needed(cell: Value | None) -> int | None:
    return None if cell is None else int(cell) // 1_000_000


def _rows(requirement: Requirement, tables: Mapping[str, Table]) -> Callable[[World], Sequence[Row] | None]:
    if requirement.for_each is not None:
        table = tables[requirement.for_each.table]
        keys = [getter(key, None) for key in requirement.for_each.keys]

        def each(world: World) -> Sequence[Row] | None:
            numbers = table.all_with(tuple([key(world, EMPTY, EMPTY) for key in keys]))
            return [table.rows[n] for n in numbers] or None

        return each
    if requirement.row is not None:
        find = finder(requirement.row, tables, None)

        def one(world: World) -> Sequence[Row] | None:
            row = find(world, EMPTY)
            return None if row is None else [row]

        return one
    return lambda world: [EMPTY]


def _count(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    tally = tallies(requirement, tables)
    lookup = requirement.for_each or requirement.row

    def check(world: World) -> Outcome:
        counts = tally(world)
        if counts is None:
            if lookup is None:
                raise AssertionError("rows without a look-up")
            return Outcome(None, missing=missing_row(lookup, world, EMPTY, None))
        unknown: Outcome | None = None
        for one in counts:
            if one.needed is None:
                unknown = unknown or Outcome(None, row=one.row, missing="the number that is needed is missing")
            elif one.possible < one.needed:
                return Outcome(False, row=one.row)
            elif one.proven < one.needed:
                unknown = unknown or Outcome(None, row=one.row, missing="a value is missing")
        return unknown or TRUE

    return check


def _any_of(requirement: Requirement, tables: Mapping[str, Table]) -> Check:
    tests = [conjunction(alternative, None) for alternative in requirement.alternatives]

    def check(world: World) -> Outcome:
        unknown = False
        for test in tests:
            truth = test(world, EMPTY, EMPTY)
            if truth is True:
                return TRUE
            unknown = unknown or truth is None
        return Outcome(None, missing="a value is missing") if unknown else Outcome(False)

    return check


def _why(requirement: Requirement, world: World, fact: Fact, row: Row | None) -> str:
    if row is None and requirement.row is not None:
        return missing_row(requirement.row, world, fact, requirement.subject)
    lines = (*requirement.where, *requirement.check)
    return _missing(lines, requirement.subject, world, fact, row or EMPTY)


def _missing(conditions: Sequence[Condition], subject: str | None, world: World, fact: Fact, row: Row) -> str:
    from rules.explain import name_of

    for condition in conditions:
        for operand in (condition.left, condition.right):
            named = isinstance(operand, FieldRef | ColumnRef)
            if named and getter(operand, subject)(world, fact, row) is None:
                return f"{name_of(operand)} is missing"  # type: ignore[arg-type]
    return "a value is missing"


# -- rules -----------------------------------------------------------------------------------------------------


class Judged(Struct):
    """A rule's verdict and what decided it."""

    verdict: Verdict
    outcome: Outcome


_PASS = Judged(Verdict.PASS, TRUE)
_NOT_APPLICABLE = Judged(Verdict.NOT_APPLICABLE, TRUE)
_NOT_EFFECTIVE = Judged(Verdict.NOT_EFFECTIVE, TRUE)


class Checks:
    """The checks of one rule set: requirements that say the same are one closure, however many rules have them."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._made: dict[tuple[Any, ...], Check] = {}

    def of(self, rule: Rule) -> tuple[Check, ...]:
        """The checks of ``rule``, in its order."""
        return tuple([self._one(requirement) for requirement in rule.require])

    def _one(self, requirement: Requirement) -> Check:
        key = _words_of(requirement)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = check_of(requirement, self._tables)
        return found


def _words_of(requirement: Requirement) -> tuple[Any, ...]:
    """All that ``requirement`` says, without where it stands: two with the same words have the same outcomes."""
    one = requirement
    lines = [tuple([(c.left, c.op, c.right) for c in part]) for part in (one.where, one.check, *one.alternatives)]
    lookups = [None if found is None else (found.table, found.keys) for found in (one.row, one.for_each)]
    return (one.kind, one.subject, one.at_least, one.distinct, *lookups, *lines)


class Bound(Struct):
    """A rule of the set, ready to judge. One flat thing, for a rule that was not asked for a while is read anew."""

    rule: Rule
    number: int
    #: What is still to be asked about its scope; None: nothing.
    applies: Test | None
    scope: tuple[Condition, ...]
    checks: tuple[Check, ...]
    #: Ordinals, both included; None: open.
    first: int | None
    last: int | None

    def judge(self, world: World) -> Judged:
        """What the rule says."""
        first, last, applies = self.first, self.last, self.applies
        if (first is not None and world.today < first) or (last is not None and world.today > last):
            return _NOT_EFFECTIVE
        applicable = True if applies is None else applies(world, EMPTY, EMPTY)
        if applicable is False:
            return _NOT_APPLICABLE
        unknown: Outcome | None = None
        if applicable is None:
            unknown = Outcome(None, missing=_missing(self.scope, None, world, EMPTY, EMPTY))
        for check in self.checks:
            outcome = check(world)
            if outcome.truth is False and applicable:
                return Judged(Verdict.FAIL, outcome)
            if outcome.truth is None and unknown is None:
                unknown = outcome
        return _PASS if unknown is None else Judged(Verdict.UNKNOWN, unknown)


def _bind(rule: Rule, number: int, scope: tuple[Condition, ...], checks: tuple[Check, ...]) -> Bound:
    applies = conjunction(scope, None) if scope else None
    return Bound(rule, number, applies, scope, checks, rule.effective_from, rule.effective_to)


class GateIndex(Struct):
    """The rules of one gate: those for every lot, and those for one value of a lot's field."""

    general: list[Bound]
    #: field of the lot -> value -> rules whose applies_to demands that value, which they do not ask again
    by_field: dict[str, dict[Value, list[Bound]]]
    #: field of the lot -> the same rules, asking for themselves
    asking: dict[str, list[Bound]]
    all: list[Bound]

    def for_lot(self, lot: Fact) -> list[Bound]:
        """Rules that can apply to ``lot``, in the order of the files."""
        if not self.by_field:
            return self.general
        found = list(self.general)
        for name, values in self.by_field.items():
            value = lot.get(name)
            # Without a value applicability is unknown, and unknown is never left out.
            found += self.asking[name] if value is None else values.get(value, ())
        if len(found) > 1:
            # A rule lies under one field, and once under each value: no rule is found twice.
            found.sort(key=_number)
        return found


_number = attrgetter("number")


def index_gates(rules: RuleSet) -> dict[str, GateIndex]:
    """Every gate's rules, indexed."""
    gates: dict[str, GateIndex] = {}
    made = Checks(rules.tables)
    for number, rule in enumerate(rules.rules):
        checks = made.of(rule)
        bound = _bind(rule, number, rule.applies_to, checks)
        key = _key_of(rule)
        found = bound
        if key is not None:
            found = _bind(rule, number, tuple([c for c in rule.applies_to if c is not key[0]]), checks)
        for gate in rule.gates:
            index = gates.setdefault(gate, GateIndex([], {}, {}, []))
            index.all.append(bound)
            if key is None:
                index.general.append(bound)
                continue
            index.asking.setdefault(key[1], []).append(bound)
            values = index.by_field.setdefault(key[1], {})
            for value in key[2]:
                values.setdefault(value, []).append(found)
    return gates


def _key_of(rule: Rule) -> tuple[Condition, str, tuple[Value, ...]] | None:
    """The condition of ``applies_to`` that fixes a field of the lot, the field, and its values."""
    for condition in rule.applies_to:
        left, right = condition.left, condition.right
        if isinstance(left, FieldRef) and left.kind == "lot":
            if condition.op == "=" and isinstance(right, Constant):
                return condition, left.name, (right.value,)
            if condition.op == "in" and isinstance(right, Constants):
                return condition, left.name, tuple(dict.fromkeys(right.values))
    return None
