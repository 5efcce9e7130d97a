"""Checkpoints of the installation held against the journal, and those that somebody kept against both.

The root over the lines of each range is made anew, a page of lines at a time. Where it is another one, the stored
leaves, as far as they are those that were signed, tell which entry is the first that differs. What may not enter:
making checkpoints, HTTP.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from sqlalchemy import func, select

from engine.checkpoints import is_signed
from engine.errors import ArchiveUnavailable
from engine.feed import id_of
from engine.installation_checkpoints import (
    FORMAT,
    GENESIS,
    InstallationCheckpoint,
    digest_of,
    end_of,
    leaf_of,
    read_all,
    signed_bytes,
)
from engine.merkle import SIZE, Tree
from engine.store.lines import Line, Place, lines_between
from engine.store.opening import Store
from engine.store.schema.signed import checkpoint_blocks, checkpoint_ranges

#: So many leaves behind the first that differs are looked at to tell what was taken away from what was put in.
_AROUND = 4_096
Progress = Callable[[int], None]


class CheckpointReport(Struct, frozen=True):
    """What was found; empty ``problems``: the journal is the one that was signed."""

    #: In the database.
    checkpoints: int
    #: Entries they are over, as the journal has them now.
    entries: int
    #: Those that were kept elsewhere and held against the database.
    kept: int
    problems: list[str]
    #: What no checkpoint can say, in sentences.
    notes: list[str]


class _Found(Struct, frozen=True):
    """What the journal holds now in a range."""

    entries: int
    #: First entries of lots.
    lots: int
    root: str


def verify_checkpoints(
    store: Store,
    keys: Mapping[str, Ed25519PublicKey],
    kept: Sequence[InstallationCheckpoint] = (),
    progress: Progress = lambda _: None,
) -> CheckpointReport:
    """The chain in the database against the journal, and ``kept`` ones against both.

    ``keys``: who may have signed, by the id of the key. ``progress`` is told how many entries were read.
    """
    chain = read_all(store)
    problems: list[str] = []
    before: InstallationCheckpoint | None = None
    lots = done = away = 0
    for one in chain:
        expected, start = (before.number + 1, end_of(before)) if before else (1, None)
        if one.number != expected:
            problems.append(_missing(expected, one.number - 1))
        problems += [f"checkpoint {one.number}: {words}" for words in _wrong(one, before, keys)]
        try:
            now = _read(store, start, end_of(one), progress, done)
        except ArchiveUnavailable as error:
            problems.append(f"checkpoint {one.number}: the journal cannot be held against it: {error.detail}")
            before, away = one, one.lots - lots
            continue
        done, lots = done + now.entries, lots + now.lots
        # Where one is missing, where it ended is not known; the lots are counted from the beginning on.
        if one.number == expected and (now.entries, now.root) != (one.entries, one.root):
            problems.append(_differs(store, one, start, now, lots))
        elif one.lots - lots != away:
            problems.append(f"checkpoint {one.number}: {one.lots} lots were signed, the journal has {lots}")
        before, away = one, one.lots - lots
    problems += _begun_and_gone(store, before)
    problems += _kept_ones(store, {one.number: one for one in chain}, kept, keys)
    return CheckpointReport(len(chain), done, len(kept), problems, list(_notes(before, keys)))


def _missing(first: int, last: int) -> str:
    if first == last:
        return f"checkpoint {first} is missing from the database"
    return f"checkpoints {first} to {last} are missing from the database"


def _wrong(
    one: InstallationCheckpoint, before: InstallationCheckpoint | None, keys: Mapping[str, Ed25519PublicKey]
) -> Iterator[str]:
    """What is wrong with it by itself, and with its place in the chain."""
    if keys:
        yield from _unsigned(one, keys)
    if before is None and one.number == 1 and one.previous != GENESIS:
        yield "it names one before it, and is the first"
    if before is not None and before.number == one.number - 1 and one.previous != digest_of(before):
        yield f"it was signed after another checkpoint {before.number} than the database has"


def _unsigned(one: InstallationCheckpoint, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[str]:
    key = keys.get(one.key_id)
    if key is None:
        yield f"it says that the key {one.key_id} signed it, and the keys to go by are {', '.join(keys)}"
    elif not is_signed(one.signature, signed_bytes(one), key):
        yield f"it was not signed by the key {one.key_id}, or was changed"


def _read(store: Store, start: Place | None, end: Place, progress: Progress, done: int = 0) -> _Found:
    tree, lots = Tree(), 0
    for page in lines_between(store, start, end):
        for line in page:
            tree.add(leaf_of(line))
            lots += line.version == 1
        progress(done + tree.size)
    return _Found(tree.size, lots, tree.root().hex())


def _differs(store: Store, one: InstallationCheckpoint, start: Place | None, now: _Found, lots: int) -> str:
    """What is not as it was signed, as far as it can be known."""
    words = [f"checkpoint {one.number} of {one.signed_at}: the journal is not the one that was signed"]
    if now.entries != one.entries:
        words.append(f"{one.entries} entries were signed, there are {now.entries}")
    if lots != one.lots:
        words.append(f"{one.lots} lots were signed, there are {lots}")
    return "; ".join([*words, _first_difference(store, one, start)])


def _first_difference(store: Store, one: InstallationCheckpoint, start: Place | None) -> str:
    if not _leaves_are_signed(store, one):
        return "which entry cannot be told, for the stored leaves are not those that were signed either"
    signed, present = _leaves(store, one.number), _lines(store, start, end_of(one))
    before: Line | None = None
    for index in range(max(one.entries, 1) + 1):
        was, line = next(signed, None), next(present, None)
        if was is not None and line is not None and was == leaf_of(line):
            before = line
            continue
        return _said(index, was, line, before, signed, present)
    return "the entries themselves are all as they were signed"


def _said(
    index: int, was: bytes | None, line: Line | None, before: Line | None, signed: Iterator[bytes],
    present: Iterator[Line],
) -> str:  # fmt: skip
    behind = f"behind {_named(before)}" if before else "its very first"
    where = f"the first that differs is number {index + 1} of its range, {behind}: "
    if line is None:
        return where + "what was signed from there on is not in the journal any more"
    if was is None:
        return where + f"{_named(line)} is in the journal and was not signed"
    later_signed = [d for _, d in zip(range(_AROUND), signed, strict=False)]
    later_present = [leaf_of(one) for _, one in zip(range(_AROUND), present, strict=False)]
    if leaf_of(line) in later_signed:
        gone = later_signed.index(leaf_of(line)) + 1
        return where + f"{'an entry was' if gone == 1 else f'{gone} entries were'} taken away before {_named(line)}"
    if was in later_present:
        return where + f"{_named(line)} was put in"
    return where + f"{_named(line)} is not the entry that was signed"


def _named(line: Line) -> str:
    return f"lot {line.lot}, version {line.version} (position {line.position})"


def _leaves_are_signed(store: Store, one: InstallationCheckpoint) -> bool:
    tree, entries = Tree(), 0
    for leaves in _blocks(store, one.number):
        entries += len(leaves) // SIZE
        tree.add(Tree(_divided(leaves)).root())
    return (tree.root().hex(), entries) == (one.root, one.entries)


def _leaves(store: Store, number: int) -> Iterator[bytes]:
    for leaves in _blocks(store, number):
        yield from _divided(leaves)


def _divided(leaves: bytes) -> Iterator[bytes]:
    return (leaves[at : at + SIZE] for at in range(0, len(leaves), SIZE))


def _blocks(store: Store, number: int) -> Iterator[bytes]:
    after = -1
    while True:
        query = (
            select(checkpoint_blocks.c.block, checkpoint_blocks.c.leaves)
            .where(checkpoint_blocks.c.number == number, checkpoint_blocks.c.block > after)
            .order_by(checkpoint_blocks.c.block)
            .limit(64)
        )
        with store.reads.connect() as connection:
            rows: list[Any] = list(connection.execute(query))
        if not rows:
            return
        for block, leaves in rows:
            after = block
            yield bytes(leaves)


def _lines(store: Store, start: Place | None, end: Place) -> Iterator[Line]:
    for page in lines_between(store, start, end):
        yield from page


def _begun_and_gone(store: Store, last: InstallationCheckpoint | None) -> Iterator[str]:
    """Whoever takes the newest checkpoints away may leave that they were begun."""
    query = select(func.max(checkpoint_ranges.c.number))
    with store.reads.connect() as connection:
        begun = connection.execute(query).scalar() or 0
    newest = last.number if last else 0
    if begun > newest + 1:
        yield _missing(newest + 1, begun - 1)


# -- those that were kept ------------------------------------------------------------------------------------------


def _kept_ones(
    store: Store, chain: Mapping[int, InstallationCheckpoint], kept: Sequence[InstallationCheckpoint],
    keys: Mapping[str, Ed25519PublicKey],
) -> Iterator[str]:  # fmt: skip
    good: int | None = None
    for one in sorted(kept, key=lambda c: (c.number, c.signed_at)):
        where = f"kept checkpoint {one.number} of {one.signed_at}"
        if one.format != FORMAT:
            yield f"{where}: its format is {one.format}; this release reads {FORMAT}"
            continue
        yield from (f"{where}: {words}" for words in (_unsigned(one, keys) if keys else ()))
        stored = chain.get(one.number)
        if stored is None:
            newest = max(chain, default=None)
            has = "it has none" if newest is None else f"its newest is {newest}"
            yield f"{where}: the database has no such checkpoint, {has}" + _against(store, one)
        elif digest_of(stored) != digest_of(one):
            since = "" if good is None else f" (kept checkpoint {good} is there as it was kept)"
            unlike = f"the database has another one of that number{since}: {_unlike(one, stored)}"
            yield f"{where}: {unlike}" + _against(store, one)
        else:
            good = one.number


def _unlike(kept: InstallationCheckpoint, stored: InstallationCheckpoint) -> str:
    fields = [f for f in kept.__struct_fields__ if f not in ("signature", "format")]
    return ", ".join(
        f"{name} {getattr(stored, name)} instead of {getattr(kept, name)}"
        for name in fields if getattr(kept, name) != getattr(stored, name)
    )  # fmt: skip


def _against(store: Store, one: InstallationCheckpoint) -> str:
    """The lots that the journal has now up to where a kept checkpoint goes, beside those that were signed."""
    try:
        now = _read(store, None, end_of(one), lambda _: None)
    except (ValueError, ArchiveUnavailable) as error:
        return f"; {error}"
    return "" if now.lots == one.lots else f"; up to there {one.lots} lots were signed, the journal has {now.lots}"


def _notes(last: InstallationCheckpoint | None, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[str]:
    if last is None:
        yield "there is no checkpoint yet: that a whole lot was taken away would not be seen"
        return
    if not keys:
        yield "no public key is known here: who signed the checkpoints was not looked at"
    yield f"the newest checkpoint, {last.number} of {last.signed_at}, goes up to {id_of(end_of(last))}"
