"""Two channels: every case is judged by the reference here and by durable-rules in a process of its own.

A batch goes to the judge process in one frame; while it works, the reference evaluates the same batch; then the
failing rules of the two are compared, case by case. Where they differ, or the second engine could not say, the
gate stays shut for that case and a reproduction is kept. The process may crash (the library is memory-unsafe): it is
started again and the batch is tried in halves; a case that kills it twice is refused, not tried for ever.
"""

import logging
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from rules.rulebook import Case, Judgement, RuleBook

log = logging.getLogger("lotgate.judge")

#: A batch that takes longer has met a hang of the library.
TIME_LIMIT_SECONDS = 10.0
#: Loading thousands of rules takes a while.
START_LIMIT_SECONDS = 60.0
#: Times a case may kill the judge process before it is refused.
LIVES = 2
#: Seconds before a judge process that did not start is started again.
START_AGAIN_SECONDS = 5.0
#: Reproductions of disagreements that are kept in memory, newest last.
KEPT = 50

REFERENCE, RETE = "reference", "durable-rules"
_HEAD = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(list[list[int] | str]).decode


class Started(Struct, frozen=True):
    """What a judge process says first."""

    #: Digest of the rule set it compiled; empty when it cannot judge.
    digest: str
    #: Why it cannot judge.
    problem: str = ""


class Reproduction(Struct, frozen=True):
    """A case on which the engines did not agree, whole enough to try again."""

    rule_set: str
    case: Case
    reference: list[str]
    #: What the second engine said: ids of failing rules, or why it said nothing.
    second: list[str] | str


class JudgeStatus(Struct, frozen=True):
    """How the second channel is doing."""

    engines: tuple[str, ...]
    #: Process id of the judge process, None when there is none.
    pid: int | None
    restarts: int
    disagreements: int
    problem: str


class ProcessDied(Exception):
    """The judge process ended, or did not answer in time."""


class JudgeProcess:
    """One judge process and the pipe to it."""

    def __init__(self, sources: dict[str, str], command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=True
        )
        self.pid = self._process.pid
        try:
            self._send(_encode(sources))
            self.started = msgspec.msgpack.decode(self._receive(START_LIMIT_SECONDS), type=Started)
        except (OSError, msgspec.MsgspecError, ProcessDied) as error:
            self.close()
            raise ProcessDied(f"the judge process did not start: {error}") from None

    def send(self, frame: bytes) -> None:
        """Give it a batch."""
        try:
            self._send(frame)
        except OSError as error:
            raise ProcessDied(f"the judge process does not take a batch: {error}") from None

    def receive(self) -> list[list[int] | str]:
        """Its answer: failing rules case by case, or why there is none."""
        try:
            return _decode_answer(self._receive(TIME_LIMIT_SECONDS))
        except (OSError, msgspec.MsgspecError) as error:
            raise ProcessDied(f"the judge process does not answer: {error}") from None

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the pipe of judge process %d was broken already", self.pid)
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, frame: bytes) -> None:
        if self._process.stdin is None:
            raise AssertionError("no pipe")
        data = memoryview(_HEAD.pack(len(frame)) + frame)
        while data:
            data = data[self._process.stdin.write(data) :]

    def _receive(self, limit_seconds: float) -> bytes:
        deadline = time.monotonic() + limit_seconds
        return self._exactly(_HEAD.unpack(self._exactly(_HEAD.size, deadline))[0], deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        if self._process.stdout is None:
            raise AssertionError("no pipe")
        file = self._process.stdout.fileno()
        parts: list[bytes] = []
        while size:
            if not select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise ProcessDied("the judge process did not answer in time")
            part = os.read(file, size)
            if not part:
                raise ProcessDied("the judge process ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Pending(Struct):
    """A batch that was begun: which of its cases the second engine was asked, and the process that has them."""

    cases: Sequence[Case]
    asked: list[int]
    process: JudgeProcess | None


class TwoChannelJudge:
    """Judges batches; for one calling thread at a time."""

    def __init__(
        self, rulebook: RuleBook, *, channel: str = "both", command: Sequence[str] | None = None
    ) -> None:
        self._rulebook = rulebook
        self._command = command or (sys.executable, "-m", "rules.judge_process")
        self._wanted = channel == "both"
        self._process: JudgeProcess | None = None
        self._problem = "" if self._wanted else "the setting channel asks for the reference alone"
        self._start_again_at = 0.0
        self._restarts = -1
        self._disagreements = 0
        self.reproductions: deque[Reproduction] = deque(maxlen=KEPT)
        #: False when the library cannot be had here: the reference judges alone, and every decision says so.
        self._possible = self._wanted
        if self._wanted:
            self._start()

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that judge."""
        return (REFERENCE, RETE) if self._possible else (REFERENCE,)

    def status(self) -> JudgeStatus:
        """For /readyz and metrics."""
        pid = None if self._process is None else self._process.pid
        return JudgeStatus(self.engines, pid, max(0, self._restarts), self._disagreements, self._problem)

    def close(self) -> None:
        """End the judge process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def swap(self, rulebook: RuleBook) -> None:
        """Judge by ``rulebook`` from the next batch on."""
        self._rulebook = rulebook
        if self._wanted:
            self.close()
            self._start()

    def judge(self, cases: Sequence[Case]) -> list[Judgement]:
        """One judgement a case, in order."""
        return self.finish(self.begin(cases))

    def begin(self, cases: Sequence[Case]) -> Pending:
        """Give the second engine ``cases`` to judge; it works while the caller does something else.

        One batch may be begun at a time: :meth:`finish` it before the next.
        """
        gates = self._rulebook.gates()
        asked = [i for i, case in enumerate(cases) if case.gate in gates] if self._possible else []
        return Pending(cases, asked, self._begin([cases[i] for i in asked]))

    def finish(self, pending: Pending) -> list[Judgement]:
        """The judgements of what was begun: the reference's, with the second engine's consent."""
        cases, asked = pending.cases, pending.asked
        judgements, failing = self._reference(cases)
        if not asked:
            return judgements
        second = self._finish(pending.process, [cases[i] for i in asked])
        for i, answer in zip(asked, second, strict=True):
            if answer != failing[i]:
                self._disagree(cases[i], judgements[i], failing[i], answer)
        return judgements

    # -- the reference -----------------------------------------------------------------------------------------

    def _reference(self, cases: Sequence[Case]) -> tuple[list[Judgement], list[list[int]]]:
        digest, engines, verdicts_of = self._rulebook.digest, self.engines, self._rulebook.verdicts
        judgements, failing = [], []
        for case in cases:
            verdicts, failed = verdicts_of(case)
            judgements.append(Judgement(case.gate, digest, verdicts, engines))
            failing.append(failed)
        return judgements, failing

    def _disagree(self, case: Case, judgement: Judgement, first: list[int], second: list[int] | str) -> None:
        rules = self._rulebook.rules.rules
        named = [rules[n].id for n in first]
        other = second if isinstance(second, str) else [rules[n].id for n in second]
        judgement.agreed = False
        said = other if isinstance(other, str) else f"it fails {', '.join(other) or 'nothing'}"
        judgement.disagreement = f"the reference fails {', '.join(named) or 'nothing'}; {RETE}: {said}"
        self._disagreements += 1
        self.reproductions.append(Reproduction(self._rulebook.digest, case, named, other))
        log.error("gate %s: %s", case.gate, judgement.disagreement)

    # -- the second engine -------------------------------------------------------------------------------------

    def _begin(self, cases: list[Case]) -> JudgeProcess | None:
        """Send the batch; None when there is no process that takes it."""
        if not cases:
            return None
        if self._process is None and time.monotonic() >= self._start_again_at:
            self._start()
        if self._process is None:
            return None
        try:
            self._process.send(frame_of(cases))
        except ProcessDied as error:
            self._lost(error)
            return None
        return self._process

    def _finish(self, process: JudgeProcess | None, cases: list[Case]) -> list[list[int] | str]:
        if process is not None:
            try:
                return process.receive()
            except ProcessDied as error:
                self._lost(error)
        return self._by_halves(cases)

    def _by_halves(self, cases: list[Case], lives: int = LIVES) -> list[list[int] | str]:
        """Judge again after a crash: whole, then in halves, until the case that kills the process stands alone."""
        try:
            if self._process is None:
                self._start()
            if self._process is None:
                return [f"not evaluated: {self._problem}"] * len(cases)
            self._process.send(frame_of(cases))
            return self._process.receive()
        except ProcessDied as error:
            self._lost(error)
            if len(cases) == 1:
                if lives > 1:
                    return self._by_halves(cases, lives - 1)
                return [f"not evaluated: the case ended the judge process {LIVES} times"]
            middle = len(cases) // 2
            return self._by_halves(cases[:middle]) + self._by_halves(cases[middle:])

    def _lost(self, error: ProcessDied) -> None:
        log.error("%s; it is started again", error)
        self.close()

    def _start(self) -> None:
        self._restarts += 1
        try:
            process = JudgeProcess(self._rulebook.sources, self._command)
        except ProcessDied as error:
            self._problem = str(error)
            self._start_again_at = time.monotonic() + START_AGAIN_SECONDS
            return
        if process.started.digest != self._rulebook.digest:
            process.close()
            self._problem = process.started.problem or "the judge process compiled other rules"
            self._possible = not process.started.problem
            self._start_again_at = time.monotonic() + START_AGAIN_SECONDS
            log.error("%s judges alone: %s", REFERENCE, self._problem)
            return
        self._problem = ""
        self._process = process


def frame_of(cases: Sequence[Case]) -> bytes:
    """A batch as the judge process reads it: fact lists once each, and cases that refer to them."""
    pool: list[Any] = []
    places: dict[int, int] = {}
    lines = []
    for case in cases:
        refs = {}
        for kind, facts in case.facts.items():
            place = places.get(id(facts))
            if place is None:
                place = places[id(facts)] = len(pool)
                pool.append(facts)
            refs[kind] = place
        lines.append((case.gate, refs, case.today))
    return _encode((pool, lines))
