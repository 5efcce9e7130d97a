"""Rules as violation patterns for the second engine: each way in which a rule can fail, one flat pattern.

A pattern is one flat ``all``: tests against constants, joins by equality of integers or order of numbers on fields
that are always there (a flag says whether they mean anything), the last term a join that is never false. Alternatives
become several patterns of one rule. A pattern matches exactly when the reference says FAIL.

Aliases and kinds of our own begin with a capital (ROW, TODAY, C count, U link) or end in one (M, a copy of a fact).
No fact and no library here: rules/rete_facts.py writes the facts, rules/rete.py runs both.
"""

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from rules.compiled import (
    ColumnRef,
    Condition,
    Constant,
    Constants,
    FieldRef,
    Kind,
    Lookup,
    Requirement,
    Rule,
    RuleSet,
    Today,
    Value,
)
from rules.rete_text import (
    NUMBER,
    ROW_NUMBER,
    SPARE,
    Shape,
    TooMuch,
    flag,
    fnv1a,
    link,
    literal,
    member,
    offset,
)

#: Patterns that one requirement may become; more would be a rule that nobody can read.
MAX_WAYS = 5000
ROW, TODAY = "ROW", "TODAY"
_COPY = "M"
_NEGATED = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in",
            "is present": "is missing", "is missing": "is present"}  # fmt: skip
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_WORDS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "!=": "$neq"}
_NEVER_FALSE = "_1"


class CannotCompile(Exception):
    """A rule cannot be said within the trusted part; the second engine is not used at all then."""


class Term(Struct, frozen=True):
    """One test on one alias: against a constant, or a join with an earlier alias. Fields are member names."""

    alias: str
    op: str
    field: str
    value: Value | None = None
    other: tuple[str, str] | None = None


class Link(Struct):
    """A look-up whose row number the host writes into a fact."""

    number: int
    requirement: Requirement
    gates: set[str]


class Count(Struct, frozen=True):
    """A count that the host makes for one rule at one gate; ``name`` is the kind under which it is asserted."""

    name: str
    gate: str
    requirement: Requirement


class Pattern(Struct, frozen=True):
    """One durable-rules rule: the rule it can fail, and the gate it belongs to (None: whichever is asked)."""

    number: int
    gate: str | None
    #: As the library reads it, in JSON.
    body: str
    #: Gates of the rule.
    gates: tuple[str, ...]
    #: Kinds of fact, each with its tests against constants: a path of the network.
    paths: tuple[tuple[str, str], ...]
    #: Fields of the lot with the value without which the pattern cannot match.
    keys: tuple[tuple[str, Value], ...]


Aliases = list[tuple[str, str]]
Ways = Iterator[tuple[list[Term], Aliases]]


def copy_of(alias: str) -> str:
    """The alias, or kind, of a copy of a fact: a pattern may not compare a fact with itself."""
    return alias + _COPY


class Patterns:
    """The patterns of a rule set, and what the host has to assert for them.

    Facts of which a lot has many are the same for every gate; what there is one of (the lot, the event), counts and
    links are asserted for each gate under a kind of its own, so that one network answers several gates at once.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self.shapes: dict[str, Shape] = {}
        self.offsets: set[int] = set()
        self.links: list[Link] = []
        self.counts: list[Count] = []
        self.all: list[Pattern] = []
        #: Kinds of which a lot has many -> gates that look at them.
        self.kinds: dict[str, set[str]] = {}
        #: Single kinds that each gate's patterns look at.
        self.singles: dict[str, set[str]] = {}
        #: Kinds (and ROW) of which a copy is asserted.
        self.copied: set[str] = set()
        self._tables = {name: f"T{number}" for number, name in enumerate(rules.tables)}
        self._link_of: dict[tuple[str | None, str, tuple[Any, ...]], Link] = {}
        self._found: list[tuple[int, str | None, tuple[str, ...], list[Term], Aliases]] = []
        self._serial = 0
        for number, rule in enumerate(rules.rules):
            for requirement in rule.require:
                self._serial += 1
                if requirement.subject is not None and requirement.kind is not Kind.COUNT:
                    self.kinds.setdefault(requirement.subject, set()).update(rule.gates)
                try:
                    self._add(number, rule, requirement)
                except (TooMuch, CannotCompile) as error:
                    raise CannotCompile(f"rule {rule.id}: {error}") from None
        for found in self._found:
            self.all.append(_pattern(*found[:3], self._guarded(found[3]), found[4]))
        self._found.clear()
        self._no_two_alike()

    def _guarded(self, terms: list[Term]) -> list[Term]:
        """A field that some pattern joins is 0 where it is missing: a test against a constant asks for its flag too."""
        guards = []
        for term in terms:
            shape = self.shapes.get(term.alias)
            if shape is not None and term.other is None and term.field in {member(name) for name in shape.joined}:
                guards.append(Term(term.alias, "=", f"H_{term.field}", 1))
        return [*terms, *guards]

    def table_kind(self, table: str) -> str:
        """The kind under which rows of ``table`` are asserted."""
        return self._tables[table]

    def _no_two_alike(self) -> None:
        names = {"kind", "id", "sid", "_0", "_1", "$s", ROW_NUMBER, NUMBER, SPARE}
        for shape in self.shapes.values():
            names |= {member(f) for f in shape.plain | shape.joined}
            names |= {flag(f) for f in shape.flagged | shape.joined}
        names |= {link(one.number) for one in self.links} | {offset(d) for d in self.offsets}
        if len({fnv1a(name) for name in names}) < len(names):
            raise CannotCompile("two field names have the same hash in the second engine; rename one")

    def _add(self, number: int, rule: Rule, requirement: Requirement) -> None:
        if requirement.row is not None and requirement.kind is not Kind.COUNT:
            self._link(requirement.row, requirement, rule.gates)
        for gate in rule.gates:
            if requirement.kind is Kind.COUNT or (requirement.kind is Kind.EVERY and requirement.at_least):
                self.counts.append(Count(f"C{self._serial}.{gate}", gate, requirement))
        shared = {ROW, copy_of(ROW), TODAY, requirement.subject, copy_of(requirement.subject or "")}
        for ways, (terms, aliases) in enumerate(self._violations(rule, requirement)):
            if ways >= MAX_WAYS:
                raise CannotCompile(f"it can fail in more than {MAX_WAYS} ways; split it")
            own = {alias for alias, _ in aliases} - shared
            if not own:
                self._found.append((number, None, rule.gates, terms, aliases))
                continue
            single = {alias.removesuffix(_COPY) for alias in own} & self._rules.singles
            for gate in rule.gates:
                self.singles.setdefault(gate, set()).update(single)
                named = [(alias, f"{kind}.{gate}" if alias in own else kind) for alias, kind in aliases]
                self._found.append((number, gate, rule.gates, terms, named))

    def _link(self, row: Lookup, requirement: Requirement, gates: tuple[str, ...]) -> None:
        """One link for every requirement of a kind that looks up the same row."""
        key = (requirement.subject, row.table, row.keys)
        if key in self._link_of:
            self._link_of[key].gates |= set(gates)
        else:
            self._link_of[key] = Link(len(self.links), requirement, set(gates))
            self.links.append(self._link_of[key])

    # -- violations --------------------------------------------------------------------------------------------

    def _violations(self, rule: Rule, requirement: Requirement) -> Ways:
        """Each way in which ``requirement`` is false: terms, and the aliases with their kinds in order."""
        number, kind = self._serial, requirement.kind
        if kind is Kind.COUNT or (kind is Kind.EVERY and requirement.at_least):
            short = [Term(f"C{number}", "<", SPARE, 0)]
            yield from self._with_scope(rule, short, [(f"C{number}", f"C{number}")], None)
        if kind is Kind.COUNT:
            return
        subject = requirement.subject
        base: list[Term] = []
        extra: Aliases = []
        if requirement.row is not None:
            base, extra = self._row_terms(requirement.subject, requirement.row)
        for way in self._broken(requirement, subject):
            yield from self._with_scope(rule, [*base, *(t for part in way for t in part)], extra, subject)

    def _broken(self, requirement: Requirement, subject: str | None) -> Iterable[tuple[list[Term], ...]]:
        where = [self._condition(c, subject, False) for c in requirement.where]
        if requirement.kind is Kind.NONE:
            return _product(where)
        if requirement.kind is Kind.ANY_OF:
            return _product(
                [
                    [way for c in alternative for way in self._condition(c, None, True)]
                    for alternative in requirement.alternatives
                ]
            )
        return (
            (*chosen, broken)
            for check in requirement.check
            for broken in self._condition(check, subject, True)
            for chosen in _product(where)
        )

    def _with_scope(self, rule: Rule, terms: list[Term], extra: Aliases, subject: str | None) -> Ways:
        applies = [self._condition(c, None, False) for c in rule.applies_to]
        for chosen in _product(applies):
            every = [*(t for part in chosen for t in part), *terms]
            used = {t.alias for t in every} | {t.other[0] for t in every if t.other is not None}
            singles = sorted(a for a in used if a in self._rules.singles)
            copies = sorted(copy_of(a) for a in self._rules.singles if copy_of(a) in used)
            # Joins look back: the date, copies, single facts, rows, and last the element that a quantifier is about.
            aliases = [(TODAY, TODAY)] if TODAY in used else []
            aliases += [(a, a) for a in (*copies, *singles)]
            aliases += [e for e in extra if e[0] != ROW]
            if copy_of(ROW) in used:
                aliases += [(copy_of(ROW), copy_of(kind)) for alias, kind in extra if alias == ROW]
            aliases += [e for e in extra if e[0] == ROW]
            if subject is not None:
                aliases += [(copy_of(subject), copy_of(subject))] if copy_of(subject) in used else []
                aliases.append((subject, subject))
            yield every, aliases

    def _row_terms(self, subject: str | None, row: Lookup) -> tuple[list[Term], Aliases]:
        number = self._link_of[subject, row.table, row.keys].number
        table = self.table_kind(row.table)
        if subject is None:
            terms = [Term(ROW, "=", ROW_NUMBER, other=(f"U{number}", ROW_NUMBER))]
            return terms, [(f"U{number}", f"U{number}"), (ROW, table)]
        return [Term(subject, "=", link(number), other=(ROW, ROW_NUMBER))], [(ROW, table)]

    # -- conditions --------------------------------------------------------------------------------------------

    def _condition(self, condition: Condition, subject: str | None, negate: bool) -> list[list[Term]]:
        """Alternatives of terms that say ``condition`` (or its opposite) is true, never when a side is missing."""
        op = _NEGATED[condition.op] if negate else condition.op
        left, right = condition.left, condition.right
        alias, field = _alias(left), member(left.name)
        if op in ("is present", "is missing"):
            self._shape(left).flagged.add(left.name)
            return [[Term(alias, "=", flag(left.name), 1 if op == "is present" else 0)]]
        if isinstance(right, Constant):
            self._shape(left).plain.add(left.name)
            return [[Term(alias, op, field, right.value)]]
        if isinstance(right, Constants):
            self._shape(left).plain.add(left.name)
            if op == "in":
                return [[Term(alias, "=", field, value)] for value in right.values]
            return [[Term(alias, "!=", field, value) for value in right.values]]
        if isinstance(right, Today):
            self.offsets.add(right.days)
            return [[self._has(left), Term(alias, op, field, other=(TODAY, offset(right.days)))]]
        if right is None:
            raise AssertionError(f"{op} without a right side")
        return self._join(condition, op, left, right, subject, negate)

    def _join(
        self, condition: Condition, op: str, left: FieldRef | ColumnRef, right: FieldRef | ColumnRef,
        subject: str | None, negate: bool,
    ) -> list[list[Term]]:  # fmt: skip
        alias, other = _alias(left), _alias(right)
        here, there = member(left.name), member(right.name)
        flags = [self._has(left), self._has(right)]
        if alias == other:
            self.copied.add(alias)
            same = ROW_NUMBER if alias == ROW else NUMBER
            found = [[flags[0], Term(copy_of(alias), "=", flag(right.name), 1),
                      Term(alias, "=", same, other=(copy_of(alias), same)),
                      Term(alias, op, here, other=(copy_of(alias), there))]]  # fmt: skip
        elif _rank(alias, subject) < _rank(other, subject):
            found = [[*flags, Term(other, _FLIPPED[op], there, other=(alias, here))]]
        else:
            found = [[*flags, Term(alias, op, here, other=(other, there))]]
        if isinstance(right, ColumnRef) and condition.op in ("<", "<=", ">", ">=") and not negate:
            # An empty cell is no limit: the condition holds.
            found.append([flags[0], Term(ROW, "=", flag(right.name), 0)])
        return found

    def _has(self, operand: FieldRef | ColumnRef) -> Term:
        self._shape(operand).joined.add(operand.name)
        return Term(_alias(operand), "=", flag(operand.name), 1)

    def _shape(self, operand: FieldRef | ColumnRef) -> Shape:
        return self.shapes.setdefault(_alias(operand), Shape(set(), set(), set()))


def _alias(operand: FieldRef | ColumnRef) -> str:
    return ROW if isinstance(operand, ColumnRef) else operand.kind


def _rank(alias: str, subject: str | None) -> tuple[int, str]:
    """Position of an alias in a pattern: joins look back."""
    if alias == subject:
        return 3, ""
    return (2, "") if alias == ROW else (1, alias)


def _product(parts: list[list[list[Term]]]) -> Iterable[tuple[list[Term], ...]]:
    if math.prod(len(part) for part in parts) > MAX_WAYS:
        raise CannotCompile(f"it can fail in more than {MAX_WAYS} ways; split it")
    return itertools.product(*parts)


# -- what the library reads ------------------------------------------------------------------------------------


def _pattern(number: int, gate: str | None, gates: tuple[str, ...], terms: list[Term], aliases: Aliases) -> Pattern:
    """A durable-rules rule: one flat ``all``, constants before joins, and the join that is never false last."""
    order = {alias: position for position, (alias, _) in enumerate(aliases)}
    parts: list[dict[str, Any]] = []
    paths = []
    for alias, kind in aliases:
        mine = list(dict.fromkeys(t for t in terms if t.alias == alias))
        tests = [_alpha(t) for t in mine if t.other is None]
        lines: list[Any] = [{"kind": kind}, *tests]
        for term in sorted((t for t in mine if t.other is not None), key=lambda t: t.op != "="):
            if term.other is None or order[term.other[0]] >= order[alias]:
                raise CannotCompile(f"a join of {alias} looks forward")
            lines.append(_beta(term))
        if order[alias] > 0:
            lines.append({"$gt": {_NEVER_FALSE: {aliases[0][0]: "_0"}}})
        parts.append({alias: {"$and": lines}})
        paths.append((kind, json.dumps(tests)))
    fixed = tuple(
        (t.field, t.value) for t in terms
        if t.alias == "lot" and t.op == "=" and t.value is not None and member(t.field) == t.field
    )  # fmt: skip
    return Pattern(number, gate, json.dumps({"all": parts}), gates, tuple(paths), fixed)


def _alpha(term: Term) -> dict[str, Any]:
    value = json.loads(literal(term.value)) if term.value is not None else None
    return {term.field: value} if term.op == "=" else {_WORDS[term.op]: {term.field: value}}


def _beta(term: Term) -> dict[str, Any]:
    if term.other is None:
        raise AssertionError("not a join")
    target = {term.other[0]: term.other[1]}
    return {term.field: target} if term.op == "=" else {_WORDS[term.op]: {term.field: target}}
