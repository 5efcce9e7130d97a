"""Two channels: every case is judged by the reference here and by durable-rules in a process of its own.

A batch goes to the judge process in one frame; while it works, the reference evaluates the same batch; then the
failing rules of the two are compared, case by case. Where they differ, or the second engine could not say, the
gate stays shut for that case and a reproduction is kept. The process may crash (the library is memory-unsafe): it is
started again and the batch is tried in halves; a case that kills it twice is refused, not tried for ever.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from rules.judge_pipe import JudgeProcess, ProcessDied, frame_of
from rules.judge_rules import digest_of, write_rules
from rules.reproduction import KEPT, Reproduction, keep
from rules.rulebook import Case, Judgement, RuleBook

log = logging.getLogger("lotgate.judge")

#: A batch that takes longer has met a hang of the library.
TIME_LIMIT_SECONDS = 10.0
#: A batch that is tried again, after a crash or a hang, gets so much and some more for each of its cases.
AGAIN_LIMIT_SECONDS, AGAIN_EACH_SECONDS = 2.0, 0.005
#: Times a case may kill the judge process before it is refused.
LIVES = 2
#: Seconds before a judge process that did not start is started again.
START_AGAIN_SECONDS = 5.0

REFERENCE, RETE = "reference", "durable-rules"
Answer = list[int] | str


class JudgeStatus(Struct, frozen=True):
    """How the second channel is doing."""

    engines: tuple[str, ...]
    #: Process id of the judge process, None when there is none.
    pid: int | None
    restarts: int
    disagreements: int
    problem: str


class SecondChannel:
    """The second engine for one rule set: a judge process, started again whenever it is lost."""

    def __init__(self, rulebook: RuleBook, command: Sequence[str], limit_seconds: float) -> None:
        self._rules = write_rules(rulebook.rules)
        self._digest = digest_of(self._rules)
        self._command = command
        self._limit_seconds = limit_seconds
        self._start_again_at = 0.0
        self.process: JudgeProcess | None = None
        self.starts = 0
        self.problem = ""
        #: False when the library cannot be had here: the reference judges alone, and every decision says so.
        self.possible = True
        self._start()

    def begin(self, cases: list[Case]) -> JudgeProcess | None:
        """Send the batch; None when there is no process that takes it."""
        if not cases or not self._ready():
            return None
        process = self.process
        try:
            if process is not None:
                process.send(frame_of(cases), self._limit_seconds)
        except ProcessDied as error:
            self._lost(error)
            return None
        return process

    def finish(self, process: JudgeProcess | None, cases: list[Case]) -> list[Answer]:
        """The answers to the batch that ``process`` was sent, one a case, however often it has to be tried."""
        if process is not None:
            try:
                return _one_each(process.receive(self._limit_seconds), cases)
            except ProcessDied as error:
                self._lost(error)
        return self._by_halves(cases)

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close()
            self.process = None

    def _by_halves(self, cases: list[Case], lives: int = LIVES) -> list[Answer]:
        """Judge again after a crash: whole, then in halves, until the case that kills the process stands alone."""
        if not self._ready() or self.process is None:
            return [f"not evaluated: {self.problem}"] * len(cases)
        limit = min(self._limit_seconds, AGAIN_LIMIT_SECONDS + AGAIN_EACH_SECONDS * len(cases))
        try:
            self.process.send(frame_of(cases), limit)
            return _one_each(self.process.receive(limit), cases)
        except ProcessDied as error:
            self._lost(error)
        if len(cases) > 1:
            middle = len(cases) // 2
            return self._by_halves(cases[:middle]) + self._by_halves(cases[middle:])
        if lives > 1:
            return self._by_halves(cases, lives - 1)
        return [f"not evaluated: the case ended the judge process {LIVES} times"]

    def _lost(self, error: ProcessDied) -> None:
        log.error("%s; it is started again", error)
        if self.process is not None:
            self.process.close(0.0)
            self.process = None

    def _ready(self) -> bool:
        """True when there is a process; one that would not start is given a pause before it is tried again."""
        if self.process is None and time.monotonic() >= self._start_again_at:
            self._start()
        return self.process is not None

    def _start(self) -> None:
        self.starts += 1
        try:
            process = JudgeProcess(self._rules, self._command)
        except ProcessDied as error:
            self._refuse(str(error))
            return
        if process.started.digest == self._digest:
            self.problem, self.process = "", process
            return
        process.close()
        self.possible = not process.started.problem
        self._refuse(process.started.problem or "the judge process has other rules")

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._start_again_at = time.monotonic() + START_AGAIN_SECONDS
        log.error("no second opinion: %s", problem)


class Pending(Struct):
    """A batch that was begun: its rules, which of its cases the second engine was asked, and who has them."""

    rulebook: RuleBook
    cases: Sequence[Case]
    asked: list[int]
    second: SecondChannel | None
    process: JudgeProcess | None


class TwoChannelJudge:
    """Judges batches; for one calling thread at a time.

    ``keep_in`` is a directory for files about cases on which the engines do not agree; None: they are kept in memory
    alone. ``command`` starts a judge process.
    """

    def __init__(
        self, rulebook: RuleBook, *, channel: str = "both", command: Sequence[str] | None = None,
        keep_in: Path | None = None, limit_seconds: float = TIME_LIMIT_SECONDS,
    ) -> None:  # fmt: skip
        self._rulebook = rulebook
        self._command = command or (sys.executable, "-m", "rules.judge_process")
        self._limit_seconds = limit_seconds
        self._keep_in = keep_in
        self._disagreements = 0
        self._starts_before = 0
        self._pending: Pending | None = None
        self.reproductions: deque[Reproduction] = deque(maxlen=KEPT)
        self._second = self._channel(rulebook) if channel == "both" else None

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that judge."""
        return _engines(self._second)

    def status(self) -> JudgeStatus:
        """For /readyz and metrics."""
        second = self._second
        if second is None:
            problem = "the setting channel asks for the reference alone"
            return JudgeStatus(self.engines, None, 0, self._disagreements, problem)
        pid = None if second.process is None else second.process.pid
        restarts = self._starts_before + second.starts - 1
        return JudgeStatus(self.engines, pid, restarts, self._disagreements, second.problem)

    def close(self) -> None:
        """End the judge process."""
        if self._second is not None:
            self._second.close()
        if self._pending is not None and self._pending.second is not None:
            self._pending.second.close()

    def swap(self, rulebook: RuleBook) -> None:
        """Judge by ``rulebook`` from the next batch on; one that was begun is finished by the rules it began with."""
        self._rulebook = rulebook
        if self._second is None:
            return
        if self._pending is None or self._pending.second is not self._second:
            self._second.close()
        self._starts_before += self._second.starts
        self._second = self._channel(rulebook)

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """One judgement a case, in order."""
        return self.finish(self.begin(cases))

    def begin(self, cases: Sequence[Case]) -> Pending:
        """Give the second engine ``cases`` to judge; it works while the caller does something else.

        One batch may be begun at a time: :meth:`finish` it before the next.
        """
        book, second = self._rulebook, self._second
        gates = book.gates()
        asked = [i for i, case in enumerate(cases) if case.gate in gates] if second and second.possible else []
        process = second.begin([cases[i] for i in asked]) if second is not None else None
        self._pending = Pending(book, cases, asked, second, process)
        return self._pending

    def finish(self, pending: Pending) -> list[Judgement]:
        """The judgements of what was begun: the reference's, with the second engine's consent."""
        cases, asked, second = pending.cases, pending.asked, pending.second
        self._pending = None
        judgements, failing = _reference(pending.rulebook, cases, _engines(second))
        if asked and second is not None:
            answers = second.finish(pending.process, [cases[i] for i in asked])
            for i, answer in zip(asked, answers, strict=True):
                if answer != failing[i]:
                    self._disagree(pending.rulebook, cases[i], judgements[i], failing[i], answer)
        if second is not None and second is not self._second:
            second.close()
        return judgements

    def _channel(self, rulebook: RuleBook) -> SecondChannel:
        return SecondChannel(rulebook, self._command, self._limit_seconds)

    def _disagree(self, book: RuleBook, case: Case, judgement: Judgement, first: list[int], second: Answer) -> None:
        rules = book.rules.rules
        named = [rules[n].id for n in first]
        if isinstance(second, str):
            other: list[str] | str = second
        else:
            other = [rules[n].id if 0 <= n < len(rules) else f"no rule ({n})" for n in second]
        judgement.agreed = False
        said = other if isinstance(other, str) else f"it fails {', '.join(other) or 'nothing'}"
        judgement.disagreement = f"the reference fails {', '.join(named) or 'nothing'}; {RETE}: {said}"
        self._disagreements += 1
        reproduction = Reproduction(book.digest, book.sources, case, named, other)
        self.reproductions.append(reproduction)
        log.error("gate %s: %s%s", case.gate, judgement.disagreement, self._file(reproduction))

    def _file(self, reproduction: Reproduction) -> str:
        """Keep the reproduction; words about where it is."""
        if self._keep_in is None:
            return ""
        try:
            return f"; facts and rules are in {keep(reproduction, self._keep_in)}"
        except OSError as error:
            # The gate is shut all the same; only the evidence is missing.
            return f"; facts and rules could not be kept: {error}"


def _one_each(answers: list[Answer], cases: Sequence[Case]) -> list[Answer]:
    """``answers`` if there are as many as ``cases``; a process that miscounts is as good as dead."""
    if len(answers) != len(cases):
        raise ProcessDied(f"the judge process gave {len(answers)} answers to {len(cases)} cases")
    return answers


def _engines(second: SecondChannel | None) -> tuple[str, ...]:
    return (REFERENCE, RETE) if second is not None and second.possible else (REFERENCE,)


def _reference(
    book: RuleBook, cases: Sequence[Case], engines: tuple[str, ...]
) -> tuple[list[Judgement], list[list[int]]]:
    """The judgements of the reference, and the numbers of the rules that fail."""
    digest, verdicts_of = book.digest, book.verdicts
    judgements, failing = [], []
    for case in cases:
        verdicts, failed = verdicts_of(case)
        judgements.append(Judgement(case.gate, digest, verdicts, engines))
        failing.append(failed)
    return judgements, failing
