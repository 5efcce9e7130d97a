"""Days that follow from reference data: the last day of shelf life, the day of the next retest, and how opening
shortens them. Pure.

A record of kind ``shelf-life`` says how long lots of an item last. It is applied once, when the lot comes in, by the
revision in force on the day on which that happened; what the event says itself is not touched. Opening may shorten the
shelf life, never lengthen it; a retest that was passed sets the day of the next one.
"""

from datetime import date, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine import events as ev
from engine.lot import Lot

#: A hundred years: anything above is a typing error.
Days = Annotated[int, Meta(ge=1, le=36_525)]


class ShelfLifeRule(ev.Closed, frozen=True):
    """How long lots of an item last, in days."""

    item: ev.Code
    #: Only of this revision of the item, or from this supplier; left out: of all.
    revision: ev.Code | None = None
    supplier: ev.Code | None = None
    #: From which day it counts; a lot of which that day is not known gets no date by it.
    counts_from: Literal["manufacture", "receipt"] = "manufacture"
    days: Days | None = None
    #: Until the first retest, and from one that was passed to the next.
    retest_days: Days | None = None
    #: From the day on which it was opened.
    opened_days: Days | None = None


class Applied(Struct, frozen=True):
    """A rule with where it stands."""

    key: str
    revision: int
    rule: ShelfLifeRule

    @property
    def name(self) -> str:
        """As people find it: key and revision."""
        return f"{self.key}@{self.revision}"


def problem_of(rule: ShelfLifeRule) -> tuple[str, str] | None:
    """What is wrong with a rule, as a JSON pointer and a sentence; None: nothing."""
    if rule.days is None and rule.retest_days is None and rule.opened_days is None:
        return "/days", "say days, retest_days or opened_days"
    if rule.days is not None and rule.retest_days is not None and rule.retest_days > rule.days:
        return "/retest_days", f"a retest after {rule.retest_days} days comes after the last of {rule.days} days"
    return None


def at_birth(lot: Lot, received: date, applied: Applied | None) -> ev.ComputedShelfLife | None:
    """The days that a lot which comes in on ``received`` gets, of those that its event does not say."""
    if applied is None:
        return None
    rule = applied.rule
    start, word = (received, "receipt") if rule.counts_from == "receipt" else (lot.manufactured_on, "manufacture")
    if start is None:
        return None
    last, expires_by = lot.expires_on, None
    if last is None and rule.days is not None:
        last = _later(start, rule.days)
        expires_by = f"{applied.name}: {rule.days} days from {word} on {start}"
    retest, retest_by = None, None
    if lot.retest_on is None and rule.retest_days is not None:
        retest = _later(start, rule.retest_days)
        retest_by = f"{applied.name}: {rule.retest_days} days from {word} on {start}"
    return _said(last if expires_by else None, expires_by, retest, retest_by, last)


def after_retest(lot: Lot, today: date, applied: Applied | None) -> ev.ComputedShelfLife | None:
    """The day of the next retest of a lot that passed one."""
    days = None if applied is None else applied.rule.retest_days
    if applied is None or days is None or lot.retest != "passed" or lot.retest_on is not None:
        return None
    words = f"{applied.name}: {days} days from the retest of {today}"
    return _said(None, None, _later(today, days), words, lot.expires_on)


def after_opening(lot: Lot, applied: Applied | None) -> ev.ComputedShelfLife | None:
    """The last day of a lot that was opened, where that is earlier."""
    days = None if applied is None else applied.rule.opened_days
    if applied is None or days is None or lot.opened_on is None:
        return None
    last = _later(lot.opened_on, days)
    if lot.expires_on is not None and lot.expires_on <= last:
        return None
    return ev.ComputedShelfLife(
        expires_on=last, expires_by=f"{applied.name}: {days} days from opening on {lot.opened_on}"
    )


def expected(lot: Lot, received: date, applied: Applied | None) -> Lot:
    """The lot as it will be, for the gate that lets it in."""
    said = at_birth(lot, received, applied)
    if said is None:
        return lot
    return replace(lot, expires_on=said.expires_on or lot.expires_on, retest_on=said.retest_on or lot.retest_on)


def _said(
    last: date | None, expires_by: str | None, retest: date | None, retest_by: str | None, end: date | None
) -> ev.ComputedShelfLife | None:
    """Without a retest that would come after the end."""
    if retest is not None and end is not None and retest > end:
        retest, retest_by = None, None
    if last is None and retest is None:
        return None
    return ev.ComputedShelfLife(expires_on=last, expires_by=expires_by, retest_on=retest, retest_by=retest_by)


def _later(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return date.max
