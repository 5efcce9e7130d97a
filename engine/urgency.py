"""What goes first when much is waiting: holds, before everything that they do not depend on.

Order is kept per lot: a hold overtakes only events that touch none of its lots. What may not enter: sockets, deciding.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

from engine import events as ev
from engine.submission import Submission

#: Events and bytes for which there is room in a full queue when they are urgent: holds must always get in.
RESERVED_EVENTS = 1_000
RESERVED_BYTES = 4 * 1024 * 1024


#: Holds that are taken one after the other while others wait: whoever holds without end must not keep everybody out.
MOST_IN_A_ROW = 16


def is_urgent(event: ev.Event) -> bool:
    """A hold keeps bad goods from moving: nothing is worth waiting for."""
    return isinstance(event, ev.HoldApplied)


class Submitted(Protocol):
    """Whoever waits with a submission."""

    submission: Submission


Item = TypeVar("Item", bound=Submitted)


class UrgentFirst(Generic[Item]):
    """A queue out of which holds come first, and of many holds now and then something else."""

    def __init__(self) -> None:
        self._urgent: deque[Item] = deque()
        self._ordinary: deque[Item] = deque()
        #: Holds taken since anything else was.
        self._in_a_row = 0
        #: Lot -> ordinary events waiting that touch it.
        self._touched: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._urgent) + len(self._ordinary)

    @property
    def is_urgent(self) -> bool:
        """Is the next one a hold that goes before others?"""
        return bool(self._urgent) and (self._in_a_row < MOST_IN_A_ROW or not self._ordinary)

    def put(self, item: Item) -> None:
        """Add one at its place."""
        sub = item.submission
        if is_urgent(sub.event) and not any(lot in self._touched for lot in sub.touched):
            self._urgent.append(item)
            return
        self._ordinary.append(item)
        for lot in sub.touched:
            self._touched[lot] = self._touched.get(lot, 0) + 1

    def take(self) -> Item:
        """The next; raises IndexError when there is none."""
        if self.is_urgent:
            self._in_a_row += 1
            return self._urgent.popleft()
        item = self._ordinary.popleft()
        self._in_a_row = 0
        for lot in item.submission.touched:
            left = self._touched[lot] - 1
            if left:
                self._touched[lot] = left
            else:
                del self._touched[lot]
        return item
