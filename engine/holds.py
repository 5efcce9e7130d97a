"""The history of a lot's holds: which stood from which version to which. Pure.

The lot itself knows what stands (``Lot.holds``). Every change of that is a line here, however many of them one batch
decides; folding the journal gives the same lines, which is what the evidence of a lot is held against.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from engine.journal import Entry, folds
from engine.lot import Hold


class HoldLine(Struct, frozen=True):
    """A hold, active (``lifted_at`` is None) or ended. Instants are ISO 8601, UTC, of the entries that did it."""

    hold: str
    reason: str
    text: str
    scope: str
    source: str
    owner: str | None
    applied_at: str
    applied_version: int
    lifted_at: str | None
    lifted_version: int | None
    #: The role in which it must be lifted; null: ``hold``.
    lift_role: str | None = None


class HoldChange(Struct, frozen=True):
    """One hold that began or ended with a version of its lot."""

    lot: str
    version: int
    at: str
    #: None: it ended.
    placed: Hold | None
    hold: str


def changes_of(lot: str, version: int, at: str, before: Iterable[Hold], after: Iterable[Hold]) -> Iterator[HoldChange]:
    """What one entry did to the holds of ``lot``: first what ended, then what began."""
    old, new = {h.hold: h for h in before}, {h.hold: h for h in after}
    yield from (HoldChange(lot, version, at, None, name) for name in old if name not in new)
    yield from (HoldChange(lot, version, at, hold, name) for name, hold in new.items() if name not in old)


def lines_of(entries: Iterable[Entry]) -> list[HoldLine]:
    """Every hold there ever was, by the journal, in order of their beginning."""
    lines: list[HoldLine] = []
    standing: dict[str, int] = {}
    before: tuple[Hold, ...] = ()
    for entry, lot in folds(entries):
        if lot is None:
            continue
        for change in changes_of(lot.id, entry.version, entry.recorded_at, before, lot.holds):
            if change.placed is None:
                at = standing.pop(change.hold)
                lines[at] = replace(lines[at], lifted_at=change.at, lifted_version=change.version)
            else:
                standing[change.hold] = len(lines)
                lines.append(_begun(change, change.placed))
        before = lot.holds
    return sorted(lines, key=lambda line: (line.applied_version, line.hold))


def _begun(change: HoldChange, hold: Hold) -> HoldLine:
    return HoldLine(
        hold.hold, hold.reason, hold.text, hold.scope, hold.source, hold.owner, change.at, change.version, None, None,
        hold.lift_role,
    )  # fmt: skip
