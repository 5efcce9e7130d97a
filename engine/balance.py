"""Mass balance of a family of lots: what was made is in house, shipped, used up, scrapped or sent back. Pure.

Quantities are of one item and unit each. A part that was split off or repacked is its parent's quantity, not made anew,
and what was put together is that of its parts; what production made of others is made, and what it was made of is used
up. What is counted in another unit after repacking has left one unit and is made in the other. What does not add up is
``unaccounted``: goods that a customer has not sent back whole, for example.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace


class Balance(Struct, frozen=True):
    """One item in one unit; decimal texts."""

    item: str
    unit: str
    #: Received or produced.
    made: Decimal
    in_house: Decimal = Decimal(0)
    shipped: Decimal = Decimal(0)
    consumed: Decimal = Decimal(0)
    scrapped: Decimal = Decimal(0)
    #: To the supplier.
    returned: Decimal = Decimal(0)
    #: Became another item.
    regraded: Decimal = Decimal(0)
    #: Became lots that are counted in another unit.
    repacked: Decimal = Decimal(0)
    unaccounted: Decimal = Decimal(0)


class Holding(Struct, frozen=True):
    """What one lot has to do with it."""

    lot: str
    item: str
    unit: str
    #: When it began; None: it was never received or produced here.
    born: Decimal
    #: What is left, or was when it ended.
    left: Decimal
    #: shipped, consumed, scrapped, returned, split, merged, repacked, regraded; None while it lives.
    closed: str | None
    #: The lot that it was split off from.
    parent: str | None
    #: How much of its parent it is, where that is counted in another unit.
    used: Decimal | None = None
    #: What each lot gave that it was put together from.
    parts: Mapping[str, Decimal] = {}


_ENDS = {None: "in_house", "shipped": "shipped", "scrapped": "scrapped", "returned": "returned", "regraded": "regraded"}


def balance(lots: Iterable[Holding], consumed: Mapping[str, Decimal]) -> list[Balance]:
    """By item and unit. ``consumed``: lot -> what was used of it. A part without its parent counts as made."""
    known = {lot.lot: lot for lot in lots}
    # A regrade of the revision alone: the same goods go on under the child.
    stayed = {lot.parent for lot in known.values()} - _changed(known)
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for lot in known.values():
        mine = sums.setdefault((lot.item, lot.unit), {})
        _add(mine, "made", _made(lot, known))
        parent = None if lot.parent is None else known.get(lot.parent)
        if parent is not None and lot.used is not None:
            _add(sums.setdefault((parent.item, parent.unit), {}), "repacked", lot.used)
        where = _ENDS.get(lot.closed)
        if where is not None and not (where == "regraded" and lot.lot in stayed):
            _add(mine, where, lot.left)
        _add(mine, "consumed", consumed.get(lot.lot, Decimal(0)))
    found = []
    for (item, unit), mine in sorted(sums.items()):
        line = Balance(item, unit, **{"made": Decimal(0), **mine})
        rest = line.made - sum((v for name, v in mine.items() if name != "made"), Decimal(0))
        found.append(replace(line, unaccounted=rest))
    return found


def _changed(known: Mapping[str, Holding]) -> set[str | None]:
    """Lots of which a part is another item, or counted in another unit."""
    pairs = [(lot, known.get(lot.parent or "")) for lot in known.values()]
    return {p.lot for lot, p in pairs if p is not None and (p.item, p.unit) != (lot.item, lot.unit)}


def _made(lot: Holding, known: Mapping[str, Holding]) -> Decimal:
    """How much of it no other lot of the family had before."""
    if lot.parts:
        return sum((given for part, given in lot.parts.items() if part not in known), Decimal(0))
    parent = None if lot.parent is None else known.get(lot.parent)
    own = parent is None or (parent.item, parent.unit) != (lot.item, lot.unit)
    return lot.born if own else Decimal(0)


def _add(sums: dict[str, Decimal], name: str, value: Decimal) -> None:
    sums[name] = sums.get(name, Decimal(0)) + value
