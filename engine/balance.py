"""Mass balance of a family of lots: what was made is in house, shipped, used up, scrapped or sent back. Pure.

Quantities are of one item and unit each. A part that was split off is its parent's quantity, not made anew; a lot that
was made of others by production is made, and what it was made of is used up. What does not add up is ``unaccounted``:
goods that a customer has not sent back whole, for example.
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
    #: shipped, consumed, scrapped, returned, split, regraded; None while it lives.
    closed: str | None
    #: The lot that it was split off from.
    parent: str | None


_ENDS = {None: "in_house", "shipped": "shipped", "scrapped": "scrapped", "returned": "returned", "regraded": "regraded"}


def balance(lots: Iterable[Holding], consumed: Mapping[str, Decimal]) -> list[Balance]:
    """By item and unit. ``consumed``: lot -> what was used of it. A part without its parent counts as made."""
    known = {lot.lot: lot for lot in lots}
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for lot in known.values():
        mine = sums.setdefault((lot.item, lot.unit), {})
        parent = None if lot.parent is None else known.get(lot.parent)
        if parent is None or parent.item != lot.item:
            _add(mine, "made", lot.born)
        where = _ENDS.get(lot.closed)
        if where is not None:
            _add(mine, where, lot.left)
        _add(mine, "consumed", consumed.get(lot.lot, Decimal(0)))
    found = []
    for (item, unit), mine in sorted(sums.items()):
        line = Balance(item, unit, **{"made": Decimal(0), **mine})
        rest = line.made - sum((v for name, v in mine.items() if name != "made"), Decimal(0))
        found.append(replace(line, unaccounted=rest))
    return found


def _add(sums: dict[str, Decimal], name: str, value: Decimal) -> None:
    sums[name] = sums.get(name, Decimal(0)) + value
