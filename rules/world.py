"""The facts of one case, and the closures that look at them: values, comparisons, look-ups in tables. Three-valued.

True, False and None (unknown: something is missing). What may not enter: what a rule makes of it (rules/reference.py).
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from rules.compiled import (
    ColumnRef,
    Condition,
    Constant,
    Constants,
    Fact,
    Facts,
    FieldRef,
    Lookup,
    Operand,
    Row,
    Table,
    Today,
    Value,
)

EMPTY: dict[str, Any] = {}
#: Operands and comparisons that are kept to be shared: ten thousand rules say much the same.
SHARED = 32_768
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COMPARE = {**_ORDER, "=": operator.eq, "!=": operator.ne}


class World(Struct):
    """The facts of one case, ready for closures."""

    facts: Facts
    #: The one fact of each single kind; an empty mapping where there is none.
    one: dict[str, Fact]
    #: Ordinal.
    today: int
    #: Keys of tables that are the same for every fact of the case, by table and look-up.
    heads: dict[str, tuple[Any, ...]] = {}


Test = Callable[[World, Fact, Row], bool | None]
Get = Callable[[World, Fact, Row], Any]


class Outcome(Struct):
    """What a requirement says, and the element that decided, for the message."""

    truth: bool | None
    fact: Fact = EMPTY
    row: Row = EMPTY
    #: What is missing, where the truth is None; and where it is False because too little is there.
    missing: str = ""


Check = Callable[[World], Outcome]
TRUE = Outcome(True)


def world_of(facts: Facts, singles: frozenset[str], today: int) -> World:
    """``facts`` with the single kinds looked out."""
    one: dict[str, Fact] = {}
    for kind in singles:
        lines = facts.get(kind)
        one[kind] = lines[0] if lines else EMPTY
    return World(facts, one, today, {})


# -- operands and conditions -----------------------------------------------------------------------------------


@lru_cache(SHARED)
def getter(operand: Operand, subject: str | None) -> Get:
    """A closure that gives the operand's value, or None when it is missing; the same one for the same operand."""
    if isinstance(operand, FieldRef):
        kind, name = operand.kind, operand.name
        if kind == subject:
            return lambda world, fact, row: fact.get(name)
        return lambda world, fact, row: world.one[kind].get(name)
    if isinstance(operand, ColumnRef):
        column = operand.name
        return lambda world, fact, row: row.get(column)
    if isinstance(operand, Today):
        days = operand.days
        return lambda world, fact, row: world.today + days
    value = operand.value if isinstance(operand, Constant) else None
    return lambda world, fact, row: value


def test_of(condition: Condition, subject: str | None) -> Test:
    """A closure that says whether ``condition`` holds; the same one for the same words, wherever they stand.

    What many rules share stays in the processor's cache: it is what keeps the thousandth rule as cheap as the tenth.
    """
    return _test(condition.left, condition.op, condition.right, subject)


@lru_cache(SHARED)
def _test(left_side: FieldRef | ColumnRef, op: str, right: Operand | None, subject: str | None) -> Test:
    left = getter(left_side, subject)
    if op == "is present":
        return lambda world, fact, row: left(world, fact, row) is not None
    if op == "is missing":
        return lambda world, fact, row: left(world, fact, row) is None
    if isinstance(right, Constants):
        return _membership(left, frozenset(right.values), op == "in")
    if right is None:
        raise AssertionError(f"{op} without a right side")
    own = left_side.name if isinstance(left_side, FieldRef) and left_side.kind == subject else None
    if isinstance(right, ColumnRef) and own is not None:
        return _own_limit(own, right.name, _ORDER[op]) if op in _ORDER else _own_column(own, right.name, op == "=")
    if isinstance(right, Constant) and own is not None:
        return _own_constant(own, right.value, _COMPARE[op])
    if op in _ORDER and isinstance(right, ColumnRef):
        return _limit(left, right.name, _ORDER[op])
    return _comparison(left, getter(right, subject), _COMPARE[op])


def _own_constant(name: str, value: Value, compare: Callable[[Any, Any], bool]) -> Test:
    """A comparison of a field of the fact that a quantifier looks at with what is written in the rule."""

    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a = fact.get(name)
        return None if a is None else compare(a, value)

    return test


def _own_limit(name: str, column: str, compare: Callable[[Any, Any], bool]) -> Test:
    """As :func:`_limit` for a field of the fact that a quantifier looks at: the commonest line there is."""

    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a = fact.get(name)
        if a is None or column not in row:
            return None
        b = row[column]
        return True if b is None else compare(a, b)

    return test


def _own_column(name: str, column: str, wanted: bool) -> Test:
    """Equality of a field of the fact that a quantifier looks at with the row."""

    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a, b = fact.get(name), row.get(column)
        return None if a is None or b is None else (a == b) is wanted

    return test


def _limit(left: Get, column: str, compare: Callable[[Any, Any], bool]) -> Test:
    """A comparison with a limit of the row; an empty cell is no limit."""

    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a = left(world, fact, row)
        if a is None or column not in row:
            return None
        b = row[column]
        return True if b is None else compare(a, b)

    return test


def _membership(left: Get, values: frozenset[Value], wanted: bool) -> Test:
    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a = left(world, fact, row)
        return None if a is None else (a in values) is wanted

    return test


def _comparison(left: Get, right: Get, compare: Callable[[Any, Any], bool]) -> Test:
    def test(world: World, fact: Fact, row: Row) -> bool | None:
        a, b = left(world, fact, row), right(world, fact, row)
        return None if a is None or b is None else bool(compare(a, b))

    return test


def conjunction(conditions: Sequence[Condition], subject: str | None) -> Test:
    """All of ``conditions``: False when any is, else None when any is."""
    tests = [test_of(c, subject) for c in conditions]
    if len(tests) == 1:
        return tests[0]

    def test(world: World, fact: Fact, row: Row) -> bool | None:
        result: bool | None = True
        for one in tests:
            value = one(world, fact, row)
            if value is False:
                return False
            if value is None:
                result = None
        return result

    return test


# -- rows ------------------------------------------------------------------------------------------------------


def finder(lookup: Lookup, tables: Mapping[str, Table], subject: str | None) -> Callable[[World, Fact], Row | None]:
    """A closure that looks up the row, or gives None when there is none or a key is missing."""
    table = tables[lookup.table]
    number_of = row_number(lookup, tables, subject)

    def find(world: World, fact: Fact) -> Row | None:
        number = number_of(world, fact)
        return None if number is None else table.rows[number]

    return find


def row_number(
    lookup: Lookup, tables: Mapping[str, Table], subject: str | None
) -> Callable[[World, Fact], int | None]:
    """A closure that gives the number of the row, or None when there is none or a key is missing."""
    table = tables[lookup.table]
    keys = [getter(key, subject) for key in lookup.keys]
    last = lookup.keys[-1]
    fixed = [k for k in lookup.keys[:-1] if isinstance(k, FieldRef) and k.kind != subject]
    if table.range_at is None and len(fixed) == len(keys) - 1 and isinstance(last, FieldRef) and last.kind == subject:
        return _by_last_key(table, keys[:-1], last.name)

    def find(world: World, fact: Fact) -> int | None:
        values = tuple([key(world, fact, EMPTY) for key in keys])
        return None if None in values else table.find(values)

    return find


def _by_last_key(table: Table, keys: Sequence[Get], name: str) -> Callable[[World, Fact], int | None]:
    """Rows of one lot that differ by a field of the fact: the other keys are looked up once a case."""
    index, mine = table.index, f"{table.name}/{id(keys)}"

    def find(world: World, fact: Fact) -> int | None:
        head = world.heads.get(mine)
        if head is None:
            head = world.heads[mine] = tuple([key(world, EMPTY, EMPTY) for key in keys])
        value = fact.get(name)
        if value is None or None in head:
            return None
        found = index.get((*head, value))
        return found[0] if found else None

    return find


def missing_row(lookup: Lookup, world: World, fact: Fact, subject: str | None) -> str:
    """``no row in spec_limits for RING-74, A, colour``."""
    from rules.explain import written

    keys = [written(key, getter(key, subject)(world, fact, EMPTY)) for key in lookup.keys]
    return f"no row in {lookup.table} for {', '.join(keys)}"
