"""Data blocks of events about quality: inspections, holds, decisions, shelf life, records, signatures. Pure.

What holds for every block is in engine/blocks.py.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from engine.blocks import MAX_MEASUREMENTS, Closed, Code, LotId, Quantity, Reason, Text

#: Roles that may be asked for where a hold is lifted: those of the keys (api/roles.py), but reading.
LiftRole = Literal[
    "submit", "inspect", "hold", "release", "sign", "edit-reference", "edit-rules", "approve-rules", "replay", "admin"
]
#: A stated value: a text (numbers as decimal text, days as 2026-03-31), a whole number, or true and false.
Stated = str | bool | int


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
    #: In process: of this operation of production, which has an inspection plan; left out: of the lot.
    operation: Code | None = None


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
    """Permission to use what does not conform: by its number, until a day, up to a quantity of all lots together."""

    #: One permission in the whole plant: every lot that is used by it counts.
    number: Code
    #: Last day on which the lot may be released, used and shipped by it.
    valid_until: date
    #: Left out: what was said when it was first used; any, where nobody said.
    quantity: Quantity | None = None
    #: Why it permits another quantity than was said before.
    amends: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


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


class FactStatement(Closed, frozen=True):
    """Another system states a fact about the lot, of a kind that the vocabulary of the rules knows."""

    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$")]
    #: Tells facts of one kind apart: a certificate's number, a signature's id. Stated again, the fact is replaced.
    key: Annotated[str, Meta(max_length=64)] = ""
    fields: Annotated[dict[str, Stated], Meta(max_length=60)] = {}
    #: The fact is true no longer.
    withdrawn: bool = False


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
