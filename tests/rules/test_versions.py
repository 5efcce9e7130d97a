"""Two rule sets compared in words: everything that counts is said, and nothing else."""

import pytest

from rules.rulebook import SHIPPED, VOCABULARY_FILE, RuleBook
from rules.versions import MAX_ROWS, differences

VOCABULARY = (SHIPPED / VOCABULARY_FILE).read_text(encoding="utf-8")
FILE = """\
rulefile: 1
owner: QC
reference: SOP-1
table limits:
  match: [item, quantity]
  columns: [item, quantity, lower, upper]
  rows:
    - [RING, 1..9,   9.0, 11.0]
    - [RING, 10..99, 9.5, ~]
rules:
  - id: LIMITS
    title: Within its limits
    gate: [release]
    severity: block
    rationale: SOP-4
    applies_to: [lot.supplier is present]
    require:
      - every: result
        at_least: 1
        row: limits[lot.item, lot.quantity]
        check: [result.value >= row.lower, result.value <= row.upper]
      - any_of:
          - lot.unit = ea
          - [lot.unit = kg, lot.quantity > 5]
    message: "{result.value} is not within {row.lower} to {row.upper}"
reactions:
  - id: AUTO
    title: Release by itself
    after: inspected
    do: release
    when: [lot.quantity > 0]
tests:
  - name: fine
    at: 2026-03-01
    given:
      lot: {id: L, item: RING, revision: A, state: inspected, quantity: 1, unit: ea, supplier: ACME}
      result: [{characteristic: width, value: 10}]
    expect: {LIMITS: pass}
"""


def book(text: str = FILE, vocabulary: str = VOCABULARY) -> RuleBook:
    return RuleBook.from_sources({VOCABULARY_FILE: vocabulary, "a.yaml": text})


def said(old: str, new: str) -> list[str]:
    assert old in FILE
    return [str(change) for change in differences(book(), book(FILE.replace(old, new)))]


ROW = "every result [row limits[lot.item, lot.quantity]]"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("severity: block", "severity: hold", ["rule LIMITS: severity was block, is hold"]),
        ("gate: [release]", "gate: [ship]", ["rule LIMITS: no longer guards release", "rule LIMITS: now also guards ship"]),
        (
            "rationale: SOP-4", "rationale: SOP-4\n    on_fail: block", ["rule LIMITS: on_fail was not set, is \"block\""],
        ),
        (
            "rationale: SOP-4", "rationale: SOP-4\n    effective: {from: 2026-12-01}",
            ["rule LIMITS: in force was always, is from 2026-12-01"],
        ),
        ("owner: QC", "owner: QA", ['rule LIMITS: owner was "QC", is "QA"']),
        (
            "applies_to: [lot.supplier is present]", "applies_to: [lot.supplier = ACME]",
            ["rule LIMITS: no longer applies to: lot.supplier is present", "rule LIMITS: now applies to: lot.supplier = ACME"],
        ),
        (
            "result.value <= row.upper]", "result.value < row.upper]",
            [f"rule LIMITS: no longer requires: {ROW}: result.value <= row.upper",
             f"rule LIMITS: now requires: {ROW}: result.value < row.upper"],
        ),
        (
            "at_least: 1", "at_least: 3",
            [f"rule LIMITS: no longer requires: {ROW}: at least 1", f"rule LIMITS: now requires: {ROW}: at least 3"],
        ),
        (
            "lot.quantity > 5", "lot.quantity > 6",
            ["rule LIMITS: no longer requires: any of: lot.unit = ea, or lot.unit = kg and lot.quantity > 5",
             "rule LIMITS: now requires: any of: lot.unit = ea, or lot.unit = kg and lot.quantity > 6"],
        ),
        ("9.0, 11.0", "9.0, 11.5", ["table limits: row RING, 1..9: upper was 11, is 11.5"]),
        ("9.5, ~", "9.5, 10", ["table limits: row RING, 10..99: upper was no limit, is 10"]),
        (
            "10..99", "10..50",
            ["table limits: row RING, 10..99 is gone (lower 9.5, upper no limit)",
             "table limits: row RING, 10..50 is new (lower 9.5, upper no limit)"],
        ),
        ("after: inspected", "after: released", ["reaction AUTO: was release after inspected, is release after released"]),
        (
            "when: [lot.quantity > 0]", "when: [lot.quantity > 1]",
            ["reaction AUTO: no longer when: lot.quantity > 0", "reaction AUTO: now when: lot.quantity > 1"],
        ),
        ("- name: fine", "- name: good", ['tests a.yaml: "fine" is gone', 'tests a.yaml: "good" is new']),
        ("value: 10}", "value: 11}", ['tests a.yaml: "fine" was changed']),
        ("owner: QC\n", "owner: QC\n# a comment\n", ["file a.yaml: only comments or layout"]),
    ],
)  # fmt: skip
def test_every_change_is_said_in_words(old: str, new: str, words: list[str]) -> None:
    assert said(old, new) == words


def test_rules_that_came_and_went_are_said() -> None:
    other = FILE.replace("id: LIMITS", "id: BOUNDS").replace("{LIMITS: pass}", "{BOUNDS: pass}")
    assert [str(c) for c in differences(book(), book(other))] == [
        "rule LIMITS: gone; it was: Within its limits (block at release)",
        "rule BOUNDS: new: Within its limits (block at release)",
        'tests a.yaml: "fine" was changed',
    ]


def test_the_same_set_has_no_difference() -> None:
    assert differences(book(), book()) == ()


def test_a_changed_vocabulary_is_said() -> None:
    wider = VOCABULARY.replace("      supplier: code\n", "      supplier: code\n      colour: code\n", 1)
    assert [str(c) for c in differences(book(), book(vocabulary=wider))] == ["vocabulary lot.colour: new: code"]


def test_of_very_many_rows_the_rest_is_counted() -> None:
    def rows(upper: int) -> str:
        lines = "".join(f"    - [I{n}, 1..9, 0, {upper}]\n" for n in range(MAX_ROWS + 5))
        return FILE.replace("    - [RING, 1..9,   9.0, 11.0]\n", lines)

    changes = differences(book(rows(1)), book(rows(2)))
    assert len(changes) == MAX_ROWS + 1
    assert changes[-1].words == "and 5 more rows"
