"""A lot as it was at an instant: its journal up to then, folded again. Reads only.

The instant is that of recording: what Lotgate knew then, not what had happened by then and was said later.
"""

from msgspec import Struct

from engine.errors import NotFound
from engine.journal import fold
from engine.lot import Lot
from engine.store.reading import Reading

#: Entries that are read at a time.
PAGE = 500


class LotAsOf(Struct, frozen=True):
    """What a lot was."""

    lot: Lot
    as_of: str
    #: When its next entry was recorded; null: it is still so.
    until: str | None


def lot_as_of(reading: Reading, lot_id: str, moment: str) -> LotAsOf:
    """The lot at ``moment`` (as the journal writes instants). Raises NotFound where it was not known yet."""
    lot: Lot | None = None
    after, following = 0, None
    while following is None:
        page = reading.journal(lot_id, after=after, limit=PAGE)
        known = [entry for entry in page if entry.recorded_at <= moment]
        lot = fold(known, lot)
        if len(known) < len(page):
            following = page[len(known)].recorded_at
        elif len(page) < PAGE:
            break
        after = page[-1].version
    if lot is None:
        raise NotFound(f"There was no lot {lot_id} at {moment}.")
    return LotAsOf(lot, moment, following)
