"""What the state API shows beyond the records themselves: pages, a lot with its surroundings, readiness.

What may not enter: queries and routes. The records are those of engine/store/reading.py and engine/ledger.py;
they are answers and documentation in one.
"""

from typing import Generic, TypeVar

from msgspec import Struct

from engine.concession_lists import ConcessionLine
from engine.delivery_lines import DeliveryLine
from engine.lifecycle import NextStep
from engine.lot import Lot

Row = TypeVar("Row")


class Page(Struct, Generic[Row]):
    """One page of a list."""

    data: list[Row]
    #: Send it as ``cursor`` to get the next page; null on the last.
    next: str | None


class DeliveryPage(Struct, omit_defaults=True):
    """One page of deliveries."""

    data: list[DeliveryLine]
    #: Send it as ``cursor`` to get the next page; null on the last.
    next: str | None
    #: What this list leaves out, and where that is.
    notice: str | None = None


class TargetView(Struct):
    """What one target was told and has agreed to. Versions are the lot's; null: none yet."""

    target: str
    sent_version: int | None
    sent_state: str | None
    acknowledged_version: int | None
    acknowledged_state: str | None
    #: The target agrees to the newest status that it must know.
    agrees: bool


class LotView(Struct):
    """A lot with what can happen next and what the targets know."""

    lot: Lot
    next_steps: tuple[NextStep, ...]
    #: Now; empty in a look back.
    targets: list[TargetView]
    #: A look back: the instant that was asked for, and when the lot's next entry was recorded (null: it is still so).
    as_of: str | None = None
    until: str | None = None
    #: What all lots together use of the concession by which it is used; null: it is used by none.
    concession: ConcessionLine | None = None


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead deliveries to replay. Nothing given: all of them."""

    target: str | None = None
    lot: str | None = None
    #: Count what would be replayed, change nothing.
    dry_run: bool = False


class Replayed(Struct):
    """How many deliveries were, or would be, replayed."""

    replayed: int
    dry_run: bool


class Check(Struct):
    """One check of readiness."""

    #: ok, degraded, failed
    status: str
    detail: str = ""


class Readiness(Struct):
    """Is this process ready for events?"""

    #: ready, degraded, not-ready
    status: str
    checks: dict[str, Check]
