"""Double sampling plans by attributes: a first sample decides clear lots, a second one the others. Pure.

Normal and tightened plans of MIL-STD-105E, as in ANSI/ASQ Z1.4, from the data file beside this one. They protect as
the single plans of engine/quality/sampling.py do, with fewer units on average; reduced inspection has single plans
only here.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

from msgspec import Struct

from engine.quality.curves import acceptance_binomial, acceptance_hypergeometric
from engine.quality.sampling import LETTERS, Plan, SamplingInvalid, Severity, plan, rows_of

#: Sample sizes of letters A to R; every letter's single plan has the size of its letter.
_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1250, 2000, 3150)


class DoublePlan(Struct, frozen=True):
    """Look at ``sample_size`` units; between accept and reject number look at as many again, and count both."""

    #: Of each of the two samples.
    sample_size: int
    first_accept: int
    first_reject: int
    #: Up to here, in both samples together, the lot is accepted; from one more on it is not.
    second_accept: int
    letter: str


def double_plan(lot_size: int, aql: str, level: str = "II", severity: Severity = Severity.NORMAL) -> DoublePlan | Plan:
    """The double plan for a lot, arrows followed; the single plan where the tables refer to it (accept number 0), or
    where two samples are as many units as there are. Raises SamplingInvalid, for reduced inspection too.
    """
    if severity is Severity.REDUCED:
        raise SamplingInvalid("there are no double plans for reduced inspection here; use the single plan")
    single = plan(lot_size, aql, level, severity)
    numbers = _numbers().get((severity.value, single.accept))
    if single.whole_lot or single.letter is None or numbers is None:
        return single
    each = _SIZES[LETTERS.index(single.letter) - 1]
    if 2 * each >= lot_size:
        return single
    return DoublePlan(each, *numbers, single.letter)


def verdict(wanted: DoublePlan, first: int, second: int | None = None) -> Literal["accept", "reject", "second"]:
    """What becomes of a lot with ``first`` nonconforming units in the first sample and ``second`` in the second; with
    no second sample yet, whether there has to be one. Raises SamplingInvalid for counts that cannot be."""
    for count in (first, 0 if second is None else second):
        if not 0 <= count <= wanted.sample_size:
            raise SamplingInvalid(f"{count} nonconforming units in a sample of {wanted.sample_size}")
    if wanted.first_accept < first < wanted.first_reject:
        if second is None:
            return "second"
        return "accept" if first + second <= wanted.second_accept else "reject"
    if second is not None:
        raise SamplingInvalid(f"{first} nonconforming units decide at once; there is no second sample")
    return "accept" if first <= wanted.first_accept else "reject"


def accepted_of_process(fraction: float, wanted: DoublePlan) -> float:
    """Probability that a lot of a process with ``fraction`` nonconforming is accepted (binomial)."""
    n = wanted.sample_size
    return _accepted(
        wanted, lambda k: acceptance_binomial(fraction, n, k), lambda _, k: acceptance_binomial(fraction, n, k)
    )


def accepted_of_lot(lot_size: int, nonconforming: int, wanted: DoublePlan) -> float:
    """Probability that a lot with ``nonconforming`` units is accepted (hypergeometric)."""
    n = wanted.sample_size
    if 2 * n > lot_size:
        raise SamplingInvalid(f"two samples of {n} are more than a lot of {lot_size}")
    return _accepted(
        wanted,
        lambda k: acceptance_hypergeometric(lot_size, nonconforming, n, k),
        lambda first, k: acceptance_hypergeometric(lot_size - n, nonconforming - first, n, k),
        nonconforming,
    )


def units_on_average(fraction: float, wanted: DoublePlan) -> float:
    """Average sample number of a process with ``fraction`` nonconforming; both samples are always looked through."""
    n = wanted.sample_size
    again = acceptance_binomial(fraction, n, wanted.first_reject - 1) - acceptance_binomial(
        fraction, n, wanted.first_accept
    )
    return n * (1 + max(0.0, again))


def _accepted(
    wanted: DoublePlan, first: Callable[[int], float], second: Callable[[int, int], float], most: int | None = None
) -> float:
    """``first``: at most so many in the first sample; ``second``: after so many, at most so many in the second."""
    total = first(wanted.first_accept)
    last = min(wanted.first_reject - 1, wanted.second_accept, wanted.sample_size)
    for count in range(wanted.first_accept + 1, (last if most is None else min(last, most)) + 1):
        here = max(0.0, first(count) - first(count - 1))
        # A lot may have too few good units for so few bad ones in the first sample.
        if here > 0:
            total += here * second(count, wanted.second_accept - count)
    return min(1.0, total)


@cache
def _numbers() -> dict[tuple[str, int], tuple[int, int, int]]:
    return {
        (row["severity"], int(row["single_accept"])): (
            int(row["first_accept"]), int(row["first_reject"]), int(row["second_accept"])
        )
        for row in rows_of("z14_double.csv")
    }  # fmt: skip
