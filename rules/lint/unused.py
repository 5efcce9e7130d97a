"""Tables that no rule looks into, and CSV files that no table reads: often a name that was mistyped."""

from collections.abc import Iterator

from rules.compiled import Requirement
from rules.findings import Location, did_you_mean
from rules.lint.places import table_node
from rules.lint.remark import Level, Remark
from rules.parse import Node
from rules.rulebook import RuleBook

NAME = "unused"


def check(book: RuleBook) -> Iterator[Remark]:
    """Tables and files."""
    requirements: list[Requirement] = [r for rule in book.rules.rules for r in rule.require]
    requirements += [r for reaction in book.rules.reactions for r in reaction.when]
    used = {u.table for r in requirements for u in (r.row, r.for_each) if u is not None}
    for name in book.rules.tables:
        place = table_node(book, name)
        if name not in used and place is not None:
            words = f"no rule looks into the table {name}"
            yield Remark(NAME, Level.WARNING, place[0].at, words, "look it up with row: or for_each:, or delete it")
    read = {node.text or "" for name in book.rules.tables if (node := _csv_of(book, name)) is not None}
    for name in book.sources:
        if name.endswith(".csv") and name.rpartition("/")[2] not in read:
            hint = did_you_mean(name, read)
            yield Remark(NAME, Level.WARNING, Location(name, 1, 1), "no table reads this file", hint)


def _csv_of(book: RuleBook, name: str) -> Node | None:
    place = table_node(book, name)
    entry = (place[1].entries or {}).get("csv") if place is not None else None
    return entry[1] if entry is not None else None
