"""Lots that a lot makes: what a split, a repacking, a merge, a part that is shipped or held, and a decision write.

How such a lot begins is in engine/parts.py. What may not enter: deciding (engine/course.py), databases, clocks.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine import events as ev
from engine import parts, usage
from engine.chronicle import OURSELVES, Chronicle
from engine.consequences import CONSEQUENCE_TYPES, Completed
from engine.decide import trigger_of
from engine.lot import Lot, used_of
from engine.operation_inspection import OperationResult
from engine.records import QualityRecord
from engine.submission import Submission, lots_of_parts
from engine.surroundings import Surroundings
from rules.rulebook import Judgement

_encode = msgspec.json.Encoder().encode


class Making(Chronicle):
    """A chronicle of one submission that may make lots out of lots."""

    __slots__ = ("operation_records", "parts_judged", "records", "trigger")

    def __init__(self, submission: Submission, lots: Mapping[str, Lot], around: Surroundings) -> None:
        super().__init__(submission, lots, around)
        #: What the event asks of the lot: its trigger in the lifecycle.
        self.trigger = trigger_of(submission.event)
        #: (lot, version, inspection, measurements JSON) to be kept as results.
        self.records: list[tuple[str, int, str, str]] = []
        #: The same of an operation: (lot, version, operation, inspection, measurements JSON).
        self.operation_records: list[OperationResult] = []
        #: What was judged of each part of a usage decision, by the lot that it becomes.
        self.parts_judged: dict[str, Judgement | None] = {}

    def event_entry(self, after: str, judgement: Judgement | None) -> None:
        """The entry of what was submitted."""
        sub = self.submission
        self.append(sub.event.subject, "event", self.trigger, str(sub.event.__struct_config__.tag), after,
                     sub.event.data, sub.data.decode(), judgement)  # type: ignore[attr-defined]  # fmt: skip
        if isinstance(sub.event, ev.InspectionRecorded):
            entry, data = self.entries[-1], sub.event.data
            text = _encode(data.measurements).decode()
            if data.operation is None:
                self.records.append((entry.lot, entry.version, data.inspection, text))
            else:
                self.operation_records.append((entry.lot, entry.version, data.operation, data.inspection, text))

    def repack(self, data: ev.Repack, after: str) -> None:
        """The material is in other packaging, or in new lots."""
        self.event_entry(after, None)
        for pack in data.into:
            used = used_of(pack) if pack.used is not None and pack.used.unit != pack.quantity.unit else None
            self.split_off(pack.lot, pack.quantity.value, "repack", used, **parts.repacked(pack))

    def merge(self, event: ev.LotMerged, after: str) -> None:
        """Lots become one."""
        whole = parts.merged(event, self.known, after, self.around.now)
        for lot, given in parts.given(whole, event.subject):
            self.lots[lot] = self.known[lot]
            self.append(lot, "consequence", "merge_into", CONSEQUENCE_TYPES["merge_into"], self.lots[lot].state, given,
                        _encode(given).decode(), None)  # fmt: skip
        self.append(event.subject, "event", "merge", str(event.__struct_config__.tag), after, whole,
                    _encode(whole).decode(), None)  # fmt: skip

    def take_a_part(self, child: str, quantity: ev.Quantity, after: str, judgement: Judgement | None) -> None:
        """A part is split off, and what was asked for happens to it."""
        event, state = self.submission.event, self.lots[self.submission.event.subject].state
        split = ev.Split(children=[ev.Child(lot=child, quantity=quantity)])
        self.append(event.subject, "event", "split", CONSEQUENCE_TYPES["split"], state, split,
                    _encode(split).decode(), judgement)  # fmt: skip
        self.split_off(child, quantity.value)
        if isinstance(event, ev.HoldApplied):
            self.place(child, replace(event.data, quantity=None, child=None))
        elif isinstance(event, ev.LotShipped):
            self.append(child, "consequence", "ship", CONSEQUENCE_TYPES["ship"], after, event.data,
                        self.submission.data.decode(), None)  # fmt: skip

    def decide_parts(self, event: ev.UsageDecided, after: str) -> None:
        """A lot is divided by what becomes of its parts, each of which was judged."""
        lot, data = self.lots[event.subject], event.data
        born: list[tuple[str, ev.LotPart, tuple[QualityRecord, ...]]] = [
            (name, part, usage.records_of(lot, data, part))
            for name, part in zip(lots_of_parts(event), data.parts, strict=True)
        ]
        self.event_entry(after, None)
        for name, part, records in born:
            self.split_off(name, part.quantity.value, records=records)
            judgement = self.parts_judged.get(name)
            if part.decision == "release":
                if lot.state != "released":
                    self.follow_on(name, "release", ev.Release(reason=data.reason), judgement)
            elif part.decision == "block":
                if lot.state != "blocked":
                    order = ev.HoldOrder(hold="usage-decision", reason=data.reason, owner=OURSELVES)
                    self.follow_on(name, "hold", order, None)
            else:
                if lot.state == "inspected":
                    self.follow_on(name, "reject", Completed(), None)
                self.follow_on(name, part.decision, usage.disposition_of(lot, data, part), judgement)
