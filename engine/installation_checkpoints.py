"""Checkpoints of the whole installation: a chain of signatures over every entry of every lot, in commit order.

Checkpoint n is over the entries after checkpoint n - 1 up to a place that nothing can come before any more, and over
the digest of checkpoint n - 1: together they are over all there is, at the cost of what is new. How far a checkpoint
goes is written first, so that whoever makes it, after a crash or beside another process, makes the same. What is
signed is in docs/audit.md. What may not enter: holding checkpoints against the journal, HTTP.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from engine.checkpoints import Signer
from engine.clock import Clock, instant, parse_instant
from engine.errors import LotgateError, NotFound
from engine.feed import id_of, place_of
from engine.merkle import Tree, leaf
from engine.store.feed import read_newest
from engine.store.lines import Line, Place, lines_between, read_first_after, read_lines
from engine.store.opening import Store
from engine.store.schema.signed import checkpoint_ranges, checkpoints

FORMAT = "lotgate.checkpoint.all.v1"
LINE_FORMAT = "lotgate.line.v1"
#: ``previous`` of the first one.
GENESIS = "0" * 64
#: Leaves a row of checkpoint_blocks: a power of two, so that a block is a branch of the tree.
BLOCK = 256
#: Blocks that one transaction writes: half a megabyte, for 16,384 entries.
_TOGETHER = 64
#: After each page of lines so much rest: whoever decides goes before.
REST_SECONDS = 0.002
#: On SQLite decisions wait while it writes: it rests so many times as long as that took, but no longer than this.
_WRITING_RESTS, _MOST_REST_SECONDS = 20, 0.5


class InstallationCheckpoint(Struct, frozen=True):
    """What was signed of the whole journal, and the signature over it."""

    format: str
    #: 1, 2, 3 … without gaps.
    number: int
    #: The last entry it is over: its id in the feed.
    place: str
    #: Entries that it is over: those after the checkpoint before.
    entries: int
    #: Lots that had an entry by then, from the beginning on.
    lots: int
    #: Root of the hash tree over the lines of these entries, hex.
    root: str
    #: Digest of the checkpoint before; 64 zeros in the first.
    previous: str
    #: ISO 8601, UTC: what the clock of the installation said.
    signed_at: str
    #: Which key: the first 16 hexadecimal digits of the SHA-256 of its 32 public bytes.
    key_id: str
    #: Base64 of 64 bytes.
    signature: str


_encode = msgspec.json.Encoder().encode


def signed_bytes(of: InstallationCheckpoint) -> bytes:
    """What is signed: one JSON array without white space, UTF-8 (docs/audit.md)."""
    return _encode((FORMAT, of.number, of.place, of.entries, of.lots, of.root, of.previous, of.signed_at, of.key_id))


def digest_of(of: InstallationCheckpoint) -> str:
    """What the next one names as ``previous``: SHA-256 of the signed bytes, lower-case hex."""
    return hashlib.sha256(signed_bytes(of)).hexdigest()


def line_bytes(position: int, lot: str, version: int, hash_: str) -> bytes:
    """A line as it is hashed: one JSON array without white space, UTF-8 (docs/audit.md)."""
    return _encode((LINE_FORMAT, position, lot, version, hash_))


def leaf_of(line: Line) -> bytes:
    """The leaf that stands for a line."""
    return leaf(line_bytes(line.position, line.lot, line.version, line.hash))


def end_of(checkpoint: InstallationCheckpoint) -> Place:
    """The place of the last entry it is over. Raises ValueError for what is no place."""
    place = place_of(checkpoint.place)
    if place is None:
        raise ValueError(f"{checkpoint.place!r} is no place in the journal")
    return place


class Made(Struct, frozen=True):
    """What asking for a checkpoint came to."""

    checkpoint: InstallationCheckpoint
    #: False: nothing was new, and it is the newest there was.
    new: bool


class JournalBehind(LotgateError):
    """The journal ends before what was signed: entries were taken away."""

    code = "journal-behind"
    title = "The journal ends before what was signed"
    status = 409


_COLUMNS = tuple(checkpoints.c)
#: Of one process only one thread makes checkpoints; other processes are met in the database.
_ALONE = threading.Lock()


class InstallationCheckpoints:
    """Those of one store."""

    def __init__(self, store: Store, signer: Signer, clock: Clock) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock

    def newest(self) -> InstallationCheckpoint | None:
        """The last one; None when there is none."""
        found = self.page(limit=1)
        return found[0] if found else None

    def page(self, *, before: int | None = None, limit: int = 100) -> list[InstallationCheckpoint]:
        """Checkpoints, newest first, those below the number ``before``."""
        return read_page(self._store, before=before, limit=limit)

    def get(self, number: int) -> InstallationCheckpoint:
        """One of them; raises NotFound."""
        found = self.page(before=number + 1, limit=1)
        if not found or found[0].number != number:
            raise NotFound(f"There is no checkpoint {number}.")
        return found[0]

    def lines(self, number: int, *, after: Place | None = None, limit: int = 100) -> list[Line]:
        """Lines that a checkpoint is over, in their order, from a place on. Raises NotFound."""
        end, start = end_of(self.get(number)), after
        before = end_of(self.get(number - 1)) if number > 1 else None
        if before is not None:
            start = before if after is None else max(before, after)
        return read_lines(self._store, start, end, limit)

    def is_due(self, every: timedelta) -> bool:
        """Is one begun that nobody ended, or the newest older than ``every`` (zero: never asked for by time)?"""
        last = self.newest()
        if self._begun((last.number if last else 0) + 1) is not None:
            return True
        return bool(every) and (last is None or self._clock() - parse_instant(last.signed_at) >= every)

    def make(self, going_on: Callable[[int], None] = lambda _: None) -> Made | None:
        """Sign what is new. None: there is no entry yet.

        ``going_on`` is told after each page how many entries were read; what it raises ends the making, and the next
        one begins it anew.
        """
        with _ALONE:
            made = False
            while True:
                last = self.newest()
                upto = self._range((last.number if last else 0) + 1, None if last is None else end_of(last))
                if upto is None:
                    return None if last is None else Made(last, made)
                made = self._complete(last, upto, going_on) or made

    # -- making ---------------------------------------------------------------------------------------------------

    def _begun(self, number: int) -> Place | None:
        columns = (checkpoint_ranges.c.upto_order, checkpoint_ranges.c.upto_position)
        with self._store.reads.connect() as connection:
            row = connection.execute(select(*columns).where(checkpoint_ranges.c.number == number)).first()
        return None if row is None else (int(row[0]), int(row[1]))

    def _range(self, number: int, last: Place | None) -> Place | None:
        """How far the next one goes; None: nothing is new. Raises JournalBehind."""
        newest = read_newest(self._store)
        begun = self._begun(number)
        if newest < max(last or (0, 0), begun or (0, 0)) or (begun and last and begun <= last):
            said = f"the journal ends at {id_of(newest)}, and checkpoint {number - 1 if begun is None else number} goes"
            raise JournalBehind(
                f"No checkpoint can be made: {said} up to {id_of(begun or last or (0, 0))}. Entries were taken away, or"
                " the rows of the checkpoints changed. Keep the database as it is and run `lotgate verify`."
            )
        if begun is not None or newest == (last or (0, 0)):
            return begun
        row: dict[str, Any] = {"number": number, "upto_order": newest[0], "upto_position": newest[1]}
        row["begun_at"] = instant(self._clock())
        try:
            with self._store.engine.begin() as connection:
                connection.execute(insert(checkpoint_ranges).values(**row))
        except IntegrityError:  # another process was first: it is made as far as that one said
            return self._begun(number)
        return newest

    def _complete(
        self, last: InstallationCheckpoint | None, upto: Place, going_on: Callable[[int], None]
    ) -> bool:
        """Read, sign and write the next one. False: another process did."""
        number, tree = (last.number if last else 0) + 1, Tree()
        lots, leaves = last.lots if last else 0, bytearray()
        blocks: list[dict[str, Any]] = []

        def cut(end: Place) -> None:
            root = Tree(bytes(leaves[at : at + 32]) for at in range(0, len(leaves), 32)).root()
            block = max(0, tree.size - 1) // BLOCK
            blocks.append(
                {"number": number, "block": block, "upto_order": end[0], "upto_position": end[1], "root": root,
                 "leaves": bytes(leaves)}
            )  # fmt: skip
            leaves.clear()

        for page in lines_between(self._store, None if last is None else end_of(last), upto):
            for line in page:
                digest = leaf_of(line)
                tree.add(digest)
                leaves += digest
                lots += line.version == 1
                if tree.size % BLOCK == 0:
                    cut(line.place)
            while len(blocks) >= _TOGETHER:
                self._write_blocks(blocks[:_TOGETHER])
                del blocks[:_TOGETHER]
            going_on(tree.size)
            time.sleep(REST_SECONDS)
        if leaves:
            cut(upto)
        return self._sign(last, number, upto, tree, lots, blocks)

    def _sign(
        self, last: InstallationCheckpoint | None, number: int, upto: Place, tree: Tree, lots: int,
        blocks: list[dict[str, Any]],
    ) -> bool:
        previous = GENESIS if last is None else digest_of(last)
        draft = InstallationCheckpoint(
            FORMAT, number, id_of(upto), tree.size, lots, tree.root().hex(), previous, instant(self._clock()),
            self._signer.public.key_id, "",
        )  # fmt: skip
        row = {
            "number": number, "upto_order": upto[0], "upto_position": upto[1], "entries": draft.entries,
            "lots": draft.lots, "root": draft.root, "previous": draft.previous, "signed_at": draft.signed_at,
            "key_id": draft.key_id, "signature": self._signer.signature(signed_bytes(draft)),
        }  # fmt: skip
        try:
            with self._store.engine.begin() as connection:
                _put_blocks(connection, blocks)
                connection.execute(insert(checkpoints).values(**row))
        except IntegrityError:
            return False
        return True

    def _write_blocks(self, blocks: list[dict[str, Any]]) -> None:
        began = time.monotonic()
        with self._store.engine.begin() as connection:
            _put_blocks(connection, blocks)
        time.sleep(min(_MOST_REST_SECONDS, _WRITING_RESTS * (time.monotonic() - began)))


#: What another process wrote is the same: the range says what is in it.
_PUT_BLOCK = text(
    "INSERT INTO checkpoint_blocks (number, block, upto_order, upto_position, root, leaves)"
    " VALUES (:number, :block, :upto_order, :upto_position, :root, :leaves) ON CONFLICT (number, block) DO NOTHING"
)


def _put_blocks(connection: Connection, blocks: list[dict[str, Any]]) -> None:
    if blocks:
        connection.execute(_PUT_BLOCK, blocks)


def read_page(store: Store, *, before: int | None = None, limit: int = 100) -> list[InstallationCheckpoint]:
    """Checkpoints, newest first, those below the number ``before``."""
    query = select(*_COLUMNS).order_by(checkpoints.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(checkpoints.c.number < before)
    with store.reads.connect() as connection:
        return [_of(row) for row in connection.execute(query)]


def unsigned_since(store: Store) -> str | None:
    """When the oldest entry was recorded that no checkpoint is over yet; None: one is over everything."""
    newest = read_page(store, limit=1)
    return read_first_after(store, end_of(newest[0]) if newest else None)


def read_from(connection: Connection, number: int) -> list[InstallationCheckpoint]:
    """A checkpoint and those that followed, oldest first."""
    query = select(*_COLUMNS).where(checkpoints.c.number >= number).order_by(checkpoints.c.number)
    return [_of(row) for row in connection.execute(query)]


def read_all(store: Store) -> list[InstallationCheckpoint]:
    """Every one, oldest first: a few hundred bytes each, some thousand in ten years of days."""
    with store.reads.connect() as connection:
        return read_from(connection, 0)


def _of(row: Any) -> InstallationCheckpoint:
    number, order, position, *rest = row
    return InstallationCheckpoint(FORMAT, number, f"{order}.{position}", *rest)
