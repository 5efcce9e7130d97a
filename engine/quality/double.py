"""Double sampling plans by attributes: a first sample decides clear lots, a second one the others. Pure.

Plans of MIL-STD-105E, as in ANSI/ASQ Z1.4, from the data file beside this one. They protect as the single plans of
engine/quality/sampling.py do, with fewer units on average. Under reduced inspection a lot between the accept and the
reject number of both samples is accepted, and normal inspection comes back.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

from msgspec import Struct

from engine.quality.curves import acceptance_binomial, acceptance_hypergeometric
from engine.quality.sampling import LETTERS, Plan, SamplingInvalid, Severity, plan, rows_of

#: Sample sizes of letters A to R; every letter's single plan has the size of its letter.
_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1250, 2000, 3150)
#: Of reduced inspection; the tables have double plans from letter D on.
_REDUCED_SIZES = (2, 2, 2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800)


class DoublePlan(Struct, frozen=True):
    """Look at ``sample_size`` units; between accept and reject number look at as many again, and count both."""

    #: Of each of the two samples.
    sample_size: int
    first_accept: int
    first_reject: int
    #: Up to here, in both samples together, the lot is accepted; from one more on it is not.
    second_accept: int
    letter: str
    #: From here on, in both samples together, it is not accepted; None: from one more than ``second_accept``.
    second_reject: int | None = None

    @property
    def most(self) -> int:
        """Nonconforming units of both samples with which the lot is still accepted."""
        return self.second_accept if self.second_reject is None else self.second_reject - 1


def double_plan(lot_size: int, aql: str, level: str = "II", severity: Severity = Severity.NORMAL) -> DoublePlan | Plan:
    """The double plan for a lot, arrows followed; the single plan where the tables refer to it (accept number 0), or
    where two samples are as many units as there are. Raises SamplingInvalid.
    """
    single = plan(lot_size, aql, level, severity)
    numbers = _numbers().get((severity.value, single.accept, single.reject))
    if single.whole_lot or single.letter is None or numbers is None:
        return single
    place, reduced = LETTERS.index(single.letter), severity is Severity.REDUCED
    each = (_REDUCED_SIZES if reduced else _SIZES)[place - 1]
    if 2 * each >= lot_size or (reduced and single.letter < "D"):
        return single
    first_accept, first_reject, accept, reject = numbers
    return DoublePlan(each, first_accept, first_reject, accept, single.letter, reject if reduced else None)


def verdict(wanted: DoublePlan, first: int, second: int | None = None) -> Literal["accept", "reject", "second"]:
    """What becomes of a lot with ``first`` nonconforming units in the first sample and ``second`` in the second; with
    no second sample yet, whether there has to be one. Raises SamplingInvalid for counts that cannot be."""
    for count in (first, 0 if second is None else second):
        if not 0 <= count <= wanted.sample_size:
            raise SamplingInvalid(f"{count} nonconforming units in a sample of {wanted.sample_size}")
    if wanted.first_accept < first < wanted.first_reject:
        if second is None:
            return "second"
        return "accept" if first + second <= wanted.most else "reject"
    if second is not None:
        raise SamplingInvalid(f"{first} nonconforming units decide at once; there is no second sample")
    return "accept" if first <= wanted.first_accept else "reject"


def back_to_normal(wanted: DoublePlan, first: int, second: int | None = None) -> bool:
    """Is the lot accepted, with more than the accept number of both samples, so that normal inspection comes back?"""
    accepted = verdict(wanted, first, second) == "accept"
    return accepted and second is not None and first + second > wanted.second_accept


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
    last = min(wanted.first_reject - 1, wanted.most, wanted.sample_size)
    for count in range(wanted.first_accept + 1, (last if most is None else min(last, most)) + 1):
        here = max(0.0, first(count) - first(count - 1))
        # A lot may have too few good units for so few bad ones in the first sample.
        if here > 0:
            total += here * second(count, wanted.most - count)
    return min(1.0, total)


@cache
def _numbers() -> dict[tuple[str, int, int], tuple[int, int, int, int]]:
    return {
        (row["severity"], int(row["single_accept"]), int(row["single_reject"])): (
            int(row["first_accept"]), int(row["first_reject"]), int(row["second_accept"]), int(row["second_reject"])
        )
        for row in rows_of("z14_double.csv")
    }  # fmt: skip
