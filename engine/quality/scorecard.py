"""How an item from a supplier has done: lots, rejections, units; and where its sampling stands. Pure.

Counted are original inspections: a lot that is inspected again counts once. Rates are of everything since the first
lot; ``accepted_in_row`` counts back from the newest. Definitions for readers are in docs/quality.md.
"""

from msgspec import Struct
from msgspec.structs import replace

from engine.quality.skip_lot import SkipState
from engine.quality.switching import SwitchingState

_SCALE = 1_000_000


class Scorecard(Struct, frozen=True):
    """One item from one supplier."""

    #: Lots whose original inspection was completed, and those of them that were rejected by it.
    lots: int = 0
    rejected: int = 0
    #: Lots accepted since the last rejection.
    accepted_in_row: int = 0
    #: Units of which was said whether they conform, and those that did not.
    units: int = 0
    nonconforming: int = 0
    #: Where inspection by sampling stands.
    sampling: SwitchingState = SwitchingState()
    #: Why it stands there; empty: nothing has changed it since the first lot.
    because: str = ""
    #: Where skip-lot sampling stands, and lots that went to stock without inspection.
    skip: SkipState = SkipState()
    skipped: int = 0

    @property
    def rejection_percent(self) -> float | None:
        """Rejected lots per hundred; None before the first."""
        return 100 * self.rejected / self.lots if self.lots else None

    @property
    def ppm(self) -> float | None:
        """Nonconforming units per million; None before the first."""
        return 1_000_000 * self.nonconforming / self.units if self.units else None


def counted(card: Scorecard, *, rejected: bool, units: int, nonconforming: int) -> Scorecard:
    """``card`` after one more lot."""
    return replace(
        card,
        lots=card.lots + 1,
        rejected=card.rejected + rejected,
        accepted_in_row=0 if rejected else card.accepted_in_row + 1,
        units=card.units + units,
        nonconforming=card.nonconforming + nonconforming,
    )


def scorecard_fact(card: Scorecard) -> dict[str, int | str | bool]:
    """What rules see: rates that cannot be known yet are missing."""
    fact: dict[str, int | str | bool] = {
        "lots": card.lots * _SCALE,
        "rejected_lots": card.rejected * _SCALE,
        "accepted_in_row": card.accepted_in_row * _SCALE,
        "units": card.units * _SCALE,
        "nonconforming_units": card.nonconforming * _SCALE,
        "sampling": card.sampling.severity.value,
        "discontinued": card.sampling.discontinued,
        "skip_lot": card.skip.state.value,
        "skip_frequency": card.skip.frequency * _SCALE,
        "qualification_score": card.skip.score * _SCALE,
        "skipped_lots": card.skipped * _SCALE,
    }
    if card.rejection_percent is not None:
        fact["rejection_percent"] = round(card.rejection_percent * _SCALE)
    if card.ppm is not None:
        fact["ppm"] = round(card.ppm * _SCALE)
    return fact
