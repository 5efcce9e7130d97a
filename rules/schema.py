"""JSON Schema of rule files, for editors: made from the words that the checker knows and from one vocabulary.

What may not enter: judgements that only the checker can make. A file that fits the schema may still have mistakes;
a file without mistakes fits the schema.
"""

import re
from typing import Any

from rules import cases, check
from rules.compiled import Severity, Type, Verdict
from rules.facts import Field, KindOfFact, Vocabulary

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DAY = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
_SCALAR = {"type": ["string", "number", "boolean"]}
_OPERATORS = r"(<=|>=|!=|=|<|>|not\s+in\b|in\b|is\s+present\b|is\s+missing\b)"

#: What an editor shows beside each word.
WORDS = {
    "rulefile": "Version of the format: 1.",
    "owner": "Who answers for the rules: a department or a person.",
    "reference": "The document they come from.",
    "effective": "First and last day on which they hold; both count.",
    "rules": "What must be true.",
    "reactions": "What Lotgate does by itself.",
    "tests": "Given facts and a day, the verdict that is expected.",
    "id": "Name of the rule, for ever: decisions refer to it.",
    "title": "What the rule asks for, in one line.",
    "gate": "Steps of a lot that the rule guards.",
    "severity": "block: the gate is shut. hold: shut, but facts of the world are recorded and the lot is held. "
    "warn and info are recorded only.",
    "rationale": "Why there is this rule.",
    "applies_to": "Conditions that say whether the rule concerns the lot at all.",
    "require": "What must be true, one condition a line; all of them.",
    "message": "What people read when it is not; {lot.quantity} is replaced.",
    "on_fail": "block: a lot that fails when its inspection is complete is blocked at once.",
    "after": "State that the lot has just come into.",
    "when": "What must be true.",
    "do": "What is done.",
    "to": "Of change_sampling: how hard the supplier's lots are inspected from now on.",
    "name": "What the test shows.",
    "at": "The day on which it is judged.",
    "given": "The facts, by kind.",
    "expect": "Rule -> verdict.",
    "every": "For each fact of this kind, all of check.",
    "none": "No fact of this kind, where …",
    "count": "At least so many facts of this kind.",
    "any_of": "One of these alternatives.",
    "where": "Which facts are meant.",
    "check": "What must be true of each.",
    "row": "A row of a table: table[key, …].",
    "at_least": "How many; or row.column.",
    "distinct": "Count different values of this field.",
    "for_each": "Count for each row of a table: table[key, …].",
    "match": "Columns that are looked up by.",
    "columns": "Names of the columns.",
    "rows": "Lists of cells; ~ is no limit, 2..8 a range.",
    "csv": "A CSV file beside this one, instead of rows.",
}


def rule_file_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The schema of a rule file in terms of ``vocabulary``."""
    many = [kind.name for kind in vocabulary.values() if not kind.one]
    return {
        "$schema": DIALECT,
        "title": "Lotgate rule file",
        **_closed(
            {
                "rulefile": {"const": 1},
                "owner": _text(),
                "reference": _text(),
                "effective": {"$ref": "#/$defs/effective"},
                "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
                "reactions": {"type": "array", "items": {"$ref": "#/$defs/reaction"}},
                "tests": {"type": "array", "items": {"$ref": "#/$defs/test"}},
            },
            check.FILE_KEYS,
            ("rulefile", "owner", "reference"),
        ),
        "patternProperties": {r"^table \w+$": {"$ref": "#/$defs/table"}},
        "$defs": {
            "condition": {"type": "string", "pattern": _condition(vocabulary)},
            "conditions": {"type": "array", "items": {"$ref": "#/$defs/condition"}},
            "effective": _closed({"from": _DAY, "to": _DAY}, ("from", "to")),
            "rule": _rule(),
            "reaction": _reaction(),
            "requirement": _requirement(many),
            "table": _table(),
            "test": _test(vocabulary),
        },
    }


def vocabulary_schema() -> dict[str, Any]:
    """The schema of ``vocabulary.yaml``."""
    types = {"enum": [t.value for t in Type]}
    field = {
        "anyOf": [
            types,
            {
                "type": "object",
                "properties": {
                    "type": types,
                    "unit": {"type": "string"},
                    "values": {"type": "array", "items": _SCALAR},
                    "required": {"type": "boolean"},
                },
                "required": ["type"],
                "additionalProperties": False,
            },
        ]
    }
    name = {"pattern": "^[a-z][a-z0-9_]{0,39}$"}
    fields = {"type": "object", "propertyNames": name, "additionalProperties": field}
    kind = {
        "type": "object",
        "properties": {"one": {"type": "boolean"}, "fields": fields},
        "required": ["fields"],
        "additionalProperties": False,
    }
    kinds = {"type": "object", "propertyNames": name, "additionalProperties": kind}
    whole = {"type": "object", "properties": {"kinds": kinds}, "required": ["kinds"]}
    return {"$schema": DIALECT, "title": "Lotgate vocabulary", **whole}


def _closed(
    properties: dict[str, Any], known: tuple[str, ...], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """An object with the keys that the checker knows, and no others."""
    described = {
        name: {**properties[name], "description": WORDS[name]} if name in WORDS else properties[name] for name in known
    }
    return {"type": "object", "properties": described, "required": list(required), "additionalProperties": False}


def _text() -> dict[str, Any]:
    return {"type": "string", "minLength": 1}


def _rule() -> dict[str, Any]:
    gate = {"enum": list(check.GATES)}
    return _closed(
        {
            "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"},
            "title": _text(),
            "gate": {"anyOf": [gate, {"type": "array", "items": gate, "minItems": 1}]},
            "severity": {"enum": [s.value for s in Severity]},
            "rationale": _text(),
            "applies_to": {"$ref": "#/$defs/conditions"},
            "require": {"type": "array", "items": {"$ref": "#/$defs/requirement"}, "minItems": 1},
            "message": _text(),
            "effective": {"$ref": "#/$defs/effective"},
            "owner": _text(),
            "reference": _text(),
            "on_fail": {"const": "block"},
        },
        check.RULE_KEYS,
        ("id", "title", "gate", "severity", "rationale", "require", "message"),
    )


def _reaction() -> dict[str, Any]:
    return _closed(
        {
            "id": {"type": "string"},
            "title": _text(),
            "after": {"enum": list(check.STATES)},
            "when": {"type": "array", "items": {"$ref": "#/$defs/requirement"}},
            "do": {"enum": list(check.REACTIONS)},
            "to": {"enum": list(check.SAMPLING)},
            "message": _text(),
            "effective": {"$ref": "#/$defs/effective"},
        },
        check.REACTION_KEYS,
        ("id", "title", "after", "do"),
    )


def _requirement(many: list[str]) -> dict[str, Any]:
    look_up = {"type": "string", "pattern": r"^\w+\s*\[[^\]]+\]$"}
    conditions = {"$ref": "#/$defs/conditions"}
    alternative = {"anyOf": [{"$ref": "#/$defs/condition"}, conditions]}
    whole = _closed(
        {
            "every": {"enum": many},
            "none": {"enum": many},
            "count": {"enum": many},
            "any_of": {"type": "array", "items": alternative, "minItems": 1},
            "where": conditions,
            "check": conditions,
            "row": look_up,
            "at_least": {"type": ["integer", "string"]},
            "distinct": {"type": "string"},
            "for_each": look_up,
        },
        check.REQUIREMENT_KEYS,
    )
    return {"anyOf": [{"$ref": "#/$defs/condition"}, whole]}


def _table() -> dict[str, Any]:
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    cell = {"type": ["string", "number", "boolean", "null"]}
    return _closed(
        {
            "match": names,
            "columns": names,
            "rows": {"type": "array", "items": {"type": "array", "items": cell}},
            "csv": {"type": "string", "pattern": r"^[^/]+\.csv$"},
        },
        ("match", "columns", "rows", "csv"),
        ("match",),
    )


def _test(vocabulary: Vocabulary) -> dict[str, Any]:
    given: dict[str, Any] = {kind.name: _facts(kind) for kind in vocabulary.values()}
    facts = {"type": "object", "properties": given, "required": ["lot"], "additionalProperties": False}
    verdicts = {"enum": [v.value for v in Verdict]}
    return _closed(
        {
            "name": _text(),
            "at": _DAY,
            "given": facts,
            "expect": {"type": "object", "additionalProperties": verdicts, "minProperties": 1},
        },
        cases.TEST_KEYS,
        ("name", "given", "expect"),
    )


def _facts(kind: KindOfFact) -> dict[str, Any]:
    fact = {
        "type": "object",
        "properties": {f.name: _value(f) for f in kind.fields.values()},
        "required": [f.name for f in kind.fields.values() if f.required],
        "additionalProperties": False,
    }
    return fact if kind.one else {"anyOf": [fact, {"type": "array", "items": fact}]}


def _value(field: Field) -> dict[str, Any]:
    if field.type is Type.DATE:
        return dict(_DAY)
    if field.type is Type.CHOICE:
        return {"enum": list(field.choices)}
    if field.type is Type.YES_NO:
        # An editor may read yes and no as words or, by YAML 1.1, as truth values.
        return {"enum": ["yes", "no", True, False]}
    unit = {"description": f"in {field.unit}"} if field.unit else {}
    return {"type": "number", **unit} if field.type is Type.NUMBER else dict(_SCALAR)


def _condition(vocabulary: Vocabulary) -> str:
    names = [f"{kind.name}\\.({'|'.join(map(re.escape, kind.fields))})" for kind in vocabulary.values()]
    return rf"^\s*({'|'.join(names)}|row\.\w+)\s*{_OPERATORS}"
