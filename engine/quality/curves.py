"""Operating characteristic of a sampling plan: how probably it accepts a lot, by how bad the lot is. Exact sums.

Formulas: Schilling and Neubauer, Acceptance Sampling in Quality Control, chapter 5: type A (hypergeometric, one lot),
type B (binomial, a process), and Poisson (nonconformities per unit).
"""

import math
from collections.abc import Callable


def acceptance_binomial(fraction: float, sample_size: int, accept: int) -> float:
    """Probability that at most ``accept`` of ``sample_size`` units of a process with ``fraction`` nonconforming are
    so."""
    _check(sample_size, accept)
    if not 0 <= fraction <= 1:
        raise ValueError("the fraction nonconforming is between 0 and 1")
    if fraction in (0, 1):
        return float(fraction == 0 or accept >= sample_size)
    log_p, log_q = math.log(fraction), math.log1p(-fraction)
    return _sum(
        lambda k: _log_choose(sample_size, k) + k * log_p + (sample_size - k) * log_q, 0, min(accept, sample_size)
    )


def acceptance_hypergeometric(lot_size: int, nonconforming: int, sample_size: int, accept: int) -> float:
    """Probability that at most ``accept`` of ``sample_size`` units, drawn from a lot without putting back, are so."""
    _check(sample_size, accept)
    if not 0 <= nonconforming <= lot_size or sample_size > lot_size:
        raise ValueError("a sample and its nonconforming units are part of the lot")
    least, most = max(0, sample_size - (lot_size - nonconforming)), min(accept, sample_size, nonconforming)
    whole = _log_choose(lot_size, sample_size)
    return _sum(
        lambda k: _log_choose(nonconforming, k) + _log_choose(lot_size - nonconforming, sample_size - k) - whole,
        least, most,
    )  # fmt: skip


def acceptance_poisson(per_unit: float, sample_size: int, accept: int) -> float:
    """Probability of at most ``accept`` nonconformities on ``sample_size`` units with ``per_unit`` on average."""
    _check(sample_size, accept)
    if per_unit < 0:
        raise ValueError("nonconformities per unit are not below 0")
    mean = per_unit * sample_size
    if mean == 0:
        return 1.0
    return _sum(lambda k: k * math.log(mean) - mean - math.lgamma(k + 1), 0, accept)


def fraction_accepted_with(probability: float, sample_size: int, accept: int) -> float:
    """The fraction nonconforming that the plan accepts with ``probability`` (binomial), to 12 digits."""
    if not 0 < probability < 1:
        raise ValueError("a probability between 0 and 1")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if acceptance_binomial(middle, sample_size, accept) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check(sample_size: int, accept: int) -> None:
    if sample_size < 1 or accept < 0:
        raise ValueError("a plan has a sample of at least 1 unit and an accept number of at least 0")


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _sum(log_term: Callable[[int], float], first: int, last: int) -> float:
    return min(1.0, math.fsum(math.exp(log_term(k)) for k in range(first, last + 1)))
