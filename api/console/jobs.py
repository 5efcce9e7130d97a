"""Work that takes minutes, asked for in the console: one of a kind at a time, in a thread, with progress.

It reads and writes nothing, takes rests so that requests and decisions go before it, and ends with its process: nothing
is lost by that. What may not enter: what the work is.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from api.problems import Refused
from engine.clock import Clock, instant
from engine.errors import LotgateError

log = logging.getLogger("lotgate.console")

#: After so much work, so much rest.
_WORK_SECONDS, _REST_SECONDS = 0.02, 0.005
#: Results that a process remembers.
_KEPT = 20


class Job(Struct):
    """One piece of work."""

    kind: str
    #: What it is about: a digest, or empty.
    about: str
    by: str
    begun_at: str
    total: int
    done: int = 0
    ended_at: str | None = None
    result: Any = None
    problem: str = ""

    @property
    def running(self) -> bool:
        """Is it under way?"""
        return self.ended_at is None


#: Does the work; calls what it is given with how much is done.
Work = Callable[[Callable[[int], None]], Any]


class Jobs:
    """Those of one web process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}

    def of(self, kind: str, about: str = "") -> Job | None:
        """The last one of that kind about that."""
        return self._jobs.get((kind, about))

    def start(self, kind: str, about: str, by: str, total: int, work: Work) -> Job:
        """Begin. Raises Refused while another of that kind is under way."""
        with self._lock:
            if any(job.kind == kind and job.running for job in self._jobs.values()):
                raise Refused("overloaded", "One is under way already; look again when it is done.")
            job = Job(kind, about, by, instant(self._clock()), total)
            self._jobs.pop((kind, about), None)
            self._jobs[kind, about] = job
            while len(self._jobs) > _KEPT:
                self._jobs.pop(next(iter(self._jobs)))
        threading.Thread(target=self._run, args=(job, work), name=f"console-{kind}", daemon=True).start()
        return job

    def _run(self, job: Job, work: Work) -> None:
        rested = time.monotonic()

        def progress(done: int) -> None:
            nonlocal rested
            job.done = done
            if time.monotonic() - rested > _WORK_SECONDS:
                time.sleep(_REST_SECONDS)
                rested = time.monotonic()

        try:
            job.result = work(progress)
        except LotgateError as error:
            job.problem = error.detail
        except Exception as error:  # shown to whoever asked, with the rest in the log
            log.exception("%s could not be finished", job.kind)
            job.problem = f"It ended early: {type(error).__name__}. The log has the cause."
        job.ended_at = instant(self._clock())
