"""Zip files from outside: bounded before anything of them is unpacked, and what a manifest says held against them.

What may not enter: what the files in one mean.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from rules.rulebook import digest_of

#: What zipfile raises for bytes that are no zip file, are damaged, or say that they are of a later format than it knows
#: (NotImplementedError is its word for that). Whoever catches it refuses the file and says which.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)


class PackedRefused(Exception):
    """Nothing of the file is unpacked; the message says why."""


class NoZip(PackedRefused):
    """It is no zip file, or a damaged one."""


class Bounds(Struct, frozen=True):
    """How much a file may hold."""

    #: Unpacked, all parts together.
    most_bytes: int
    most_parts: int
    #: Unpacked, in times of what is stored: a bomb has a thousand. Not asked below ``freely_bytes``.
    ratio: int
    freely_bytes: int


def look(content: io.BytesIO, bounds: Bounds) -> None:
    """Raises PackedRefused for what is not unpacked: zipfile unpacks no part beyond the size that is written there."""
    with _opened(content) as packed:
        _check(packed.infolist(), bounds)
    content.seek(0)


def unpack(content: bytes, bounds: Bounds) -> dict[str, bytes]:
    """Every part by its name. Raises PackedRefused."""
    try:
        with _opened(io.BytesIO(content)) as packed:
            parts = packed.infolist()
            _check(parts, bounds)
            if len({part.filename for part in parts}) < len(parts):
                raise PackedRefused("it holds two files of one name")
            return {part.filename: packed.read(part) for part in parts}
    except DAMAGED as error:
        raise NoZip(f"it is no zip file, or a damaged one: {error}") from None


def _opened(content: io.BytesIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(content)
    except DAMAGED as error:
        raise NoZip(f"it is no zip file, or a damaged one: {error}") from None


def _check(parts: Collection[zipfile.ZipInfo], bounds: Bounds) -> None:
    unpacked, stored = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    bomb = unpacked > max(bounds.freely_bytes, bounds.ratio * stored)
    if len(parts) > bounds.most_parts or unpacked > bounds.most_bytes or bomb:
        raise PackedRefused(f"it would unpack to {unpacked} bytes in {len(parts)} parts, and none of its kind does")
    if any(part.flag_bits & 1 for part in parts):
        raise PackedRefused("it is encrypted")
    if any(part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for part in parts):
        raise PackedRefused("it is packed in a way that is not read here")


def unlike(sums: Mapping[str, str], files: Mapping[str, bytes]) -> Iterator[str]:
    """Where ``files`` are not those that a manifest names: name -> SHA-256, hex. Sentences."""
    for name, digest in sums.items():
        if name not in files:
            yield f"{name} is missing"
        elif hashlib.sha256(files[name]).hexdigest() != digest:
            yield f"{name} was changed"
    for name in files.keys() - sums.keys():
        yield f"{name} is not in the manifest"


def other_rule_sets(digests: Collection[str], files: Mapping[str, bytes]) -> Iterator[str]:
    """Rule sets, by digest, that do not lie below ``rules/`` as they were. Sentences."""
    for digest in sorted(digests):
        start = f"rules/{digest.removeprefix('sha256:')}/"
        sources = {n.removeprefix(start): c.decode(errors="replace") for n, c in files.items() if n.startswith(start)}
        if digest_of(sources) != digest:
            yield f"the rule set {digest} that judged is not in the archive as it was"
