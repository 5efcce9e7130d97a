"""How names, values and facts are written for the second engine: patterns and facts by the same hand.

The library compares what is written, knows names by a 32-bit hash, and takes any text for an id; so names, ids and
values are made here and nowhere else. Nothing here decides anything.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from msgspec import Struct

from rules.compiled import Value

#: Longer texts are replaced by their hash, on both sides.
MAX_TEXT = 200
#: The library's integers end at 2**63 - 1, and larger ones would all be equal.
MAX_NUMBER = 2**62
#: The one session of every network.
SID = '"sid":"1",'
#: Members that every fact has, for the join that is never false.
ALWAYS = '"_0":0,"_1":1'
#: Our own members are in capitals; fields of a vocabulary never are.
ROW_NUMBER, NUMBER, SPARE = "R", "N", "S"
_PLAIN = re.compile(r"[a-z][a-z0-9_]*")
#: Names that mean something to the library, or to us.
_TAKEN = frozenset({"id", "sid", "kind"})
#: Ids that a network may hold for one lot, and for rows of tables.
CASE_IDS, ROW_IDS = 12_000, 12_000


class TooMuch(Exception):
    """A fact cannot be told to the second engine as it is."""


def member(name: str) -> str:
    """The JSON member in which the field or column ``name`` is written."""
    return name if _PLAIN.fullmatch(name) and name not in _TAKEN else f"X{name.encode().hex()}"


def flag(name: str) -> str:
    """The member that says whether the field ``name`` is there."""
    return f"H_{member(name)}"


def link(number: int) -> str:
    """The member with the number of the row that a look-up found."""
    return f"W{number}"


def offset(days: int) -> str:
    """The member with the date so many days from today."""
    return f"D_{'m' if days < 0 else 'p'}{abs(days)}"


def literal(value: Value) -> str:
    """A value as both facts and patterns write it. Raises TooMuch."""
    if value is True:
        return '"y"'
    if value is False:
        return '"n"'
    if isinstance(value, int):
        return _number(value)
    return _text(value)


def _number(value: int) -> str:
    if not -MAX_NUMBER < value < MAX_NUMBER:
        raise TooMuch("a number is too large for the second engine")
    return str(value)


@lru_cache(maxsize=20_000)
def _text(value: str) -> str:
    return json.dumps(value if len(value) <= MAX_TEXT else hashlib.sha256(value.encode()).hexdigest())


def fnv1a(text: str) -> int:
    """The 32-bit hash by which the library knows names and ids."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def _ids() -> Iterator[str]:
    """Short ids whose hashes differ."""
    seen: set[int] = {fnv1a("w"), fnv1a("t")}
    for number in itertools.count():
        identity = format(number, "x")
        if fnv1a(identity) not in seen:
            seen.add(fnv1a(identity))
            yield identity


_POOL = list(itertools.islice(_ids(), CASE_IDS + ROW_IDS))
#: Heads of a lot's facts, and of rows.
CASE_HEADS = [f'{{"id":"{identity}",' for identity in _POOL[:CASE_IDS]]
ROW_HEADS = [f'{{"id":"{identity}",' for identity in _POOL[CASE_IDS:]]


class Shape(Struct):
    """Which fields of a kind the patterns need: as they are, with a flag, with a default."""

    plain: set[str]
    flagged: set[str]
    joined: set[str]


class Encoder:
    """Writes the fields of one kind of fact that patterns look at; what can be prepared is."""

    def __init__(self, shape: Shape) -> None:
        flagged = shape.flagged | shape.joined
        self._fields = [
            (
                name,
                f',"{member(name)}":' if name in shape.plain or name in shape.joined else None,
                f',"{flag(name)}":1' if name in flagged else "",
                (f',"{member(name)}":0' if name in shape.joined else "")
                + (f',"{flag(name)}":0' if name in flagged else ""),
            )
            for name in sorted(shape.plain | flagged)
        ]

    def text(self, fact: Mapping[str, Value]) -> str:
        """JSON members, each with a comma before it. Raises TooMuch."""
        text = ""
        for name, head, there, missing in self._fields:
            value = fact.get(name)
            if value is None:
                text += missing
            elif head is None:
                text += there
            elif value.__class__ is int and -MAX_NUMBER < value < MAX_NUMBER:
                text += f"{head}{value}{there}"
            else:
                text += f"{head}{literal(value)}{there}"
        return text

    def cells(self, row: Mapping[str, Value | None]) -> str:
        """As :meth:`text` for a row of a table; a column that the table does not have is left out."""
        text = ""
        for name, head, there, missing in self._fields:
            if name not in row:
                continue
            value = row[name]
            if value is None:
                text += missing
            else:
                text += there if head is None else f"{head}{literal(value)}{there}"
        return text
