"""One line of a rule: ``field op value``. Its words are checked against the vocabulary and the tables."""

import re

from msgspec import Struct

from rules.compiled import (
    ColumnRef,
    Condition,
    Constant,
    Constants,
    FieldRef,
    Lookup,
    Operand,
    Today,
    Type,
)
from rules.facts import BadValue, Vocabulary, parse_value
from rules.findings import Findings, Location, did_you_mean
from rules.parse import Node

_LINE = re.compile(
    r"(?P<left>[A-Za-z_][\w.]*)\s*(?P<op><=|>=|!=|=|<|>|\bnot\s+in\b|\bin\b|\bis\s+present\b|\bis\s+missing\b)\s*(?P<right>.*)"
)
_FIELD = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_TODAY = re.compile(r"today(?:\s*(?P<sign>[+-])\s*(?P<count>\d+)(?:\s*(?P<unit>[a-z]+))?)?")
_LOOKUP = re.compile(r"(?P<table>[A-Za-z_]\w*)\s*\[(?P<keys>[^\]]*)\]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_ORDERED = (Type.NUMBER, Type.DATE)


class TableShape(Struct):
    """What is known of a table while rules are read: its columns, and the type each is used with."""

    name: str
    columns: tuple[str, ...]
    match: tuple[str, ...]
    types: dict[str, Type]
    #: Where a column's type comes from, for messages.
    used: dict[str, str]


class Scope(Struct):
    """What a condition may refer to where it stands."""

    vocabulary: Vocabulary
    tables: dict[str, TableShape]
    findings: Findings
    #: The kind a quantifier looks at, or None.
    subject: str | None = None
    #: The table whose row was looked up, or None.
    row: TableShape | None = None
    #: Tables that were refused already.
    unreadable: frozenset[str] = frozenset()


def condition(node: Node, scope: Scope) -> Condition | None:
    """The condition written at ``node``; None after noting what is wrong with it."""
    text = node.text
    if text is None:
        scope.findings.add(node.at, "a condition is one line: field, comparison, value", "for example lot.quantity > 0")
        return None
    match = _LINE.fullmatch(text.strip())
    if match is None:
        # In a list on one line, a comma ends a condition: what follows it is a number alone.
        hint = "write: field = value"
        if text.strip().isdecimal():
            hint = "a comma ends a condition; for a decimal comma write a point"
        scope.findings.add(node.at, f'do not understand "{text}" as a condition', hint)
        return None
    op = " ".join(match["op"].split())
    right_at = _shifted(node, match.start("right"))
    if op == "=" and match["right"].startswith("="):
        scope.findings.add(_shifted(node, match.start("op")), 'write one "=", not "=="')
        return None
    expected = _expected(match["right"].strip(), op, scope)
    left = reference(match["left"], _shifted(node, match.start("left")), scope, expected)
    if left is None:
        return None
    if op in ("is present", "is missing"):
        if match["right"]:
            scope.findings.add(right_at, f'nothing can follow "{op}"')
            return None
        return Condition(left, op, None, text, node.at)
    right = _right(match["right"].strip(), left, op, right_at, scope)
    if right is None:
        return None
    if op in ("<", "<=", ">", ">=") and left.type not in _ORDERED:
        words = f"{_name(left)} is a {left.type.value}; it cannot be compared with \"{op}\""
        scope.findings.add(node.at, words, "only numbers and dates have an order; use = or in [...]")
        return None
    return Condition(left, op, right, text, node.at)


def _expected(right: str, op: str, scope: Scope) -> Type:
    """The type that the right side gives to a column on the left."""
    if right.startswith("today"):
        return Type.DATE
    kind, _, name = right.partition(".")
    if kind in scope.vocabulary and name in scope.vocabulary[kind].fields:
        return scope.vocabulary[kind].fields[name].type
    ordered = op in ("<", "<=", ">", ">=")
    return Type.NUMBER if ordered and _NUMBER.fullmatch(right) else Type.CODE


def reference(word: str, at: Location, scope: Scope, expected: Type | None = None) -> FieldRef | ColumnRef | None:
    """``kind.field`` or ``row.column``."""
    kind, _, name = word.partition(".")
    if kind == "row":
        return _column(name, at, scope, expected)
    known = scope.vocabulary.get(kind)
    if known is None:
        scope.findings.add(at, f'there is no kind of fact "{kind}"', did_you_mean(kind, [*scope.vocabulary, "row"]))
        return None
    field = known.fields.get(name)
    if field is None:
        example = f'"{kind}" needs a field, for example {kind}.{next(iter(known.fields))}'
        words = f'"{kind}" has no field "{name}"' if name else example
        scope.findings.add(at, words, did_you_mean(name, known.fields, f"{kind}."))
        return None
    if not known.one and kind != scope.subject:
        hint = f"use every: {kind}, none: {kind} or count: {kind}"
        scope.findings.add(at, f"a lot has many facts of kind {kind}", hint)
        return None
    return FieldRef(kind, name, field.type)


def _column(name: str, at: Location, scope: Scope, expected: Type | None) -> ColumnRef | None:
    if scope.row is None:
        scope.findings.add(at, "there is no row here", "look one up first: row: table[key, …]")
        return None
    if name not in scope.row.columns:
        words = f'table {scope.row.name} has no column "{name}"'
        scope.findings.add(at, words, did_you_mean(name, scope.row.columns, "row."))
        return None
    if expected is not None:
        use_column(scope.row, name, expected, at, scope.findings)
    return ColumnRef(name, scope.row.types.get(name, expected or Type.CODE))


def use_column(table: TableShape, name: str, type_: Type, at: Location, findings: Findings) -> None:
    """Note that a column is used as ``type_``: codes and choices are one, anything else must agree."""
    plain = Type.CODE if type_ is Type.CHOICE else type_
    before = table.types.setdefault(name, plain)
    if before is not plain:
        findings.add(at, f"column {name} of table {table.name} is a {before.value} in line {table.used[name]}, "
                         f"a {plain.value} here")  # fmt: skip
    table.used.setdefault(name, str(at.line))


def _right(text: str, left: FieldRef | ColumnRef, op: str, at: Location, scope: Scope) -> Operand | None:
    choices, what = _choices(left, scope), _name(left)
    if op in ("in", "not in"):
        return _list(text, left, choices, at, scope)
    if not text:
        scope.findings.add(at, f"there is nothing to compare {what} with")
        return None
    if _FIELD.fullmatch(text) and (text.split(".")[0] in scope.vocabulary or text.startswith("row.")):
        return _other_field(text, left, at, scope)
    if text.startswith("today"):
        return _today(text, left, at, scope)
    if any(token in text for token in ("&&", "||", " and ", " or ")):
        token = next(t for t in ("&&", "||", "and", "or") if t in text)
        scope.findings.add(at, f'do not understand "{token}" here', "one condition per line")
        return None
    return _constant(text, left, choices, at, scope)


def _constant(
    text: str, left: FieldRef | ColumnRef, choices: tuple[str, ...], at: Location, scope: Scope
) -> Constant | None:
    word, unit = _without_unit(text, left)
    expected = _unit(left, scope)
    if unit is not None and unit != expected:
        measured = f"is measured in {expected}, not in {unit}" if expected else f"has no unit, so not {unit} either"
        scope.findings.add(at, f"{_name(left)} {measured}")
        return None
    try:
        value = parse_value(_unquoted(word), _retyped(left, scope), choices, _name(left))
    except BadValue as error:
        scope.findings.add(at, str(error), error.hint)
        return None
    return Constant(value, left.type)


def _without_unit(text: str, left: FieldRef | ColumnRef) -> tuple[str, str | None]:
    if left.type is Type.NUMBER:
        number, _, unit = text.partition(" ")
        if unit and number[:1].lstrip("+-").isdigit():
            return number, unit.strip()
    return text, None


def _list(
    text: str, left: FieldRef | ColumnRef, choices: tuple[str, ...], at: Location, scope: Scope
) -> Constants | None:
    if not (text.startswith("[") and text.endswith("]")):
        scope.findings.add(at, "a list of values is written in brackets", "for example in [a, b]")
        return None
    values = []
    for word in text[1:-1].split(","):
        constant = _constant(word.strip(), left, choices, at, scope)
        if constant is None:
            return None
        values.append(constant.value)
    return Constants(tuple(dict.fromkeys(values)), left.type)


def _other_field(text: str, left: FieldRef | ColumnRef, at: Location, scope: Scope) -> FieldRef | ColumnRef | None:
    right = reference(text, at, scope, expected=left.type)
    if right is None:
        return None
    if isinstance(left, ColumnRef) and scope.row is not None:
        use_column(scope.row, left.name, right.type, at, scope.findings)
    codes = (Type.CODE, Type.CHOICE)
    if right.type is not left.type and not (right.type in codes and left.type in codes) and isinstance(left, FieldRef):
        words = f"{_name(left)} is a {left.type.value}, {text} is a {right.type.value}; they cannot be compared"
        scope.findings.add(at, words)
        return None
    return right


def _today(text: str, left: FieldRef | ColumnRef, at: Location, scope: Scope) -> Today | None:
    match = _TODAY.fullmatch(text)
    if match is None:
        scope.findings.add(at, f'do not understand "{text}"', "write: today, or today + 90 days")
        return None
    if match["count"] and match["unit"] not in ("day", "days"):
        scope.findings.add(at, f'"{text}" has no unit' if not match["unit"] else f'"{match["unit"]}" is not days',
                           f"write: today {match['sign']} {match['count']} days")  # fmt: skip
        return None
    if isinstance(left, ColumnRef) and scope.row is not None:
        use_column(scope.row, left.name, Type.DATE, at, scope.findings)
    elif left.type is not Type.DATE:
        scope.findings.add(at, f"{_name(left)} is a {left.type.value}; today is a date")
        return None
    days = int(match["count"] or 0)
    return Today(-days if match["sign"] == "-" else days)


def lookup(node: Node, scope: Scope, whole_key: bool) -> Lookup | None:
    """``table[key, …]``; ``whole_key``: one key for every match column, else at least one."""
    match = _LOOKUP.fullmatch((node.text or "").strip())
    if match is None:
        scope.findings.add(node.at, "a row is looked up as table[key, …]", "for example spec_limits[lot.item]")
        return None
    table = scope.tables.get(match["table"])
    if table is None and match["table"] in scope.unreadable:
        return None
    if table is None:
        unknown = f'there is no table "{match["table"]}"'
        scope.findings.add(node.at, unknown, did_you_mean(match["table"], scope.tables))
        return None
    words = [word.strip() for word in match["keys"].split(",") if word.strip()]
    if len(words) > len(table.match) or (whole_key and len(words) < len(table.match)) or not words:
        scope.findings.add(node.at, f"table {table.name} is looked up by {', '.join(table.match)}: "
                                    f"{len(table.match)} keys, here are {len(words)}")  # fmt: skip
        return None
    keys: list[Operand] = []
    for word, column in zip(words, table.match, strict=False):
        operand = reference(word, node.at, scope) if "." in word else Constant(word, Type.CODE)
        if operand is None:
            return None
        use_column(table, column, operand.type, node.at, scope.findings)
        keys.append(operand)
    return Lookup(table.name, tuple(keys), node.text or "")


def _choices(left: FieldRef | ColumnRef, scope: Scope) -> tuple[str, ...]:
    return scope.vocabulary[left.kind].fields[left.name].choices if isinstance(left, FieldRef) else ()


def _unit(left: FieldRef | ColumnRef, scope: Scope) -> str | None:
    return scope.vocabulary[left.kind].fields[left.name].unit if isinstance(left, FieldRef) else None


def _retyped(left: FieldRef | ColumnRef, scope: Scope) -> Type:
    if isinstance(left, ColumnRef) and scope.row is not None:
        return scope.row.types.get(left.name, Type.CODE)
    return left.type


def _name(left: FieldRef | ColumnRef) -> str:
    return f"{left.kind}.{left.name}" if isinstance(left, FieldRef) else f"row.{left.name}"


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _shifted(node: Node, by: int) -> Location:
    extra = 1 if node.quoted else 0
    return Location(node.at.file, node.at.line, node.at.column + by + extra)
