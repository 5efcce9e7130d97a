"""What the state API shows: the structs that are both the answers and their documentation.

What may not enter: queries and routes. Names are the plant's words; instants are ISO 8601 in UTC; quantities are
decimal text with their unit.
"""

from typing import Generic, TypeVar

from msgspec import Raw, Struct

Row = TypeVar("Row")


class Page(Struct, Generic[Row]):
    """One page of a list."""

    data: list[Row]
    #: Send it as ``cursor`` to get the next page; null on the last.
    next: str | None


class Amount(Struct):
    """A quantity with its unit."""

    value: str
    unit: str


class LotLine(Struct):
    """A lot as lists show it."""

    id: str
    #: Journal entries so far: the entity tag.
    version: int
    #: received, quarantined, inspected, released, blocked, shipped
    state: str
    item: str
    revision: str
    supplier: str | None
    plant: str | None
    order: str | None
    quantity: Amount
    expires_on: str | None
    #: How the lot ended, or null while it lives.
    closed: str | None
    received_at: str
    changed_at: str


class TargetView(Struct):
    """What one target was told about the lot, and what it has acknowledged. Versions are the lot's; null: none."""

    target: str
    sent: int | None
    acknowledged: int | None
    #: pending, sending, delivered, dead …: state of the newest delivery.
    state: str
    #: The target has acknowledged the newest status that it must know.
    agrees: bool


class StepView(Struct):
    """A step that the lot could take next."""

    trigger: str
    to: list[str]
    #: The gate whose rules decide, or null.
    gate: str | None
    #: Lotgate takes it by itself.
    automatic: bool


class LotView(Struct):
    """A lot with what can happen next and what the targets know."""

    lot: Raw
    next_steps: list[StepView]
    targets: list[TargetView]


class EntryView(Struct):
    """One journal entry, complete: its hash can be verified from these members alone (docs/journal.md)."""

    position: int
    lot: str
    version: int
    kind: str
    trigger: str
    type: str
    source: str
    event_id: str
    time: str | None
    recorded_at: str
    principal: str
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    state_before: str
    state_after: str
    rule_set: str
    #: JSON text exactly as it was hashed.
    data: str
    #: JSON text exactly as it was hashed.
    evidence: str
    prev_hash: str
    hash: str


class ResultView(Struct):
    """One inspection record."""

    lot: str
    version: int
    inspection: str
    measurements: Raw


class HoldView(Struct):
    """A hold that stands or stood."""

    lot: str
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


class DeliveryView(Struct):
    """One line of the delivery ledger."""

    id: int
    lot: str
    version: int
    target: str
    #: pending, sending, delivered, superseded, dead, compensated
    state: str
    attempts: int
    created_at: str
    delivered_at: str | None
    last_error: str | None
    status: Raw


class EventView(Struct):
    """An event as it was answered."""

    key: str
    source: str
    id: str
    type: str
    subject: str
    outcome: str
    status: int
    lot_version: int | None
    principal: str
    recorded_at: str
    #: The decision or problem it was answered with.
    answer: Raw


class ParkedView(Struct):
    """An event that waits for what it depends on."""

    key: str
    subject: str
    waits_for: str
    event: Raw
    principal: str
    parked_at: str
    #: When somebody is told that it still waits.
    expires_at: str


class EscalationView(Struct):
    """Something that somebody has to look at."""

    id: int
    kind: str
    subject: str
    detail: str
    opened_at: str
    acknowledged_at: str | None
    acknowledged_by: str | None


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries to replay. Nothing given: every dead one."""

    target: str | None = None
    lot: str | None = None
    state: str = "dead"
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

    status: str
    checks: dict[str, Check]
