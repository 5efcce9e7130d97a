"""A lot's facts as the second engine is told them: flat, typed, with short ids of our own.

Resolved here, by the same code as the reference: table look-ups (the row becomes a fact), counts, what is missing.
No comparison is made here but those inside a count; no library here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from rules import reference
from rules.compiled import Facts, FieldRef, Kind, Lookup, Requirement, RuleSet, Value
from rules.rete_patterns import ROW, Link, Patterns, copy_of
from rules.rete_text import ALWAYS, CASE_HEADS, NUMBER, ROW_NUMBER, SID, SPARE, Encoder, TooMuch, link, offset
from rules.world import World, conjunction, finder, row_number, world_of

#: A row of a table, by the kind under which it is asserted and its number.
RowKey = tuple[str, int]
Find = Callable[[World, Mapping[str, Value]], int | None]
Spare = Callable[[World], int | None]


class Asked(Struct):
    """A case as the second engine sees it."""

    gate: str
    facts: Facts
    today: int


class _Many(Struct):
    """How facts of a kind of which a lot has many are written, for some gates."""

    kind: str
    encoder: Encoder | None
    head: str
    links: list[tuple[str, str, Find]]
    #: Head of the copy, when patterns compare such a fact with itself.
    copy: str | None


class _One(Struct):
    """What is written for one gate: single facts, links of single look-ups, counts."""

    singles: list[tuple[str, Encoder | None, list[tuple[str, str]]]]
    links: list[tuple[str, str, str, Find]]
    counts: list[tuple[str, str, Spare]]


class Lines(Struct):
    """Facts as JSON, each with its kind, and the table rows they refer to."""

    facts: list[tuple[str, str]]
    rows: set[RowKey]


class FactWriter:
    """Writes cases for the patterns of one rule set."""

    def __init__(self, rules: RuleSet, patterns: Patterns) -> None:
        self._rules = rules
        self._patterns = patterns
        self._offsets = [(f',"{offset(days)}":', days) for days in sorted(patterns.offsets)]
        self._encoders = {kind: Encoder(shape) for kind, shape in patterns.shapes.items()}
        self._finders: list[tuple[Link, Lookup, Find]] = []
        for one in patterns.links:
            row = one.requirement.row
            if row is not None:
                self._finders.append((one, row, row_number(row, rules.tables, one.requirement.subject)))
        self._of_table = {patterns.table_kind(name): table for name, table in rules.tables.items()}
        self._many_of: dict[frozenset[str], list[_Many]] = {}
        self._one_of: dict[str, _One] = {}
        #: Fields of single kinds by which rows of many facts are looked up.
        self.link_keys = sorted(
            {(key.kind, key.name) for one, row, _ in self._finders if one.requirement.subject is not None
             for key in row.keys if isinstance(key, FieldRef) and key.kind in rules.singles}
        )  # fmt: skip

    def lines(self, asked: Sequence[Asked]) -> Lines:
        """The facts of cases that are judged in one go. Raises TooMuch."""
        bodies: list[tuple[str, str]] = []
        rows: set[RowKey] = set()
        gates = frozenset([one.gate for one in asked])
        worlds = [world_of(one.facts, self._rules.singles, one.today) for one in asked]
        for how in self._many(gates):
            _write_many(how, worlds[0], bodies, rows)
        for one, world in zip(asked, worlds, strict=True):
            self._write_one(self._one(one.gate), world, bodies, rows)
        if len(bodies) > len(CASE_HEADS):
            raise TooMuch(f"{len(bodies)} facts are more than the second engine is given at once ({len(CASE_HEADS)})")
        return Lines([(kind, head + body) for head, (kind, body) in zip(CASE_HEADS, bodies, strict=False)], rows)

    def row(self, key: RowKey) -> list[str]:
        """A table row: the bodies of its facts, without their ids."""
        kind, number = key
        encoder = self._encoders.get(ROW)
        cells = "" if encoder is None else encoder.cells(self._of_table[kind].rows[number])
        kinds = (kind, copy_of(kind)) if ROW in self._patterns.copied else (kind,)
        return [f'{SID}"kind":"{name}","{ROW_NUMBER}":{number},{ALWAYS}{cells}}}' for name in kinds]

    def today(self, today: int) -> str:
        """The members of the fact with the dates that patterns compare with."""
        return "".join([f"{head}{today + days}" for head, days in self._offsets])

    # -- facts of which there are many --------------------------------------------------------------------------

    def _many(self, gates: frozenset[str]) -> list[_Many]:
        found = self._many_of.get(gates)
        if found is None:
            found = self._many_of[gates] = [
                self._plan_many(kind, gates) for kind, users in self._patterns.kinds.items() if users & gates
            ]
        return found

    def _plan_many(self, kind: str, gates: frozenset[str]) -> _Many:
        links = [
            (f',"{link(one.number)}":', self._patterns.table_kind(row.table), find)
            for one, row, find in self._finders
            if one.requirement.subject == kind and not gates.isdisjoint(one.gates)
        ]
        copied = kind in self._patterns.copied
        copy = f'{SID}"kind":"{copy_of(kind)}",{ALWAYS}' if copied else None
        return _Many(kind, self._encoders.get(kind), f'{SID}"kind":"{kind}",{ALWAYS}', links, copy)

    # -- facts for one gate -------------------------------------------------------------------------------------

    def _one(self, gate: str) -> _One:
        found = self._one_of.get(gate)
        if found is None:
            found = self._one_of[gate] = self._plan_one(gate)
        return found

    def _plan_one(self, gate: str) -> _One:
        patterns = self._patterns
        singles = []
        for kind in sorted(patterns.singles.get(gate, set())):
            kinds = [kind, copy_of(kind)] if kind in patterns.copied else [kind]
            number = f'"{NUMBER}":0,' if len(kinds) > 1 else ""
            heads = [(f"{name}.{gate}", f'{SID}"kind":"{name}.{gate}",{number}{ALWAYS}') for name in kinds]
            singles.append((kind, self._encoders.get(kind), heads))
        links = []
        for one, row, find in self._finders:
            if one.requirement.subject is None and gate in one.gates:
                kind = f"U{one.number}.{gate}"
                links.append((kind, f'{SID}"kind":"{kind}","{ROW_NUMBER}":', patterns.table_kind(row.table), find))
        counts = []
        for count in patterns.counts:
            if count.gate == gate:
                kind = count.name
                counts.append((kind, f'{SID}"kind":"{kind}","{SPARE}":', self._spare(count.requirement)))
        return _One(singles, links, counts)

    def _write_one(
        self, how: _One, world: World, bodies: list[tuple[str, str]], rows: set[RowKey]
    ) -> None:
        for kind, encoder, heads in how.singles:
            # A single fact that is not there is asserted empty: what it lacks is missing, and that can be asked.
            body = "}" if encoder is None else encoder.text(world.one[kind]) + "}"
            for name, head in heads:
                bodies.append((name, head + body))
        for kind, head, table, find in how.links:
            row = find(world, {})
            if row is not None:
                rows.add((table, row))
                bodies.append((kind, f"{head}{row},{ALWAYS}}}"))
        for kind, head, spare_of in how.counts:
            spare = spare_of(world)
            if spare is not None:
                bodies.append((kind, f"{head}{spare},{ALWAYS}}}"))

    def _spare(self, requirement: Requirement) -> Spare:
        """By how many the scarcest count exceeds what is needed; below 0: too few. None: nothing can be said."""
        tables = self._rules.tables
        if requirement.kind is Kind.COUNT:
            tally = reference.tallies(requirement, tables)
            return lambda world: min(
                (c.possible - c.needed for c in tally(world) or () if c.needed is not None), default=None
            )
        subject = requirement.subject or ""
        needed = requirement.at_least if isinstance(requirement.at_least, int) else 0
        if not requirement.where:
            return lambda world: len(world.facts.get(subject, ())) - needed
        where = conjunction(requirement.where, subject)
        find = None if requirement.row is None else finder(requirement.row, tables, subject)

        def spare(world: World) -> int:
            chosen = 0
            for fact in world.facts.get(subject, ()):
                row: Any = None if find is None else find(world, fact)
                chosen += where(world, fact, row or {}) is not False
            return chosen - needed

        return spare


def _write_many(how: _Many, world: World, bodies: list[tuple[str, str]], rows: set[RowKey]) -> None:
    kind, head = how.kind, how.head
    for number, fact in enumerate(world.facts.get(kind, ())):
        body = "" if how.encoder is None else how.encoder.text(fact)
        for member, table, find in how.links:
            row = find(world, fact)
            # -1 joins no row: a missing row is unknown, not false
            if row is None:
                body += f"{member}-1"
            else:
                body += f"{member}{row}"
                rows.add((table, row))
        if how.copy is None:
            bodies.append((kind, f"{head}{body}}}"))
        else:
            bodies.append((kind, f'{head},"{NUMBER}":{number}{body}}}'))
            bodies.append((copy_of(kind), f'{how.copy},"{NUMBER}":{number}{body}}}'))
