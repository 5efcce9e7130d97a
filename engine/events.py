"""The event taxonomy and the CloudEvents 1.0 envelope: typed, strict, pure.

What may not enter: databases, clocks, HTTP. Each event type is one Struct tagged by its CloudEvents ``type``;
its ``data`` block is closed (an unknown field is refused), its envelope is open to extension attributes, as
CloudEvents asks. Quantities and measured values are :class:`decimal.Decimal`, read exactly from a JSON number
or a decimal string, with at most six decimal places and twelve digits before the point; they never pass
through a binary float, so a limit is compared with what was measured. Dates are calendar days of the plant.

Sources: CloudEvents 1.0.2 (spec and JSON format), names after ISA-95 / B2MML V0700 and GS1 EPCIS 2.0.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, Struct

from engine.blocks import (
    MAX_MEASUREMENTS,
    AgreedDelivery,
    Child,
    Closed,
    Code,
    Consumption,
    DriftedTarget,
    Failure,
    Input,
    LotId,
    Merge,
    OperationParameter,
    OperationReport,
    Pack,
    Packaging,
    Part,
    Production,
    ProductionStart,
    Quantity,
    Reason,
    Receipt,
    Reference,
    RefusedDelivery,
    Repack,
    Repairable,
    Return,
    Shipment,
    ShipmentVoid,
    Shut,
    Split,
    Text,
)
from engine.quality_blocks import (
    CertifiedValue,
    ComputedShelfLife,
    Concession,
    ConcessionEnd,
    Disposed,
    Disposition,
    Expiry,
    FactStatement,
    HoldLift,
    HoldOrder,
    Inspection,
    LiftRole,
    LotPart,
    Measurement,
    Opening,
    PlanChange,
    RecordOpening,
    RecordStep,
    Reinspection,
    Release,
    Retest,
    Revision,
    ShelfLife,
    Signing,
    Stated,
    SupplierCertificate,
    UsageDecision,
)


class Event(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """The CloudEvents 1.0 envelope. ``subject`` is the lot: the ordering key."""

    #: Name of the lifecycle trigger that this type asks for.
    trigger: ClassVar[str]
    #: Field of ``data`` that identifies the business document, against senders that mint new event ids.
    business_field: ClassVar[str | None] = None

    specversion: Literal["1.0"]
    id: Reference
    source: Reference
    subject: LotId
    time: Annotated[datetime, Meta(tz=True)] | None = None
    datacontenttype: str | None = None
    dataschema: Reference | None = None
    correlationid: Reference | None = None
    causationid: Reference | None = None
    #: Per (source, subject): a later event has a greater sequence, compared as text of equal length, or as numbers.
    sequence: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    traceparent: str | None = None


class LotReceived(Event, tag="lot.received.v1", frozen=True, kw_only=True):
    trigger = "receive"
    business_field = "receipt"
    data: Receipt


class LotProduced(Event, tag="lot.produced.v1", frozen=True, kw_only=True):
    trigger = "produce"
    business_field = "confirmation"
    data: Production


class ProductionStarted(Event, tag="production.started.v1", frozen=True, kw_only=True):
    trigger = "start_production"
    data: ProductionStart


class OperationReported(Event, tag="operation.reported.v1", frozen=True, kw_only=True):
    trigger = "report_operation"
    business_field = "confirmation"
    data: OperationReport


class InspectionRecorded(Event, tag="inspection.recorded.v1", frozen=True, kw_only=True):
    trigger = "record_inspection"
    business_field = "record"
    data: Inspection


class HoldApplied(Event, tag="hold.applied.v1", frozen=True, kw_only=True):
    trigger = "hold"
    data: HoldOrder


class HoldLifted(Event, tag="hold.lifted.v1", frozen=True, kw_only=True):
    trigger = "lift_hold"
    data: HoldLift


class LotReleased(Event, tag="lot.released.v1", frozen=True, kw_only=True):
    trigger = "release"
    data: Release = Release()


class LotDispositioned(Event, tag="lot.dispositioned.v1", frozen=True, kw_only=True):
    trigger = "disposition"
    data: Disposition


class ReinspectionRequested(Event, tag="reinspection.requested.v1", frozen=True, kw_only=True):
    trigger = "reinspect"
    data: Reinspection


class LotConsumed(Event, tag="lot.consumed.v1", frozen=True, kw_only=True):
    trigger = "consume"
    business_field = "confirmation"
    data: Consumption


class LotSplit(Event, tag="lot.split.v1", frozen=True, kw_only=True):
    trigger = "split"
    data: Split


class LotMerged(Event, tag="lot.merged.v1", frozen=True, kw_only=True):
    trigger = "merge"
    data: Merge


class LotRepacked(Event, tag="lot.repacked.v1", frozen=True, kw_only=True):
    trigger = "repack"
    data: Repack
class UsageDecided(Event, tag="usage_decision.made.v1", frozen=True, kw_only=True):
    trigger = "decide_usage"
    data: UsageDecision


class ConcessionEnded(Event, tag="concession.ended.v1", frozen=True, kw_only=True):
    trigger = "end_concession"
    data: ConcessionEnd


class LotShipped(Event, tag="lot.shipped.v1", frozen=True, kw_only=True):
    trigger = "ship"
    data: Shipment


class ShipmentVoided(Event, tag="shipment.voided.v1", frozen=True, kw_only=True):
    trigger = "void_shipment"
    data: ShipmentVoid


class LotReturned(Event, tag="lot.returned.v1", frozen=True, kw_only=True):
    trigger = "return"
    business_field = "rma"
    data: Return


class LotExpired(Event, tag="lot.expired.v1", frozen=True, kw_only=True):
    trigger = "expire"
    data: Expiry


class LotRetestDue(Event, tag="lot.retest_due.v1", frozen=True, kw_only=True):
    trigger = "retest_due"
    data: Retest


class ShelfLifeChanged(Event, tag="shelf_life.changed.v1", frozen=True, kw_only=True):
    trigger = "change_shelf_life"
    data: ShelfLife


class SpecificationRevised(Event, tag="specification.revised.v1", frozen=True, kw_only=True):
    trigger = "revise_specification"
    data: Revision


class PlanChanged(Event, tag="inspection_plan.changed.v1", frozen=True, kw_only=True):
    trigger = "change_plan"
    data: PlanChange


class RecordOpened(Event, tag="quality_record.opened.v1", frozen=True, kw_only=True):
    trigger = "record_opened"
    data: RecordOpening


class RecordChanged(Event, tag="quality_record.changed.v1", frozen=True, kw_only=True):
    trigger = "record_changed"
    data: RecordStep


class LotSigned(Event, tag="lot.signed.v1", frozen=True, kw_only=True):
    trigger = "sign"
    data: Signing


class FactStated(Event, tag="fact.stated.v1", frozen=True, kw_only=True):
    trigger = "state_fact"
    data: FactStatement


class LotOpened(Event, tag="lot.opened.v1", frozen=True, kw_only=True):
    trigger = "open"
    data: Opening


class CertificateRecorded(Event, tag="certificate.recorded.v1", frozen=True, kw_only=True):
    trigger = "record_certificate"
    data: SupplierCertificate


class DeliveryRefused(Event, tag="delivery.refused.v1", frozen=True, kw_only=True):
    trigger = "compensate"
    data: RefusedDelivery


class DeliveryAgreed(Event, tag="delivery.agreed.v1", frozen=True, kw_only=True):
    trigger = "settle"
    data: AgreedDelivery


class DeliveryDrifted(Event, tag="delivery.drifted.v1", frozen=True, kw_only=True):
    trigger = "tell_again"
    data: DriftedTarget


AnyEvent = (
    LotReceived | LotProduced | InspectionRecorded | HoldApplied | HoldLifted | LotReleased | LotDispositioned
    | ReinspectionRequested | LotConsumed | LotSplit | LotShipped | ShipmentVoided | LotReturned | LotExpired
    | LotMerged | LotRepacked | LotRetestDue | SpecificationRevised | FactStated | PlanChanged
    | RecordOpened | RecordChanged | ShelfLifeChanged | ProductionStarted | OperationReported
    | UsageDecided | ConcessionEnded | CertificateRecorded | LotOpened
)  # fmt: skip

#: CloudEvents type -> Struct, in the order of the taxonomy.
TYPES: dict[str, type[Event]] = {cast(str, t.__struct_config__.tag): t for t in AnyEvent.__args__}

#: What a web process has decided: what others send, and what it makes of the sign command.
Decidable = AnyEvent | LotSigned

#: Types that only Lotgate itself submits: what others send is never decoded as one of these.
OUR_TYPES: dict[str, type[Event]] = {
    cast(str, t.__struct_config__.tag): t for t in (DeliveryRefused, DeliveryAgreed, DeliveryDrifted, LotSigned)
}

_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """One CloudEvent in structured JSON mode; ``decode_event`` reads it back equal."""
    return _encoder.encode(event)


def content(event: Event) -> bytes:
    """The data block as Lotgate journals it: compact JSON, fields in the order of the taxonomy."""
    return _encoder.encode(event.data)  # type: ignore[attr-defined]  # every member of AnyEvent has data


def digest(event: Event, data: bytes) -> str:
    """SHA-256 (hex) of what an event says: type, subject and data, not when or how it was sent."""
    head = f"{event.__struct_config__.tag}\n{event.subject}\n".encode()
    return hashlib.sha256(head + data).hexdigest()


def event_key(source: str, identity: str) -> str:
    """32 hex digits that stand for the immutable identity (source, id) of an event."""
    return hashlib.sha256(f"{source}\n{identity}".encode()).hexdigest()[:32]


def business_key(event: Event) -> str | None:
    """The second line against scanners that mint new ids: type, lot and business document, or None."""
    name = event.business_field
    if name is None:
        return None
    value = getattr(event.data, name)  # type: ignore[attr-defined]
    return f"{event.__struct_config__.tag}|{event.subject}|{value}" if value else None


def utc(moment: datetime) -> datetime:
    """The same instant in UTC."""
    return moment.astimezone(UTC)
