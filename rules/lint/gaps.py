"""Ranges of a table that leave something out between them: whatever falls there is "unknown" at the gate."""

from collections.abc import Iterator
from itertools import pairwise

from rules.compiled import Range, Table
from rules.lint.places import row_places, table_node
from rules.lint.remark import Level, Remark
from rules.rulebook import RuleBook
from rules.units import SCALE, format_number

NAME = "gaps"


def check(book: RuleBook) -> Iterator[Remark]:
    """Every table with a column of ranges, key by key. Overlaps are mistakes already when the file is loaded."""
    for table in book.rules.tables.values():
        if table.range_at is not None:
            yield from _table(book, table)


def _table(book: RuleBook, table: Table) -> Iterator[Remark]:
    places = row_places(book, table.name)
    key = table_node(book, table.name)
    column = table.match[table.range_at or 0]
    step = _step(table.ranges)
    for values, numbers in table.index.items():
        for first, second in pairwise(numbers):
            low, high = table.ranges[first].high + step, table.ranges[second].low - step
            if low > high:
                continue
            span = format_number(low) if low == high else f"{format_number(low)} to {format_number(high)}"
            which = ", ".join(str(v) for v in values)
            words = f"table {table.name}: no row for {column} {span}" + (f" with {which}" if which else "")
            if second < len(places):
                hint = f"the row before ends at {format_number(table.ranges[first].high)}, line {places[first].line}"
                yield Remark(NAME, Level.WARNING, places[second], words, hint)
            elif key is not None:
                yield Remark(NAME, Level.WARNING, key[0].at, words)


def _step(ranges: list[Range]) -> int:
    """The smallest step in which the bounds are written: 1, 0.1, 0.01 …"""
    step = SCALE
    while step > 1 and any(bound % step for r in ranges for bound in (r.low, r.high)):
        step //= 10
    return step
