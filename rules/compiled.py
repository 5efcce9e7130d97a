"""Typed rules: what both engines run. Data and the look-ups they share; no evaluation.

Values: numbers are integers x 10**6, dates proleptic ordinals, yes/no is bool, everything else is text. A missing
field is an absent key; an empty table cell (``~``) is None.
"""

import bisect
import enum
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from rules.findings import Location

Value = int | str | bool
Fact = Mapping[str, Value]
Facts = Mapping[str, Sequence[Fact]]
Row = Mapping[str, Value | None]
_PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\.")


class Verdict(enum.Enum):
    """What a rule says of a lot."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    #: Something needed is missing: never as good as a pass.
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"
    NOT_EFFECTIVE = "not_effective"


class Severity(enum.Enum):
    """What a failing rule does."""

    BLOCK = "block"
    HOLD = "hold"
    WARN = "warn"
    INFO = "info"


class Type(enum.Enum):
    """Types of the vocabulary."""

    CODE = "code"
    NUMBER = "number"
    DATE = "date"
    YES_NO = "yes_no"
    CHOICE = "choice"


class _Side(Struct, frozen=True, tag=True, tag_field="side"):
    """What can stand on a side of a condition; a judge process is told which it is."""


class FieldRef(_Side, frozen=True):
    """``kind.field`` of a fact."""

    kind: str
    name: str
    type: Type


class ColumnRef(_Side, frozen=True):
    """``row.column`` of the table row that was looked up."""

    name: str
    type: Type


class Constant(_Side, frozen=True):
    """A value written in the rule."""

    value: Value
    type: Type


class Constants(_Side, frozen=True):
    """``in [a, b]``."""

    values: tuple[Value, ...]
    type: Type


class Today(_Side, frozen=True):
    """``today``, or so many days from it."""

    days: int
    type: Type = Type.DATE


Operand = FieldRef | ColumnRef | Constant | Constants | Today


class Condition(Struct, frozen=True):
    """One line: ``left op right``. ``right`` is None for ``is present`` and ``is missing``."""

    left: FieldRef | ColumnRef
    op: str
    right: Operand | None
    text: str
    location: Location


class Range(Struct, frozen=True):
    """``2..8``, both ends included."""

    low: int
    high: int


class Table(Struct):
    """A table of a rule file, indexed by its match columns; one of them may hold ranges."""

    name: str
    columns: tuple[str, ...]
    match: tuple[str, ...]
    #: Types of the columns, by how rules use them.
    types: dict[str, Type]
    rows: list[dict[str, Value | None]]
    #: Position of the match column that holds ranges, or None.
    range_at: int | None
    #: Ranges of that column, by row.
    ranges: list[Range]
    #: Exact keys -> indices of rows, ordered by range.
    index: dict[tuple[Value | None, ...], list[int]]
    #: Prefixes of the exact keys -> indices of rows.
    prefixes: dict[tuple[Value | None, ...], list[int]]

    def find(self, keys: tuple[Value, ...]) -> int | None:
        """Index of the row for ``keys`` (one a match column), or None."""
        if self.range_at is None:
            found = self.index.get(keys)
            return found[0] if found else None
        at = self.range_at
        candidates = self.index.get(keys[:at] + keys[at + 1 :])
        value = keys[at]
        if not candidates or not isinstance(value, int):
            return None
        place = bisect.bisect_right(candidates, value, key=lambda i: self.ranges[i].low) - 1
        if place < 0 or self.ranges[candidates[place]].high < value:
            return None
        return candidates[place]

    def all_with(self, prefix: tuple[Value, ...]) -> Sequence[int]:
        """Indices of every row whose first match columns equal ``prefix``."""
        return self.prefixes.get(prefix, ())


class Lookup(Struct, frozen=True):
    """``table[key, …]``; fewer keys than match columns only in ``for_each``."""

    table: str
    keys: tuple[Operand, ...]
    text: str


class Kind(enum.Enum):
    """Forms of a requirement."""

    CONDITIONS = "conditions"
    EVERY = "every"
    NONE = "none"
    COUNT = "count"
    ANY_OF = "any_of"


class Requirement(Struct, frozen=True):
    """Something that must be true.

    CONDITIONS: every condition of ``check``. EVERY: for each fact ``subject`` with ``where``, all of ``check``; at
    least ``at_least`` of them. NONE: no fact ``subject`` with ``where``. COUNT: at least ``at_least`` (or the row's
    column) of them, counting distinct values of ``distinct``. ANY_OF: one of ``alternatives``. ``row`` is looked up
    once, or for each fact of EVERY. ``for_each`` repeats a COUNT for every row of a table.
    """

    kind: Kind
    location: Location
    subject: str | None = None
    where: tuple[Condition, ...] = ()
    check: tuple[Condition, ...] = ()
    row: Lookup | None = None
    for_each: Lookup | None = None
    at_least: int | ColumnRef = 0
    distinct: str | None = None
    alternatives: tuple[tuple[Condition, ...], ...] = ()


class Rule(Struct, frozen=True):
    """A rule, ready to be run."""

    id: str
    title: str
    gates: tuple[str, ...]
    severity: Severity
    applies_to: tuple[Condition, ...]
    require: tuple[Requirement, ...]
    message: str
    location: Location
    owner: str
    reference: str
    rationale: str
    #: Ordinals, both included; None: open.
    effective_from: int | None = None
    effective_to: int | None = None
    on_fail: str | None = None


class ReactionRule(Struct, frozen=True):
    """What the engine does by itself after a lot came into a state, where ``when`` holds."""

    id: str
    title: str
    after: str
    do: str
    when: tuple[Requirement, ...]
    location: Location
    effective_from: int | None = None
    effective_to: int | None = None
    #: What people are told; empty only where nobody is told anything (release).
    message: str = ""
    #: Of change_sampling: normal, tightened, reduced.
    to: str = ""


class RuleSet(Struct):
    """Everything that one set of rule files says."""

    rules: tuple[Rule, ...]
    reactions: tuple[ReactionRule, ...]
    tables: dict[str, Table]
    #: Kinds of which a lot has at most one fact.
    singles: frozenset[str]


def kinds_of(rules: RuleSet) -> frozenset[str]:
    """Kinds of fact that rules or reactions look at, or tell people of."""
    found: set[str] = set()
    for rule in rules.rules:
        found.update(_mentioned(rule.applies_to), _PLACEHOLDER.findall(rule.message))
        for requirement in rule.require:
            found |= _kinds_of(requirement)
    for reaction in rules.reactions:
        found.update(_PLACEHOLDER.findall(reaction.message))
        for requirement in reaction.when:
            found |= _kinds_of(requirement)
    return frozenset(found)


def readers_of(rules: RuleSet, kinds: frozenset[str]) -> list[str]:
    """Ids of the rules and reactions that look at any of ``kinds``, in their order."""
    alone = [(rule.id, RuleSet((rule,), (), {}, frozenset())) for rule in rules.rules]
    alone += [(reaction.id, RuleSet((), (reaction,), {}, frozenset())) for reaction in rules.reactions]
    return [identity for identity, one in alone if kinds & kinds_of(one)]


def _kinds_of(requirement: Requirement) -> set[str]:
    found = set() if requirement.subject is None else {requirement.subject}
    for conditions in (requirement.where, requirement.check, *requirement.alternatives):
        found |= _mentioned(conditions)
    for lookup in (requirement.row, requirement.for_each):
        found |= {key.kind for key in (() if lookup is None else lookup.keys) if isinstance(key, FieldRef)}
    return found


def _mentioned(conditions: Sequence[Condition]) -> set[str]:
    sides = [side for condition in conditions for side in (condition.left, condition.right)]
    return {side.kind for side in sides if isinstance(side, FieldRef)}


def build_index(table: Table) -> None:
    """Fill ``table.index`` and ``table.prefixes`` from its rows."""
    exact = [c for i, c in enumerate(table.match) if i != table.range_at]
    for number, row in enumerate(table.rows):
        table.index.setdefault(tuple(row[c] for c in exact), []).append(number)
        for length in range(len(exact) + 1):
            table.prefixes.setdefault(tuple(row[c] for c in exact[:length]), []).append(number)
    if table.range_at is not None:
        for numbers in table.index.values():
            numbers.sort(key=lambda i: table.ranges[i].low)
