"""Which holds pass from parents to children.

A hold that lands on a lot lands on everything that was made of it, level by level, by ordinary hold events; it ends
there when it has ended on every parent that carried it. Each batch leaves a note of what began and ended
(``spreading``, in the same transaction), and the clock process passes it on: always after the commit, so that a hold
and a birth at the same moment cannot miss each other, and a large family makes nobody wait. Whoever lifts an inherited
hold by hand keeps it lifted.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from engine import events as ev
from engine.genealogy import GENEALOGY, inherited, inherited_name
from engine.lot import Hold, Lot, decode_lot
from engine.pipeline import Pipeline
from engine.store import genealogy as stored
from engine.store.opening import Store
from engine.submission import Submission, submission
from engine.tracing import children, parents

#: Notes that one round takes up.
ROUND = 500
#: Events that are decided together.
TOGETHER = 25


class _Note(Struct, frozen=True):
    id: int
    lot: str
    #: The hold that began or ended; None: the lot was born.
    hold: str | None
    cause: str


def pass_holds_on(store: Store, pipeline: Pipeline) -> int:
    """Bring to children what began or ended on their parents; gives how many events that took.

    A crash repeats events under their ids, which changes nothing.
    """
    with store.reads.connect() as connection:
        notes = [_Note(*row) for row in stored.read_spreading(connection, ROUND)]
        if not notes:
            return 0
        below = children(connection, {note.lot for note in notes if note.hold is not None})
        born = parents(connection, {note.lot for note in notes if note.hold is None})
        over = parents(connection, {child for _, child in below})
        ids = {lot for pair in (*below, *born, *over) for lot in pair} | {note.lot for note in notes}
        lots = {row.id: decode_lot(row.snapshot) for row in stored.read_lots(connection, list(ids))}
    family = _Family(lots)
    for child, parent in over:
        family.carriers.setdefault(child, []).append(parent)
    under: dict[str, list[str]] = {}
    for parent, child in below:
        under.setdefault(parent, []).append(child)
    made_of: dict[str, list[str]] = {}
    for child, parent in born:
        made_of.setdefault(child, []).append(parent)
    for note in notes:
        if note.hold is None:
            family.born(note, made_of.get(note.lot, []))
        else:
            family.changed(note, under.get(note.lot, []))
    events = list(family.events.values())
    for start in range(0, len(events), TOGETHER):
        pipeline.process(events[start : start + TOGETHER])
    with store.engine.begin() as connection:
        stored.forget_spreading(connection, [note.id for note in notes])
    return len(events)


class _Family:
    """What a round has to say, each thing once."""

    def __init__(self, lots: Mapping[str, Lot]) -> None:
        self._lots = lots
        self.carriers: dict[str, list[str]] = {}
        self.events: dict[str, Submission] = {}

    def born(self, note: _Note, of: list[str]) -> None:
        """A new lot carries what those carry that it was made of."""
        for parent in of:
            for hold in self._holds(parent):
                self._place(parent, hold, note.lot, note.cause)

    def changed(self, note: _Note, below: list[str]) -> None:
        """A hold began, or ended."""
        began = next((hold for hold in self._holds(note.lot) if hold.hold == note.hold), None)
        for child in below:
            if began is not None:
                self._place(note.lot, began, child, note.cause)
            else:
                self._lift_what_ended(note.lot, child, note.cause)

    def _holds(self, lot: str) -> tuple[Hold, ...]:
        there = self._lots.get(lot)
        return () if there is None else there.holds

    def _place(self, parent: str, hold: Hold, child: str, cause: str) -> None:
        lot = self._lots.get(child)
        name = inherited_name(parent, hold)
        if lot is None or any(own.hold == name for own in lot.holds):
            return
        self._say(lot, name, "held", cause, ev.HoldApplied, inherited(parent, hold))

    def _lift_what_ended(self, parent: str, child: str, cause: str) -> None:
        lot = self._lots.get(child)
        if lot is None:
            return
        carried = {
            inherited_name(other, hold) for other in self.carriers.get(child, ()) for hold in self._holds(other)
        }
        for own in lot.holds:
            if own.source == GENEALOGY and own.hold not in carried:
                reason = ev.Reason(code=own.reason, text=f"it ended on its ancestor {parent}"[:500])
                lift = ev.HoldLift(hold=own.hold, reason=reason, role=own.lift_role)
                self._say(lot, own.hold, "lifted", cause, ev.HoldLifted, lift)

    def _say(self, lot: Lot, name: str, what: str, cause: str, kind: Any, data: Any) -> None:
        # The version is part of the id: a hold that is placed again after it was lifted is another one.
        event = kind(
            specversion="1.0", id=f"{name}/{what}/{lot.version + 1}/{ev.event_key('lot', lot.id)}", source=GENEALOGY,
            subject=lot.id, causationid=cause, data=data,
        )  # fmt: skip
        sub = submission(event, GENEALOGY)
        self.events.setdefault(sub.key, sub)
