"""Work that takes minutes, asked for in the console, as every web process sees it: who, when, how far, what it found.

A row a piece of work; the thread that does it is of one web process, which says in ``processes`` that it is alive. Of
each kind one is under way at a time, whichever process does it. What may not enter: what the work is, threads.
"""

from datetime import timedelta

from msgspec import Struct
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.clock import Clock, instant
from engine.errors import Overloaded
from engine.processes import UNSEEN_SECONDS
from engine.store.opening import Store
from engine.store.schema.access import jobs, processes

#: Pieces of work that are remembered, and for how long.
KEPT, KEPT_DAYS = 50, 30
#: What a piece of work may have found.
MAX_RESULT_BYTES = 512 * 1024
#: How soon somebody may ask for another of the kind.
RETRY_SECONDS = 10
_GONE = "The process that did it ended before it was done; nothing was changed by it. Begin it again."


class Job(Struct, frozen=True):
    """One piece of work. Instants are ISO 8601, UTC."""

    id: int
    kind: str
    #: What it is about: a digest, or empty.
    about: str
    by: str
    #: The process that does it, by its id in ``processes``.
    process: str
    begun_at: str
    #: How much there is to do, and how much is done.
    total: int
    done: int
    ended_at: str | None
    #: JSON.
    result: str | None
    #: Why it did not get to its end; empty: it did, or is under way.
    problem: str

    @property
    def running(self) -> bool:
        """Is it under way?"""
        return self.ended_at is None


_COLUMNS = (
    jobs.c.id, jobs.c.kind, jobs.c.about, jobs.c.by_whom, jobs.c.process, jobs.c.begun_at, jobs.c.total, jobs.c.done,
    jobs.c.ended_at, jobs.c.result, jobs.c.problem,
)  # fmt: skip


class Jobs:
    """The work of one installation, asked of one of its processes."""

    def __init__(self, store: Store, clock: Clock, process: str) -> None:
        self._store = store
        self._clock = clock
        self._process = process

    def of(self, kind: str, about: str = "") -> Job | None:
        """The last one of that kind about that; one whose process has died has ended."""
        found = self._last(jobs.c.kind == kind, jobs.c.about == about)
        if found is None or not self._is_orphan(found):
            return found
        self._give_up(found)
        return self._last(jobs.c.id == found.id)

    def begin(self, kind: str, about: str, by: str, total: int) -> Job:
        """Write down that it is begun. Raises Overloaded while another of that kind is under way."""
        row = {
            "kind": kind, "about": about, "by_whom": by, "process": self._process, "begun_at": instant(self._clock()),
            "total": total, "done": 0, "problem": "",
        }  # fmt: skip
        for _ in range(2):
            try:
                with self._store.engine.begin() as connection:
                    made = connection.execute(insert(jobs).values(**row)).inserted_primary_key
            except IntegrityError:
                running = self._last(jobs.c.kind == kind, jobs.c.ended_at.is_(None))
                if running is not None and self._is_orphan(running):
                    self._give_up(running)
                continue
            self._forget()
            found = self._last(jobs.c.id == made[0]) if made else None
            if found is not None:
                return found
        raise Overloaded("One is under way already; look again when it is done.", RETRY_SECONDS)

    def progress(self, job: int, done: int) -> bool:
        """So much is done. False: others have given it up, and it is to stop."""
        return self._write(job, done=done)

    def end(self, job: int, result: str | None, problem: str) -> bool:
        """It is done, or ended early. False: others had given it up."""
        if result is not None and len(result.encode()) > MAX_RESULT_BYTES:
            result, problem = None, "It found more than is kept here; the command line shows all of it."
        return self._write(job, ended_at=instant(self._clock()), result=result, problem=problem)

    def _write(self, job: int, **values: str | int | None) -> bool:
        mine = and_(jobs.c.id == job, jobs.c.ended_at.is_(None))
        with self._store.engine.begin() as connection:
            return connection.execute(update(jobs).where(mine).values(**values)).rowcount == 1

    def _last(self, *which: object) -> Job | None:
        query = select(*_COLUMNS).where(*which).order_by(jobs.c.id.desc()).limit(1)  # type: ignore[arg-type]  # conditions
        with self._store.reads.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Job(*row)

    def _is_orphan(self, job: Job) -> bool:
        """Is it under way, as it says, in a process that says nothing any more?"""
        if not job.running or job.process == self._process:
            return False
        lately = instant(self._clock() - timedelta(seconds=UNSEEN_SECONDS))
        alive = select(processes.c.id).where(processes.c.id == job.process, processes.c.seen_at >= lately)
        with self._store.reads.connect() as connection:
            return connection.execute(alive).first() is None

    def _give_up(self, job: Job) -> None:
        self._write(job.id, ended_at=instant(self._clock()), problem=_GONE)

    def _forget(self) -> None:
        old = instant(self._clock() - timedelta(days=KEPT_DAYS))
        with self._store.engine.begin() as connection:
            newest = select(jobs.c.id).order_by(jobs.c.id.desc()).limit(KEPT).scalar_subquery()
            over = jobs.c.id.not_in(newest) | (jobs.c.begun_at < old)
            connection.execute(delete(jobs).where(jobs.c.ended_at.is_not(None), over))
