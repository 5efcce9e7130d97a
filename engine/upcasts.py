"""Event types that are not written any more: each is read as the type that followed it, for ever.

A journal is never rewritten: what an older version wrote stays as it was hashed. When the data block of a type changes
in a way that older blocks do not fit, the type gets a new version (``lot.received.v2``), and the old one a line here
that says which type follows it and how its block becomes one of that. Every reader of stored events goes through
:func:`current`; writers never do. What may not enter: types that are still written, anything that asks for more than
the block itself.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct


class Upcast(Struct, frozen=True):
    """How entries of a type that was once written are read."""

    #: The type that followed; it may itself have been followed by another.
    becomes: str
    #: The old data block, as JSON objects, to one of the type that followed; numbers with a fraction are decimals.
    change: Callable[[dict[str, Any]], dict[str, Any]]


#: Type that was once written -> how it is read. No release has had to write a line yet.
UPCASTS: dict[str, Upcast] = {}

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def newest(type_: str) -> str:
    """The type as which entries of ``type_`` are read."""
    while type_ in UPCASTS:
        type_ = UPCASTS[type_].becomes
    return type_


def current(type_: str, data: bytes) -> tuple[str, bytes]:
    """The type and data block as which a stored block of ``type_`` is read.

    What is still written comes back as it is. Raises msgspec.DecodeError for a block that is no JSON object.
    """
    if type_ not in UPCASTS:
        return type_, data
    block = _decode(data)
    while type_ in UPCASTS:
        upcast = UPCASTS[type_]
        type_, block = upcast.becomes, upcast.change(block)
    return type_, _encode(block)
