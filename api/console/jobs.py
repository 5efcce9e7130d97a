"""Work that takes minutes, asked for in the console: one of a kind at a time, in a thread, with progress.

It takes rests so that requests and decisions go before it, and ends with its process; how far it is and what it found
is in the database (engine/jobs.py), so that every web process shows it. What may not enter: what the work is.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from engine import jobs as kept
from engine.errors import LotgateError

log = logging.getLogger("lotgate.console")

#: After so much work, so much rest.
_WORK_SECONDS, _REST_SECONDS = 0.02, 0.005
#: How often it is written down how far it is.
_TOLD_SECONDS = 0.5
#: When the database is away at the end of a piece of work, it is tried again after this long.
_AGAIN_SECONDS = 2.0


class Shown(Struct, frozen=True):
    """One piece of work, for a page."""

    by: str
    begun_at: str
    ended_at: str | None
    total: int
    done: int
    problem: str
    #: What it found; None: nothing, or nothing yet.
    result: Any

    @property
    def running(self) -> bool:
        """Is it under way?"""
        return self.ended_at is None


#: Does the work; calls what it is given with how much is done.
Work = Callable[[Callable[[int], None]], Any]


class _GivenUp(Exception):
    """Others thought that this process is dead: somebody may have begun the same anew."""


class Jobs:
    """Those that this web process does and shows."""

    def __init__(self, rows: kept.Jobs) -> None:
        self._rows = rows

    def of(self, kind: str, about: str = "", *, found: type[Any]) -> Shown | None:
        """The last one of that kind about that, by whichever process; ``found``: the type of its result."""
        job = self._rows.of(kind, about)
        if job is None:
            return None
        result, problem = None, job.problem
        if job.result is not None:
            try:
                result = msgspec.json.decode(job.result, type=found)
            except msgspec.DecodeError:
                problem = "Another release of Lotgate did it, whose result this one cannot show. Begin it again."
        return Shown(job.by, job.begun_at, job.ended_at, job.total, job.done, problem, result)

    def start(self, kind: str, about: str, by: str, total: int, work: Work) -> threading.Thread:
        """Begin. Raises Overloaded while another of that kind is under way anywhere."""
        job = self._rows.begin(kind, about, by, total)
        thread = threading.Thread(target=self._run, args=(job, work), name=f"console-{kind}", daemon=True)
        thread.start()
        return thread

    def _run(self, job: kept.Job, work: Work) -> None:
        rested = told = time.monotonic()

        def progress(done: int) -> None:
            nonlocal rested, told
            now = time.monotonic()
            if now - told > _TOLD_SECONDS:
                told = now
                self._tell(job, done)
            if now - rested > _WORK_SECONDS:
                time.sleep(_REST_SECONDS)
                rested = time.monotonic()

        result, problem = None, ""
        try:
            result = msgspec.json.encode(work(progress)).decode()
        except _GivenUp:
            log.warning("%s was given up: for too long nobody saw that this process is alive", job.kind)
            return
        except LotgateError as error:
            problem = error.detail
        except Exception as error:  # shown to whoever asked, with the rest in the log
            log.exception("%s could not be finished", job.kind)
            problem = f"It ended early: {type(error).__name__}. The log has the cause."
        while True:
            try:
                self._rows.end(job.id, result, problem)
            except SQLAlchemyError as error:
                log.warning("the end of %s cannot be written: %s; tried again", job.kind, type(error).__name__)
                time.sleep(_AGAIN_SECONDS)
            else:
                return

    def _tell(self, job: kept.Job, done: int) -> None:
        try:
            stands = self._rows.progress(job.id, done)
        except SQLAlchemyError as error:  # the next one is told
            log.warning("how far %s is cannot be written: %s", job.kind, type(error).__name__)
            return
        if not stands:
            raise _GivenUp
