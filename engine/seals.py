"""Seals: what this installation says of a file that it made, under its key (engine/checkpoints.py has the key).

What may not enter: cryptography, files.
"""

from typing import Protocol

import msgspec
from msgspec import Struct


class Seal(Struct, frozen=True):
    """A file, and the signature over its digest."""

    #: What kind of file: the name of its format.
    format: str
    #: SHA-256, hexadecimal.
    digest: str
    #: ISO 8601, UTC: what the clock of the installation said.
    signed_at: str
    #: Which key: the first 16 hexadecimal digits of the SHA-256 of its 32 public bytes.
    key_id: str
    #: Base64 of 64 bytes.
    signature: str


class Sealer(Protocol):
    """Who signs: engine.checkpoints.Signer."""

    def seal(self, kind: str, digest: str, now: str) -> Seal:
        """The signature over a file of the format ``kind``."""
        ...


def sealed_bytes(kind: str, digest: str, signed_at: str, key_id: str) -> bytes:
    """What is signed of a file: one JSON array without white space, UTF-8 (docs/archive.md)."""
    return msgspec.json.encode([kind, digest, signed_at, key_id])
