"""The journal of a lot as people read it: one sentence an entry, with the evidence behind it.

What may not enter: SQL, and the words themselves (api/console/words.py).
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from api.console.words import sentence
from engine.evidence import Evidence
from engine.journal import Entry
from rules.compiled import Type, Verdict
from rules.facts import Vocabulary, show
from rules.rulebook import RuleVerdict

_decode = msgspec.json.Decoder(Evidence).decode
#: Facts of one kind that are shown; the journal has them all.
_MAX_FACTS = 20


class FactLine(Struct, frozen=True):
    """One fact that the rules looked at, written out."""

    kind: str
    words: str


class Moment(Struct, frozen=True):
    """One entry."""

    entry: Entry
    sentence: str
    gate: str | None
    engines: tuple[str, ...]
    #: Why the engines differ; None: they agree.
    disagreement: str | None
    #: Those that refused or could not be evaluated.
    against: tuple[RuleVerdict, ...]
    passed: tuple[RuleVerdict, ...]
    facts: list[FactLine]


def moments(entries: Iterable[Entry], vocabulary: Vocabulary) -> list[Moment]:
    """The entries, the newest first."""
    return [_moment(entry, vocabulary) for entry in reversed(list(entries))]


def _moment(entry: Entry, vocabulary: Vocabulary) -> Moment:
    said = _decode(entry.evidence)
    against = tuple(v for v in said.verdicts if v.verdict is not Verdict.PASS)
    passed = tuple(v for v in said.verdicts if v.verdict is Verdict.PASS)
    different = said.disagreement or "the engines differ" if not said.agreed else None
    facts = [] if said.facts is None else _facts(said, vocabulary)
    return Moment(entry, sentence(entry), said.gate, said.engines, different, against, passed, facts)


def _facts(said: Evidence, vocabulary: Vocabulary) -> list[FactLine]:
    lines = []
    for kind, facts in (said.facts or {}).items():
        fields = vocabulary[kind].fields if kind in vocabulary else {}
        for fact in list(facts)[:_MAX_FACTS]:
            words = [
                f"{name} {show(value, fields[name].type if name in fields else Type.CODE)}"
                for name, value in fact.items()
            ]
            lines.append(FactLine(kind, ", ".join(words)))
    if said.results is not None:
        used = said.results
        lines.append(FactLine("results", f"of {used.lot}, entries {used.after + 1} to {used.upto}"))
    return lines
