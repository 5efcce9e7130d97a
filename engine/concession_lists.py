"""What is used under concessions and what is left, for people. Reads only; what counts is in engine/concessions.py."""

from collections.abc import Collection
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from engine.concessions import Total, Use, cited_by_records
from engine.errors import NotFound
from engine.lot import Lot
from engine.store.concessions import read_latest, read_totals, read_used_in, read_uses
from engine.store.opening import Store

#: Concessions that are offered to whoever decides, and those that are looked through for them.
MOST_OFFERED, _LOOKED_THROUGH = 50, 200
#: Units in which lots of one concession count.
MOST_UNITS = 50


class ConcessionLine(Struct, frozen=True, omit_defaults=True):
    """What is used of a concession by all lots together, in one unit."""

    number: str
    unit: str
    used: Decimal
    #: Its limit; null: nobody said one in this unit.
    permitted: Decimal | None
    #: Null: any quantity.
    left: Decimal | None
    #: ``used`` is what lots of these plants use, ``left`` what those of all have left; empty: both are of all.
    plants: tuple[str, ...] = ()


class ConcessionView(Struct, frozen=True):
    """A concession, and a page of the lots that count under it."""

    number: str
    totals: list[ConcessionLine]
    lots: list[Use]
    #: Send it as ``cursor`` to get the next lots; null on the last page.
    next: str | None


def line_of(total: Total) -> ConcessionLine:
    """A total as it is shown."""
    return ConcessionLine(total.number, total.unit, total.used, total.permitted, total.left)


def concession_lines(store: Store, *, after: tuple[str, str] = ("", ""), limit: int) -> list[ConcessionLine]:
    """Concessions that were used, by number."""
    return [line_of(total) for total in read_totals(store, after=after, limit=limit)]


def uses_of(
    store: Store, number: str, *, after: tuple[str, str] = ("", ""), limit: int
) -> tuple[list[ConcessionLine], list[Use]]:
    """A concession, and the lots that count under it, by id. Raises NotFound for one that was never used."""
    totals = read_totals(store, limit=MOST_UNITS, number=number)
    if not totals:
        raise NotFound(f"No lot was ever used by a concession {number}.")
    return [line_of(total) for total in totals], read_uses(store, number, after=after, limit=limit)


def offered(store: Store, unit: str) -> list[ConcessionLine]:
    """Concessions of which something in ``unit`` is left, those that were used last first."""
    found = [line_of(total) for total in read_latest(store, unit, _LOOKED_THROUGH)]
    return [line for line in found if line.left is None or line.left > 0][:MOST_OFFERED]


def about(store: Store, lot: Lot, *named: str, plants: Collection[str] = ()) -> tuple[ConcessionLine, ...]:
    """The concessions by which ``lot`` is used, or by which its records were decided, in its unit; and those named.

    ``plants``: whoever asks may look at these only, and reads what their lots use, the limit, and what is left of it:
    without these nobody can decide. No plants: at all of them.
    """
    numbers = (*named, *(() if lot.concession is None else (lot.concession.number,)))
    found = []
    for number in dict.fromkeys((*numbers, *cited_by_records(lot))):
        totals = read_totals(store, limit=MOST_UNITS, number=number)
        lines = [line_of(one) for one in totals if one.unit == lot.unit or one.permitted is not None]
        found += _within(store, number, lines, plants) if plants else lines
    return tuple(found)


def _within(
    store: Store, number: str, lines: list[ConcessionLine], plants: Collection[str]
) -> list[ConcessionLine]:
    used, where = read_used_in(store, number, plants), tuple(sorted(plants))
    return [replace(line, used=used.get(line.unit, Decimal(0)), plants=where) for line in lines]
