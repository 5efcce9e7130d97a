"""A hash tree over a list (RFC 6962, section 2.1, with SHA-256): one root for any number of lines, and short proofs.

A leaf is the SHA-256 of a zero byte and the line, a node that of a one byte and its two children; a list is divided at
the largest power of two below its length. What may not enter: what the lines are, where they are kept.
"""

import hashlib
from collections.abc import Iterable, Sequence

#: Bytes of a digest.
SIZE = 32


def leaf(line: bytes) -> bytes:
    """The digest of a line."""
    return hashlib.sha256(b"\0" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The digest of two digests beside each other."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows to the right, in memory that grows with the logarithm of its size."""

    def __init__(self, digests: Iterable[bytes] = ()) -> None:
        #: Digests given so far.
        self.size = 0
        # Roots of the full trees that the list divides into, largest first.
        self._roots: list[bytes] = []
        for digest in digests:
            self.add(digest)

    def add(self, digest: bytes) -> None:
        """One digest more: of a leaf, or of a full tree where all of them are of trees of one size."""
        size = self.size
        while size & 1:
            digest = node(self._roots.pop(), digest)
            size >>= 1
        self._roots.append(digest)
        self.size += 1

    def root(self) -> bytes:
        """The digest of all; that of nothing is the SHA-256 of nothing."""
        if not self._roots:
            return hashlib.sha256(b"").digest()
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node(left, root)
        return root


def path(digests: Sequence[bytes], index: int) -> list[bytes]:
    """What leads from the digest at ``index`` to the root, nearest first (RFC 6962, section 2.1.1)."""
    if len(digests) <= 1:
        return []
    half = 1 << (len(digests) - 1).bit_length() - 1
    if index < half:
        return [*path(digests[:half], index), Tree(digests[half:]).root()]
    return [*path(digests[half:], index - half), Tree(digests[:half]).root()]


def root_by(digest: bytes, index: int, size: int, steps: Iterable[bytes]) -> bytes | None:
    """The root that a path leads to (RFC 9162, section 2.1.3.2); None for a path that no tree of ``size`` has."""
    if not 0 <= index < size:
        return None
    last = size - 1
    for step in steps:
        if last == 0:
            return None
        if index & 1 or index == last:
            digest = node(step, digest)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            digest = node(digest, step)
        index, last = index >> 1, last >> 1
    return digest if last == 0 else None
