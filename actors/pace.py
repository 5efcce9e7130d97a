"""How fast a target is worked: the wait after a failure, the rate, the number of deliveries taken at once. Pure.

Clocks and chance come in as arguments; what may not enter: threads, calls, the ledger.
"""

import random
from collections.abc import Callable

#: Backoff: full jitter below base x 2**attempts, up to the ceiling.
BACKOFF_BASE_SECONDS = 0.25
BACKOFF_CEILING_SECONDS = 60.0
#: Even with the best of luck nobody is called again sooner.
BACKOFF_FLOOR_SECONDS = 0.05
#: What was taken at once should be told within this: others could tell what waits here for longer.
HELPING_SECONDS = 0.5


def backoff_seconds(attempts: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after the ``attempts``-th failure: full jitter (AWS Architecture Blog, 2015).

    ``chance`` gives a number in [0, 1).
    """
    ceiling = min(BACKOFF_CEILING_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempts, 20))
    return float(max(BACKOFF_FLOOR_SECONDS, ceiling * chance()))


class Rate:
    """At most ``per_second`` calls a second, in bursts of at most one second's worth. Without a rate: no limit."""

    def __init__(self, per_second: float | None, now: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second or 1.0)
        self._left = self._burst
        self._at = now

    def wait_seconds(self, now: float) -> float:
        """Take one call if there is one, and give 0; else take nothing and give the seconds until there is."""
        if self._per_second is None:
            return 0.0
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._per_second


class Helping:
    """How many deliveries to take at once: more while they are told quickly, fewer while they are not."""

    def __init__(self, fewest: int, most: int) -> None:
        self._fewest = min(fewest, most)
        self._most = most
        self.size = self._fewest

    def told(self, seconds: float, may_be_more: bool) -> None:
        """A delivery was told ``seconds`` after it was taken; ``may_be_more``: as many were due as were taken."""
        if seconds > HELPING_SECONDS:
            self.size = max(self._fewest, self.size // 2)
        elif may_be_more:
            self.size = min(self._most, self.size * 2)
