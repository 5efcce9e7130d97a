"""What a batch decided as rows, in the order of the columns in engine/store/writing.py. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from engine.holds import HoldChange
from engine.journal import Entry
from engine.lot import Lot
from engine.records import QualityRecord


def journal_row(entry: Entry) -> tuple[Any, ...]:
    """A row of ``journal``."""
    return (
        entry.lot, entry.version, entry.kind, entry.trigger, entry.type, entry.source, entry.event_id, entry.time,
        entry.recorded_at, entry.principal, entry.correlation_id, entry.causation_id, entry.traceparent,
        entry.state_before, entry.state_after, entry.rule_set, entry.data, entry.evidence, entry.prev_hash,
        entry.hash,
    )  # fmt: skip


def record_row(lot_id: str, record: QualityRecord) -> tuple[Any, ...]:
    """A row of ``quality_records``."""
    return (
        lot_id, record.record, record.kind, record.severity, record.status, msgspec.json.encode(record).decode(),
        record.opened_at, record.owner, record.due_on, record.closed_at,
    )  # fmt: skip


def lot_row(lot: Lot) -> tuple[Any, ...]:
    """A row of ``lots``."""
    return (
        lot.id, lot.version, lot.state, lot.item, lot.revision, lot.supplier, lot.plant, lot.order,
        format(lot.quantity, "f"), lot.unit, None if lot.expires_on is None else lot.expires_on.isoformat(),
        None if lot.retest_on is None else lot.retest_on.isoformat(),
        None if lot.concession is None else lot.concession.valid_until.isoformat(),
        lot.closed, lot.received_at, lot.changed_at, lot.head, msgspec.json.encode(lot).decode(), lot.changed_at,
    )  # fmt: skip


def hold_rows(changes: Iterable[HoldChange]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Holds that began, with their end where that came too; and the ends of those that stood before the batch."""
    held: list[tuple[Any, ...]] = []
    lifted: list[tuple[Any, ...]] = []
    begun: dict[tuple[str, str], int] = {}
    for change in changes:
        name, hold = (change.lot, change.hold), change.placed
        if hold is not None:
            begun[name] = len(held)
            held.append((change.lot, hold.hold, hold.reason, hold.text, hold.scope, hold.source, hold.owner,
                         change.at, change.version, None, None, hold.lift_role))  # fmt: skip
        elif name in begun:
            at = begun.pop(name)
            held[at] = (*held[at][:-3], change.at, change.version, held[at][-1])
        else:
            lifted.append((change.lot, change.hold, change.at, change.version))
    return held, lifted
