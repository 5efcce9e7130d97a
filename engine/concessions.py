"""How much is used under a concession, over all the lots that cite it. Pure.

A concession (ISO 9000:2015, 3.12.5) permits the use of what does not conform, as a rule for a limited quantity and
period. Its number stands for one permission in the whole plant. Each lot that is used by it counts with its quantity:

    used as is → counts · split, repacked, merged, divided → the parts count for the whole
    reworked, inspected again, returned, used by another concession → what is still there counts no longer
    consumed, shipped, scrapped → goes on counting: the permission is spent

What may not enter: databases (engine/store/concessions.py), refusing (engine/usage.py).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from engine import events as ev
from engine.consequences import MergedInto, SplitOff
from engine.lot import Lot

#: Lots that a refusal names.
MOST_NAMED = 5
_NOTHING = Decimal(0)
#: The plant of a lot of which nobody knows where it is: that of no lot.
_UNKNOWN = object()


class Use(Struct, frozen=True):
    """How much of a lot counts under a concession."""

    lot: str
    quantity: Decimal
    unit: str


class Total(Struct, frozen=True):
    """What is used of a concession in one unit."""

    number: str
    unit: str
    used: Decimal = _NOTHING
    #: Its limit, where it has one in this unit.
    permitted: Decimal | None = None
    #: How often it was changed; 0: it was never used.
    changes: int = 0

    @property
    def left(self) -> Decimal | None:
        """What may still be used; None: any quantity. Never below 0."""
        return None if self.permitted is None else max(_NOTHING, self.permitted - self.used)


class Move(Struct, frozen=True):
    """Quantity that begins to count (no source), counts no longer (no target), or counts for another lot."""

    number: str
    unit: str
    quantity: Decimal
    source: str | None = None
    target: str | None = None
    #: The lot is used by this concession already: its quantity counts at least, and is not added again.
    again: bool = False
    #: The concession as it was cited, where it was.
    cited: ev.Concession | None = None


class Accounts:
    """The concessions that a batch may change, as they stand after what it has decided so far."""

    def __init__(
        self, totals: Iterable[Total] = (), uses: Mapping[tuple[str, str, str], Decimal] | None = None,
        largest: Mapping[tuple[str, str], tuple[Use, ...]] | None = None,
        plants: Mapping[str, str | None] | None = None,
    ) -> None:  # fmt: skip
        """``uses``: by number, lot and unit, of the lots at hand; ``largest``: lots by number and unit, for words.

        ``plants``: where these lots are.
        """
        self.totals = {(one.number, one.unit): one for one in totals}
        #: As they were read: what a commit may rest on.
        self.read = dict(self.totals)
        self.uses = dict(uses or {})
        self.largest = dict(largest or {})
        self.plants = dict(plants or {})
        #: Totals and uses that were changed.
        self.changed: set[tuple[str, str]] = set()
        self.changed_uses: set[tuple[str, str, str]] = set()

    def learn(self, other: "Accounts") -> None:
        """Add what was read later: of what is known already, and may have been changed since, only what is new."""
        for key, one in other.totals.items():
            if key not in self.totals:
                self.totals[key] = self.read[key] = one
        self.uses = other.uses | self.uses
        self.largest = other.largest | self.largest
        self.plants = other.plants | self.plants

    def total(self, number: str, unit: str) -> Total:
        """What is used of ``number`` in ``unit``."""
        return self.totals.get((number, unit)) or Total(number, unit)

    def limit(self, number: str) -> tuple[Decimal, str] | None:
        """How much ``number`` permits, as it was said when it was first used, or amended; None: nobody said."""
        for one in self.totals.values():
            if one.number == number and one.permitted is not None:
                return one.permitted, one.unit
        return None

    def counts(self, number: str, lot: str, unit: str) -> Decimal:
        """How much of ``lot`` counts under ``number``."""
        return self.uses.get((number, lot, unit), _NOTHING)

    def named(self, number: str, unit: str, plant: str | None) -> str:
        """Lots of ``plant`` that use most of it, and all others together, for people; empty: none does.

        Whoever may look at a lot reads what it was refused for, but may not look at other plants.
        """
        found = {use.lot: use.quantity for use in self.largest.get((number, unit), ())}
        found |= {lot: counted for (of, lot, in_), counted in self.uses.items() if (of, in_) == (number, unit)}
        mine = (lot for lot in found if found[lot] > 0 and self.plants.get(lot, _UNKNOWN) == plant)
        shown = sorted(mine, key=lambda lot: (-found[lot], lot))
        words = [f"{lot} ({found[lot]:f} {unit})" for lot in shown[:MOST_NAMED]]
        rest = self.total(number, unit).used - sum((found[lot] for lot in shown[:MOST_NAMED]), _NOTHING)
        return ", ".join([*words, *([f"others ({rest:f} {unit})"] if rest > 0 else [])])

    def apply(self, moves: Iterable[Move], plants: Mapping[str, str | None] | None = None) -> None:
        """Count ``moves``, in order. A lot never gives more than counts of it, so nothing is lost or doubled.

        ``plants``: where the lots are that they name.
        """
        self.plants |= plants or {}
        for one in moves:
            if one.source is None:
                there = self.counts(one.number, one.target or "", one.unit)
                wanted = max(_NOTHING, one.quantity - there) if one.again else one.quantity
                self._count(one.number, one.target, one.unit, wanted)
                self._cite(one)
                continue
            given = min(one.quantity, self.counts(one.number, one.source, one.unit))
            self._count(one.number, one.source, one.unit, -given)
            self._count(one.number, one.target, one.unit, given)

    def _count(self, number: str, lot: str | None, unit: str, quantity: Decimal) -> None:
        if lot is None or quantity == 0:
            return
        key, name = (number, unit), (number, lot, unit)
        before = self.total(number, unit)
        self.totals[key] = Total(number, unit, before.used + quantity, before.permitted, before.changes)
        self.uses[name] = self.uses.get(name, _NOTHING) + quantity
        self.changed.add(key)
        self.changed_uses.add(name)

    def _cite(self, one: Move) -> None:
        said = None if one.cited is None else one.cited.quantity
        known = self.limit(one.number)
        if said is None or one.cited is None or (known is not None and one.cited.amends is None):
            return
        key = (one.number, said.unit)
        if known == (said.value, said.unit):
            return
        before = self.total(*key)
        self.totals[key] = Total(one.number, said.unit, before.used, said.value, before.changes)
        self.changed.add(key)


def moves_of(before: Lot | None, after: Lot, trigger: str, data: Any) -> list[Move]:
    """What a step of a lot changes in what counts under concessions."""
    if before is None:
        return _born(after, data)
    was, now = before.concession, after.concession
    if isinstance(data, MergedInto):
        if was is None:
            return []
        return [Move(was.number, before.unit, data.quantity.value, before.id, data.into)]
    same = was is not None and now is not None and was.number == now.number
    found: list[Move] = []
    if was is not None and not same:
        back = after.quantity if trigger == "return" else before.quantity
        found.append(Move(was.number, before.unit, back, before.id))
    if now is not None and trigger == "use_as_is":
        found.append(Move(now.number, after.unit, after.quantity, target=after.id, again=same, cited=now))
    return found


def _born(lot: Lot, data: Any) -> list[Move]:
    """A lot that a split or a repacking made counts for as much of the lot that it came from."""
    if lot.concession is None or not isinstance(data, SplitOff):
        return []
    unit, quantity = (lot.unit, lot.quantity) if data.used is None else (data.used.unit, data.used.value)
    return [Move(lot.concession.number, unit, quantity, data.parent, lot.id)]


def cited(event: ev.Event) -> tuple[str, ...]:
    """Numbers of the concessions that ``event`` itself names, each once."""
    if isinstance(event, ev.LotDispositioned):
        found = [event.data.concession]
    elif isinstance(event, ev.UsageDecided):
        found = [part.concession for part in event.data.parts]
    elif isinstance(event, ev.RecordChanged):
        found = [one.concession for one in event.data.dispositions]
    else:
        return ()
    return tuple(dict.fromkeys(one.number for one in found if one is not None))


def cited_by_records(lot: Lot) -> tuple[str, ...]:
    """Numbers of the concessions by which records of ``lot`` were decided."""
    found = [one.concession for record in lot.records for one in record.dispositions]
    return tuple(dict.fromkeys(one.number for one in found if one is not None))
