"""What a course writes: journal entries with the lots that they leave, holds, lots that a lot makes.

Everything is kept in memory, on copies: a course that fails leaves nothing behind. What may not enter: deciding
(engine/course.py), databases, clocks.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from engine import decide, parts
from engine import events as ev
from engine.concessions import Move, moves_of
from engine.consequences import CONSEQUENCE_TYPES, Completed, SplitOff
from engine.evidence import Judged, evidence, time_of
from engine.evolution import evolve
from engine.holds import HoldChange, changes_of
from engine.journal import GENESIS, Entry, entry_hash, step_of
from engine.lifecycle import ABSENT, Situation, follow
from engine.lot import Lot
from engine.scopes import missing
from engine.submission import Submission
from engine.surroundings import Surroundings
from rules.rulebook import Judgement, RuleVerdict

#: Source of everything that Lotgate itself writes.
OURSELVES = "lotgate"

_encode = msgspec.json.Encoder().encode


class Chronicle:
    """The lots as one submission leaves them, and the entries that did it."""

    __slots__ = (
        "around", "before", "entries", "hold_changes", "judged", "known", "lots", "moves", "submission", "tasks",
    )  # fmt: skip

    def __init__(self, submission: Submission, lots: Mapping[str, Lot], around: Surroundings) -> None:
        self.submission = submission
        self.around = around
        subject = submission.event.subject
        #: Every lot that was loaded for the batch.
        self.known = lots
        self.before: Lot | None = lots.get(subject)
        #: Lots as this course leaves them, by id.
        self.lots: dict[str, Lot] = {} if self.before is None else {subject: self.before}
        self.entries: list[Entry] = []
        #: What became of the holds of lots, in order.
        self.hold_changes: list[HoldChange] = []
        #: What changes in what counts under concessions, in order.
        self.moves: list[Move] = []
        self.judged: list[Judged] = []
        #: (kind, lot, text) of tasks that were opened on the way.
        self.tasks: list[tuple[str, str, str]] = []

    @property
    def lot(self) -> Lot | None:
        """The subject as it stands now."""
        return self.lots.get(self.submission.event.subject)

    def consequence(self, trigger: str, judgement: Judgement | None, data: ev.Closed | None = None) -> str | None:
        lot = self.lot
        if lot is None:
            raise AssertionError("a consequence without a lot")
        after = follow(lot.state, trigger, Situation())
        if after is None:
            return None
        data = Completed() if data is None else data
        self.append(lot.id, "consequence", trigger, CONSEQUENCE_TYPES[trigger], after, data,
                     _encode(data).decode(), judgement)  # fmt: skip
        return trigger

    def follow_on(self, lot_id: str, trigger: str, data: ev.Closed, judgement: Judgement | None) -> None:
        """A step of a lot that this submission made."""
        lot = self.lots[lot_id]
        held = lot.holds if trigger != "hold" else ()
        after = follow(lot.state, trigger, Situation(still_blocked=bool(held)))
        if after is None:
            raise AssertionError(f"{trigger} does not lead on from {lot.state}")
        self.append(lot_id, "consequence", trigger, CONSEQUENCE_TYPES[trigger], after, data,
                    _encode(data).decode(), judgement)  # fmt: skip

    def place_holds(self, judgement: Judgement) -> None:
        for verdict in decide.holds_to_place(judgement):
            self.place_hold(verdict.rule, verdict.message)

    def place_hold(self, rule: str, message: str) -> None:
        lot = self.lot
        if lot is None:
            raise AssertionError("a hold without a lot")
        name = f"rule:{rule}"
        if any(h.hold == name for h in lot.holds):
            return
        reason = ev.Reason(code=rule[:64], text=message[:500])
        self.place(lot.id, ev.HoldOrder(hold=name, reason=reason, owner=OURSELVES))

    def place_standing(self) -> None:
        """A hold on a scope lands on whatever comes under it."""
        for lot_id, lot in list(self.lots.items()):
            for data in missing(self.around.standing, lot):
                self.place(lot_id, data)

    def place(self, lot_id: str, data: ev.HoldOrder) -> None:
        state = self.lots[lot_id].state
        after = follow(state, "hold", Situation())
        if after is None:
            raise AssertionError(f"a hold did not land on a lot that is {state}")
        self.append(lot_id, "consequence", "hold", CONSEQUENCE_TYPES["hold"], after, data,
                    _encode(data).decode(), None)  # fmt: skip

    def split_off(
        self, child: str, quantity: Decimal, how: Literal["split", "repack"] = "split", used: ev.Quantity | None = None,
        **changes: Any,
    ) -> None:  # fmt: skip
        parent = self.lot
        if parent is None:
            raise AssertionError("a split without a parent")
        born = parts.split_off(parent, child, quantity, self.around.now, changes)
        data = SplitOff(parent=parent.id, lot=msgspec.Raw(_encode(born)), how=how, used=used)
        self.append(child, "consequence", "split_off", CONSEQUENCE_TYPES["split_off"], born.state, data,
                     _encode(data).decode(), None)  # fmt: skip

    def append(
        self, lot_id: str, kind: str, trigger: str, type_: str, after: str, data: Any, text: str,
        judgement: Judgement | None, builtin: tuple[RuleVerdict, ...] = (), undelivered: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        event, around = self.submission.event, self.around
        lot = self.lots.get(lot_id)
        own = kind != "consequence"
        version = 1 if lot is None else lot.version + 1
        sequence = event.sequence if kind == "event" else None
        entry = Entry(
            lot_id, version, kind, trigger, type_,
            event.source if own else OURSELVES,
            event.id if own else f"{self.submission.key}/{len(self.entries) + 1}",
            time_of(event),
            around.now, self.submission.principal, event.correlationid,
            event.causationid if own else event.id,
            event.traceparent,
            ABSENT if lot is None else lot.state, after, around.rulebook.digest, text,
            evidence(self.judged, judgement, builtin, sequence, undelivered),
            GENESIS if lot is None else lot.head,
        )  # fmt: skip
        entry = replace(entry, hash=entry_hash(entry))
        self.entries.append(entry)
        evolved = evolve(lot, step_of(entry, data, sequence))
        if evolved is None:
            return
        self.lots[lot_id] = evolved
        if evolved.concession is not None or (lot is not None and lot.concession is not None):
            self.moves += moves_of(lot, evolved, trigger, data)
        held = () if lot is None else lot.holds
        if evolved.holds is not held:
            self.hold_changes += changes_of(lot_id, version, around.now, held, evolved.holds)
