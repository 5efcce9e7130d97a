"""The vocabulary: what a rule may talk about. Kinds of fact, their fields, types, units and choices, from a file.

Integrators extend it with fields of their own; a word that is not in it is a mistake that is found when the files
are loaded, not a rule that never fires.
"""

import re
from datetime import date

from msgspec import Struct

from rules.compiled import Type, Value
from rules.findings import Findings, did_you_mean
from rules.parse import Node
from rules.units import NotANumber, format_number, parse_number

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Field(Struct, frozen=True):
    """A field of a kind of fact."""

    name: str
    type: Type
    unit: str | None = None
    choices: tuple[str, ...] = ()
    required: bool = False


class KindOfFact(Struct, frozen=True):
    """A kind of fact; ``one``: a lot has at most one of it."""

    name: str
    one: bool
    fields: dict[str, Field]


Vocabulary = dict[str, KindOfFact]


class BadValue(ValueError):
    """A text is not a value of a type; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_value(text: str, type_: Type, choices: tuple[str, ...], what: str) -> Value:
    """``text`` as a value of ``type_``; ``what`` names the field in messages. Raises BadValue."""
    if type_ is Type.NUMBER:
        try:
            return parse_number(text)
        except NotANumber as error:
            raise BadValue(str(error), error.hint) from None
    if type_ is Type.DATE:
        return parse_date(text, what)
    if type_ is Type.YES_NO:
        if text not in ("yes", "no"):
            raise BadValue(f'{what} is yes or no, but "{text}" is neither', "write yes or no")
        return text == "yes"
    if type_ is Type.CHOICE and text not in choices:
        hint = did_you_mean(text, choices)
        allowed = f"allowed: {', '.join(choices)}"
        raise BadValue(f'"{text}" is not a value of {what}', f"{hint} {allowed}" if "?" in hint else allowed)
    return text


def parse_date(text: str, what: str) -> int:
    """The ordinal of a day written ``2026-03-31``. Raises BadValue."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise BadValue(
            f'{what} is a date, but "{text}" is not one', "write year-month-day, for example 2026-03-31"
        ) from None


def show(value: Value | None, type_: Type) -> str:
    """A value as people write it."""
    if value is None:
        return "no limit"
    if type_ is Type.NUMBER:
        return format_number(int(value))
    if type_ is Type.DATE:
        return date.fromordinal(int(value)).isoformat()
    if type_ is Type.YES_NO:
        return "yes" if value else "no"
    return str(value)


def read_vocabulary(node: Node, findings: Findings) -> Vocabulary:
    """The vocabulary that a file's tree says."""
    found: Vocabulary = {}
    kinds = (node.entries or {}).get("kinds")
    if kinds is None or kinds[1].entries is None:
        findings.add(node.at, 'a vocabulary file has "kinds:" with a mapping of kinds')
        return found
    for name, (key, body) in kinds[1].entries.items():
        if not _NAME.fullmatch(name):
            findings.add(key.at, f'"{name}" cannot be the name of a kind', "small letters, digits and _")
            continue
        found[name] = KindOfFact(name, _flag(body, "one"), _fields(name, body, findings))
    return found


def _flag(node: Node, name: str) -> bool:
    entry = (node.entries or {}).get(name)
    return entry is not None and entry[1].text == "true"


def _fields(kind: str, body: Node, findings: Findings) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    entry = (body.entries or {}).get("fields")
    if entry is None or entry[1].entries is None:
        findings.add(body.at, f'the kind "{kind}" has no "fields:"')
        return fields
    for name, (key, shape) in entry[1].entries.items():
        if not _NAME.fullmatch(name):
            findings.add(key.at, f'"{name}" cannot be the name of a field', "small letters, digits and _")
            continue
        field = _field(name, shape, findings)
        if field is not None:
            fields[name] = field
    return fields


def _field(name: str, shape: Node, findings: Findings) -> Field | None:
    """``name: number`` or ``name: {type: choice, values: [a, b], required: true, unit: mm}``."""
    entries = shape.entries or {}
    type_node = shape if shape.text is not None else entries.get("type", (None, None))[1]
    word = type_node.text if type_node is not None else None
    known = [t.value for t in Type]
    if word not in known:
        findings.add(shape.at, f'the field "{name}" has no known type', did_you_mean(word or "", known))
        return None
    values = entries.get("values", (None, None))[1]
    choices = tuple(item.text or "" for item in (values.items or [])) if values is not None else ()
    if word == "choice" and not choices:
        findings.add(shape.at, f'the field "{name}" is a choice without "values:"')
    unit = entries.get("unit", (None, None))[1]
    return Field(name, Type(word), unit.text if unit else None, choices, _flag(shape, "required"))
