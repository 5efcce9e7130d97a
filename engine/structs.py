"""Typed structs, made ready before there are threads.

msgspec builds its table of a struct when it first decodes one; two threads that build the same table at the same
moment end the process (a segmentation fault, msgspec 0.22.0). So every process that starts threads builds all of them
first.
"""

from collections.abc import Iterator

import msgspec


def warm_structs() -> int:
    """Build the tables of every struct that is defined by now; gives how many. Takes about 10 ms."""
    built = 0
    for kind in set(_below(msgspec.Struct)):
        try:
            msgspec.json.Decoder(kind)
        except TypeError:
            continue  # never decoded: it holds locks, functions, or things that JSON cannot tell apart
        built += 1
    return built


def _below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
