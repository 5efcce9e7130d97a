"""The committer: one thread that decides what waits, and makes it durable in one transaction a batch.

    submit → queue (bounded) → batch → known? → load → courses, judged together → rows → commit → answer → doorbell

The durability of a batch is paid for once by everybody who waited for it, and while one batch is written, the judge
process works on the next. An event whose decision fails answers
alone with a problem; a commit that fails answers the whole batch with 503 and leaves nothing behind. Nothing after
the commit can change the answer. On SQLite one process runs a committer; on PostgreSQL any number may, and two that
meet on a lot or an event notice it by the unique keys and decide again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, tzinfo
from typing import Any, Protocol

import msgspec

from engine import events as ev
from engine.answer import Answer
from engine.changeover import Changeover
from engine.clock import Clock, instant
from engine.errors import LotgateError, Overloaded, StoreUnavailable
from engine.flight import Flight, Judge
from engine.inbox import Inbox, LocalInbox, Waiting
from engine.routing import USUAL_ROUTES, Routes
from engine.store import writing
from engine.submission import Submission, claims, submission
from engine.surroundings import Surroundings
from engine.urgency import UrgentFirst, is_urgent
from engine.watch import Watch
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

log = logging.getLogger("lotgate.pipeline")

#: Events decided in one transaction at the most: bounds the memory and the latency of a batch.
MAX_BATCH = 256
#: ... and as many as are decided and written in this time, for a hold waits for what is under way; but so many always.
BATCH_SECONDS = 0.02
MIN_BATCH = 16
#: While holds come in, a batch has less time, at some cost for everything else: where one is, more will follow.
HURRIED_BATCH_SECONDS = 0.008
HURRIED_SECONDS = 1.0
#: Events that may wait; beyond that a sender is told to come back (503).
MAX_WAITING = 10_000
#: Batches that are decided and not written while a hold overtakes them.
MAX_FLYING = 2
#: Times a batch is decided again when another process committed the same lot or event meanwhile.
MAX_CONFLICTS = 5
#: ... within this time: everybody waits behind it.
CONFLICT_SECONDS = 5.0


class Transactions(Protocol):
    """What the committer needs of a store: engine.store.opening.Store."""

    dialect: str

    def raw(self) -> Any:
        """A DB-API connection of the committer's own, in autocommit mode."""
        ...

    def is_conflict(self, error: BaseException) -> bool:
        """True when another process committed the same lot or event: decide again."""
        ...

    def is_driver_error(self, error: BaseException) -> bool:
        """True for errors of the database or its driver."""
        ...

    def is_unavailable(self, error: BaseException) -> bool:
        """True when the database is away, full or busy: no event of the batch is to blame."""
        ...


class NotCommitted(StoreUnavailable):
    """The database works, but refused this batch: one of its events may be to blame, so each is tried alone."""


class Contended(NotCommitted):
    """Other processes have, or keep changing, the same lots."""


class _Flying(msgspec.Struct):
    """A flight and whoever waits for it."""

    waiting: list[Waiting]
    flight: Flight
    #: Why it did not take off.
    failed: Exception | None = None

    @property
    def is_urgent(self) -> bool:
        """Is a hold among them?"""
        return any(is_urgent(one.submission.event) for one in self.waiting)


class Counts(msgspec.Struct):
    """Figures of the committer since it started; read by /metrics."""

    events: dict[tuple[str, str], int] = {}
    batches: int = 0
    conflicts: int = 0
    failures: int = 0
    commit_seconds: float = 0.0


class Pipeline:
    """Takes events, decides them in order per lot, commits, answers."""

    def __init__(
        self,
        store: Transactions,
        judge: Judge,
        rulebook: RuleBook,
        clock: Clock,
        routes: Routes = USUAL_ROUTES,
        *,
        ring: Callable[[Sequence[str]], None] | None = None,
        timezone: tzinfo = UTC,
        max_waiting: int = MAX_WAITING,
        changeover: Changeover | None = None,
    ) -> None:
        self.judge: Judge = judge
        self.rulebook = rulebook
        self.targets = routes.targets
        self.routes = routes
        self.counts = Counts()
        self._store = store
        self._clock = clock
        self._ring = ring
        self._changeover = changeover
        self._timezone = timezone
        self._max_waiting = max_waiting
        self._statements = writing.Statements(store.dialect)
        self._local = LocalInbox()
        self._inbox: Inbox = self._local
        self._connections: list[Any] = []
        #: Taken from the queue, but claiming what is flying: first in the next batch.
        self._held: list[Waiting] = []
        #: Events that the next batch may have, and seconds that the last one spent in its commit.
        self._most = MAX_BATCH
        self._committing = 0.0
        #: Until when holds are expected, on the monotonic clock.
        self._hurried_until = 0.0
        #: The last one that flew without company.
        self._alone: Flight | None = None
        #: Looks at what has landed, where somebody wants that.
        self.watch: Watch | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self.run, name="committer", daemon=True)

    # -- the door ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the committer thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Take no more, answer what waits, end the thread."""
        self._stopping = True
        self._local.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self._disconnect()

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return len(self._local)

    def submit(self, event: ev.Event, principal: str, if_match: int | None = None) -> "Future[Answer]":
        """Queue ``event``; the future gives its Answer, or StoreUnavailable. Raises Overloaded at once."""
        self._check_room()
        future: Future[Answer] = Future()
        self._local.put(Waiting(submission(event, principal, if_match), future, arrived=time.perf_counter_ns()))
        return future

    def _check_room(self) -> None:
        if self._stopping:
            raise Overloaded("Lotgate is shutting down; send the event again.", retry_after_seconds=5)
        if len(self._local) >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} events are waiting already; send the event again.")

    # -- the thread --------------------------------------------------------------------------------------------

    def run(self, inbox: Inbox | None = None) -> None:
        """Work until the inbox ends: decide the next batch while the judge works on it and the last one is written.

        :meth:`start` calls this in a thread of its own; a committer process, with an ``inbox`` that is a socket.
        """
        self._inbox = self._local if inbox is None else inbox
        flying: list[_Flying] = []
        last = False
        while not last or flying or self._held:
            batch, ended = self._take(flying)
            last, began, self._committing = last or ended, time.monotonic(), 0.0
            self._change_over()
            taken = self._take_off(batch, flying) if batch else None
            if not self._goes_first(taken, flying):
                taken, flying = self._land_all(flying, taken), []
            if taken is not None:
                flying = self._decide(taken, flying)
            self._fit(len(batch), time.monotonic() - began - self._committing)

    def _goes_first(self, taken: "_Flying | None", flying: "list[_Flying]") -> bool:
        """Is what was taken decided before what is decided already is written? For a hold, or for one that waits."""
        if taken is None or not flying:
            return False
        return taken.is_urgent or (len(flying) < MAX_FLYING and self._inbox.is_urgent())

    def _fit(self, number: int, seconds: float) -> None:
        """Let batches be as large as their time allows; a commit does not count, it takes few as long as many."""
        if number < MIN_BATCH or seconds <= 0:
            return
        most = HURRIED_BATCH_SECONDS if time.monotonic() < self._hurried_until else BATCH_SECONDS
        self._most = max(MIN_BATCH, min(MAX_BATCH, int((self._most + number * most / seconds) / 2)))

    def _change_over(self) -> None:
        """Go on by the next rule set, if one is due. Between two batches: no batch is judged by two sets."""
        if self._changeover is None or not isinstance(self.judge, TwoChannelJudge):
            return
        ready = self._changeover.take(self.judge)
        if ready is not None:
            self.rulebook, self.judge = ready.book, ready.judge
            self._inbox.answer([])  # whoever listens learns of it

    def _take(self, flying: "list[_Flying]") -> tuple[list[Waiting], bool]:
        """The next batch; waits only when nothing is flying. Whoever claims what is flying is held back, in order."""
        claimed = set[str]().union(*(one.flight.claims() for one in flying))
        batch: list[Waiting] = []
        held, self._held = self._held, []
        for waiting in held:
            self._sort(waiting, claimed, batch)
        hurried = False
        while len(batch) < self._most and len(self._held) < MAX_BATCH:
            idle = not flying and not batch and not self._held
            try:
                taken = self._inbox.take(wait=idle)
            except queue.Empty:
                break
            if taken is None:
                return batch, True
            self._sort(taken, claimed, batch)
            urgent = is_urgent(taken.submission.event)
            if hurried and not urgent:
                break  # holds come first, and what is none would make them wait
            hurried = hurried or urgent
        return batch, False

    def _sort(self, waiting: Waiting, claimed: set[str], batch: list[Waiting]) -> None:
        mine = claims(waiting.submission) if claimed else set()
        if mine & claimed:
            claimed |= mine
            self._held.append(waiting)
        else:
            batch.append(waiting)

    def _take_off(self, batch: list[Waiting], flying: "list[_Flying]") -> "_Flying | None":
        try:
            connection = self._connect([one.flight.connection for one in flying])
            flight = self._flight([w.submission for w in batch], connection)
        except LotgateError as error:
            self._inbox.answer([(w, error) for w in batch])
            return None
        taken = _Flying(batch, flight)
        try:
            flight.take_off()
        except Exception as error:
            taken.failed = error
        return taken

    def _land(self, flying: "_Flying") -> bool:
        """Commit and answer; False when the batch has to be decided again."""
        try:
            seconds, told = flying.flight.land(self._clock().timestamp())
            self._committing += seconds
        except Exception as error:
            self._failed(flying.flight, error)
            return False
        answers = flying.flight.answers()
        self._count([w.submission for w in flying.waiting], answers, seconds)
        if told and self._ring is not None:
            self._ring(self.targets)
        self._inbox.answer(list(zip(flying.waiting, answers, strict=True)))
        if self.watch is not None:
            self.watch.landed(flying.waiting, answers, flying.flight)
        return True

    def _land_all(self, flying: "list[_Flying]", behind: "_Flying | None" = None) -> "_Flying | None":
        """Land them in this order; gives ``behind``, or None when it was settled with one that did not land."""
        for number, one in enumerate(flying):
            if not self._land(one):
                # Deciding alone needs a connection, and lots, that nobody else of this thread has in use.
                rest = [*flying[number + 1 :], *([] if behind is None else [behind])]
                for other in rest:
                    self._call_back(other.flight)
                for other in (one, *rest):
                    self._settle(other.waiting)
                return None
        return behind

    def _decide(self, taken: "_Flying", flying: "list[_Flying]") -> "list[_Flying]":
        """Finish deciding, before or behind what is decided already; gives what is to be written, oldest first."""
        try:
            if taken.failed is not None:
                raise taken.failed
            if not taken.flight.decide(landed=not flying):
                landed, flying = self._land_all(flying, taken), []
                if landed is None:
                    return []
                taken.flight.decide(landed=True)
        except Exception as error:
            self._failed(taken.flight, error)
            self._land_all(flying)
            self._settle(taken.waiting)
            return []
        if not taken.is_urgent:
            return [*flying, taken]
        # A hold does not wait until the next batch is under way, nor for what came before it.
        self._hurried_until = time.monotonic() + HURRIED_SECONDS
        self._land_all([taken, *flying])
        return []

    def _failed(self, flight: Flight, error: Exception) -> None:
        if not self._store.is_driver_error(error) and not self._store.is_conflict(error):
            log.error("a batch could not be decided; it is tried again", exc_info=error)
        self._call_back(flight)

    def _call_back(self, flight: Flight) -> None:
        """As if it had never begun: its connection has no transaction open."""
        flight.abandon()
        self._roll_back(flight.connection)

    def _settle(self, batch: list[Waiting]) -> StoreUnavailable | None:
        """Decide and commit ``batch`` by itself; on an error, which is given, find the event that carries it."""
        try:
            answers = self.process([w.submission for w in batch])
        except StoreUnavailable as error:
            self.counts.failures += 1
            if len(batch) > 1 and isinstance(error, NotCommitted):
                self._settle_each(batch)
            else:
                self._inbox.answer([(w, error) for w in batch])
            return error
        except Exception:
            log.exception("a batch of %d events could not be decided", len(batch))
            self._inbox.answer([(w, StoreUnavailable("The events could not be decided.")) for w in batch])
            return None
        self._inbox.answer(list(zip(batch, answers, strict=True)))
        if self.watch is not None and self._alone is not None:
            self.watch.landed(batch, answers, self._alone)
        return None

    def _settle_each(self, batch: list[Waiting]) -> None:
        """Decide them one by one, holds first. What another process has is waited for once: all behind wait, too."""
        contended: dict[str, Contended] = {}
        ordered: UrgentFirst[Waiting] = UrgentFirst()
        for waiting in batch:
            ordered.put(waiting)
        while len(ordered):
            waiting = ordered.take()
            mine = claims(waiting.submission)
            known = next((contended[one] for one in mine if one in contended), None)
            if known is not None:
                self._inbox.answer([(waiting, known)])
                continue
            error = self._settle([waiting])
            if isinstance(error, Contended):
                contended |= dict.fromkeys(mine, error)

    def process(self, submissions: Sequence[Submission], arrived: Sequence[str] = ()) -> list[Answer]:
        """Decide and commit one batch, in the calling thread; parked events that wait for ``arrived`` come after.

        Raises StoreUnavailable when nothing was committed. For a process without the thread of :meth:`start`,
        and for what that thread could not commit.
        """
        self._change_over()
        until = time.monotonic() + CONFLICT_SECONDS
        for _ in range(MAX_CONFLICTS):
            flight = self._flight(submissions, self._connect([]), alone=True)
            try:
                return self._fly_alone(flight, submissions, arrived)
            except Exception as error:
                flight.abandon()
                self._roll_back(flight.connection)
                if self._store.is_conflict(error):
                    self.counts.conflicts += 1
                    if time.monotonic() < until:
                        continue
                    break
                if not self._store.is_driver_error(error):
                    raise
                self._disconnect()
                log.error("the database did not commit a batch of %d: %s", len(submissions), error)
                away = self._store.is_unavailable(error)
                kind = StoreUnavailable if away else NotCommitted
                raise kind("The database did not commit; nothing was kept. Send the event again.") from error
        raise Contended("Other processes have, or keep changing, the same lot; send the event again.", 1)

    def _fly_alone(self, flight: Flight, submissions: Sequence[Submission], arrived: Sequence[str]) -> list[Answer]:
        flight.take_off(arrived)
        flight.decide(landed=True)
        seconds, told = flight.land(self._clock().timestamp())
        answers = flight.answers()
        self._alone = flight
        self._count(submissions, answers, seconds)
        if told and self._ring is not None:
            self._ring(self.targets)
        return answers

    def _flight(self, submissions: Sequence[Submission], connection: Any, *, alone: bool = False) -> Flight:
        return Flight(
            submissions, connection, self._statements, self.judge, self.routes, self._surroundings, alone=alone
        )  # fmt: skip

    def _count(self, submissions: Sequence[Submission], answers: Sequence[Answer], seconds: float) -> None:
        counts = self.counts
        counts.batches += 1
        counts.commit_seconds += seconds
        for sub, answer in zip(submissions, answers, strict=True):
            name = (str(sub.event.__struct_config__.tag), "replayed" if answer.replayed else answer.outcome)
            counts.events[name] = counts.events.get(name, 0) + 1

    # -- connections -------------------------------------------------------------------------------------------

    def _connect(self, busy: Sequence[Any]) -> Any:
        """A connection that has no transaction open: on PostgreSQL none of ``busy``, which flights are using."""
        if self._store.dialect == "sqlite" and busy:
            return busy[0]  # one connection is enough: only landing opens a transaction
        for connection in self._connections:
            if not any(connection is other for other in busy):
                return connection
        try:
            connection = self._store.raw()
        except Exception as error:
            if not self._store.is_driver_error(error):
                raise
            raise StoreUnavailable(f"The database cannot be reached: {error}") from error
        self._connections.append(connection)
        return connection

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.cursor().execute("ROLLBACK")
        except Exception as error:
            # SQLite says so when no transaction was open; a broken connection is dropped.
            if "no transaction" not in str(error):
                self._drop(connection)

    def _drop(self, connection: Any) -> None:
        with suppress(Exception):
            connection.close()
        self._connections = [c for c in self._connections if c is not connection]

    def _disconnect(self) -> None:
        for connection in list(self._connections):
            self._drop(connection)

    def _surroundings(self, undelivered: Mapping[str, tuple[str, ...]]) -> Surroundings:
        now = self._clock()
        today = now.astimezone(self._timezone).toordinal()
        return Surroundings(instant(now), today, self.rulebook, undelivered, timezone=self._timezone)
