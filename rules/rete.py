"""The second engine: violation patterns in durable-rules' Rete network, within the part of it that can be trusted.

The library is not safe in general: it reads freed memory, loses matches and confuses hashes outside a narrow use.
So this room, the only one that imports it, keeps to that use and nothing else:

* one handle a gate (and shard), one session id a handle, warmed up once; facts asserted, actions drained, facts
  retracted, never while an action is pending; any error throws the handle away;
* flat facts with short ids of our own, every name checked for hash collisions; numbers as integers, yes/no as
  ``"y"``/``"n"``, no null, no nesting, one type a field;
* patterns are one flat ``all``: tests against constants, joins by equality of integers or order of numbers on fields
  that are always there (a ``h_`` flag says whether they mean anything), the last term a join that is never false;
* alternatives become several patterns of one rule.

What is resolved on the host, by the same code as the reference: table look-ups (the row becomes a fact), counts, the
date, what is missing. What Rete decides: every comparison. A pattern matches exactly when the reference says FAIL.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import durable_rules_engine as engine
from msgspec import Struct

from rules import reference
from rules.compiled import (
    ColumnRef,
    Condition,
    Constant,
    Constants,
    Facts,
    FieldRef,
    Kind,
    Requirement,
    Rule,
    RuleSet,
    Today,
    Value,
)

#: Patterns in one handle; far below the library's limits (4,000 rules, 255 joins of a node).
PATTERNS_PER_HANDLE = 120
#: Table rows that stay asserted in a handle; above that it is built anew.
RESIDENT_ROWS = 2000
#: Longer texts are replaced by their hash, on both sides.
MAX_TEXT = 200
_SID = '"sid":"1",'
_NEGATED = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in",
            "is present": "is missing", "is missing": "is present"}  # fmt: skip
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_WORDS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "!=": "$neq"}
_NEVER_FALSE = "_1"


class CannotCompile(Exception):
    """A rule cannot be said within the trusted part; the second engine is not used at all then."""


class NotEvaluated(Exception):
    """The engine gave an error: the handle is gone, and the lot has no second opinion."""


class Term(Struct, frozen=True):
    """One test on one alias: against a constant, or a join with an earlier alias."""

    alias: str
    op: str
    field: str
    value: Value | None = None
    other: tuple[str, str] | None = None


class Shape(Struct):
    """Which fields of a kind the patterns need: as they are, with a flag, with a default."""

    plain: set[str]
    flagged: set[str]
    joined: set[str]


class Link(Struct, frozen=True):
    """A look-up whose row number the host writes into a fact."""

    number: int
    requirement: Requirement


def literal(value: Value) -> str:
    """A value as both facts and patterns write it."""
    if value is True:
        return '"y"'
    if value is False:
        return '"n"'
    if isinstance(value, int):
        return str(value)
    return json.dumps(value if len(value) <= MAX_TEXT else hashlib.sha256(value.encode()).hexdigest())


def fnv1a(text: str) -> int:
    """The 32-bit hash by which the library knows names and ids."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def _ids() -> Iterator[str]:
    """Short ids whose hashes differ."""
    seen: set[int] = set()
    for number in itertools.count():
        identity = format(number, "x")
        if fnv1a(identity) not in seen:
            seen.add(fnv1a(identity))
            yield identity


_ID_POOL = list(itertools.islice(_ids(), 20_000))
_CASE_IDS, _ROW_IDS = _ID_POOL[:8000], _ID_POOL[8000:]


class GatePatterns:
    """The patterns of one gate, and what the host has to assert for them."""

    def __init__(self, rules: RuleSet, numbered: Sequence[tuple[int, Rule]]) -> None:
        self._rules = rules
        self.shapes: dict[str, Shape] = {}
        self.offsets: set[int] = set()
        self.links: list[Link] = []
        self.counts: list[tuple[int, Requirement]] = []
        #: (rule number, pattern)
        self.patterns: list[tuple[int, dict[str, Any]]] = []
        self._serial = 0
        for number, rule in numbered:
            for requirement in rule.require:
                self._serial += 1
                for terms, aliases in self._violations(rule, requirement):
                    self.patterns.append((number, _pattern(terms, aliases)))
        names = {"kind", "rid", "n", "m", "i", "_0", "_1", "id", "sid"}
        for shape in self.shapes.values():
            names |= shape.plain | {f"h_{f}" for f in shape.flagged | shape.joined} | shape.joined
        if len({fnv1a(name) for name in names}) < len(names):
            raise CannotCompile("two field names have the same hash in the second engine; rename one")

    # -- violations --------------------------------------------------------------------------------------------

    def _violations(self, rule: Rule, requirement: Requirement) -> Iterator[tuple[list[Term], list[tuple[str, str]]]]:
        """Each way in which ``requirement`` is false: terms, and the aliases with their kinds in order."""
        number, kind = self._serial, requirement.kind
        if kind in (Kind.COUNT, Kind.EVERY) and (kind is Kind.COUNT or requirement.at_least):
            self.counts.append((number, requirement))
            short = [Term(f"c{number}", "=", "i", other=(f"e{number}", "i")),
                     Term(f"c{number}", "<", "n", other=(f"e{number}", "m"))]  # fmt: skip
            extra = [(f"e{number}", f"e{number}"), (f"c{number}", f"c{number}")]
            yield from self._with_scope(rule, short, extra, None)
        if kind is Kind.COUNT:
            return
        subject = requirement.subject
        base: list[Term] = []
        extra = []
        if requirement.row is not None:
            base, extra = self._row_terms(number, requirement)
        where = [self._condition(c, subject, False) for c in requirement.where]
        if kind is Kind.NONE:
            ways: Iterable[tuple[list[Term], ...]] = itertools.product(*where)
        elif kind is Kind.ANY_OF:
            broken = [
                [way for c in alternative for way in self._condition(c, None, True)]
                for alternative in requirement.alternatives
            ]
            ways = itertools.product(*broken)
        else:
            ways = (
                (*chosen, broken)
                for check in requirement.check
                for broken in self._condition(check, subject, True)
                for chosen in itertools.product(*where)
            )
        for way in ways:
            yield from self._with_scope(rule, [*base, *(t for part in way for t in part)], extra, subject)

    def _with_scope(
        self, rule: Rule, terms: list[Term], extra: list[tuple[str, str]], subject: str | None
    ) -> Iterator[tuple[list[Term], list[tuple[str, str]]]]:
        applies = [self._condition(c, None, False) for c in rule.applies_to]
        for chosen in itertools.product(*applies):
            every = [*(t for part in chosen for t in part), *terms]
            used = {t.alias for t in every} | {t.other[0] for t in every if t.other is not None}
            aliases = [(a, a) for a in sorted(used) if a in self._rules.singles]
            mirrors = [(a, a) for a in sorted(used) if a.endswith("_m") and a != f"{subject}_m"]
            aliases = [*mirrors, *aliases]
            aliases = [("today", "today"), *aliases] if "today" in used else aliases
            element = [(subject, subject)] if subject is not None else []
            # Joins look back: the date, copies, single facts, rows, and last the element that a quantifier is about.
            links = [e for e in extra if e[0].startswith("u")]
            rows = [e for e in extra if e[0] == "row"]
            others = [e for e in extra if e not in links and e not in rows]
            mirror = [(f"{subject}_m", f"{subject}_m")] if f"{subject}_m" in used else []
            yield every, [*aliases, *links, *rows, *others, *mirror, *element]

    def _row_terms(self, number: int, requirement: Requirement) -> tuple[list[Term], list[tuple[str, str]]]:
        if requirement.row is None:
            raise AssertionError("no look-up")
        self.links.append(Link(number, requirement))
        table = f"t_{requirement.row.table}"
        if requirement.subject is None:
            terms = [Term("row", "=", "rid", other=(f"u{number}", "rid"))]
            return terms, [(f"u{number}", f"u{number}"), ("row", table)]
        return [Term(requirement.subject, "=", f"w{number}", other=("row", "rid"))], [("row", table)]

    # -- conditions --------------------------------------------------------------------------------------------

    def _condition(self, condition: Condition, subject: str | None, negate: bool) -> list[list[Term]]:
        """Alternatives of terms that say ``condition`` (or its opposite) is true, never when a side is missing."""
        op = _NEGATED[condition.op] if negate else condition.op
        left, right = condition.left, condition.right
        alias, field = self._place(left, subject)
        if op in ("is present", "is missing"):
            self._shape(left, subject).flagged.add(field)
            return [[Term(alias, "=", f"h_{field}", 1 if op == "is present" else 0)]]
        if isinstance(right, Constant):
            self._shape(left, subject).plain.add(field)
            return [[Term(alias, op, field, right.value)]]
        if isinstance(right, Constants):
            self._shape(left, subject).plain.add(field)
            if op == "in":
                return [[Term(alias, "=", field, value)] for value in right.values]
            return [[Term(alias, "!=", field, value) for value in right.values]]
        if isinstance(right, Today):
            self.offsets.add(right.days)
            return [[self._has(left, subject), Term(alias, op, field, other=("today", _offset(right.days)))]]
        if right is None:
            raise AssertionError(f"{op} without a right side")
        return self._join(condition, op, left, right, subject, negate)

    def _join(
        self, condition: Condition, op: str, left: FieldRef | ColumnRef, right: FieldRef | ColumnRef,
        subject: str | None, negate: bool,
    ) -> list[list[Term]]:  # fmt: skip
        alias, field = self._place(left, subject)
        other, name = self._place(right, subject)
        flags = [self._has(left, subject), self._has(right, subject)]
        if alias == other:
            # Two fields of one fact: compared with a copy of the fact, for a pattern may not compare a fact with itself.
            mirror = f"{alias}_m"
            self._mirror(alias)
            flags[1] = Term(mirror, "=", f"h_{name}", 1)
            joined = [Term(alias, "=", "n", other=(mirror, "n")), Term(alias, op, field, other=(mirror, name))]
            return [[*flags, *joined]]
        if self._rank(alias, subject) < self._rank(other, subject):
            alias, field, other, name, op = other, name, alias, field, _FLIPPED[op]
        found = [[*flags, Term(alias, op, field, other=(other, name))]]
        is_limit = isinstance(right, ColumnRef) and condition.op in ("<", "<=", ">", ">=")
        if is_limit and not negate:
            # An empty cell is no limit: the condition holds.
            found.append([flags[0], Term("row", "=", f"h_{right.name}", 0)])
        return found

    def _rank(self, alias: str, subject: str | None) -> int:
        """Position of an alias in a pattern: joins look back."""
        if alias == subject:
            return 3
        return 2 if alias == "row" else 1

    def _place(self, operand: FieldRef | ColumnRef, subject: str | None) -> tuple[str, str]:
        if isinstance(operand, ColumnRef):
            return "row", operand.name
        return operand.kind, operand.name

    def _has(self, operand: FieldRef | ColumnRef, subject: str | None) -> Term:
        alias, field = self._place(operand, subject)
        self._shape(operand, subject).joined.add(field)
        return Term(alias, "=", f"h_{field}", 1)

    def _shape(self, operand: FieldRef | ColumnRef, subject: str | None) -> Shape:
        return self.shapes.setdefault(self._place(operand, subject)[0], Shape(set(), set(), set()))

    def _mirror(self, alias: str) -> None:
        self.shapes.setdefault(f"{alias}_m", Shape(set(), set(), set()))


def _offset(days: int) -> str:
    return f"d_{'m' if days < 0 else 'p'}{abs(days)}"


def _pattern(terms: list[Term], aliases: list[tuple[str, str]]) -> dict[str, Any]:
    """A durable-rules rule: one flat ``all``, constants before joins, and the join that is never false last."""
    order = {alias: position for position, (alias, _) in enumerate(aliases)}
    parts = []
    for alias, kind in aliases:
        mine = [t for t in terms if t.alias == alias]
        lines: list[Any] = [{"kind": kind}]
        lines += [_alpha(t) for t in dict.fromkeys(t for t in mine if t.other is None)]
        joins = sorted((t for t in mine if t.other is not None), key=lambda t: t.op != "=")
        for term in joins:
            if term.other is None or order[term.other[0]] >= order[alias]:
                raise CannotCompile(f"a join of {alias} looks forward")
            lines.append(_beta(term))
        if order[alias] > 0:
            lines.append({"$gt": {_NEVER_FALSE: {aliases[0][0]: "_0"}}})
        parts.append({alias: {"$and": lines}})
    return {"all": parts}


def _alpha(term: Term) -> dict[str, Any]:
    value = json.loads(literal(term.value)) if term.value is not None else None
    return {term.field: value} if term.op == "=" else {_WORDS[term.op]: {term.field: value}}


def _beta(term: Term) -> dict[str, Any]:
    if term.other is None:
        raise AssertionError("not a join")
    target = {term.other[0]: term.other[1]}
    return {term.field: target} if term.op == "=" else {_WORDS[term.op]: {term.field: target}}


class Handle:
    """One Rete network with its one session."""

    def __init__(self, name: str, patterns: Sequence[tuple[int, dict[str, Any]]]) -> None:
        rules: dict[str, Any] = {f"r{i}": pattern for i, (_, pattern) in enumerate(patterns)}
        rules["w"] = {"all": [{"w": {"kind": "__w"}}]}
        self._numbers = {f"r{i}": number for i, (number, _) in enumerate(patterns)}
        self._handle = engine.create_ruleset(name, json.dumps(rules))
        #: Rows that stay asserted: fact id by (kind, row number).
        self.rows: dict[tuple[str, int], str] = {}
        self.today: tuple[int, str] | None = None
        self.put(f'{{"id":"w",{_SID}"kind":"__w","_0":0,"_1":1}}')
        self.drain()

    def put(self, fact: str) -> None:
        """Assert a fact."""
        engine.assert_fact(self._handle, fact)

    def take(self, fact: str) -> None:
        """Retract a fact; only when nothing is pending."""
        engine.retract_fact(self._handle, fact)

    def drain(self) -> set[int]:
        """Take every pending action; gives the numbers of the rules that matched."""
        found: set[int] = set()
        started = engine.start_action(self._handle)
        if not started:
            return found
        message, session = started[1], started[2]
        while message:
            name = message[2 : message.index('"', 2)]
            if name != "w":
                found.add(self._numbers[name])
            message = engine.complete_and_start_action(self._handle, session)
        return found

    def close(self) -> None:
        """Give the network back; the session first, or it leaks."""
        engine.delete_state(self._handle, "1")
        engine.delete_ruleset(self._handle)


class Gate:
    """The second engine for one gate."""

    def __init__(self, name: str, rules: RuleSet, numbered: Sequence[tuple[int, Rule]]) -> None:
        self._name = name
        self._rules = rules
        self._plan = GatePatterns(rules, numbered)
        self._in_force = [(n, r.effective_from, r.effective_to) for n, r in numbered]
        self._always = all(first is None and last is None for _, first, last in self._in_force)
        self._handles: list[Handle] | None = None
        tables = rules.tables
        self._counts = [(k, q, reference.tallies(q, tables) if q.kind is Kind.COUNT else None) for k, q in self._plan.counts]
        self._finders = [
            (link.number, link.requirement, reference.finder(link.requirement.row, tables, link.requirement.subject))
            for link in self._plan.links
            if link.requirement.row is not None
        ]
        self._shards = [
            self._plan.patterns[i : i + PATTERNS_PER_HANDLE]
            for i in range(0, len(self._plan.patterns), PATTERNS_PER_HANDLE)
        ]
        self._kinds = sorted(
            {s for s in self._plan.shapes if s != "row" and not s.endswith("_m")}
            | {q.subject for _, q, _ in self._finders if q.subject is not None}
            | {r.subject for _, rule in numbered for r in rule.require if r.kind is Kind.NONE and r.subject}
        )

    def failing(self, facts: Facts, today: int) -> list[int]:
        """Numbers of the rules that fail. Raises NotEvaluated; the networks are built anew next time."""
        try:
            matched = self._run(facts, today)
        except Exception as error:
            self._handles = None
            raise NotEvaluated(f"{type(error).__name__}: {error}") from error
        if not self._always:
            sleeping = {
                n for n, first, last in self._in_force
                if (first is not None and today < first) or (last is not None and today > last)
            }  # fmt: skip
            matched -= sleeping
        return sorted(matched)

    def _run(self, facts: Facts, today: int) -> set[int]:
        world = reference.world_of(facts, self._rules.singles, today)
        lines, rows = self._lines(world)
        if self._handles is None:
            self._handles = [Handle(f"{self._name}{i}", shard) for i, shard in enumerate(self._shards)]
        matched: set[int] = set()
        for position, handle in enumerate(self._handles):
            if len(handle.rows) + len(rows) > RESIDENT_ROWS:
                handle.close()
                handle = self._handles[position] = Handle(f"{self._name}{position}", self._shards[position])
            self._rows(handle, rows)
            self._today(handle, today)
            for line in lines:
                handle.put(line)
            matched |= handle.drain()
            for line in lines:
                handle.take(line)
        return matched

    def _lines(self, world: reference.World) -> tuple[list[str], set[tuple[str, int]]]:
        """The facts of a case as JSON, and the table rows they refer to."""
        ids = iter(_CASE_IDS)
        lines: list[str] = []
        rows: set[tuple[str, int]] = set()
        for kind in self._kinds:
            for number, fact in enumerate(world.facts.get(kind, ())):
                body = self._body(kind, fact, world, rows)
                lines.append(f'{{"id":"{next(ids)}",{_SID}"kind":"{kind}","n":{number},"_0":0,"_1":1{body}}}')
                if f"{kind}_m" in self._plan.shapes:
                    lines.append(f'{{"id":"{next(ids)}",{_SID}"kind":"{kind}_m","n":{number},"_0":0,"_1":1{body}}}')
        for number, requirement, find in self._finders:
            if requirement.subject is None:
                row = _row_number(find, requirement, world, {}, self._rules)
                if row is not None:
                    rows.add((f"t_{requirement.row.table}", row))  # type: ignore[union-attr]
                    lines.append(f'{{"id":"{next(ids)}",{_SID}"kind":"u{number}","rid":{row},"_0":0,"_1":1}}')
        for number, requirement, tally in self._counts:
            for i, (n, m) in enumerate(sorted(self._tallies(requirement, tally, world))):
                lines.append(f'{{"id":"{next(ids)}",{_SID}"kind":"c{number}","i":{i},"n":{n},"_0":0,"_1":1}}')
                lines.append(f'{{"id":"{next(ids)}",{_SID}"kind":"e{number}","i":{i},"m":{m},"_0":0,"_1":1}}')
        return lines, rows

    def _tallies(self, requirement: Requirement, tally: Any, world: reference.World) -> set[tuple[int, int]]:
        """Pairs of (possible, needed), each once: equal pairs say the same."""
        if tally is not None:
            counts = tally(world) or []
            return {(c.possible, c.needed) for c in counts if c.needed is not None}
        subject = requirement.subject or ""
        where = reference.conjunction(requirement.where, subject) if requirement.where else None
        elements = world.facts.get(subject, ())
        chosen = sum(1 for f in elements if where is None or where(world, f, {}) is not False)
        return {(chosen, int(requirement.at_least))}  # type: ignore[arg-type]

    def _body(self, kind: str, fact: Mapping[str, Value], world: reference.World, rows: set[tuple[str, int]]) -> str:
        """The fields of a fact that patterns look at, as JSON members."""
        parts: list[str] = []
        shape = self._plan.shapes.get(kind)
        if shape is not None:
            for name in shape.plain | shape.joined:
                value = fact.get(name)
                if value is not None:
                    parts.append(f',"{name}":{literal(value)}')
                elif name in shape.joined:
                    parts.append(f',"{name}":0')
            for name in shape.flagged | shape.joined:
                parts.append(f',"h_{name}":{0 if fact.get(name) is None else 1}')
        for number, requirement, find in self._finders:
            if requirement.subject == kind:
                row = _row_number(find, requirement, world, fact, self._rules)
                if row is not None:
                    rows.add((f"t_{requirement.row.table}", row))  # type: ignore[union-attr]
                # -1 joins no row: a missing row is unknown, not false
                parts.append(f',"w{number}":{-1 if row is None else row}')
        return "".join(parts)

    def _rows(self, handle: Handle, rows: set[tuple[str, int]]) -> None:
        for key in rows:
            if key in handle.rows:
                continue
            kind, number = key
            row = self._rules.tables[kind[2:]].rows[number]
            identity = _ROW_IDS[len(handle.rows)]
            parts = []
            shape = self._plan.shapes.get("row")
            for name in sorted(shape.plain | shape.joined | shape.flagged if shape else ()):
                if name not in row:
                    continue
                value = row[name]
                parts.append(f',"{name}":{0 if value is None else literal(value)}' if value is not None or name in shape.joined else "")  # type: ignore[union-attr]
                parts.append(f',"h_{name}":{0 if value is None else 1}')
            handle.put(f'{{"id":"{identity}",{_SID}"kind":"{kind}","rid":{number},"_0":0,"_1":1{"".join(parts)}}}')
            handle.rows[key] = identity

    def _today(self, handle: Handle, today: int) -> None:
        if not self._plan.offsets or (handle.today is not None and handle.today[0] == today):
            return
        if handle.today is not None:
            handle.take(handle.today[1])
        days = "".join(f',"{_offset(d)}":{today + d}' for d in sorted(self._plan.offsets))
        fact = f'{{"id":"t",{_SID}"kind":"today","_0":0,"_1":1{days}}}'
        handle.put(fact)
        handle.today = (today, fact)


def _row_number(
    find: Any, requirement: Requirement, world: reference.World, fact: Mapping[str, Value], rules: RuleSet
) -> int | None:
    if requirement.row is None:
        return None
    values = tuple(
        reference.getter(key, requirement.subject)(world, fact, {}) for key in requirement.row.keys
    )
    return None if None in values else rules.tables[requirement.row.table].find(values)


class ReteEngine:
    """The second engine for a whole rule set."""

    def __init__(self, rules: RuleSet) -> None:
        gates: dict[str, list[tuple[int, Rule]]] = {}
        for number, rule in enumerate(rules.rules):
            for gate in rule.gates:
                gates.setdefault(gate, []).append((number, rule))
        self._gates = {gate: Gate(gate, rules, numbered) for gate, numbered in gates.items()}

    def failing(self, gate: str, facts: Facts, today: int) -> list[int]:
        """Numbers of the rules of ``gate`` that fail. Raises NotEvaluated."""
        found = self._gates.get(gate)
        return [] if found is None else found.failing(facts, today)
