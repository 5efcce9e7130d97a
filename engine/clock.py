"""Time as an argument: deciding code never reads a clock by itself.

Instants are text, ISO 8601 in UTC with microseconds and ``Z``: the same on both databases, sortable as text,
and identical when hashed again years later.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime

#: A clock returns the present instant, aware, in UTC.
Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant of this machine, in UTC."""
    return datetime.now(UTC)


def in_utc(moment: datetime) -> datetime:
    """``moment`` in UTC; ValueError at the ends of the calendar, where UTC has no such year."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is outside the years 1 to 9999 in UTC") from None


def instant(moment: datetime) -> str:
    """``moment`` as Lotgate writes it: ``2026-11-23T08:00:00.000000Z``; ValueError as :func:`in_utc`."""
    return in_utc(moment).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_instant(text: str) -> datetime:
    """The instant written as ``text`` (ISO 8601 with a zone), in UTC; ValueError without a zone, or as in_utc."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write for example 2026-11-23T08:00:00Z")
    return in_utc(moment)


def ordinal(day: date) -> int:
    """Proleptic Gregorian ordinal of ``day``, the form in which rules see dates."""
    return day.toordinal()
