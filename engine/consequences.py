"""What follows by itself: the data blocks of journal entries that only Lotgate writes, beside those of events.

What may not enter: what an entry does to its lot (engine/lot.py), and when one is written (engine/course.py).
"""

from typing import Any, Literal

import msgspec

from engine import events as ev
from engine.production import AssignedRouting, OperationInspection
from engine.records import AssignedPlan, SampleOutcome
from engine.upcasts import current


class Completed(ev.Closed, frozen=True):
    """Consequence: the lot moved by itself, because the lifecycle or a reaction said so."""

    #: Rules whose verdict caused it, where a rule did.
    rules: list[str] = []
    #: What the sample said, where the inspection was by plan.
    sample: SampleOutcome | None = None


class PlanAssigned(ev.Closed, frozen=True):
    """Consequence: an inspection plan was assigned to the lot."""

    assigned: AssignedPlan


class RoutingAssigned(ev.Closed, frozen=True):
    """Consequence: a routing was assigned to the lot, whose operations are reported from now on."""

    assigned: AssignedRouting


class OperationInspected(ev.Closed, frozen=True):
    """Consequence: the inspection in process of an operation, as it began or as its results say by now."""

    inspection: OperationInspection


class SamplingChanged(ev.Closed, frozen=True):
    """Consequence: a reaction of the rule files changed the sampling of the item from this supplier."""

    #: The reaction that did it.
    reaction: str
    severity: Literal["normal", "tightened", "reduced", "lot_by_lot"]
    text: str


class Opened(ev.Closed, frozen=True):
    """Consequence: a reaction of the rule files opened a record, or told somebody."""

    #: Unique in the lot.
    record: str
    #: The reaction that did it.
    reaction: str
    text: str
    #: Of a deviation in production: at this operation.
    operation: str | None = None


class SplitOff(ev.Closed, frozen=True):
    """Consequence: the first entry of a lot that a split, a repacking or a regrade made."""

    parent: str
    #: The lot as it begins, version 1.
    lot: msgspec.Raw
    how: Literal["split", "repack"] = "split"
    #: How much of the parent it is, where it is counted in another unit.
    used: ev.Quantity | None = None


class Merged(ev.Merge, frozen=True, kw_only=True):
    """The first entry of a lot that was put together: what was said, with the quantity of every part."""

    #: The lot as it begins, version 1.
    lot: msgspec.Raw


class MergedInto(ev.Closed, frozen=True):
    """Consequence: some or all of the lot became part of another."""

    into: str
    quantity: ev.Quantity


#: What reactions open -> CloudEvents type of the entry, kind of the task that people see.
RECORDS: dict[str, tuple[str, str]] = {
    "notify": ("notification.raised.v1", "notification"),
    "escalate": ("escalation.raised.v1", "escalation"),
    "open_nonconformance": ("nonconformance.opened.v1", "nonconformance"),
    "open_deviation": ("deviation.opened.v1", "deviation"),
    "open_corrective_action": ("corrective_action.opened.v1", "corrective-action"),
}
#: CloudEvents types of entries that only Lotgate itself writes, by lifecycle trigger.
CONSEQUENCE_TYPES: dict[str, str] = {
    "quarantine": "lot.quarantined.v1",
    "dock_to_stock": "lot.accepted.v1",
    "inspect": "inspection.completed.v1",
    "reject": "lot.rejected.v1",
    "release": "lot.released.v1",
    "hold": "hold.applied.v1",
    "split": "lot.split.v1",
    "ship": "lot.shipped.v1",
    "split_off": "lot.split_off.v1",
    "merge_into": "lot.merged_into.v1",
    "assign_plan": "inspection_plan.assigned.v1",
    "change_sampling": "sampling.changed.v1",
    "assign_routing": "routing.assigned.v1",
    "plan_operation_inspection": "operation_inspection.assigned.v1",
    "judge_operation_inspection": "operation_inspection.judged.v1",
    "use_as_is": "lot.dispositioned.v1",
    "rework": "lot.dispositioned.v1",
    "repair": "lot.dispositioned.v1",
    "return_to_supplier": "lot.dispositioned.v1",
    "scrap": "lot.dispositioned.v1",
    "set_shelf_life": "shelf_life.computed.v1",
}

_DATA_TYPES: dict[str, Any] = (
    {
        name: next(field.type for field in msgspec.structs.fields(struct) if field.name == "data")
        for name, struct in (ev.TYPES | ev.OUR_TYPES).items()
    }
    | {
        "lot.quarantined.v1": Completed,
        "lot.accepted.v1": Completed,
        "inspection.completed.v1": Completed,
        "lot.rejected.v1": Completed,
        "lot.split_off.v1": SplitOff,
        "lot.merged.v1": Merged,
        "lot.merged_into.v1": MergedInto,
        "inspection_plan.assigned.v1": PlanAssigned,
        "sampling.changed.v1": SamplingChanged,
        "routing.assigned.v1": RoutingAssigned,
        "operation_inspection.assigned.v1": OperationInspected,
        "operation_inspection.judged.v1": OperationInspected,
        "shelf_life.computed.v1": ev.ComputedShelfLife,
    }
    | {type_: Opened for type_, _ in RECORDS.values()}
)
#: Every type that a journal entry may have.
JOURNAL_TYPES: tuple[str, ...] = tuple(_DATA_TYPES)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {n: msgspec.json.Decoder(t) for n, t in _DATA_TYPES.items()}


def decode_data(type_: str, text: str | bytes) -> Any:
    """The typed data block of a journal entry, whichever version wrote it; KeyError for a type that none ever wrote."""
    type_, block = current(type_, text.encode() if isinstance(text, str) else text)
    return _decoders[type_].decode(block)
