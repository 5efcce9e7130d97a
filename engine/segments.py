"""Segments: the files of the archive. Each holds the entries of many lots, and can be verified by itself.

A segment is a zip file (docs/archive.md)::

    manifest.json          what it is, and the SHA-256 of every other part but the seal
    seal.json              the signature of the installation over the SHA-256 of the manifest
    order.json             its entries in the order of their commits: [order, position, part, line, number] each
    lots/00000.ndjson …    one line a lot: the lot before and after, its entries, what targets were told
    rules/<digest>/…       every rule set that judged any of the entries

Its name is the SHA-256 of its manifest, so the bytes of a name never change. It is whole on the disk before it has that
name. What may not enter: databases (engine/store/archive.py), which lots go into one (engine/archive.py).
"""

import hashlib
import os
import secrets
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import ArchiveUnavailable
from engine.journal import Entry
from engine.lot import Lot
from engine.packed import DAMAGED, Bounds, PackedRefused, unpack
from engine.seals import Seal, Sealer

FORMAT = "lotgate.archive.v1"
MANIFEST, SEAL, ORDER = "manifest.json", "seal.json", "order.json"
SUFFIX = ".zip"
#: What a file is called until it is whole, and how long nobody works at one.
DRAFT, DRAFT_SECONDS = ".draft", 86_400.0
#: Text of one part before it is packed: larger ones pack better, and cost more to read one lot of.
PART_BYTES = 128 * 1024
#: A part that unpacks to more is none of ours: a lot with a hundred thousand entries stays below it.
MOST_BYTES = 512 * 1024 * 1024
#: Of a file from anywhere: JSON packs twenty to one, and not much better.
BOUNDS = Bounds(most_bytes=MOST_BYTES, most_parts=100_000, ratio=100, freely_bytes=16 * 1024 * 1024)
#: Parts that a process keeps unpacked.
KEPT_PARTS = 64
#: Parts of which it keeps the lines: in the order of commits, lots that were alive together come by turns.
KEPT_LINES = 4_096
#: Zip entries carry this date, so that the same entries make the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)

_encode = msgspec.json.Encoder().encode

#: (order of the commit, position in the journal, part, line, number of the entry in its stretch)
Spot = tuple[int, int, int, int, int]


class Placed(Struct, frozen=True):
    """A journal entry, and where it stood among all entries of the installation."""

    #: Number of the transaction that committed it; 0 where positions alone are the order (SQLite).
    order: int
    position: int
    entry: Entry


class Told(Struct, frozen=True):
    """A delivery that is over, in the columns of the ledger (engine/store/schema/delivery.py)."""

    id: int
    lot: str
    version: int
    target: str
    state: str
    payload: str
    attempts: int
    fence: int
    due_at: float
    created_at: str
    delivered_at: str | None
    last_error: str | None
    exchange: str | None


class Stretch(Struct, frozen=True):
    """The entries of a lot that went into the archive together."""

    lot: str
    #: The lot before the first of them; null: they begin with its first.
    begins: Lot | None
    #: The lot after the last of them.
    ends: Lot
    entries: list[Placed]
    deliveries: list[Told]

    @property
    def first(self) -> int:
        """Version of its first entry."""
        return self.entries[0].entry.version

    @property
    def last(self) -> int:
        """Version of its last entry."""
        return self.entries[-1].entry.version


class LineEntry(Struct, frozen=True):
    """Of an entry, what it is known by, and its hash."""

    lot: str
    version: int
    hash: str


class PlacedLine(Struct, frozen=True):
    """Where an entry stood, and what it is known by: read without all the rest of it."""

    order: int
    position: int
    entry: LineEntry


class _StretchLines(Struct, frozen=True):
    entries: list[PlacedLine]


class Manifest(Struct, frozen=True):
    """What a segment says of itself."""

    format: str
    made_at: str
    made_by: str
    #: The release of Lotgate that made it.
    release: str
    lots: int
    entries: int
    #: Instants between which the entries were recorded, both included.
    first_at: str
    last_at: str
    #: Digests of the rule sets that judged.
    rule_sets: list[str]
    #: File name -> SHA-256, hex.
    files: dict[str, str]


class Written(Struct, frozen=True):
    """A segment that is on the disk."""

    name: str
    bytes: int
    manifest: Manifest
    #: In the order of the commits.
    spots: list[Spot]
    #: (lot, first version, last version, part, line)
    lots: list[tuple[str, int, int, int, int]]


class SegmentInvalid(Exception):
    """The file is no segment of ours, or a damaged one; says why."""


def part_name(number: int) -> str:
    """Name of a part with lots."""
    return f"lots/{number:05}.ndjson"


def path_of(folder: Path, name: str) -> Path:
    """Where a segment lies."""
    return folder / f"{name}{SUFFIX}"


# -- writing -------------------------------------------------------------------------------------------------------


class _Draft:
    """A segment while it is written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> None:
        self._archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
        self.files[name] = hashlib.sha256(content).hexdigest()


def write(
    folder: Path, stretches: Iterable[Stretch], rules: Mapping[str, Mapping[str, str]], signer: Sealer, now: str,
    by: str,
) -> Written:  # fmt: skip
    """Write one segment into ``folder``: it is on the disk, whole and under its name, when this returns.

    ``rules``: digest -> file name -> text, of every rule set that entries name. Raises OSError when there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    draft = folder / f".{secrets.token_hex(8)}{DRAFT}"
    try:
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                written = _fill(_Draft(archive), stretches, rules, signer, now, by)
            file.flush()
            os.fsync(file.fileno())
        path = path_of(folder, written.name)
        size = draft.stat().st_size
        draft.replace(path)
        _keep_name(folder)
    finally:
        draft.unlink(missing_ok=True)
    return msgspec.structs.replace(written, bytes=size)


def _fill(
    draft: _Draft, stretches: Iterable[Stretch], rules: Mapping[str, Mapping[str, str]], signer: Sealer, now: str,
    by: str,
) -> Written:  # fmt: skip
    spots: list[Spot] = []
    lots: list[tuple[str, int, int, int, int]] = []
    instants: list[str] = []
    for number, part in enumerate(_parts(stretches)):
        for line, (stretch, _) in enumerate(part):
            lots.append((stretch.lot, stretch.first, stretch.last, number, line))
            spots += [(p.order, p.position, number, line, n) for n, p in enumerate(stretch.entries)]
            instants += [p.entry.recorded_at for p in stretch.entries]
        draft.add(part_name(number), b"".join(text + b"\n" for _, text in part))
    spots.sort()
    draft.add(ORDER, _encode(spots))
    for digest, files in sorted(rules.items()):
        for name, text in sorted(files.items()):
            draft.add(f"rules/{digest.removeprefix('sha256:')}/{name}", text.encode())
    manifest = Manifest(
        FORMAT, now, by, release_of("lotgate"), len(lots), len(spots), min(instants), max(instants), sorted(rules),
        draft.files.copy(),
    )  # fmt: skip
    said = _encode(manifest)
    name = hashlib.sha256(said).hexdigest()
    draft.add(MANIFEST, said)
    draft.add(SEAL, _encode(signer.seal(FORMAT, name, now)))
    return Written(name, 0, manifest, spots, lots)


def _parts(stretches: Iterable[Stretch]) -> Iterator[list[tuple[Stretch, bytes]]]:
    part: list[tuple[Stretch, bytes]] = []
    size = 0
    for stretch in stretches:
        text = _encode(stretch)
        if part and size + len(text) > PART_BYTES:
            yield part
            part, size = [], 0
        part.append((stretch, text))
        size += len(text)
    if part:
        yield part


def _sweep(folder: Path) -> None:
    """Take away what a process left behind that was killed while it wrote."""
    for draft in folder.glob(f".*{DRAFT}"):
        try:
            if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                draft.unlink()
        except FileNotFoundError:
            continue  # another process was faster


def _keep_name(folder: Path) -> None:
    """Have the directory on the disk, too: a file whose name is lost is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- reading -------------------------------------------------------------------------------------------------------


def read_manifest(folder: Path, name: str) -> Manifest:
    """What the segment ``name`` says of itself, as its name says. Raises ArchiveUnavailable."""
    return _manifest(*_seen(folder, name))


def read_part(folder: Path, name: str, number: int) -> list[Stretch]:
    """The lots of one part, as the manifest says. Raises ArchiveUnavailable."""
    return _part(*_seen(folder, name), number)


def read_part_lines(folder: Path, name: str, number: int) -> list[list[PlacedLine]]:
    """As :func:`read_part`, but only where each entry stood and what it is known by. Raises ArchiveUnavailable."""
    return _part_lines(*_seen(folder, name), number)


def read_order(folder: Path, name: str) -> list[Spot]:
    """Where every entry stands, in the order of the commits. Raises ArchiveUnavailable."""
    return _order(*_seen(folder, name))


def _seen(folder: Path, name: str) -> tuple[str, str, int, int]:
    """The file as it is now: what was read of it before counts as long as it is the same."""
    path = path_of(folder, name)
    try:
        about = path.stat()
    except OSError as error:
        raise _unavailable(name, f"its file cannot be read: {error.strerror}") from None
    return str(path), name, about.st_mtime_ns, about.st_size


@lru_cache(KEPT_PARTS)
def _manifest(path: str, name: str, changed: int, size: int) -> Manifest:
    content = _content(path, name, MANIFEST)
    if hashlib.sha256(content).hexdigest() != name:
        raise _unavailable(name, "its manifest was changed")
    found: Manifest = _decoded(path, name, content, Manifest)
    return found


@lru_cache(KEPT_PARTS)
def _part(path: str, name: str, changed: int, size: int, number: int) -> list[Stretch]:
    content = _checked(path, name, changed, size, part_name(number))
    return [_decoded(path, name, line, Stretch) for line in content.splitlines()]


@lru_cache(KEPT_LINES)
def _part_lines(path: str, name: str, changed: int, size: int, number: int) -> list[list[PlacedLine]]:
    content = _checked(path, name, changed, size, part_name(number))
    return [_decoded(path, name, line, _StretchLines).entries for line in content.splitlines()]


@lru_cache(KEPT_PARTS)
def _order(path: str, name: str, changed: int, size: int) -> list[Spot]:
    found: list[Spot] = _decoded(path, name, _checked(path, name, changed, size, ORDER), list[Spot])
    return found


def _checked(path: str, name: str, changed: int, size: int, member: str) -> bytes:
    content = _content(path, name, member)
    if hashlib.sha256(content).hexdigest() != _manifest(path, name, changed, size).files.get(member):
        raise _unavailable(name, f"it is damaged: {member} is not what the manifest says")
    return content


def _content(path: str, name: str, member: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(member).file_size > MOST_BYTES:
                raise _unavailable(name, f"it is damaged: {member} is larger than any")
            return archive.read(member)
    except (*DAMAGED, KeyError) as error:
        raise _unavailable(name, f"it cannot be read: {error}") from None


def _decoded(path: str, name: str, content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unavailable(name, f"it cannot be read: {error}") from None


def _unavailable(name: str, words: str) -> ArchiveUnavailable:
    return ArchiveUnavailable(f"Segment {name[:16]} of the archive: {words}. Put it back from the backup.")


class SegmentFile(Struct, frozen=True):
    """Everything in a file that says it is a segment, read without trusting it."""

    manifest: Manifest
    #: SHA-256 of the manifest: what its name has to be.
    name: str
    seal: Seal | None
    files: dict[str, bytes]


def open_file(path: Path) -> SegmentFile:
    """A segment from anywhere. Raises SegmentInvalid for what is none, OSError for what cannot be opened."""
    if path.stat().st_size > MOST_BYTES:
        raise SegmentInvalid("it is larger than any segment")
    try:
        files = unpack(path.read_bytes(), BOUNDS)
    except PackedRefused as error:
        raise SegmentInvalid(str(error)) from None
    text, seal = files.pop(MANIFEST, b""), files.pop(SEAL, None)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
        signed = None if seal is None else msgspec.json.decode(seal, type=Seal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegmentInvalid(f"it has no manifest or no seal that can be read: {error}") from None
    if manifest.format != FORMAT:
        raise SegmentInvalid(f"its format is {manifest.format}; this release reads {FORMAT}")
    return SegmentFile(manifest, hashlib.sha256(text).hexdigest(), signed, files)
