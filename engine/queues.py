"""Which submissions of a batch may run now: in order per lot, side by side where they touch no lot together.

What may not enter: deciding.
"""

from collections import deque
from collections.abc import Callable

from engine.submission import Submission


class Queues:
    """Submissions in order per lot: one is ready when it is first in the queue of every lot it touches."""

    def __init__(
        self, waiting: list[tuple[int | None, Submission]], more: Callable[[Submission], tuple[str, ...]] = lambda _: ()
    ) -> None:
        """``more``: what else a submission has to be first in line for, as it has for the lots that it touches."""
        self._lines: dict[str, tuple[str, ...]] = {sub.key: (*sub.touched, *more(sub)) for _, sub in waiting}
        self._queues: dict[str, deque[tuple[int | None, Submission]]] = {}
        self._started: set[str] = set()
        self._left = len(waiting)
        for item in waiting:
            for lot in self._lines[item[1].key]:
                self._queues.setdefault(lot, deque()).append(item)
        self._heads: list[str] = list(self._queues)

    @property
    def empty(self) -> bool:
        return self._left == 0

    def ready(self) -> list[tuple[int | None, Submission]]:
        """Submissions that can start now, each given once."""
        found = []
        heads, self._heads = self._heads, []
        for lot in heads:
            line = self._queues.get(lot)
            if not line:
                continue
            item = line[0]
            key = item[1].key
            if key not in self._started and all(
                self._queues[other][0] is item for other in self._lines[key]
            ):
                self._started.add(key)
                found.append(item)
        return found

    def done(self, sub: Submission) -> None:
        """``sub`` has run: whoever waited behind it comes to the front."""
        self._left -= 1
        for lot in self._lines[sub.key]:
            line = self._queues[lot]
            line.popleft()
            if line:
                # another lot's head may have waited for this one too
                self._heads.extend(self._lines[line[0][1].key])
