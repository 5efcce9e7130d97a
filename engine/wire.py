"""Frames between a web process and its committer process: four bytes of length, then MessagePack."""

import struct
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from engine.answer import Answer
from engine.events import Decidable
from rules.judge import JudgeStatus

HEAD = struct.Struct("!I")
#: MessagePack's mark of an array whose length follows in four bytes.
_ARRAY = b"\xdd"

#: number, principal, expected version of the lot, trace that the decision is part of, event
Sent = tuple[int, str, int | None, str | None, Decidable]
encode = msgspec.msgpack.Encoder().encode
decode_sent = msgspec.msgpack.Decoder(list[Sent]).decode


class Hello(Struct, array_like=True, frozen=True):
    """What a committer process says first. ``problem``: why it cannot work; empty when it can."""

    rule_set: str = ""
    problem: str = ""


class Failed(Struct, array_like=True, frozen=True):
    """An event of which nothing was kept."""

    number: int
    detail: str
    retry_after_seconds: int


class Figures(Struct, array_like=True, frozen=True):
    """The committer's figures since it started."""

    batches: int
    conflicts: int
    failures: int
    commit_seconds: float


class Report(Struct, array_like=True):
    """What became of a batch."""

    settled: list[tuple[int, Answer]]
    failed: list[Failed]
    #: True when the ledger has something new for the targets.
    told: bool
    figures: Figures
    #: Only when it is not what it was.
    judge: JudgeStatus | None
    #: Digest of the rule set that judges now; only when it is not what it was.
    rule_set: str = ""


decode_hello = msgspec.msgpack.Decoder(Hello).decode
decode_report = msgspec.msgpack.Decoder(Report).decode


def frame(message: Any) -> bytes:
    """``message`` as a frame."""
    body = encode(message)
    return HEAD.pack(len(body)) + body


def frame_of(items: Iterable[bytes], count: int) -> bytes:
    """``count`` messages that are encoded already, as one frame with a list."""
    body = b"".join((_ARRAY, count.to_bytes(4, "big"), *items))
    return HEAD.pack(len(body)) + body


class Frames:
    """Bytes as they come, frames as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take ``data``; give the frames that it completes."""
        buffer = self._buffer
        buffer += data
        found = []
        at = 0
        while len(buffer) - at >= HEAD.size:
            end = at + HEAD.size + HEAD.unpack_from(buffer, at)[0]
            if len(buffer) < end:
                break
            found.append(bytes(buffer[at + HEAD.size : end]))
            at = end
        if at:
            del buffer[:at]
        return found
