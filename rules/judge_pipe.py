"""The pipe to a judge process: how one is started, given batches, waited for and ended.

Only frames and time limits here; what the answers mean is rules/judge.py's business.
"""

import logging
import os
import select
import struct
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from rules.rulebook import Case

log = logging.getLogger("lotgate.judge")

#: Loading thousands of rules takes a while.
START_LIMIT_SECONDS = 60.0
_HEAD = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(list[list[int] | str]).decode


class Started(Struct, frozen=True):
    """What a judge process says first."""

    #: Digest of the rules it has (rules/judge_rules.py); empty when it cannot judge.
    digest: str
    #: Why it cannot judge.
    problem: str = ""


class ProcessDied(Exception):
    """The judge process ended, or did not answer in time."""


class JudgeProcess:
    """One judge process and the pipe to it."""

    def __init__(self, rules: bytes, command: Sequence[str]) -> None:
        """Start ``command`` and give it the rules. Raises ProcessDied."""
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, close_fds=True
        )
        self.pid = self._process.pid
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        try:
            self._send(rules, START_LIMIT_SECONDS)
            self.started = msgspec.msgpack.decode(self._receive(START_LIMIT_SECONDS), type=Started)
        except (OSError, msgspec.MsgspecError, ProcessDied) as error:
            self.close(0.0)
            raise ProcessDied(f"the judge process did not start: {error}") from None

    def send(self, frame: bytes, limit_seconds: float) -> None:
        """Give it a batch. Raises ProcessDied."""
        try:
            self._send(frame, limit_seconds)
        except OSError as error:
            raise ProcessDied(f"the judge process does not take a batch: {error}") from None

    def receive(self, limit_seconds: float) -> list[list[int] | str]:
        """Its answer: failing rules case by case, or why there is none. Raises ProcessDied."""
        try:
            return _decode_answer(self._receive(limit_seconds))
        except (OSError, msgspec.MsgspecError) as error:
            raise ProcessDied(f"the judge process does not answer: {error}") from None

    def close(self, patience_seconds: float = 0.5) -> None:
        """End it; one that does not end by itself is killed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the pipe of judge process %d was broken already", self.pid)
        try:
            self._process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, frame: bytes, limit_seconds: float) -> None:
        if self._process.stdin is None:
            raise AssertionError("no pipe")
        file, deadline = self._process.stdin.fileno(), time.monotonic() + limit_seconds
        data = memoryview(_HEAD.pack(len(frame)) + frame)
        while data:
            # A process that hangs does not read: a large frame would wait for ever.
            if not _ready(file, select.POLLOUT, deadline):
                raise ProcessDied("the judge process did not take a batch in time")
            data = data[os.write(file, data) :]

    def _receive(self, limit_seconds: float) -> bytes:
        deadline = time.monotonic() + limit_seconds
        return self._exactly(_HEAD.unpack(self._exactly(_HEAD.size, deadline))[0], deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        if self._process.stdout is None:
            raise AssertionError("no pipe")
        file = self._process.stdout.fileno()
        parts: list[bytes] = []
        while size:
            if not _ready(file, select.POLLIN, deadline):
                raise ProcessDied("the judge process did not answer in time")
            part = os.read(file, size)
            if not part:
                raise ProcessDied("the judge process ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _ready(file: int, event: int, deadline: float) -> bool:
    """Wait until ``file`` can be read or written, or ``deadline``. Not select(): that knows 1,024 files at most."""
    waiting = select.poll()
    waiting.register(file, event)
    return bool(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))


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
