"""Acceptance sampling by attributes: single plans of ANSI/ASQ Z1.4 and ISO 2859-1, and c = 0 plans.

The tables are data files beside this one, with their source named. They hold AQLs from 0.010 to 10 percent
nonconforming; the AQLs above 10, which are for nonconformities per 100 units, are not in them. Reduced plans are
those of Z1.4, whose reject number may be more than one above the accept number: a lot between the two is accepted,
and normal inspection comes back (engine/quality/switching.py). What they promise is in engine/quality/curves.py.
"""

import csv
import enum
import math
from bisect import bisect_right
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache
from importlib.resources import files

from msgspec import Struct

from engine.quality.curves import acceptance_hypergeometric

#: AQLs of the tables, percent nonconforming.
AQLS = (
    "0.010", "0.015", "0.025", "0.040", "0.065", "0.10", "0.15", "0.25", "0.40", "0.65", "1.0", "1.5", "2.5", "4.0",
    "6.5", "10",
)  # fmt: skip
LETTERS = "ABCDEFGHJKLMNPQRS"
#: Inspection levels: special, and general.
LEVELS = ("S1", "S2", "S3", "S4", "I", "II", "III")


class Severity(enum.Enum):
    """How hard it is looked."""

    NORMAL = "normal"
    TIGHTENED = "tightened"
    REDUCED = "reduced"


class Plan(Struct, frozen=True):
    """A single sampling plan: look at ``sample_size`` units; up to ``accept`` nonconforming ones accept the lot."""

    sample_size: int
    #: Accept number Ac.
    accept: int
    #: Reject number Re: from here on the lot is not accepted.
    reject: int
    #: Code letter of the plan that is used; None for a c = 0 plan.
    letter: str | None = None
    #: The whole lot is inspected: the plan asks for more units than there are.
    whole_lot: bool = False


class SamplingInvalid(ValueError):
    """A plan that cannot be asked for; says why."""


def code_letter(lot_size: int, level: str = "II") -> str:
    """Sample size code letter (Z1.4 table I). Raises SamplingInvalid for a lot under 2 units or an unknown level."""
    if level not in LEVELS:
        raise SamplingInvalid(f"there is no inspection level {level}; there are {', '.join(LEVELS)}")
    if lot_size < 2:
        raise SamplingInvalid(f"a lot of {lot_size} is not sampled; a lot has at least 2 units")
    starts, rows = _letters()
    return rows[bisect_right(starts, lot_size) - 1][level]


def plan(lot_size: int, aql: str, level: str = "II", severity: Severity = Severity.NORMAL) -> Plan:
    """The single plan for a lot (Z1.4 tables II-A, II-B, II-C), arrows followed.

    ``aql``: percent nonconforming, as a decimal text. Raises SamplingInvalid.
    """
    wanted = aql_of(aql)
    found = _master(code_letter(lot_size, level), wanted, severity)
    if found.sample_size < lot_size:
        return found
    return Plan(lot_size, found.accept, found.reject, found.letter, whole_lot=True)


def aql_of(text: str) -> str:
    """The AQL as the tables write it. Raises SamplingInvalid for one that they do not have."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    for aql in AQLS:
        if value == Decimal(aql):
            return aql
    raise SamplingInvalid(f"there is no AQL {text}; there are {', '.join(AQLS)}")


def _master(letter: str, aql: str, severity: Severity) -> Plan:
    """The plan that a cell of the master table leads to: arrows lead down until there is a plan, or up."""
    cells = _plans()
    here = LETTERS.index(letter)
    if (severity.value, letter, aql) in cells:
        return cells[severity.value, letter, aql]
    above = [n for n in range(here) if (severity.value, LETTERS[n], aql) in cells]
    below = [n for n in range(here + 1, len(LETTERS)) if (severity.value, LETTERS[n], aql) in cells]
    # Directly under the plan with accept number 0 the arrow leads up to it; wherever else there is no plan, down.
    up = above and cells[severity.value, LETTERS[above[-1]], aql].accept == 0 and above[-1] == here - 1
    if (up and severity is not Severity.TIGHTENED) or not below:
        return cells[severity.value, LETTERS[above[-1]], aql]
    return cells[severity.value, LETTERS[below[0]], aql]


def zero_accept_plan(lot_size: int, limiting_percent: str, consumer_risk: str = "0.10") -> Plan:
    """The smallest c = 0 plan that accepts a lot with ``limiting_percent`` nonconforming with at most
    ``consumer_risk``.

    Computed from the hypergeometric distribution, so it is exact for the lot; the number of nonconforming units is
    rounded up. Raises SamplingInvalid.
    """
    if lot_size < 1:
        raise SamplingInvalid("a lot has at least 1 unit")
    try:
        percent, risk = Decimal(limiting_percent), Decimal(consumer_risk)
    except InvalidOperation:
        raise SamplingInvalid("the limiting quality and the risk are decimal numbers") from None
    if not percent.is_finite() or not risk.is_finite() or not 0 < percent <= 100 or not 0 < risk < 1:
        raise SamplingInvalid("the limiting quality is above 0 and at most 100 percent, the risk between 0 and 1")
    bad = int((Decimal(lot_size) * percent / 100).to_integral_value(rounding="ROUND_CEILING"))
    low, high = 1, lot_size
    while low < high:
        middle = (low + high) // 2
        if _accepted_at_most(lot_size, bad, middle, risk):
            high = middle
        else:
            low = middle + 1
    return Plan(low, 0, 1, whole_lot=low == lot_size)


def _accepted_at_most(lot_size: int, bad: int, sample: int, risk: Decimal) -> bool:
    accepted, limit = acceptance_hypergeometric(lot_size, bad, sample, 0), float(risk)
    if abs(accepted - limit) > 1e-9:
        return accepted < limit
    # Too near to tell by floats.
    return Fraction(math.comb(lot_size - bad, sample), math.comb(lot_size, sample)) <= Fraction(risk)


@cache
def _letters() -> tuple[list[int], list[dict[str, str]]]:
    rows = rows_of("z14_letters.csv")
    return [int(row["from"]) for row in rows], rows


@cache
def _plans() -> dict[tuple[str, str, str], Plan]:
    return {
        (row["severity"], row["letter"], row["aql"]): Plan(
            int(row["sample_size"]), int(row["accept"]), int(row["reject"]), row["letter"]
        )
        for row in rows_of("z14_single.csv")
    }


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a data file beside this one, without the comments that name its source."""
    text = (files("engine.quality") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
