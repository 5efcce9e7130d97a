"""The event taxonomy and the CloudEvents 1.0 envelope: typed, strict, pure.

What may not enter: databases, clocks, HTTP. Each event type is one Struct tagged by its CloudEvents ``type``;
its ``data`` block is closed (an unknown field is refused), its envelope is open to extension attributes, as
CloudEvents asks. Quantities and measured values are :class:`decimal.Decimal`, read exactly from a JSON number
or a decimal string, with at most six decimal places and twelve digits before the point; they never pass
through a binary float, so a limit is compared with what was measured. Dates are calendar days of the plant.

Sources: CloudEvents 1.0.2 (spec and JSON format), names after ISA-95 / B2MML V0700 and GS1 EPCIS 2.0.
"""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, cast

import msgspec
from msgspec import Meta, Struct

#: Measurements one event may carry.
MAX_MEASUREMENTS = 2000

Code = Annotated[str, Meta(min_length=1, max_length=64)]
LotId = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=500)]
Reference = Annotated[str, Meta(min_length=1, max_length=255)]


class Closed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A data block: closed, so that a misspelt field is refused and never silently dropped."""


class Quantity(Closed, frozen=True):
    """An amount with its unit of measure."""

    value: Decimal
    unit: Annotated[str, Meta(min_length=1, max_length=16)]


class Reason(Closed, frozen=True):
    """Why somebody did something: a code of the plant's list and free words."""

    code: Code
    text: Text = ""


class Receipt(Closed, frozen=True):
    """Goods received from a supplier."""

    item: Code
    revision: Code
    quantity: Quantity
    supplier: Code
    #: Receipt line of the receiving system, for example ``GR-1001/10``: the business key of a receipt.
    receipt: Code
    supplier_lot: Code | None = None
    order: Code | None = None
    plant: Code | None = None
    location: Code | None = None
    manufactured_on: date | None = None
    expires_on: date | None = None
    retest_on: date | None = None


class Input(Closed, frozen=True):
    """A lot and the quantity of it that went into another."""

    lot: LotId
    quantity: Quantity


class Production(Closed, frozen=True):
    """A lot that left production; not final in ERP until the gate clears it."""

    item: Code
    revision: Code
    quantity: Quantity
    #: Production order and confirmation number: the business key of a completion.
    order: Code
    confirmation: Code
    plant: Code | None = None
    location: Code | None = None
    manufactured_on: date | None = None
    expires_on: date | None = None
    retest_on: date | None = None
    inputs: list[Input] = []


class Measurement(Closed, frozen=True):
    """One recorded result: a measured value, a judged unit, or a count of nonconforming units."""

    characteristic: Code
    value: Decimal | None = None
    unit: Annotated[str, Meta(max_length=16)] | None = None
    sample: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    #: Qualitative: did this unit conform?
    conforming: bool | None = None
    #: Attribute counts: units inspected, and how many did not conform.
    inspected: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    nonconforming: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    gauge: Code | None = None
    #: Why it replaces what was recorded for this characteristic and sample before; both stay in the journal.
    corrects: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class Inspection(Closed, frozen=True):
    """Results of an inspection lot, complete or in part."""

    inspection: Code
    measurements: Annotated[list[Measurement], Meta(min_length=1, max_length=MAX_MEASUREMENTS)]
    #: Identity of this record in the laboratory system: the business key of a result record.
    record: Code | None = None
    inspector: Code | None = None


class HoldOrder(Closed, frozen=True):
    """A hold: several may stand on a lot at once, each with its owner and reason."""

    hold: Code
    reason: Reason
    scope: Literal["lot", "item", "supplier", "order", "parent", "recall"] = "lot"
    owner: Code | None = None


class HoldLift(Closed, frozen=True):
    """A hold ends; the others stay."""

    hold: Code
    reason: Reason


class Release(Closed, frozen=True):
    """Quality asks for the lot to be released; the release gate decides."""

    reason: Reason | None = None


class Disposition(Closed, frozen=True):
    """What becomes of a blocked lot."""

    decision: Literal["use_as_is", "rework", "regrade", "return_to_supplier", "scrap"]
    reason: Reason
    #: Rework order, RMA or cost centre, by decision.
    reference: Code | None = None
    #: Regrade: the item and revision it becomes, and the new lot.
    item: Code | None = None
    revision: Code | None = None
    child: LotId | None = None
    #: Concession: what the use is limited to.
    restrictions: list[Code] = []


class Reinspection(Closed, frozen=True):
    """The lot is to be inspected again; earlier results are kept."""

    reason: Reason


class Consumption(Closed, frozen=True):
    """Part or all of a lot went into a production order."""

    quantity: Quantity
    order: Code
    #: Confirmation number of the consuming system: the business key.
    confirmation: Code | None = None


class Child(Closed, frozen=True):
    """A lot that a split makes."""

    lot: LotId
    quantity: Quantity


class Split(Closed, frozen=True):
    """A lot is divided; quantities are conserved."""

    children: Annotated[list[Child], Meta(min_length=1, max_length=100)]
    reason: Reason | None = None


class Shipment(Closed, frozen=True):
    """The lot, or a part of it, left for a customer."""

    shipment: Code
    customer: Code
    order: Code | None = None
    #: Left out: the whole lot.
    quantity: Quantity | None = None
    #: Partial shipment: the id of the lot that leaves; ``<lot>-<shipment>`` when left out.
    child: LotId | None = None


class ShipmentVoid(Closed, frozen=True):
    """A shipment was undone before the carrier took it."""

    shipment: Code
    reason: Reason


class Return(Closed, frozen=True):
    """A customer sent the lot back."""

    rma: Code
    quantity: Quantity
    reason: Reason | None = None


class Expiry(Closed, frozen=True):
    """The clock saw the last day of shelf life pass."""

    expired_on: date


class Retest(Closed, frozen=True):
    """The clock saw the retest date come."""

    due_on: date


#: A stated value: a text (numbers as decimal text, days as 2026-03-31), a whole number, or true and false.
Stated = str | bool | int


class FactStatement(Closed, frozen=True):
    """Another system states a fact about the lot, of a kind that the vocabulary of the rules knows."""

    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
    #: Tells facts of one kind apart: a certificate's number, a signature's id. Stated again, the fact is replaced.
    key: Annotated[str, Meta(max_length=64)] = ""
    fields: Annotated[dict[str, Stated], Meta(max_length=60)] = {}
    #: The fact is true no longer.
    withdrawn: bool = False


#: What a compensation may tell a target: never anything that opens a lot.
Shut = Literal["quality", "blocked"]


#: permanent: it says never · exhausted: it failed too often · late: it took too long.
Failure = Literal["permanent", "exhausted", "late"]


class RefusedDelivery(Closed, frozen=True):
    """A target does not take a status of the lot, and was given up; others are told less until it does."""

    target: Code
    #: Version of the lot that it does not take.
    version: int
    failure: Failure
    detail: Text
    #: Target -> canonical stock status that it is told instead.
    undo: dict[str, Shut]


#: Kinds of drift that may be repaired by telling a target again.
Repairable = Literal["differs", "changed-by-hand", "unknown-lot"]


class DriftedTarget(Closed, frozen=True):
    """A target was read back and says something else than it had agreed to; it is told again."""

    target: Code
    #: differs: it fell behind · changed-by-hand: somebody changed it there · unknown-lot: it does not know the lot.
    kind: Repairable
    #: Version of the lot that it had agreed to.
    version: int
    #: What was expected and what was read, by the target's own words.
    expected: dict[str, str]
    observed: dict[str, str]


class AgreedDelivery(Closed, frozen=True):
    """The target that refused agrees again: everybody is told the true status."""

    target: Code
    #: Version of the lot that it agreed to.
    version: int


class PlanChange(Closed, frozen=True):
    """A lot in work gets another inspection plan, or the newest revision of its own."""

    #: Key of the plan in the reference data.
    plan: Code
    reason: Reason


class Revision(Closed, frozen=True):
    """A specification that applies to the lot was revised."""

    item: Code
    revision: Code
    reason: Reason | None = None


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


class SpecificationRevised(Event, tag="specification.revised.v1", frozen=True, kw_only=True):
    trigger = "revise_specification"
    data: Revision


class PlanChanged(Event, tag="inspection_plan.changed.v1", frozen=True, kw_only=True):
    trigger = "change_plan"
    data: PlanChange


class FactStated(Event, tag="fact.stated.v1", frozen=True, kw_only=True):
    trigger = "state_fact"
    data: FactStatement


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
    | LotRetestDue | SpecificationRevised | FactStated | PlanChanged
)  # fmt: skip

#: CloudEvents type -> Struct, in the order of the taxonomy.
TYPES: dict[str, type[Event]] = {cast(str, t.__struct_config__.tag): t for t in AnyEvent.__args__}

#: Types that only Lotgate itself submits: what others send is never decoded as one of these.
OUR_TYPES: dict[str, type[Event]] = {
    cast(str, t.__struct_config__.tag): t for t in (DeliveryRefused, DeliveryAgreed, DeliveryDrifted)
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
