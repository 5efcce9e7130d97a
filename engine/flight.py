"""One batch between the queue and the disk: taken off, decided, landed; or abandoned without a trace.

Two flights may be under way in one thread: while the judge process works on the second, the first is written. They
never claim the same lot, event or business document.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from engine.answer import Answer
from engine.batch import Batch, Judging
from engine.routing import Routes
from engine.store import writing
from engine.store.opening import Overtaken
from engine.submission import Submission
from engine.surroundings import Surroundings
from rules.rulebook import Case, Judgement


class Phases(Struct):
    """When a batch went through what, in nanoseconds of the performance counter; 0: not yet."""

    began: int = 0
    #: Read what it needs, and rules must judge.
    asked: int = 0
    #: Everything is decided.
    judged: int = 0
    writing: int = 0
    written: int = 0

    def spent(self, arrived: int, answered: int) -> dict[str, float]:
        """Milliseconds of each phase for an event that came at ``arrived``; the batch before is written between."""
        marks = {
            "queue": (arrived, self.began), "load": (self.began, self.asked), "judge": (self.asked, self.judged),
            "wait": (self.judged, self.writing), "commit": (self.writing, self.written),
            "answer": (self.written, answered),
        }  # fmt: skip
        return {name: round(max(0, end - start) / 1e6, 1) for name, (start, end) in marks.items()}


class Judge(Protocol):
    """Whoever judges a batch of cases: rules.judge.TwoChannelJudge. One batch may be begun at a time."""

    def begin(self, cases: Sequence[Case]) -> Any:
        """Start judging."""
        ...

    def finish(self, pending: Any) -> list[Judgement]:
        """One judgement a case, in order."""
        ...


class Flight:
    """A batch with its connection."""

    def __init__(
        self,
        submissions: Sequence[Submission],
        connection: Any,
        statements: writing.Statements,
        judge: Judge,
        routes: Routes,
        surroundings: Callable[[Mapping[str, tuple[str, ...]]], Surroundings],
        *,
        alone: bool = False,
    ) -> None:
        self.connection = connection
        self.phases = Phases()
        self._cursor = connection.cursor()
        self._statements = statements
        self._judge = judge
        self._batch = Batch(submissions, self._cursor, statements, routes, surroundings, alone=alone)
        self._way: Judging | None = None
        #: Cases that are to be judged before it goes on; None: everything is decided.
        self._asked: list[Case] | None = None
        self._pending: Any = None

    def take_off(self, arrived: Sequence[str] = ()) -> None:
        """Read what the batch needs, run until rules must judge, or it has to be alone, and have the judge begin."""
        self.phases.began = time.perf_counter_ns()
        if self._statements.dialect == "postgresql":
            self._cursor.execute("BEGIN")
        self._way = self._batch.decide(arrived)
        self._ask(next(self._way, None))
        self.phases.asked = time.perf_counter_ns()

    def decide(self, *, landed: bool) -> bool:
        """Take the judgements, and ask for more, until everything is decided; False: not before the others have landed.

        ``landed``: all that this thread decided before has landed.
        """
        while self._asked is not None and self._way is not None:
            if not self._asked and not landed:
                return False
            pending, self._pending = self._pending, None
            judgements = [] if pending is None else self._judge.finish(pending)
            try:
                self._ask(self._way.send(judgements))
            except StopIteration:
                break
        self.phases.judged = time.perf_counter_ns()
        return True

    def _ask(self, cases: list[Case] | None) -> None:
        self._asked = cases
        if cases:
            self._pending = self._judge.begin(cases)

    def land(self, due: float) -> tuple[float, bool]:
        """Write and commit; gives the seconds it took, and whether targets have something to be told."""
        rows = self._batch.rows(due)
        self.phases.writing = time.perf_counter_ns()
        if self._statements.dialect == "sqlite":
            self._cursor.execute("BEGIN IMMEDIATE")
        if self._batch.is_overtaken():
            raise Overtaken("a hold was placed on a scope, or lifted from one, while the batch was decided")
        self._batch.settle()
        writing.write(self._cursor, self._statements, rows)
        self._cursor.execute("COMMIT")
        self.phases.written = time.perf_counter_ns()
        return (self.phases.written - self.phases.writing) / 1e9, bool(rows.deliveries)

    def abandon(self) -> None:
        """Leave the judge free for the next; the transaction is the caller's to roll back."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._judge.finish(pending)

    def answers(self) -> list[Answer]:
        """One answer a submission, in order."""
        return self._batch.answers()

    def claims(self) -> set[str]:
        """What nobody else may decide before this flight has landed."""
        return self._batch.touched()
