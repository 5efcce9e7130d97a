"""The committer process: decides and commits what its web process sends, until the socket between them closes.

``python -m engine.committer_process FD`` is started by engine/committer.py and by nobody else. It ends with its web
process: what was sent but not answered may have been committed, and whoever sends it again gets that answer.
"""

import contextlib
import gc
import logging
import queue
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from engine import wire
from engine.answer import Answer
from engine.errors import LotgateError
from engine.inbox import IDLE_SECONDS, Waiting
from engine.logs import log_to_stderr
from engine.pipeline import Pipeline
from engine.runtime import Engine, open_engine
from engine.settings import settings_from
from engine.slow import SlowLog
from engine.spans import Spans, open_spans
from engine.store.folding import Folding
from engine.submission import submission
from engine.urgency import UrgentFirst
from engine.watch import Watch
from rules.findings import RulePackError
from rules.judge import JudgeStatus, TwoChannelJudge

log = logging.getLogger("lotgate.committer")

_RECEIVE_BYTES = 256 * 1024
#: Events that are taken between two looks at what else has come.
LOOK_AFTER = 4
#: Looking for cycles among the thousands of objects of a batch in flight is waste: nearly all go by reference counts.
_GC_THRESHOLDS = (200_000, 50, 50)


class SocketInbox:
    """Events out of the socket, reports into it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = wire.Frames()
        self._ready: UrgentFirst[Waiting] = UrgentFirst()
        self._since_look = 0
        self._ended = False
        self._told = False
        self._judge_told: JudgeStatus | None = None
        self._rules_told = ""
        self.pipeline: Pipeline | None = None
        #: Called behind each batch that was answered.
        self.answered: Callable[[], None] = lambda: None

    def take(self, wait: bool) -> Waiting | None:
        self._look()
        while not self._ready:
            if self._ended:
                return None
            self._receive(wait)
        self._since_look += 1
        return self._ready.take()

    def is_urgent(self) -> bool:
        self._since_look = LOOK_AFTER
        self._look()
        return self._ready.is_urgent

    def _look(self) -> None:
        """Now and then, read everything that has come: a hold behind ten thousand events would wait for them all.

        The web process bounds what may wait, and so what this holds.
        """
        if self._since_look < LOOK_AFTER or self._ended:
            return
        self._since_look = 0
        with contextlib.suppress(queue.Empty):
            while not self._ended:
                self._receive(False)

    def _receive(self, wait: bool) -> None:
        self._connection.settimeout(IDLE_SECONDS if wait else 0.0)
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except (BlockingIOError, TimeoutError):
            raise queue.Empty from None
        except OSError as error:
            log.info("the web process is gone: %s", error)
            data = b""
        if not data:
            self._ended = True
        arrived = time.perf_counter_ns()
        for frame in self._frames.feed(data):
            for number, principal, if_match, trace, event in wire.decode_sent(frame):
                self._ready.put(Waiting(submission(event, principal, if_match), None, number, arrived, trace))

    def ring(self, _: Sequence[str]) -> None:
        """The batch that is answered next has something for the targets: the web process rings for it."""
        self._told = True

    def answer(self, answers: Sequence[tuple[Waiting, Answer | LotgateError]]) -> None:
        if self.pipeline is None or not isinstance(self.pipeline.judge, TwoChannelJudge):
            raise AssertionError("answers before there is a pipeline")
        settled: list[tuple[int, Answer]] = []
        failed: list[wire.Failed] = []
        for waiting, answer in answers:
            if isinstance(answer, LotgateError):
                wait = int(getattr(answer, "retry_after_seconds", 1))
                failed.append(wire.Failed(waiting.number, answer.detail, wait))
            else:
                settled.append((waiting.number, answer))
        counts = self.pipeline.counts
        figures = wire.Figures(counts.batches, counts.conflicts, counts.failures, counts.commit_seconds)
        judge, rule_set = self.pipeline.judge.status(), self.pipeline.rulebook.digest
        changed = None if judge == self._judge_told else judge
        other = "" if rule_set == self._rules_told else rule_set
        report = wire.Report(settled, failed, self._told, figures, changed, other)
        self._told, self._judge_told, self._rules_told = False, judge, rule_set
        self._send(wire.frame(report))
        self.answered()

    def hello(self, hello: wire.Hello) -> None:
        """The first frame."""
        self._send(wire.frame(hello))

    def _send(self, frame: bytes) -> None:
        self._connection.setblocking(True)
        try:
            self._connection.sendall(frame)
        except OSError as error:
            self._ended = True
            log.info("the web process is gone: %s", error)


def _open(connection: socket.socket, inbox: SocketInbox) -> tuple[Engine, Spans | None] | None:
    frames = wire.Frames()
    first: list[bytes] = []
    while not first:
        data = connection.recv(_RECEIVE_BYTES)
        if not data:
            return None
        first = frames.feed(data)
    try:
        settings = settings_from(msgspec.msgpack.decode(first[0], type=bytes))
        spans = open_spans(settings, "committer")
        engine = open_engine(settings, ring=inbox.ring)
        engine.pipeline.watch = Watch(SlowLog(settings.slow_ms), spans, engine.store.dialect)
    except (LotgateError, RulePackError) as error:
        inbox.hello(wire.Hello(problem=str(error)))
        return None
    inbox.pipeline = engine.pipeline
    inbox.hello(wire.Hello(engine.rulebook.digest))
    inbox.answer([])
    return engine, spans


def main(descriptor: int) -> None:
    """Work until the socket closes."""
    # A Procfile runner signals the whole group; this process ends when its web process closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log_to_stderr("committer")
    connection = socket.socket(fileno=descriptor)
    inbox = SocketInbox(connection)
    opened = _open(connection, inbox)
    if opened is None:
        return
    engine, spans = opened
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    folding = Folding(engine.store)
    inbox.answered = folding.written
    engine.pipeline.run(inbox)
    folding.close()
    engine.close()
    if spans is not None:
        spans.close()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(int(sys.argv[1]))
    sys.exit(0)
