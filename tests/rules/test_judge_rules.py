"""Rules on their way to a judge process arrive as they were, whatever is in them."""

import gc

import msgspec
import pytest

from rules.compiled import RuleSet
from rules.judge_rules import digest_of, read_rules, write_rules
from rules.rulebook import SHIPPED, RuleBook
from tests.rules.conftest import book_of

TABLES = """\
rulefile: 1
owner: o
reference: r
table plan:
  match: [quantity, code]
  columns: [quantity, code, sample, until, exempt]
  rows:
    - [9..50, A, 13.5, 2026-12-31, yes]
    - [2..8, A, ~, 2026-11-30, no]
rules:
  - id: R-1
    title: t
    gate: [release]
    severity: block
    rationale: r
    message: m
    require:
      - row: plan[lot.quantity, supplier.code]
        check: [supplier.score >= row.sample, supplier.approved_until <= row.until, supplier.audited = row.exempt]
      - any_of:
          - lot.recall_open = no
          - supplier.score in [1, 2.5]
          - supplier.approved_until >= today + 3 days
"""


@pytest.mark.parametrize("book", [RuleBook.load(SHIPPED), book_of(TABLES)], ids=["shipped", "tables"])
def test_rules_arrive_as_they_were(book: RuleBook) -> None:
    written = write_rules(book.rules)
    found = read_rules(written)
    assert found == RuleSet(book.rules.rules, (), book.rules.tables, book.rules.singles)
    # yes is not 1: the types are those that were sent, too
    assert repr(found.tables) == repr(book.rules.tables)
    assert digest_of(write_rules(found)) == digest_of(written)


def test_every_change_of_a_rule_or_a_row_is_another_digest() -> None:
    first = digest_of(write_rules(book_of(TABLES).rules))
    for was, becomes in (("13.5", "13.6"), ("today + 3", "today + 4"), ("severity: block", "severity: hold")):
        assert digest_of(write_rules(book_of(TABLES.replace(was, becomes)).rules)) != first


def test_bytes_that_are_no_rules_are_refused() -> None:
    written = write_rules(book_of(TABLES).rules)
    for broken in (b"", written[:-9], msgspec.msgpack.encode({"rules": [], "tables": [1], "singles": []})):
        with pytest.raises(msgspec.DecodeError):
            read_rules(broken)


def test_reading_rules_leaves_the_garbage_collector_as_it_was_and_the_trees_are_read_when_asked() -> None:
    book = book_of(TABLES)
    assert gc.isenabled()
    assert "files" not in vars(book)
    assert [file.name for file in book.files] == ["rules.yaml"]
    assert book.files is book.files
