"""Where the committer finds its work, and how it answers: in this process, or over a socket from a web process."""

import queue
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from msgspec import Struct

from engine.answer import Answer
from engine.errors import LotgateError
from engine.submission import Submission

#: How long an idle committer waits before it looks around.
IDLE_SECONDS = 0.5


class Waiting(Struct):
    """A submission and whoever waits for its answer: a future here, or a number that a web process gave it."""

    submission: Submission
    future: "Future[Answer] | None" = None
    number: int = 0
    #: When it came, in nanoseconds of the performance counter.
    arrived: int = 0
    #: W3C traceparent of what it is part of, where that is traced.
    trace: str | None = None


class Inbox(Protocol):
    """What the committer takes its work from."""

    def take(self, wait: bool) -> Waiting | None:
        """The next; None: nothing comes any more. Raises queue.Empty when nothing is there: at once, or
        with ``wait`` after IDLE_SECONDS, so that the committer can look around."""
        ...

    def is_urgent(self) -> bool:
        """Has a hold come that can be taken next?"""
        ...

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        """Answer everybody."""
        ...


class LocalInbox:
    """For callers in the same process."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, waiting: Waiting | None) -> None:
        """Add one; None ends the inbox."""
        self._queue.put(waiting)

    def take(self, wait: bool) -> Waiting | None:
        return self._queue.get(timeout=IDLE_SECONDS) if wait else self._queue.get_nowait()

    def is_urgent(self) -> bool:
        return False  # in order, for callers that wait for each answer

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        for waiting, answer in answers:
            if waiting.future is None:
                continue
            if isinstance(answer, LotgateError):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
