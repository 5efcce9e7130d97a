"""From one rule set to the next inside a running process, between two batches and never within one.

A thread looks into the database for what is in force. When that changes, or will within moments, it compiles the
stored set and starts a judge for it while events go on being decided by the present one; the pipeline takes the two
together between batches. Whatever goes wrong here, the set that is in force in this process stays in force, and
:attr:`Changeover.problem` says why. What may not enter: what a step means (engine/rulesets.py).
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from engine.clock import Clock, instant, parse_instant
from engine.errors import LotgateError
from engine.rulesets import RuleSets, coming, succession
from engine.store.rulesets import Step
from rules.findings import RulePackError
from rules.judge import TwoChannelJudge
from rules.rulebook import SUFFIXES, RuleBook, digest_of, read_sources

log = logging.getLogger("lotgate.rules")

#: How often a process looks whether another set is in force.
LOOK_SECONDS = 0.5
#: How long before its instant a set is compiled and its judge started, so that it is there in time.
AHEAD_SECONDS = 30.0


class Next(Struct):
    """A set that is ready to take over."""

    book: RuleBook
    judge: TwoChannelJudge
    #: Seconds since 1970 from which it may.
    due: float


def _wanted(steps: list[Step], now: str, soon: str, here: str) -> tuple[str, str] | None:
    """Digest and instant of the set that a process with the set ``here`` has to change to; None: to none.

    What is in force at ``now`` comes first; else what will be before ``soon``.
    """
    present = succession(steps, now)
    if not present:
        return None
    if present[-1].digest != here:
        return present[-1].digest, now
    nearest = coming(steps, now)
    then = nearest[0].effective_at or "" if nearest else ""
    if nearest and then <= soon:
        return succession(steps, then)[-1].digest, then
    return None


class Changeover:
    """Prepares the next set beside the pipeline; the pipeline calls :meth:`take` between batches."""

    def __init__(
        self, sets: RuleSets, clock: Clock, present: RuleBook, start_judge: Callable[[RuleBook], TwoChannelJudge]
    ) -> None:
        self._sets = sets
        self._clock = clock
        self._start_judge = start_judge
        self._present = present.digest
        self._next: Next | None = None
        self._done: list[TwoChannelJudge] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changeover", daemon=True)
        #: Why the set that should be in force is not; empty when all is well.
        self.problem = ""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; end a judge that was prepared in vain."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._sweep()
        with self._lock:
            prepared, self._next = self._next, None
        if prepared is not None:
            prepared.judge.close()

    def take(self, present: TwoChannelJudge) -> Next | None:
        """The set that takes over now, if there is one; ``present`` is ended by and by."""
        ready = self._next  # looked at without the lock: this is asked before every batch
        if ready is None or self._clock().timestamp() < ready.due:
            return None
        with self._lock:
            ready, self._next = self._next, None
            if ready is None:
                return None
            self._present = ready.book.digest
            self._done.append(present)
        log.info("rule set %s is in force in this process", ready.book.digest)
        return ready

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                # Whatever it is: a thread that ended would keep every later set from coming into force.
                log.exception("looking for the rule set in force failed; it is tried again")
                self.problem = "looking for the rule set in force failed; the log says why"

    def look(self) -> None:
        """Prepare what should be in force; a failure keeps the present set and is tried again."""
        self._sweep()
        now = self._clock()
        try:
            steps = self._sets.steps()
            soon = instant(now + timedelta(seconds=AHEAD_SECONDS))
            self._prepare(_wanted(steps, instant(now), soon, self._present))
        except (LotgateError, RulePackError, SQLAlchemyError, OSError) as error:
            words = getattr(error, "detail", "") or str(error).split("\n")[0]
            if words != self.problem:
                log.error("the rule set that should be in force cannot be used, the present one stays: %s", words)
            self.problem = words

    def _prepare(self, wanted: tuple[str, str] | None) -> None:
        digest, then = wanted or (self._present, "")
        due = parse_instant(then).timestamp() if then else 0.0
        with self._lock:
            ready = self._next
            if ready is not None and ready.book.digest == digest:
                ready.due = due
                return
            self._next = None
        if ready is not None:
            ready.judge.close()
        if digest != self._present:
            book = self._sets.book(digest)
            prepared = Next(book, self._start_judge(book), due)
            with self._lock:
                self._next = prepared
        self.problem = ""

    def _sweep(self) -> None:
        """End judges that have judged their last batch."""
        with self._lock:
            done, self._done = self._done, []
        for judge in done:
            judge.close()


class InForce:
    """The set in force, for those who read: explain, readiness, metrics. Looked for at most every LOOK_SECONDS."""

    def __init__(self, sets: RuleSets, book: RuleBook) -> None:
        self.sets = sets
        self._book = book
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()
        self.problem = ""

    def book(self) -> RuleBook:
        """The set; when a newer one cannot be read, the last good one."""
        with self._lock:
            if time.monotonic() - self._looked_at < LOOK_SECONDS:
                return self._book
            self._looked_at = time.monotonic()
            try:
                digest = self.sets.active()
                if digest is not None and digest != self._book.digest:
                    self._book = self.sets.book(digest)
                self.problem = ""
            except (LotgateError, RulePackError, SQLAlchemyError) as error:
                self.problem = getattr(error, "detail", "") or str(error).split("\n")[0]
            return self._book


class OnDisk(Struct, frozen=True):
    """The rule files in the directory of the settings."""

    #: Their digest; empty when they cannot be used.
    digest: str
    #: The first mistake and how many there are; empty when there is none.
    problem: str


class DiskWatch:
    """What the rule files on disk are now; read again only when one of them has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._state = OnDisk("", "not looked at yet")
        self._lock = threading.Lock()

    def look(self, active: str = "") -> OnDisk:
        """The state of the files; nothing raises, for files may be half-written at any moment.

        Files that are the set ``active`` are known to be usable, and not compiled to find out.
        """
        with self._lock:
            seen = self._signature()
            if seen != self._seen:
                self._state = self._read(active)
                self._seen = seen
            return self._state

    def _signature(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        if not self._directory.is_dir():
            return ((str(self._directory), -1, -1),)
        try:
            for path in self._directory.rglob("*"):
                if path.suffix in SUFFIXES:
                    about = path.stat()
                    found.append((str(path), about.st_mtime_ns, about.st_size))
        except OSError:
            return ()
        return tuple(sorted(found))

    def _read(self, active: str) -> OnDisk:
        try:
            sources = read_sources(self._directory)
            digest = digest_of(sources)
            return OnDisk(digest if digest == active else RuleBook.from_sources(sources).digest, "")
        except RulePackError as error:
            first = str(error.findings[0]).split("\n")[0]
            more = len(error.findings) - 1
            return OnDisk("", first + (f" (and {more} more)" if more else ""))
        except OSError as error:
            return OnDisk("", f"the rule files cannot be read: {error.strerror}")
