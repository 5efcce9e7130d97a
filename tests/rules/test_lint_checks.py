"""Each check of rules/lint finds what it is for, where it stands, and leaves sound rules alone."""

from pathlib import Path

import pytest

from rules.lint.examination import examine, remarks
from rules.lint.remark import Level
from rules.rulebook import SHIPPED, VOCABULARY_FILE, RuleBook

VOCABULARY = (SHIPPED / VOCABULARY_FILE).read_text(encoding="utf-8")
HEAD = "rulefile: 1\nowner: QC\nreference: SOP-1\n"
#: Line of the first rule in a file that `rule` begins.
FIRST = 5


def rule(identity: str, *lines: str, gate: str = "release", severity: str = "block", message: str = "it is not") -> str:
    head = [
        f"  - id: {identity}", "    title: Something", f"    gate: [{gate}]", f"    severity: {severity}",
        "    rationale: SOP-2", f'    message: "{message}"',
    ]  # fmt: skip
    return "\n".join([*head, *(f"    {line}" for line in lines)]) + "\n"


def book(*rules: str, tables: str = "", tests: str = "", **files: str) -> RuleBook:
    text = HEAD + tables + "rules:\n" + "".join(rules) + tests
    return RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": text, **files})


def found(rules: RuleBook, check: str) -> list[tuple[str, int, str]]:
    """(level, line, message) of one check's remarks."""
    return [(r.level.value, r.location.line, r.message) for r in remarks(rules) if r.check == check]


# -- contradictions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["require: [lot.quantity > 10, lot.quantity < 5]"], "rule A can never pass: lot.quantity < 5 cannot be true here"),
        (["require: [lot.quantity > 5, lot.quantity < 5.000001]"], "can never pass"),
        (["require: [lot.quantity >= 5, lot.quantity != 5, lot.quantity <= 5]"], "can never pass"),
        (["require: [lot.item = X, lot.item = Y]"], "can never pass"),
        (["require: [lot.item = X, lot.item != X]"], "can never pass"),
        (["require:", "  - lot.item in [X, Y]", "  - lot.item not in [X, Y, Z]"], "can never pass"),
        (["require: [lot.supplier is missing, lot.supplier = ACME]"], "can never pass"),
        (["require: [lot.supplier is present, lot.supplier is missing]"], "can never pass"),
        (["require: [lot.expires_on > today + 30 days, lot.expires_on < today]"], "can never pass"),
        (["require: [lot.expires_on >= 2026-02-01, lot.expires_on <= 2026-01-31]"], "can never pass"),
        (["require: [lot.quantity < lot.quantity]"], "can never pass"),
        (["applies_to: [lot.item = X, lot.item = Y]", "require: [lot.quantity > 0]"], "rule A never applies"),
        (
            ["require:", "  - none: hold", "    where: [hold.scope = lot, hold.scope = item]"],
            "rule A: no hold is ever found, so this always passes",
        ),
        (
            ["require:", "  - count: result", "    at_least: 1", "    where: [result.value > 2, result.value < 1]"],
            "no result is ever counted",
        ),
        (
            ["require:", "  - every: result", "    where: [result.value > 2, result.value < 1]", "    check: [result.unit = mm]"],
            "no result is ever looked at",
        ),
        (
            ["require:", "  - every: result", "    check: [result.value > 2, result.value < 1]"],
            "every result that it looks at fails",
        ),
    ],
)
def test_what_can_never_be_true_together_is_an_error(lines: list[str], words: str) -> None:
    said = found(book(rule("A", *lines)), "contradictions")
    assert [(level, words in message) for level, _, message in said] == [("error", True)], said


@pytest.mark.parametrize(
    "lines",
    [
        ["require: [lot.quantity > 5, lot.quantity < 5.000002]"],
        ["require: [lot.quantity >= 5, lot.quantity <= 5]"],
        ["require:", "  - lot.item in [X, Y]", "  - lot.item != X"],
        ["require: [lot.expires_on >= today, lot.expires_on >= 2026-01-01]"],
        ["require: [lot.expires_on > today, lot.retest_on < today]"],
        ["applies_to: [lot.supplier is present]", "require: [lot.supplier = ACME]"],
        ["require:", "  - every: result", "    where: [result.characteristic = a]", "    check: [result.value > 1]"],
    ],
)
def test_what_can_be_true_is_left_alone(lines: list[str]) -> None:
    assert found(book(rule("A", *lines)), "contradictions") == []


def test_the_place_and_the_other_side_of_a_contradiction_are_named() -> None:
    said = [r for r in remarks(book(rule("A", "require:", "  - lot.quantity > 10", "  - lot.item = X",
                                         "  - lot.quantity < 5"))) if r.check == "contradictions"]  # fmt: skip
    assert str(said[0].location) == "a.yaml:14:9"
    assert said[0].hint == "it contradicts line 12, lot.quantity > 10"


def test_a_rule_that_fails_whenever_it_applies_is_worth_a_warning() -> None:
    said = found(book(rule("A", "applies_to: [lot.supplier = BADCO]", "require: [lot.supplier != BADCO]")), "contradictions")
    assert [level for level, _, _ in said] == ["warning"]
    assert "fails whenever it applies" in said[0][2]


def test_an_alternative_that_cannot_be_true_is_worth_a_warning() -> None:
    lines = ["require:", "  - any_of:", "      - lot.item = X", "      - [lot.quantity > 2, lot.quantity < 1]"]
    assert [level for level, _, _ in found(book(rule("A", *lines)), "contradictions")] == ["warning"]


def test_conditions_that_say_nothing_are_worth_a_warning() -> None:
    states = "received, quarantined, inspected, released, blocked, shipped"
    always = book(rule("A", "require:", f"  - lot.state in [{states}]", "  - lot.item = lot.item"))
    assert [(level, line) for level, line, _ in found(always, "contradictions")] == [("warning", 12), ("warning", 13)]
    never = book(rule("A", "require:", f"  - lot.state not in [{states}]"))
    assert [level for level, _, _ in found(never, "contradictions")] == ["error"]


# -- duplicates --------------------------------------------------------------------------------------------------

SAME = "require: [lot.quantity > 0]"


def test_two_rules_that_say_the_same_are_named() -> None:
    said = found(book(rule("A", SAME), rule("B", SAME)), "duplicates")
    assert said == [("warning", FIRST + 7, "rule B says the same as A")]


def test_a_rule_in_the_shadow_of_a_stricter_one_is_named() -> None:
    narrow = rule("A", "applies_to: [lot.item = X]", SAME, severity="warn")
    said = found(book(narrow, rule("B", SAME)), "duplicates")
    assert [message for _, _, message in said] == [
        "rule A never decides anything: wherever it applies, so does the stricter B"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (rule("A", SAME), rule("B", SAME, gate="ship")),
        (rule("A", "applies_to: [lot.item = X]", SAME), rule("B", SAME, severity="warn")),
        (rule("A", "applies_to: [lot.item = X]", SAME), rule("B", "applies_to: [lot.item = Y]", SAME)),
        (rule("A", "effective: {to: 2026-05-31}", SAME), rule("B", "effective: {from: 2026-06-01}", SAME)),
        (rule("A", "require: [lot.quantity > 1]"), rule("B", SAME)),
    ],
)
def test_rules_that_differ_are_left_alone(first: str, second: str) -> None:
    assert found(book(first, second), "duplicates") == []


# -- dates -------------------------------------------------------------------------------------------------------


def versions(end: str, begin: str) -> RuleBook:
    return book(
        rule("LIMIT-2025", f"effective: {{to: {end}}}", "require: [lot.quantity > 1]"),
        rule("LIMIT-2026", f"effective: {{from: {begin}}}", "require: [lot.quantity > 2]"),
    )


def test_versions_of_a_rule_that_overlap_are_named() -> None:
    said = found(versions("2026-01-31", "2026-01-01"), "dates")
    words = "rules LIMIT-2025 and LIMIT-2026 are both in force from 2026-01-01 to 2026-01-31"
    assert said == [("warning", FIRST + 8, words)]


def test_a_gap_between_versions_of_a_rule_is_named() -> None:
    said = found(versions("2025-12-31", "2026-01-03"), "dates")
    assert said[0][2] == "neither LIMIT-2025 nor LIMIT-2026 is in force from 2026-01-01 to 2026-01-02"


def test_versions_that_follow_each_other_are_left_alone() -> None:
    assert found(versions("2025-12-31", "2026-01-01"), "dates") == []


def test_rules_that_are_no_versions_of_each_other_may_overlap() -> None:
    rules = book(
        rule("LIMIT", "effective: {from: 2026-01-01}", "require: [lot.quantity > 1]"),
        rule("UNIT", "effective: {from: 2026-02-01}", "require: [lot.unit = ea]"),
    )
    assert found(rules, "dates") == []


# -- tables ------------------------------------------------------------------------------------------------------

USES = "require:\n      - row: plan[lot.item, lot.quantity]\n        check: [lot.quantity >= row.sample]"


def plan(*rows: str) -> str:
    lines = "".join(f"    - [{row}]\n" for row in rows)
    return f"table plan:\n  match: [item, quantity]\n  columns: [item, quantity, sample]\n  rows:\n{lines}"


def test_a_gap_between_ranges_is_named_in_its_line() -> None:
    tables = plan("X, 2..8, 2", "X, 10..50, 13", "Y, 2..8, 2")
    said = found(book(rule("A", USES), tables=tables), "gaps")
    assert said == [("warning", 9, "table plan: no row for quantity 9 with X")]


def test_the_step_of_the_bounds_decides_what_a_gap_is() -> None:
    assert found(book(rule("A", USES), tables=plan("X, 0.1..0.5, 2", "X, 0.6..1.0, 3")), "gaps") == []
    said = found(book(rule("A", USES), tables=plan("X, 0.1..0.5, 2", "X, 0.7..1.0, 3")), "gaps")
    assert said[0][2] == "table plan: no row for quantity 0.6 with X"


def test_a_gap_in_a_csv_file_is_named_in_that_file() -> None:
    tables = "table plan:\n  match: [item, quantity]\n  csv: plan.csv\n"
    text = "# from the planning sheet\nitem,quantity,sample\nX,2..8,2\nX,20..50,13\n"
    said = [r for r in remarks(book(rule("A", USES), tables=tables, **{"plan.csv": text})) if r.check == "gaps"]
    assert (said[0].location.file, said[0].location.line) == ("plan.csv", 4)
    assert said[0].message == "table plan: no row for quantity 9 to 19 with X"


def test_tables_and_files_that_nobody_reads_are_named() -> None:
    extra = {"forgotten.csv": "item\nX\n"}
    said = found(book(rule("A", SAME), tables=plan("X, 2..8, 2"), **extra), "unused")
    assert [message for _, _, message in said] == ["no rule looks into the table plan", "no table reads this file"]
    assert found(book(rule("A", USES), tables=plan("X, 2..8, 2")), "unused") == []


# -- gates, messages, tests --------------------------------------------------------------------------------------


def test_gates_that_nothing_guards_are_named() -> None:
    said = found(book(rule("A", SAME, gate="receive")), "gates")
    assert [message.partition(":")[0] for _, _, message in said] == [
        "no rule guards the gate release", "no rule guards the gate use_as_is", "no rule guards the gate ship",
    ]  # fmt: skip


def test_a_gate_that_opens_for_everybody_is_an_error() -> None:
    others = rule("B", "require: [lot.unit = ea]", gate="ship, use_as_is")
    said = found(book(rule("A", SAME, severity="warn"), others), "gates")
    assert [(level, "only warns" in message) for level, _, message in said] == [("error", True)]


def test_on_fail_without_effect_is_named() -> None:
    others = rule("B", "require: [lot.unit = ea]", gate="release, use_as_is")
    said = found(book(rule("A", SAME, "on_fail: block", gate="ship"), others), "gates")
    assert ["on_fail of rule A has no effect" in message for _, _, message in said] == [True]


def test_a_message_that_cannot_show_its_value_is_named() -> None:
    lines = ["require:", "  - count: result", "    at_least: 2"]
    said = found(book(rule("A", *lines, message="{result.value} is alone")), "placeholders")
    assert "a count has no single result to show" in said[0][2]
    assert found(book(rule("A", SAME, message="{lot.quantity is little")), "placeholders")[0][0] == "warning"
    assert found(book(rule("A", SAME, message="{lot.quantity} is little")), "placeholders") == []


TESTS = """\
tests:
  - name: one
    at: 2026-03-01
    given: {lot: {id: L, item: X, revision: A, state: released, quantity: 1, unit: ea}}
    expect: {A: pass}
"""


def test_a_rule_without_a_failing_test_is_warned_of_and_cannot_be_approved() -> None:
    rules = book(rule("A", SAME), tests=TESTS)
    assert [(level, line) for level, line, _ in found(rules, "upkeep")] == [("warning", FIRST)]
    assert "rule A has no test that passes and one that does not" in examine(rules).obstacles


def test_tests_without_a_day_or_with_a_name_that_is_taken_are_named() -> None:
    twice = TESTS + TESTS.partition("\n")[2].replace("quantity: 1", "quantity: 0").replace("A: pass", "A: fail")
    said = found(book(rule("A", SAME), tests=twice.replace("    at: 2026-03-01\n", "", 1)), "upkeep")
    assert [message for _, _, message in said] == ['the test "one" has no day', 'two tests are called "one"']


def test_the_shipped_packs_have_no_error() -> None:
    shipped = RuleBook.load(Path(SHIPPED))
    assert [str(r) for r in remarks(shipped) if r.level is Level.ERROR] == []


def test_every_check_is_run() -> None:
    from rules.lint import examination

    folder = Path(examination.__file__).parent
    rooms = {"__init__", "domains", "drafts", "examination", "formats", "places", "remark"}
    checks = {p.stem for p in folder.glob("*.py")} - rooms
    assert {c.__module__.rpartition(".")[2] for c in examination.CHECKS} == checks
