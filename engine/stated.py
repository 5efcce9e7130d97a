"""Facts that other systems state about a lot, in kinds and fields that the plant's vocabulary adds. Pure.

A certificate arrived, somebody signed, the supplier is on probation: Lotgate need not know what it means, only which
kind of fact the vocabulary calls it, so that rules can ask for it. Texts are kept as they were stated and typed by the
vocabulary of the rule set that judges; what that vocabulary does not know, or cannot read, is missing.
"""

from collections.abc import Mapping

from engine import events as ev
from rules.compiled import Value
from rules.facts import BadValue, KindOfFact, Vocabulary, parse_value
from rules.findings import did_you_mean

Fields = Mapping[str, str]
#: Kind -> key -> fields, as they were stated.
Stated = Mapping[str, Mapping[str, Fields]]

#: Kinds that Lotgate fills itself: nobody states them. Of the lot itself, only fields that the plant added.
OWN_KINDS = frozenset(
    {"event", "result", "hold", "chart", "scorecard", "plan", "characteristic", "certified", "signature"}
)
#: Fields of the lot that engine.gather.lot_fact fills: nobody else may state them.
LOT_FIELDS = frozenset(
    ("id", "item", "revision", "state", "quantity", "unit", "age_days", "recall_open", "inspection_complete",
     "supplier", "supplier_lot", "receipt", "order", "plant", "location", "disposition", "manufactured_on",
     "expires_on", "retest_on")
)  # fmt: skip
#: Facts that may stand on one lot.
MAX_FACTS = 500


def problem_of(
    stated: Stated, data: ev.FactStatement, vocabulary: Vocabulary, own_fields: frozenset[str]
) -> str | None:
    """Why ``data`` cannot be taken; None when it can. ``own_fields``: fields of the lot that Lotgate fills itself."""
    kind = vocabulary.get(data.kind)
    if kind is None or data.kind in OWN_KINDS:
        open_kinds = [name for name in vocabulary if name not in OWN_KINDS]
        why = "is filled by Lotgate itself" if kind is not None else "is not in the vocabulary of the rules in force"
        return f'The kind of fact "{data.kind}" {why}; {did_you_mean(data.kind, open_kinds)}'.rstrip("; ") + "."
    if data.withdrawn:
        return None
    for name, value in data.fields.items():
        problem = _field_problem(kind, name, value, own_fields)
        if problem is not None:
            return problem
    missing = [f.name for f in kind.fields.values() if f.required and f.name not in data.fields]
    if missing and data.kind != "lot":
        return f"A {kind.name} always has {', '.join(missing)}; this one has not."
    if data.key not in stated.get(data.kind, {}) and sum(map(len, stated.values())) >= MAX_FACTS:
        return f"The lot has {MAX_FACTS} stated facts already; withdraw what is out of date."
    return None


def _field_problem(kind: KindOfFact, name: str, value: ev.Stated, own_fields: frozenset[str]) -> str | None:
    field = kind.fields.get(name)
    if field is None:
        return f'"{kind.name}" has no field "{name}"; {did_you_mean(name, kind.fields)}'.rstrip("; ") + "."
    if kind.name == "lot" and name in own_fields:
        return f"lot.{name} is filled by Lotgate itself; it cannot be stated."
    try:
        parse_value(as_text(value), field.type, field.choices, f"{kind.name}.{name}")
    except BadValue as error:
        return f"{kind.name}.{name}: {error}. {error.hint}".strip()
    return None


def as_text(value: ev.Stated) -> str:
    """A stated value as rule files write it."""
    if value is True:
        return "yes"
    if value is False:
        return "no"
    return str(value)


def after(stated: Stated, data: ev.FactStatement) -> dict[str, dict[str, dict[str, str]]]:
    """``stated`` with ``data`` in it, or without it where it is withdrawn."""
    found = {kind: {key: dict(fields) for key, fields in facts.items()} for kind, facts in stated.items()}
    facts = found.setdefault(data.kind, {})
    facts.pop(data.key, None)
    if not data.withdrawn:
        facts[data.key] = {name: as_text(value) for name, value in data.fields.items()}
    return {kind: facts for kind, facts in found.items() if facts}


def together(first: Stated, second: Stated) -> Stated:
    """Both; where both state a fact of one kind and key, the second."""
    if not first or not second:
        return first or second
    kinds = dict.fromkeys((*first, *second))
    return {kind: {**first.get(kind, {}), **second.get(kind, {})} for kind in kinds}


def typed(stated: Stated, vocabulary: Vocabulary) -> dict[str, list[dict[str, Value]]]:
    """The facts as rules see them, in order of statement; of a kind that is single, the one stated last."""
    found: dict[str, list[dict[str, Value]]] = {}
    for name, facts in stated.items():
        kind = vocabulary.get(name)
        if kind is None or name in OWN_KINDS:
            continue
        lines = [_typed(fields, kind) for fields in facts.values()]
        found[name] = lines[-1:] if kind.one else lines
    return found


def _typed(fields: Fields, kind: KindOfFact) -> dict[str, Value]:
    fact: dict[str, Value] = {}
    for name, text in fields.items():
        field = kind.fields.get(name)
        if field is None:
            continue
        try:
            fact[name] = parse_value(text, field.type, field.choices, name)
        except BadValue:
            continue  # the vocabulary has changed: what it cannot read is missing, and missing never passes
    return fact
