"""Data blocks of the events: typed, strict, pure. The envelope and the types are in engine/events.py.

Each block is closed (an unknown field is refused). Quantities and measured values are :class:`decimal.Decimal`, read
exactly from a JSON number or a decimal string, with at most six decimal places and twelve digits before the point; they
never pass through a binary float. Dates are calendar days of the plant.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

#: Measurements one event may carry.
MAX_MEASUREMENTS = 2000

Code = Annotated[str, Meta(min_length=1, max_length=64)]
LotId = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=500)]
Reference = Annotated[str, Meta(min_length=1, max_length=255)]
#: Pallets, containers: a serial shipping container code (SSCC), or the number that the warehouse gives them.
HandlingUnits = Annotated[list[Code], Meta(max_length=500)]


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


class ProductionStart(Closed, frozen=True):
    """Production of a lot begins: from now on its operations are reported, and it is nowhere in stock."""

    item: Code
    revision: Code
    #: What the order is to give; the completion says what it gave.
    quantity: Quantity
    order: Code
    plant: Code | None = None
    location: Code | None = None


class OperationParameter(Closed, frozen=True):
    """A parameter that was measured at an operation."""

    parameter: Code
    value: Decimal
    unit: Annotated[str, Meta(min_length=1, max_length=16)]


class OperationReport(Closed, frozen=True):
    """MES reports an operation of the lot: it was started, completed or aborted."""

    #: Its number in the routing, such as ``0030``.
    operation: Code
    status: Literal["started", "completed", "aborted"]
    #: Its place in the lot's course, where MES counts them: 1, 2, 3 … without gaps.
    sequence: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    #: Operations that have to be completed before, besides those that the routing names.
    after: Annotated[list[Code], Meta(max_length=100)] = []
    #: Identity of this report in the MES: its business key.
    confirmation: Code | None = None
    order: Code | None = None
    equipment: Code | None = None
    operator: Code | None = None
    parameters: Annotated[list[OperationParameter], Meta(max_length=100)] = []


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


#: Roles that may be asked for where a hold is lifted: those of the keys (api/roles.py), but reading.
LiftRole = Literal[
    "submit", "inspect", "hold", "release", "sign", "edit-reference", "edit-rules", "approve-rules", "replay", "admin"
]


class HoldOrder(Closed, frozen=True):
    """A hold: several may stand on a lot at once, each with its owner and reason."""

    hold: Code
    reason: Reason
    scope: Literal["lot", "item", "supplier", "order", "filter", "parent", "recall"] = "lot"
    owner: Code | None = None
    #: The role in which it must be lifted; left out: ``hold``.
    lift_role: LiftRole | None = None
    #: Only this part: it is split off, and held as a lot of its own. Left out: the whole lot.
    quantity: Quantity | None = None
    #: Id of the part; ``<lot>-<hold>`` when left out.
    child: LotId | None = None


class CertifiedValue(Closed, frozen=True):
    """One line of a supplier's certificate: a value with its unit, or that it conforms."""

    characteristic: Code
    value: Decimal | None = None
    unit: Annotated[str, Meta(max_length=16)] | None = None
    conforming: bool | None = None


class SupplierCertificate(Closed, frozen=True):
    """A certificate of analysis (coa), of conformity (coc) or of the material that came with a lot."""

    #: Its number, as its issuer gave it.
    certificate: Code
    kind: Literal["coa", "coc", "material"]
    issuer: Code
    #: The supplier's lot that it is of; ours, where the supplier has none.
    supplier_lot: Code
    issued_on: date
    #: Last day on which it holds; left out: it does not end.
    valid_until: date | None = None
    signed: bool | None = None
    #: Where the document lies.
    reference: Annotated[str, Meta(max_length=255)] | None = None
    values: Annotated[list[CertifiedValue], Meta(max_length=500)] = []
    #: Why it replaces what was recorded under its number before; both stay in the journal.
    corrects: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class HoldLift(Closed, frozen=True):
    """A hold ends; the others stay."""

    hold: Code
    reason: Reason
    #: In which role it is lifted, which its sender must have; left out: ``hold``.
    role: LiftRole | None = None


class Release(Closed, frozen=True):
    """Quality asks for the lot to be released; the release gate decides."""

    reason: Reason | None = None


class Concession(Closed, frozen=True):
    """Permission to use what does not conform: by its number, until a day, up to a quantity."""

    number: Code
    #: Last day on which the lot may be released, used and shipped by it.
    valid_until: date
    #: Left out: any.
    quantity: Quantity | None = None


class Disposition(Closed, frozen=True):
    """What becomes of a blocked lot."""

    decision: Literal["use_as_is", "rework", "repair", "regrade", "return_to_supplier", "scrap"]
    reason: Reason
    #: Rework order, RMA or cost centre, by decision.
    reference: Code | None = None
    #: Regrade: the item and revision it becomes, and the new lot.
    item: Code | None = None
    revision: Code | None = None
    child: LotId | None = None
    #: Use as is: the customers that it is limited to, and the concession by which it is.
    restrictions: list[Code] = []
    concession: Concession | None = None
    #: The nonconformance whose decision this carries out.
    record: Code | None = None


class LotPart(Closed, frozen=True):
    """A part of a lot, and what becomes of it."""

    quantity: Quantity
    decision: Literal["release", "block", "use_as_is", "rework", "repair", "return_to_supplier", "scrap"]
    #: The lot that it becomes; left out: the lot's id with ``-1``, ``-2`` … behind it.
    lot: LotId | None = None
    #: Rework order, RMA or cost centre, by decision.
    reference: Code | None = None
    restrictions: list[Code] = []
    concession: Concession | None = None


class UsageDecision(Closed, frozen=True):
    """A lot is divided by what becomes of its parts; together they are the whole lot."""

    parts: Annotated[list[LotPart], Meta(min_length=2, max_length=50)]
    reason: Reason
    #: The nonconformance whose decision this carries out, or whose quantity is set apart.
    record: Code | None = None


class ConcessionEnd(Closed, frozen=True):
    """The clock saw the last day of a concession pass."""

    concession: Code
    ended_on: date


class Disposed(Closed, frozen=True):
    """What is decided of a quantity that does not conform."""

    decision: Literal["use_as_is", "rework", "repair", "return_to_supplier", "scrap"]
    quantity: Quantity
    concession: Concession | None = None


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


class Part(Closed, frozen=True):
    """A lot, or some of it, that is put together with others."""

    lot: LotId
    #: Left out: all that is left of it.
    quantity: Quantity | None = None


class Packaging(Closed, frozen=True):
    """In what the lot is packed."""

    #: For example ``drum``, ``carton`` or the number of a packing instruction.
    package: Code
    count: Annotated[int, Meta(ge=1, le=1_000_000)]


class Merge(Closed, frozen=True):
    """Lots of one item become one new lot, which is as good as the worst of them; quantities are conserved."""

    parts: Annotated[list[Part], Meta(min_length=2, max_length=100)]
    #: What was counted of the whole: refused when the parts do not add up to it.
    quantity: Quantity | None = None
    packaging: Packaging | None = None
    handling_units: HandlingUnits = []
    location: Code | None = None
    reason: Reason | None = None


class Pack(Closed, frozen=True):
    """A lot that repacking makes."""

    lot: LotId
    quantity: Quantity
    #: How much of the repacked lot that is, where the new lot is counted in another unit.
    used: Quantity | None = None
    packaging: Packaging | None = None
    handling_units: HandlingUnits = []
    location: Code | None = None


class Repack(Closed, frozen=True):
    """The same material in other packaging: as new lots, on other handling units, or both; quantities are conserved."""

    into: Annotated[list[Pack], Meta(max_length=100)] = []
    #: In what the rest of the lot is packed now; left out: as before.
    packaging: Packaging | None = None
    #: Handling units on which the rest of the lot lies now, and on which it lies no longer.
    packed: HandlingUnits = []
    unpacked: HandlingUnits = []
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


class ShelfLife(Closed, frozen=True):
    """Quality sets the last day of shelf life, the day of the next retest, or both."""

    reason: Reason
    #: Left out: as it is.
    expires_on: date | None = None
    retest_on: date | None = None


class Opening(Closed, frozen=True):
    """A lot's packing was opened."""

    opened_on: date
    reason: Reason | None = None


class ComputedShelfLife(Closed, frozen=True):
    """Days that follow from reference data, with the record that says so."""

    #: Left out: as it is.
    expires_on: date | None = None
    expires_by: str | None = None
    retest_on: date | None = None
    retest_by: str | None = None


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


class RecordOpening(Closed, frozen=True):
    """A nonconformance, a deviation or a corrective action begins."""

    #: Its number: unique in the lot.
    record: Code
    kind: Literal["nonconformance", "deviation", "corrective_action"]
    severity: Literal["minor", "major", "critical"]
    text: Annotated[str, Meta(min_length=1, max_length=500)]
    #: Who has to do it, and by when.
    owner: Code | None = None
    due_on: date | None = None
    #: Of a deviation: at this operation of production; those that follow it wait until it is decided.
    operation: Code | None = None
    #: Of a nonconformance: how much of the lot does not conform; left out: all of it.
    quantity: Quantity | None = None


class RecordStep(Closed, frozen=True):
    """A record goes on: it is contained, its cause is found, it is decided, closed, cancelled, opened again."""

    record: Code
    step: Literal["contain", "investigate", "decide", "close", "cancel", "reopen"]
    #: investigate: the cause; decide: what is done about it; else a word on it.
    text: Annotated[str, Meta(min_length=1, max_length=500)]
    #: Judged otherwise from now on.
    severity: Literal["minor", "major", "critical"] | None = None
    owner: Code | None = None
    due_on: date | None = None
    #: decide, of a nonconformance: what becomes of how much; together all that does not conform.
    dispositions: Annotated[list[Disposed], Meta(max_length=20)] = []
    #: decide: the material review board: roles that have to sign the decision, each by another person.
    board: Annotated[list[Code], Meta(max_length=10)] = []


class Signing(Closed, frozen=True):
    """Somebody signs the lot as it is at ``version``; made only by the sign command, which asks who it is again."""

    meaning: Code
    #: Journal version that was looked at, and the hash of that entry.
    version: int
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    signer: Code
    #: In which of the signer's roles.
    role: Code | None = None
    text: Text = ""
    #: The quality record whose decision is signed, for the material review board.
    record: Code | None = None


class Revision(Closed, frozen=True):
    """A specification that applies to the lot was revised."""

    item: Code
    revision: Code
    reason: Reason | None = None
