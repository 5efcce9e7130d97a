"""Remarks as people and tools read them, coverage, and the schema that editors get."""

import json
import re
from typing import Any

import pytest

from rules import check
from rules.coverage import run_with_coverage, words
from rules.findings import Location
from rules.lint import formats
from rules.lint.remark import Level, Remark
from rules.parse import Node
from rules.rulebook import SHIPPED, VOCABULARY_FILE, RuleBook
from rules.schema import WORDS, rule_file_schema, vocabulary_schema

ERROR = Remark("gaps", Level.ERROR, Location("in/a.yaml", 2, 5), "something: 100 % wrong", "write, this")
WARNING = Remark("dates", Level.WARNING, Location("in/a.yaml", 9, 1), "something else")
SOURCES = {"in/a.yaml": "one\ntwo three four\n"}
VOCABULARY = (SHIPPED / VOCABULARY_FILE).read_text(encoding="utf-8")


def test_people_see_the_line_a_caret_and_what_was_meant() -> None:
    assert formats.text([ERROR], SOURCES) == (
        "in/a.yaml:2:5: error: something: 100 % wrong [gaps]\n"
        "  2 | two three four\n"
        "    |     ^^^^^\n"
        "    write, this"
    )


def test_a_place_outside_the_file_has_no_excerpt() -> None:
    assert formats.text([WARNING], SOURCES) == "in/a.yaml:9:1: warning: something else [dates]"


def test_a_long_line_is_cut_around_the_place() -> None:
    at = Location("a", 1, 301)
    lines = formats.excerpt(at, {"a": "x" * 300 + "here" + "y" * 300})
    assert len(lines[0]) < 130
    caret = lines[1].index("^")
    assert lines[0][caret : caret + 4] == "here"


def test_a_caret_at_the_end_of_a_line_stays_there() -> None:
    assert formats.excerpt(Location("a", 1, 4), {"a": "one"}) == ["  1 | one", "    |    ^"]


def test_github_gets_one_annotation_a_remark() -> None:
    assert formats.github([ERROR, WARNING], "rules/packs").splitlines() == [
        "::error file=rules/packs/in/a.yaml,line=2,col=5,title=gaps::something: 100 %25 wrong (write, this)",
        "::warning file=rules/packs/in/a.yaml,line=9,col=1,title=dates::something else",
    ]


def test_sarif_says_where_and_which_check() -> None:
    document = json.loads(formats.sarif([ERROR, WARNING], "packs", "1.0"))
    run = document["runs"][0]
    assert document["version"] == "2.1.0"
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["dates", "gaps"]
    first = run["results"][0]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("gaps", 1, "error")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "packs/in/a.yaml"
    assert place["region"] == {"startLine": 2, "startColumn": 5}


def test_json_has_every_part() -> None:
    assert json.loads(formats.as_json([ERROR]))[0] == {
        "check": "gaps", "level": "error", "file": "in/a.yaml", "line": 2, "column": 5,
        "message": "something: 100 % wrong", "hint": "write, this",
    }  # fmt: skip


# -- coverage ----------------------------------------------------------------------------------------------------

FILE = """\
rulefile: 1
owner: QC
reference: SOP-1
rules:
  - id: A
    title: Something
    gate: [release]
    severity: block
    rationale: SOP-2
    applies_to: [lot.supplier is present]
    require: [lot.quantity > 0, lot.quantity < 9]
    message: "no"
tests:
  - name: fine
    at: 2026-03-01
    given: {lot: {id: L, item: X, revision: A, state: released, quantity: 1, unit: ea, supplier: ACME}}
    expect: {A: pass}
  - name: nothing
    at: 2026-03-01
    given: {lot: {id: L, item: X, revision: A, state: released, quantity: 0, unit: ea, supplier: ACME}}
    expect: {A: fail}
"""


def test_coverage_says_which_condition_no_test_has_made_false() -> None:
    report, coverage = run_with_coverage(RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": FILE}))
    assert report.passed
    rule = coverage.rules[0]
    assert {name: n for name, n in rule.verdicts.items() if n} == {"pass": 1, "fail": 1}
    assert [(c.text, c.true, c.false) for c in rule.conditions] == [
        ("lot.supplier is present", 2, 0), ("lot.quantity > 0", 1, 1), ("lot.quantity < 9", 2, 0),
    ]  # fmt: skip
    assert (coverage.shown, coverage.sides) == (4, 6)
    assert "    line 11: lot.quantity < 9   was never false" in words(coverage).splitlines()


def test_a_test_that_fails_shows_nothing() -> None:
    wrong = FILE.replace("expect: {A: fail}", "expect: {A: pass}")
    report, coverage = run_with_coverage(RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": wrong}))
    assert not report.passed
    assert coverage.shown == 3


# -- the schema --------------------------------------------------------------------------------------------------


def fits(schema: dict[str, Any], node: Node, root: dict[str, Any]) -> list[str]:
    """The parts of JSON Schema that ours uses, held against a tree of texts; gives what does not fit."""
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].rpartition("/")[2]], node, root)
    if "anyOf" in schema:
        tried = [fits(one, node, root) for one in schema["anyOf"]]
        return [] if [] in tried else tried[-1]
    if node.entries is not None:
        return _object(schema, node, root)
    if node.items is not None:
        wrong = [] if schema.get("type") == "array" else [f"{node.at}: a list"]
        return wrong + [w for item in node.items for w in fits(schema.get("items", {}), item, root)]
    return _scalar(schema, node)


def _object(schema: dict[str, Any], node: Node, root: dict[str, Any]) -> list[str]:
    wrong = [] if schema.get("type") == "object" else [f"{node.at}: a mapping"]
    assert node.entries is not None
    wrong += [f"{node.at}: lacks {name}" for name in schema.get("required", ()) if name not in node.entries]
    for name, (key, value) in node.entries.items():
        matching = [s for pattern, s in schema.get("patternProperties", {}).items() if re.search(pattern, name)]
        one = schema.get("properties", {}).get(name) or (matching or [schema.get("additionalProperties", True)])[0]
        if one is False:
            wrong.append(f"{key.at}: {name} is not known")
        elif one is not True:
            wrong += fits(one, value, root)
    return wrong


def _scalar(schema: dict[str, Any], node: Node) -> list[str]:
    text = node.text or ""
    if "const" in schema and text != str(schema["const"]):
        return [f"{node.at}: {text}"]
    if "enum" in schema and text not in map(str, schema["enum"]):
        return [f"{node.at}: {text} is none of {schema['enum']}"]
    if "pattern" in schema and not re.search(schema["pattern"], text):
        return [f"{node.at}: {text} does not fit {schema['pattern']}"]
    return [f"{node.at}: {schema['type']}"] if schema.get("type") in ("object", "array") else []


def test_every_shipped_file_fits_the_schema() -> None:
    book = RuleBook.load(SHIPPED)
    schema = rule_file_schema(book.vocabulary)
    assert [wrong for file in book.files for wrong in fits(schema, file.root, schema)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("severity: block", "severity: blokc"),
        ("gate: [release]", "gate: [relase]"),
        ("lot.quantity > 0", "lot.quantty > 0"),
        ("rationale: SOP-2\n", "rational: SOP-2\n"),
        ("expect: {A: pass}", "expect: {A: passes}"),
        ("at: 2026-03-01", "at: 1.3.2026"),
        ("supplier: ACME", "suplier: ACME"),
        ("owner: QC\n", ""),
    ],
)
def test_what_an_editor_should_underline_does_not_fit(old: str, new: str) -> None:
    from rules.findings import Findings
    from rules.parse import parse

    schema = rule_file_schema(RuleBook.from_sources({VOCABULARY_FILE: VOCABULARY, "a.yaml": FILE}).vocabulary)
    good, bad = (parse(text, "a.yaml", Findings()) for text in (FILE, FILE.replace(old, new, 1)))
    assert good is not None
    assert bad is not None
    assert fits(schema, good, schema) == []
    assert fits(schema, bad, schema)


def test_every_word_of_the_checker_is_in_the_schema_with_its_meaning() -> None:
    schema = rule_file_schema(RuleBook.load(SHIPPED).vocabulary)
    known = [
        (schema, check.FILE_KEYS), (schema["$defs"]["rule"], check.RULE_KEYS),
        (schema["$defs"]["reaction"], check.REACTION_KEYS),
        (schema["$defs"]["requirement"]["anyOf"][1], check.REQUIREMENT_KEYS),
    ]  # fmt: skip
    for part, keys in known:
        assert set(part["properties"]) == set(keys)
        assert set(keys) <= set(WORDS)


def test_the_shipped_vocabulary_fits_its_schema() -> None:
    from rules.findings import Findings
    from rules.parse import parse

    node = parse(VOCABULARY, VOCABULARY_FILE, Findings())
    assert node is not None
    assert fits(vocabulary_schema(), node, {}) == []
