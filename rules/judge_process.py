"""The judge process: reads batches on standard input, answers on standard output, ends with its parent.

``python -m rules.judge_process`` is started by rules/judge_pipe.py and by nobody else. A crash in the library ends this
process and nothing more.
"""

import contextlib
import ctypes
import gc
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

import msgspec

from rules import judge_rules
from rules.judge_pipe import Started

_HEAD = struct.Struct("!I")
_PR_SET_PDEATHSIG = 1
_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(tuple[list[Any], list[tuple[str, dict[str, int], int]]]).decode


def main() -> None:
    """Build networks of the rules that come first, then judge batches until the pipe closes."""
    # A Procfile runner signals the whole group; this process ends when its parent closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb", buffering=0)
    # Whatever the library prints must not get into the frames.
    os.dup2(2, 1)
    first = _read(source)
    if first is None:
        return
    engine = _compile(first, target)
    # The rules are here to stay: they are not gone over again with every collection.
    gc.collect()
    gc.freeze()
    while engine is not None and (frame := _read(source)) is not None:
        pool, lines = _decode_batch(frame)
        _write(target, _judge(engine, pool, lines))


def _compile(written: bytes, target: BinaryIO) -> Any:
    try:
        from rules.rete import ReteEngine
        from rules.rete_patterns import CannotCompile
    except ImportError as error:
        _write(target, Started("", f"durable-rules cannot be loaded on this Python: {error}{_remedy(str(error))}"))
        return None
    gc.disable()
    try:
        rules = judge_rules.read_rules(written)
        engine = ReteEngine(rules)
    except (msgspec.DecodeError, CannotCompile) as error:
        _write(target, Started("", f"durable-rules cannot run these rules: {error}"))
        return None
    finally:
        gc.enable()
    _write(target, Started(judge_rules.digest_of(judge_rules.write_rules(rules))))
    return engine


def _remedy(error: str) -> str:
    """What to do about a library that was built without the name that Python 3.13 gave a function it calls."""
    if "PyEval_CallObject" not in error:
        return ""
    build = "CPPFLAGS=-DPyEval_CallObject=PyObject_CallObject pip install --force-reinstall --no-cache-dir --no-deps"
    return f"; build it as make up does: {build} durable_rules"


def _judge(engine: Any, pool: list[Any], lines: list[tuple[str, dict[str, int], int]]) -> list[list[int] | str]:
    """Answers in order; neighbours about the same lot are judged in one go."""
    from rules.rete import NotEvaluated
    from rules.rete_facts import Asked

    answers: list[list[int] | str] = []
    group: list[Any] = []

    def judge_group() -> None:
        if not group:
            return
        try:
            answers.extend(engine.failing_together(group))
        except NotEvaluated as error:
            answers.extend([f"not evaluated: {error}"] * len(group))
        group.clear()

    for gate, refs, today in lines:
        asked = Asked(gate, {kind: pool[place] for kind, place in refs.items()}, today)
        if not (group and all(engine.together(other, asked) for other in group)):
            judge_group()
        group.append(asked)
    judge_group()
    return answers


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size = _HEAD.unpack(head)[0]
    frame = source.read(size)
    return frame if len(frame) == size else None


def _write(target: BinaryIO, message: Any) -> None:
    frame = _encode(message)
    data = memoryview(_HEAD.pack(len(frame)) + frame)
    while data:
        data = data[target.write(data) :]


def _die_with_parent() -> None:
    """On Linux the kernel ends this process with its parent, even if it hangs in the library."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
    sys.exit(0)
