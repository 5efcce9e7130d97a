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
