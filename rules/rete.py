"""The second engine: violation patterns in durable-rules' Rete network, within the part of it that can be trusted.

The library is not safe in general: it reads freed memory, loses matches and confuses hashes outside a narrow use.
So this room, the only one that imports it, keeps to that use and nothing else:

* one handle a shard of patterns, one session id a handle, warmed up once; facts asserted, actions drained, facts
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
from functools import lru_cache
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
    Lookup,
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


class Link(Struct):
    """A look-up whose row number the host writes into a fact."""

    number: int
    requirement: Requirement
    gates: set[str]


def literal(value: Value) -> str:
    """A value as both facts and patterns write it."""
    if value is True:
        return '"y"'
    if value is False:
        return '"n"'
    if isinstance(value, int):
        return str(value)
    return _text(value)


@lru_cache(maxsize=20_000)
def _text(value: str) -> str:
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


class Pattern(Struct, frozen=True):
    """One durable-rules rule: the rule it can fail, and the gate it belongs to (None: whichever is asked)."""

    number: int
    gate: str | None
    body: dict[str, Any]


class Count(Struct, frozen=True):
    """A count that the host makes for one rule at one gate."""

    name: str
    gate: str
    requirement: Requirement


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
        self._link_of: dict[tuple[str | None, str, tuple[Any, ...]], Link] = {}
        self._serial = 0
        for number, rule in enumerate(rules.rules):
            for requirement in rule.require:
                self._serial += 1
                if requirement.subject is not None and requirement.kind is not Kind.COUNT:
                    self.kinds.setdefault(requirement.subject, set()).update(rule.gates)
                self._add(number, rule, requirement)
        names = {"kind", "rid", "n", "spare", "_0", "_1", "id", "sid"}
        for shape in self.shapes.values():
            names |= shape.plain | {f"h_{f}" for f in shape.flagged | shape.joined} | shape.joined
        names |= {f"w{link.number}" for link in self.links} | {_offset(d) for d in self.offsets}
        if len({fnv1a(name) for name in names}) < len(names):
            raise CannotCompile("two field names have the same hash in the second engine; rename one")

    def _add(self, number: int, rule: Rule, requirement: Requirement) -> None:
        if requirement.row is not None and requirement.kind is not Kind.COUNT:
            self._link(requirement.row, requirement, rule.gates)
        for gate in rule.gates:
            if requirement.kind is Kind.COUNT or (requirement.kind is Kind.EVERY and requirement.at_least):
                self.counts.append(Count(f"{self._serial}.{gate}", gate, requirement))
        for terms, aliases in self._violations(rule, requirement):
            own = [alias for alias, kind in aliases if alias not in ("row", "today") and alias != requirement.subject
                   and alias != f"{requirement.subject}_m"]  # fmt: skip
            if not own:
                self.all.append(Pattern(number, None, _pattern(terms, aliases)))
                continue
            for gate in rule.gates:
                self.singles.setdefault(gate, set()).update(alias.removesuffix("_m") for alias in own)
                named = [(alias, f"{kind}.{gate}" if alias in own else kind) for alias, kind in aliases]
                self.all.append(Pattern(number, gate, _pattern(terms, named)))

    def _link(self, row: Lookup, requirement: Requirement, gates: tuple[str, ...]) -> None:
        """One link for every requirement of a kind that looks up the same row."""
        key = (requirement.subject, row.table, row.keys)
        if key in self._link_of:
            link = self._link_of[key]
            link.gates |= set(gates)
        else:
            link = self._link_of[key] = Link(len(self.links), requirement, set(gates))
            self.links.append(link)

    # -- violations --------------------------------------------------------------------------------------------

    def _violations(self, rule: Rule, requirement: Requirement) -> Iterator[tuple[list[Term], list[tuple[str, str]]]]:
        """Each way in which ``requirement`` is false: terms, and the aliases with their kinds in order."""
        number, kind = self._serial, requirement.kind
        if kind is Kind.COUNT or (kind is Kind.EVERY and requirement.at_least):
            short = [Term(f"c{number}", "<", "spare", 0)]
            yield from self._with_scope(rule, short, [(f"c{number}", f"c{number}")], None)
        if kind is Kind.COUNT:
            return
        subject = requirement.subject
        base: list[Term] = []
        extra = []
        if requirement.row is not None:
            base, extra = self._row_terms(requirement)
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
            mirrors = sorted(a for a in used if a.endswith("_m") and a != f"{subject}_m")
            singles = sorted(a for a in used if a in self._rules.singles)
            # Joins look back: the date, copies, single facts, rows, and last the element that a quantifier is about.
            aliases = [("today", "today")] if "today" in used else []
            aliases += [(a, a) for a in (*mirrors, *singles)]
            aliases += [e for e in extra if e[0] != "row"] + [e for e in extra if e[0] == "row"]
            aliases += [(f"{subject}_m", f"{subject}_m")] if f"{subject}_m" in used else []
            aliases += [(subject, subject)] if subject is not None else []
            yield every, aliases

    def _row_terms(self, requirement: Requirement) -> tuple[list[Term], list[tuple[str, str]]]:
        if requirement.row is None:
            raise AssertionError("no look-up")
        number = self._link_of[requirement.subject, requirement.row.table, requirement.row.keys].number
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

    def __init__(self, name: str, patterns: Sequence[Pattern]) -> None:
        rules: dict[str, Any] = {f"r{i}": pattern.body for i, pattern in enumerate(patterns)}
        rules["w"] = {"all": [{"w": {"kind": "__w"}}]}
        self._patterns = {f"r{i}": pattern for i, pattern in enumerate(patterns)}
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

    def drain(self) -> set[tuple[int, str | None]]:
        """Take every pending action; gives (rule number, gate) of the patterns that matched."""
        found: set[tuple[int, str | None]] = set()
        started = engine.start_action(self._handle)
        if not started:
            return found
        message, session = started[1], started[2]
        while message:
            name = message[2 : message.index('"', 2)]
            if name != "w":
                pattern = self._patterns[name]
                found.add((pattern.number, pattern.gate))
            message = engine.complete_and_start_action(self._handle, session)
        return found

    def close(self) -> None:
        """Give the network back; the session first, or it leaks."""
        engine.delete_state(self._handle, "1")
        engine.delete_ruleset(self._handle)


class _Encoder:
    """Writes the fields of one kind of fact; what can be prepared is."""

    def __init__(self, shape: Shape) -> None:
        flagged = shape.flagged | shape.joined
        self._fields = [
            (
                name,
                f',"{name}":' if name in shape.plain or name in shape.joined else None,
                f',"h_{name}":1' if name in flagged else "",
                (f',"{name}":0' if name in shape.joined else "") + (f',"h_{name}":0' if name in flagged else ""),
            )
            for name in sorted(shape.plain | flagged)
        ]

    def text(self, fact: Mapping[str, Value]) -> str:
        """JSON members, each with a comma before it."""
        text = ""
        for name, head, there, missing in self._fields:
            value = fact.get(name)
            if value is None:
                text += missing
            elif head is None:
                text += there
            elif value.__class__ is int:
                text += f"{head}{value}{there}"
            else:
                text += f"{head}{literal(value)}{there}"
        return text


class Asked(Struct):
    """A case as the second engine sees it."""

    gate: str
    facts: Facts
    today: int


class ReteEngine:
    """The second engine for a whole rule set."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._plan = Patterns(rules)
        self._shards = [
            self._plan.all[i : i + PATTERNS_PER_HANDLE] for i in range(0, len(self._plan.all), PATTERNS_PER_HANDLE)
        ]
        self._handles: list[Handle] | None = None
        self._of_gate: dict[str, set[int]] = {}
        for number, rule in enumerate(rules.rules):
            for gate in rule.gates:
                self._of_gate.setdefault(gate, set()).add(number)
        self._dated = [
            (n, r.effective_from or 0, r.effective_to or 10**7)
            for n, r in enumerate(rules.rules)
            if r.effective_from is not None or r.effective_to is not None
        ]
        tables = rules.tables
        self._finders = [
            (link, reference.row_number(link.requirement.row, tables, link.requirement.subject))
            for link in self._plan.links
            if link.requirement.row is not None
        ]
        self._counts = [
            (c, reference.tallies(c.requirement, tables) if c.requirement.kind is Kind.COUNT else None)
            for c in self._plan.counts
        ]
        self._singles = {gate: sorted(kinds & rules.singles) for gate, kinds in self._plan.singles.items()}
        self._encoders = {kind: _Encoder(shape) for kind, shape in self._plan.shapes.items()}
        self._link_keys = sorted(
            {(k.kind, k.name) for link in self._plan.links if link.requirement.subject is not None
             for k in (link.requirement.row.keys if link.requirement.row else ())
             if isinstance(k, FieldRef) and k.kind in rules.singles}
        )  # fmt: skip

    def failing(self, gate: str, facts: Facts, today: int) -> list[int]:
        """Numbers of the rules of ``gate`` that fail. Raises NotEvaluated; the networks are built anew next time."""
        return self.failing_together([Asked(gate, facts, today)])[0]

    def together(self, first: Asked, second: Asked) -> bool:
        """True when the two can be judged in one go: same facts but for the single ones, other gate."""
        if first.gate == second.gate or first.today != second.today:
            return False
        for kind in first.facts.keys() | second.facts.keys():
            if kind not in self._rules.singles and first.facts.get(kind) is not second.facts.get(kind):
                return False
        mine, other = first.facts, second.facts
        return all(_single(mine, kind).get(name) == _single(other, kind).get(name) for kind, name in self._link_keys)

    def failing_together(self, asked: Sequence[Asked]) -> list[list[int]]:
        """As :meth:`failing` for cases that are :meth:`together`."""
        try:
            matched = self._run(asked)
        except Exception as error:
            self._handles = None
            raise NotEvaluated(f"{type(error).__name__}: {error}") from error
        today = asked[0].today
        asleep = {n for n, first, last in self._dated if not first <= today <= last}
        answers = []
        for one in asked:
            numbers = self._of_gate.get(one.gate, set())
            found = {n for n, gate in matched if n in numbers and gate in (None, one.gate)}
            answers.append(sorted(found - asleep))
        return answers

    def _run(self, asked: Sequence[Asked]) -> set[tuple[int, str | None]]:
        today = asked[0].today
        lines, rows = self._lines(asked)
        if self._handles is None:
            self._handles = [Handle(f"h{i}", shard) for i, shard in enumerate(self._shards)]
        matched: set[tuple[int, str | None]] = set()
        for position, handle in enumerate(self._handles):
            if len(handle.rows) + len(rows) > RESIDENT_ROWS:
                handle.close()
                handle = self._handles[position] = Handle(f"h{position}", self._shards[position])
            self._rows(handle, rows)
            self._today(handle, today)
            for line in lines:
                handle.put(line)
            matched |= handle.drain()
            for line in lines:
                handle.take(line)
        return matched

    # -- facts -------------------------------------------------------------------------------------------------

    def _lines(self, asked: Sequence[Asked]) -> tuple[list[str], set[tuple[str, int]]]:
        """The facts of cases that are together as JSON, and the table rows they refer to."""
        bodies: list[str] = []
        rows: set[tuple[str, int]] = set()
        gates = {one.gate for one in asked}
        worlds = [reference.world_of(one.facts, self._rules.singles, one.today) for one in asked]
        for kind, users in self._plan.kinds.items():
            if users & gates:
                bodies += self._many(kind, worlds[0], gates, rows)
        for one, world in zip(asked, worlds, strict=True):
            bodies += self._single_lines(one.gate, world, rows)
        return [f'{{"id":"{identity}",{body}}}' for identity, body in zip(_CASE_IDS, bodies, strict=False)], rows

    def _many(self, kind: str, world: reference.World, gates: set[str], rows: set[tuple[str, int]]) -> list[str]:
        links = [
            (f',"w{link.number}":', f"t_{link.requirement.row.table}", find)
            for link, find in self._finders
            if link.requirement.subject == kind and link.requirement.row is not None and not gates.isdisjoint(link.gates)
        ]
        mirrored = f"{kind}_m" in self._plan.shapes
        bodies: list[str] = []
        for number, fact in enumerate(world.facts.get(kind, ())):
            body = self._fields(kind, fact)
            for head, table, find in links:
                row = find(world, fact)
                # -1 joins no row: a missing row is unknown, not false
                body += f"{head}{-1 if row is None else row}"
                if row is not None:
                    rows.add((table, row))
            if not mirrored:
                bodies.append(f'{_SID}"kind":"{kind}","_0":0,"_1":1{body}')
                continue
            bodies.append(f'{_SID}"kind":"{kind}","n":{number},"_0":0,"_1":1{body}')
            bodies.append(f'{_SID}"kind":"{kind}_m","n":{number},"_0":0,"_1":1{body}')
        return bodies

    def _single_lines(self, gate: str, world: reference.World, rows: set[tuple[str, int]]) -> list[str]:
        """What is asserted for one gate alone: single facts, links of single look-ups, counts."""
        bodies: list[str] = []
        for kind in self._singles.get(gate, ()):
            fact = world.one[kind]
            if not fact:
                continue
            body = self._fields(kind, fact)
            bodies.append(f'{_SID}"kind":"{kind}.{gate}","n":0,"_0":0,"_1":1{body}')
            if f"{kind}_m" in self._plan.shapes:
                bodies.append(f'{_SID}"kind":"{kind}_m.{gate}","n":0,"_0":0,"_1":1{body}')
        for link, find in self._finders:
            if link.requirement.subject is None and gate in link.gates and link.requirement.row is not None:
                row = find(world, {})
                if row is not None:
                    rows.add((f"t_{link.requirement.row.table}", row))
                    bodies.append(f'{_SID}"kind":"u{link.number}.{gate}","rid":{row},"_0":0,"_1":1')
        for count, tally in self._counts:
            if count.gate == gate:
                spare = _spare(count.requirement, tally, world)
                if spare is not None:
                    bodies.append(f'{_SID}"kind":"c{count.name}","spare":{spare},"_0":0,"_1":1')
        return bodies

    def _fields(self, kind: str, fact: Mapping[str, Value]) -> str:
        """The fields of a fact that patterns look at, as JSON members."""
        encoder = self._encoders.get(kind)
        return "" if encoder is None else encoder.text(fact)

    def _rows(self, handle: Handle, rows: set[tuple[str, int]]) -> None:
        shape = self._plan.shapes.get("row")
        for key in rows - handle.rows.keys():
            kind, number = key
            row = self._rules.tables[kind[2:]].rows[number]
            present = {name: value for name, value in row.items() if value is not None}
            body = ""
            for name in sorted(shape.plain | shape.joined | shape.flagged) if shape is not None else ():
                if name in present:
                    body += f',"{name}":{literal(present[name])},"h_{name}":1'
                elif name in row:
                    body += f',"{name}":0,"h_{name}":0' if shape is not None and name in shape.joined else f',"h_{name}":0'
            identity = _ROW_IDS[len(handle.rows)]
            handle.put(f'{{"id":"{identity}",{_SID}"kind":"{kind}","rid":{number},"_0":0,"_1":1{body}}}')
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


def _single(facts: Facts, kind: str) -> Mapping[str, Value]:
    lines = facts.get(kind)
    return lines[0] if lines else {}


def _spare(requirement: Requirement, tally: Any, world: reference.World) -> int | None:
    """By how many the scarcest count exceeds what is needed; below 0: too few. None: nothing can be said."""
    if tally is not None:
        return min((c.possible - c.needed for c in tally(world) or () if c.needed is not None), default=None)
    subject = requirement.subject or ""
    where = reference.conjunction(requirement.where, subject) if requirement.where else None
    chosen = sum(1 for f in world.facts.get(subject, ()) if where is None or where(world, f, {}) is not False)
    return chosen - (requirement.at_least if isinstance(requirement.at_least, int) else 0)
