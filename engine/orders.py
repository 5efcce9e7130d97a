"""What other systems say about shipments: orders (ERP), allocations (WMS), customers' terms and calendars. Pure.

They are kinds of reference data: whoever owns them tells Lotgate, revision by revision. What may not enter: whether an
order may leave (engine/order_readiness.py), databases.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from engine import events as ev

#: Lines of one order, and of one allocation.
MAX_LINES = 500


class OrderLine(ev.Closed, frozen=True):
    """What a customer ordered."""

    line: ev.Code
    item: ev.Code
    quantity: ev.Quantity
    #: Left out: any.
    revision: ev.Code | None = None


class Order(ev.Closed, frozen=True):
    """A sales order as the ERP has it. The key of the record is its number."""

    customer: ev.Code
    #: releasable: nothing in the ERP is against its leaving. blocked: credit, export … closed: it has ended.
    status: Literal["releasable", "blocked", "closed"]
    lines: Annotated[list[OrderLine], Meta(min_length=1, max_length=MAX_LINES)]
    #: Why it is blocked, in the ERP's words.
    reason: ev.Text = ""
    #: The day on which the customer wants it.
    deliver_on: date | None = None


class Allocated(ev.Closed, frozen=True):
    """A lot, or a part of it, that the warehouse has put aside for a line of the order."""

    line: ev.Code
    lot: ev.LotId
    quantity: ev.Quantity
    state: Literal["allocated", "picked", "staged", "shipped"] = "allocated"


class Allocation(ev.Closed, frozen=True):
    """What the WMS has allocated to an order, all of it. The key of the record is the order's number."""

    lines: Annotated[list[Allocated], Meta(max_length=MAX_LINES)]


class Customer(ev.Closed, frozen=True):
    """What a customer asks of every lot. The key of the record is the customer."""

    #: Days of shelf life that are left on the day of delivery.
    remaining_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    #: Plants that the customer approves; none: any.
    plants: Annotated[list[ev.Code], Meta(max_length=100)] = []
    #: Kind of a stated fact that has to stand on the lot, such as ``certificate``.
    certificate: ev.Code | None = None
    #: The calendar by which it takes deliveries.
    calendar: ev.Code | None = None


class Calendar(ev.Closed, frozen=True):
    """Days on which nobody is there. The key of the record is the calendar's name."""

    closed_on: Annotated[list[date], Meta(max_length=4_000)] = []
    #: 1: Monday, to 7: Sunday.
    closed_weekdays: Annotated[list[Annotated[int, Meta(ge=1, le=7)]], Meta(max_length=7)] = []

    def is_open(self, day: date) -> bool:
        """Is somebody there on ``day``?"""
        return day not in self.closed_on and day.isoweekday() not in self.closed_weekdays


def order_problem(order: Order) -> tuple[str, str] | None:
    """What is wrong with an order: a pointer and words; None: nothing."""
    seen: set[str] = set()
    for number, line in enumerate(order.lines):
        if line.line in seen:
            return f"/lines/{number}/line", f"the order has a line {line.line} already"
        if not line.quantity.value > 0:
            return f"/lines/{number}/quantity", "a quantity is above 0"
        seen.add(line.line)
    return None


def allocation_problem(allocation: Allocation) -> tuple[str, str] | None:
    """What is wrong with an allocation: a pointer and words; None: nothing."""
    seen: set[tuple[str, str]] = set()
    for number, part in enumerate(allocation.lines):
        if (part.line, part.lot) in seen:
            return f"/lines/{number}/lot", f"the lot {part.lot} is allocated to the line {part.line} twice"
        if not part.quantity.value > 0:
            return f"/lines/{number}/quantity", "a quantity is above 0"
        seen.add((part.line, part.lot))
    return None
