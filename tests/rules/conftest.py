"""A small plant's vocabulary and rule file, for tests that break it, stretch it and judge by it."""

from collections.abc import Callable

import pytest

from rules.compiled import Verdict
from rules.facts import Vocabulary, parse_date, parse_value
from rules.rulebook import Case, RuleBook

VOCABULARY = """\
kinds:
  lot:
    one: true
    fields:
      id: {type: code, required: true}
      item: {type: code, required: true}
      revision: code
      state: {type: choice, values: [received, quarantined, inspected, released, blocked, shipped]}
      quantity: {type: number, unit: ea}
      expires_on: date
      recall_open: yes_no
  supplier:
    one: true
    fields:
      code: code
      status: {type: choice, values: [approved, conditional, probation, disqualified], required: true}
      approved_until: date
      score: number
      audited: yes_no
  result:
    fields:
      characteristic: {type: code, required: true}
      value: number
      gauge: code
  signature:
    fields:
      signer: code
      role: code
      meaning: code
  hold:
    fields:
      hold: {type: code, required: true}
      status: code
"""

RULES = """\
rulefile: 1
owner: m.keller (QC Laboratory)
reference: SPEC-1001 rev B
effective: {from: 2026-01-01}

table spec_limits:
  match: [item, characteristic]
  columns: [item, characteristic, lower, upper]
  rows:
    - [RM-1, ph, 6.0, 7.5]
    - [RM-1, viscosity, 80, 120]
    - [RM-2, assay, 98.50, ~]

rules:
  - id: R-1
    title: Every result lies within its limits
    gate: [release]
    severity: block
    rationale: SOP-QC-014
    require:
      - every: result
        at_least: 1
        row: spec_limits[lot.item, result.characteristic]
        check:
          - result.value >= row.lower
          - result.value <= row.upper
    message: "{result.characteristic} = {result.value}, limits {row.lower} to {row.upper}"
  - id: R-2
    title: The supplier is approved
    gate: [receive, release]
    severity: block
    rationale: SOP-SQ-007
    applies_to: [lot.item != SAMPLE]
    require:
      - supplier.status in [approved, conditional]
      - supplier.approved_until >= today + 30 days
    message: "supplier {supplier.code} is {supplier.status}"

tests:
  - name: inside
    at: 2026-03-01
    given:
      lot: {id: L1, item: RM-1}
      result: [{characteristic: ph, value: 6.0}]
      supplier: {status: approved, approved_until: 2026-12-31}
    expect: {R-1: pass, R-2: pass}
  - name: outside
    at: 2026-03-01
    given:
      lot: {id: L1, item: RM-1}
      result: [{characteristic: ph, value: 7.6}]
      supplier: {status: probation, approved_until: 2026-12-31}
    expect: {R-1: fail, R-2: fail}
"""


def book_of(rules: str, vocabulary: str = VOCABULARY, **files: str) -> RuleBook:
    """The rule set of one file ``rules.yaml``, and of more files by name (``__`` for a point)."""
    more = {name.replace("__", "."): text for name, text in files.items()}
    return RuleBook.from_sources({"vocabulary.yaml": vocabulary, "rules.yaml": rules, **more})


def facts_of(vocabulary: Vocabulary, given: dict[str, object]) -> dict[str, list[dict[str, int | str | bool]]]:
    """Facts out of texts, as a test in a rule file gives them."""
    facts: dict[str, list[dict[str, int | str | bool]]] = {}
    for kind, lines in given.items():
        fields = vocabulary[kind].fields
        facts[kind] = [
            {
                name: parse_value(str(value), fields[name].type, fields[name].choices, name)
                for name, value in line.items()
            }
            for line in (lines if isinstance(lines, list) else [lines])
        ]
    return facts


@pytest.fixture
def verdict_of() -> Callable[..., str]:
    """The verdict of the one rule with these ``require`` lines (YAML, indented by six) on the facts given."""

    def judge(require: str, *, applies_to: str = "", day: str = "2026-03-01", tables: str = "", **given: object) -> str:
        text = (
            "rulefile: 1\nowner: o\nreference: r\n" + tables + "rules:\n  - id: X\n    title: t\n    gate: [release]\n"
            "    severity: block\n    rationale: r\n    message: m\n"
            + (f"    applies_to:\n{applies_to}" if applies_to else "")
            + f"    require:\n{require}"
        )
        book = book_of(text)
        given.setdefault("lot", {"id": "L1", "item": "RM-1"})
        case = Case("release", facts_of(book.vocabulary, given), parse_date(day, "day"))
        (explained,) = book.explain(case)
        judged = book.judge(case)
        if explained.verdict in ("pass", "fail", "unknown"):
            assert judged.verdicts[0].verdict.value == explained.verdict
            assert judged.opens is (explained.verdict == Verdict.PASS.value)
        else:
            assert judged.verdicts == ()
        return explained.verdict

    return judge




class SmallPlant:
    """The texts above, and rule sets made of them."""

    rules = RULES
    vocabulary = VOCABULARY

    @staticmethod
    def book(rules: str = RULES, vocabulary: str = VOCABULARY, **files: str) -> RuleBook:
        return book_of(rules, vocabulary, **files)

    @staticmethod
    def facts(book: RuleBook, **given: object) -> dict[str, list[dict[str, int | str | bool]]]:
        return facts_of(book.vocabulary, given)


@pytest.fixture(scope="session")
def small_plant() -> SmallPlant:
    return SmallPlant()
