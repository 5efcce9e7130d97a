"""Tests that a rule still lacks, and tests that say less than they seem to."""

from collections.abc import Iterator

from rules.cases import run_tests
from rules.findings import Location
from rules.lint.remark import Level, Remark
from rules.parse import Node
from rules.rulebook import RuleBook

NAME = "upkeep"


def check(book: RuleBook) -> Iterator[Remark]:
    """Rules without a passing and a failing test, tests without a day, two tests of one name."""
    places = {r.id: r.location for r in book.rules.rules}
    for rule in run_tests(book).untested:
        words = f"rule {rule} lacks a test that passes, or one that does not; it cannot be approved"
        yield Remark(NAME, Level.WARNING, places[rule], words, "write both below tests:")
    for file in book.files:
        names: dict[str, Location] = {}
        for node in (file.tests.items or []) if file.tests is not None else []:
            yield from _test(node, names)


def _test(node: Node, names: dict[str, Location]) -> Iterator[Remark]:
    entries = node.entries or {}
    title = entries["name"][1].text or "" if "name" in entries else ""
    if title in names:
        words = f'two tests are called "{title}"'
        yield Remark(NAME, Level.WARNING, node.at, words, f"the other one is in line {names[title].line}")
    names.setdefault(title, node.at)
    if "at" not in entries:
        words = f'the test "{title}" has no day'
        yield Remark(NAME, Level.WARNING, node.at, words, "write at: 2026-03-01, so that it means the same next year")
