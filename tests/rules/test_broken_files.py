"""Broken rule files: what is said, at which line and column, and what to do about it. One mistake each.

A case replaces a text of the small plant's file; ``«`` marks where the finding must point, or :data:`PLACES` says it
where what is missing cannot be marked.
"""

from typing import Any, NamedTuple

import pytest

from rules.cases import run_tests
from rules.findings import RulePackError


class Broken(NamedTuple):
    name: str
    written: str
    instead: str
    message: str
    hint: str = ""


CASES = [
    # -- the file as a whole
    Broken("no version", "rulefile: 1\n", "", 'a rule file begins with "rulefile: 1"'),
    Broken("another version", "rulefile: 1", "«rulefile: 2", 'a rule file begins with "rulefile: 1"'),
    Broken("unknown key of a file", "owner: m", "«onwer: x\nowner: m", '"onwer" is not known in a rule file', "owner"),
    Broken("tables in one key", "owner: m", "«tables: {}\nowner: m", '"tables" is not known in a rule file', "table NAME"),
    Broken("no owner", "owner: m.keller (QC Laboratory)\n", "", 'a rule file has no "owner:"'),
    Broken("no reference", "reference: SPEC-1001 rev B\n", "", 'a rule file has no "reference:"'),
    Broken("rules are not a list", "tests:\n", "reactions: «none\ntests:\n", '"reactions:" is a list'),
    Broken("effective the wrong way round", "{from: 2026-01-01}", "«{from: 2026-03-01, to: 2026-02-01}",
           'effective "to" (2026-02-01) is before "from" (2026-03-01)'),
    Broken("effective with an unknown word", "{from: 2026-01-01}", "{«form: 2026-01-01}",
           '"form" is not known in effective', 'did you mean "from"?'),
    Broken("a date of a spreadsheet", "{from: 2026-01-01}", "{from: «46023}",
           'effective "from" is a date, but "46023" is not one', "write year-month-day, for example 2026-03-31"),
    Broken("a key twice", "owner: m.keller (QC Laboratory)\n", "owner: a\n«owner: b\n", '"owner" is written twice', "line 2"),
    # -- YAML
    Broken("an anchor", "[receive, release]", "«&gates [receive, release]", "anchors and aliases", "write the value out"),
    Broken("an alias", "id: R-2", "id: «*id", "anchors and aliases", "write the value out"),
    Broken("a tag", "gate: [release]", "gate: «!!python/object [release]", "the tag", "leave the part after ! away"),
    Broken("two documents", "tests:\n", "«---\ntests:\n", "the file has more than one document (---)", "one file, one document"),
    Broken("a merge key", "    title: The supplier is approved\n", "    title: t\n    «<<: {severity: block}\n",
           "merge keys (<<) are not used", "write the entries out"),
    Broken("a tab", "    title: The supplier is approved\n", "«\ttitle: t\n", "there is a tab in this line", "indent with spaces"),
    Broken("wrong indent", "    gate: [receive, release]\n", "   «gate: [receive, release]\n", "the file cannot be read here",
           "this line is not indented like its neighbours"),
    Broken("a colon in a text", "title: The supplier is approved", "title: Supplier«: approved",
           'a second ": " in one line', 'put a text that contains ": " in quotes'),
    Broken("a bracket too few", "applies_to: [lot.item != SAMPLE]\n    require", "applies_to: [lot.item != SAMPLE\n    require«",
           "the file cannot be read here", ""),
    Broken("a list in a list on one line", "applies_to: [lot.item != SAMPLE]", "applies_to: [lot.item in «[A, B]x, lot.id = L1]",
           "a bracket too many or too few", "write one condition per line"),
    # -- rules
    Broken("severty", "    severity: block\n    rationale: SOP-QC-014", "    «severty: block\n    rationale: SOP-QC-014",
           '"severty" is not known in a rule', 'did you mean "severity"?'),
    Broken("no severity", "    severity: block\n    rationale: SOP-SQ", "    rationale: SOP-SQ", 'rule R-2 has no "severity:"'),
    Broken("an unknown severity", "severity: block\n    rationale: SOP-SQ", "severity: «blok\n    rationale: SOP-SQ",
           '"blok" is not a severity', 'did you mean "block"?'),
    Broken("no gate", "    gate: [receive, release]\n", "", 'rule R-2 has no "gate:"', "release"),
    Broken("a misspelt gate", "[receive, release]", "[receive, «relaese]", 'there is no gate "relaese"', 'did you mean "release"?'),
    Broken("no title", "    title: The supplier is approved\n", "", 'rule R-2 has no "title:"'),
    Broken("no rationale", "    rationale: SOP-SQ-007\n", "", 'rule R-2 has no "rationale:"'),
    Broken("no message", '    message: "supplier {supplier.code} is {supplier.status}"\n', "", 'rule R-2 has no "message:"'),
    Broken("an id used twice", "id: R-2", "id: «R-1", "rule id R-1 is used twice", "line 15"),
    Broken("an id with blanks", "id: R-2", "id: «R 2", '"R 2" cannot be an id', "letters, digits"),
    Broken("nothing required", "    require:\n      - supplier.status in [approved, conditional]\n      - supplier.approved_until >= today + 30 days\n",
           "    «require: []\n", '"require:" is empty', "would always pass"),
    Broken("require missing", "    require:\n      - supplier.status in [approved, conditional]\n      - supplier.approved_until >= today + 30 days\n",
           "", 'rule R-2 has no "require:"'),
    Broken("a condition that is no line", "- supplier.status in [approved, conditional]", "- «[supplier.status, approved]",
           "a requirement is a condition, or has every:"),
    # -- conditions
    Broken("staus", "supplier.status in", "«supplier.staus in", '"supplier" has no field "staus"', 'did you mean "supplier.status"?'),
    Broken("a kind that does not exist", "supplier.status in", "«suplier.status in", 'there is no kind of fact "suplier"', 'did you mean "supplier"?'),
    Broken("aproved", "in [approved, conditional]", "= «aproved", '"aproved" is not a value of supplier.status',
           'did you mean "approved"? allowed: approved, conditional, probation, disqualified'),
    Broken("a kind without a field", "supplier.status in [approved, conditional]", "«supplier = approved", '"supplier" needs a field'),
    Broken("&&", "supplier.status in [approved, conditional]", "supplier.status = «approved && lot.id = L1",
           'do not understand "&&" here', "one condition per line"),
    Broken("and", "supplier.status in [approved, conditional]", "supplier.status = «approved and lot.id = L1",
           'do not understand "and" here', "one condition per line"),
    Broken("==", "supplier.status in [approved, conditional]", "supplier.status «== approved", 'write one "=", not "=="'),
    Broken("no comparison", "supplier.status in [approved, conditional]", "«supplier.status approved",
           'do not understand "supplier.status approved" as a condition', "write: field = value"),
    Broken("nothing on the right", "supplier.status in [approved, conditional]", "supplier.status =« ",
           "there is nothing to compare supplier.status with"),
    Broken("an order of codes", "supplier.status in [approved, conditional]", "«supplier.code > 7",
           'supplier.code is a code; it cannot be compared with ">"', "only numbers and dates have an order"),
    Broken("a list without brackets", "in [approved, conditional]", "in «approved, conditional",
           "a list of values is written in brackets", "in [a, b]"),
    Broken("a word behind is present", "supplier.status in [approved, conditional]", "supplier.status is present «now",
           'nothing can follow "is present"'),
    Broken("31.03.2026", "today + 30 days", "«31.03.2026", 'supplier.approved_until is a date, but "31.03.2026" is not one',
           "write year-month-day, for example 2026-03-31"),
    Broken("a day that does not exist", "today + 30 days", "«2026-02-30", '"2026-02-30" is not one', "year-month-day"),
    Broken("today + 90", "today + 30 days", "«today + 90", '"today + 90" has no unit', "write: today + 90 days"),
    Broken("weeks", "today + 30 days", "«today + 4 weeks", '"weeks" is not days', "write: today + 4 days"),
    Broken("today for a number", "supplier.approved_until >= ", "supplier.score >= «", "supplier.score is a number; today is a date"),
    Broken("5 kg", "supplier.status in [approved, conditional]", "lot.quantity >= «5 kg", "lot.quantity is measured in ea, not in kg"),
    Broken("a decimal comma", "supplier.status in [approved, conditional]", "supplier.score >= «6,5", '"6,5" is not a number',
           "use a point, not a comma: 6.5"),
    Broken("a decimal comma in a list on one line", "applies_to: [lot.item != SAMPLE]", "applies_to: [lot.quantity > 6,«5]",
           'do not understand "5" as a condition', "for a decimal comma write a point"),
    Broken("an exponent", "supplier.status in [approved, conditional]", "supplier.score >= «1e-7", '"1e-7" is written with an exponent',
           "write the number out"),
    Broken("too fine", "supplier.status in [approved, conditional]", "supplier.score >= «0.0000001", "has more than 6 decimal places"),
    Broken("true for yes", "supplier.status in [approved, conditional]", "supplier.audited = «true",
           'supplier.audited is yes or no, but "true" is neither', "write yes or no"),
    Broken("smart quotes", "supplier.status in [approved, conditional]", "supplier.status = «“approved”",
           "is not a value of supplier.status", "allowed: approved"),
    Broken("two types compared", "supplier.status in [approved, conditional]", "supplier.score >= «supplier.approved_until",
           "supplier.score is a number, supplier.approved_until is a date; they cannot be compared"),
    Broken("many facts without a quantifier", "supplier.status in [approved, conditional]", "«result.value > 0",
           "a lot has many facts of kind result", "use every: result"),
    Broken("a row that was not looked up", "supplier.status in [approved, conditional]", "supplier.score >= «row.lower",
           "there is no row here", "look one up first"),
    # -- quantifiers
    Broken("an unknown word of a requirement", "        at_least: 1\n", "        «atleast: 1\n", '"atleast" is not known in a requirement',
           'did you mean "at_least"?'),
    Broken("a single kind in every", "every: result", "every: «supplier", 'names a kind of which a lot has many facts', "result"),
    Broken("every without check", "        check:\n          - result.value >= row.lower\n          - result.value <= row.upper\n", "",
           '"every:" needs "check:" with a condition'),
    Broken("a count of half", "at_least: 1", "at_least: «1.5", "at_least"),
    Broken("a negative count", "at_least: 1", "at_least: «-1", "at_least"),
    # -- tables
    Broken("a decimal comma in a limit", "[RM-1, ph, 6.0, 7.5]", '[RM-1, ph, «"6,0", 7.5]',
           'table spec_limits, column lower: "6,0" is not a number', "use a point, not a comma: 6.0"),
    Broken("a date in a limit", "[RM-1, ph, 6.0, 7.5]", "[RM-1, ph, «2026-06-01, 7.5]", 'column lower: "2026-06-01" is not a number'),
    Broken("a row too short", "[RM-1, ph, 6.0, 7.5]", "[«RM-1, ph, 6.0]", "this row has 3 cells, the table has 4 columns"),
    Broken("limits swapped", "[RM-1, ph, 6.0, 7.5]", "[«RM-1, ph, 7.5, 6.0]", "the lower limit 7.5 is above the upper limit 6"),
    Broken("two rows for one case", "    - [RM-1, viscosity, 80, 120]\n", "    - [«RM-1, ph, 6.5, 7.0]\n",
           "this row covers the same case as line 10", "rows must not overlap in item, characteristic"),
    Broken("a table that does not exist", "row: spec_limits[", "row: «spec_limit[", 'there is no table "spec_limit"', 'did you mean "spec_limits"?'),
    Broken("a column that does not exist", "result.value >= row.lower", "result.value >= «row.low",
           'table spec_limits has no column "low"', 'did you mean "row.lower"?'),
    Broken("keys too few", "spec_limits[lot.item, result.characteristic]", "«spec_limits[lot.item]", "2 keys, here are 1"),
    Broken("match on what is no column", "match: [item, characteristic]", "match: [itm, characteristic]",
           'matches on "itm", which is not one of its columns', 'did you mean "item"?'),
    Broken("a table twice", "rules:\n  - id: R-1", "«table spec_limits:\n  match: [a]\n  columns: [a]\n  rows: []\n\nrules:\n  - id: R-1",
           '"table spec_limits" is written twice', "line 6"),
    # -- messages
    Broken("a placeholder that is no field", "{supplier.status}", "{supplier.state}", "the message uses {supplier.state}, which is not a field",
           "did you mean {supplier.status}?"),
    # -- tests in the file
    Broken("a test of an unknown rule", "expect: {R-1: pass, R-2: pass}", "expect: {«R1: pass, R-2: pass}",
           'test "inside" expects something of rule R1, which does not exist', 'did you mean "R-1"?'),
    Broken("a test fact incomplete", "supplier: {status: probation, approved_until: 2026-12-31}", "supplier: «{approved_until: 2026-12-31}",
           'a supplier always has "status"; this one has none'),
    Broken("an unknown verdict", "expect: {R-1: pass, R-2: pass}", "expect: {R-1: «passes, R-2: pass}", '"passes" is not a verdict', "pass"),
    Broken("an unknown fact of a test", "      supplier: {status: approved,", "      «suplier: {status: approved,",
           'there is no kind of fact "suplier"', 'did you mean "supplier"?'),
    Broken("an unknown field of a test", "{status: approved,", "{«staus: approved,", '"supplier" has no field "staus"', "supplier.status"),
    Broken("a wrong value of a test", "characteristic: ph, value: 7.6", 'characteristic: ph, value: «"7,6"', '"7,6" is not a number', "7.6"),
    Broken("a test without a name", "  - name: outside\n    at", "  - «at", 'a test has "name:" and "expect: {RULE: pass}"'),
    Broken("a test on no day", "    at: 2026-03-01\n    given:\n      lot: {id: L1, item: RM-1}\n      result: [{characteristic: ph, value: 7.6}]",
           "    at: «1.3.2026\n    given:\n      lot: {id: L1, item: RM-1}\n      result: [{characteristic: ph, value: 7.6}]",
           'at is a date, but "1.3.2026" is not one', "year-month-day"),
    Broken("a test without a lot", "      lot: {id: L1, item: RM-1}\n      result: [{characteristic: ph, value: 7.6}]",
           "      result: [{characteristic: ph, value: 7.6}]", 'a test has "given: {lot: {…}}"'),
]


#: Line and column of what something is missing from, or of the text with a mistake inside.
PLACES = {
    "no version": "1:1", "no owner": "1:1", "no reference": "1:1",
    "no severity": "28:5", "no gate": "28:5", "no title": "28:5", "no rationale": "28:5", "no message": "28:5",
    "require missing": "28:5", "every without check": "21:9", "match on what is no column": "6:1",
    "a placeholder that is no field": "37:14", "a test without a lot": "50:7",
}  # fmt: skip


def findings_of(small_plant: Any, text: str) -> list[str]:
    try:
        return list(run_tests(small_plant.book(text)).mistakes)
    except RulePackError as error:
        return [str(f) for f in error.findings]


@pytest.mark.parametrize("broken", CASES, ids=[c.name for c in CASES])
def test_a_mistake_is_named_where_it_stands(small_plant: Any, broken: Broken) -> None:
    assert small_plant.rules.count(broken.written.replace("«", "")) >= 1, "the case changes nothing"
    marked = small_plant.rules.replace(broken.written.replace("«", ""), broken.instead, 1)
    text = marked.replace("«", "")
    found = findings_of(small_plant, text)
    mine = [f for f in found if broken.message in f]
    assert mine, found
    assert broken.hint in mine[0]
    place = PLACES.get(broken.name)
    if place is None:
        before = marked[: marked.index("«")]
        place = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    assert mine[0].startswith(f"rules.yaml:{place}: "), mine[0]


def test_there_are_enough_of_them_and_each_has_a_place() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert PLACES.keys() == {case.name for case in CASES if "«" not in case.instead}
