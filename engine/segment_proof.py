"""Whether a segment holds, for somebody who has nothing but the file: sums, seal, chains, folds, order, rule sets.

What may not enter: databases.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from engine.checkpoints import unsealed
from engine.journal import verify_lot
from engine.packed import other_rule_sets, unlike
from engine.segments import FORMAT, ORDER, SUFFIX, SegmentFile, Spot, Stretch, open_file, part_name


class SegmentReport(Struct, frozen=True):
    """What was found of one file; empty ``problems``: everything that can be held against it holds."""

    #: The name that its manifest gives it.
    name: str
    lots: int
    entries: int
    first_at: str
    last_at: str
    problems: list[str]
    #: What could not be looked at here, in sentences.
    notes: list[str]


def verify_segment(path: Path, keys: Mapping[str, Ed25519PublicKey] | None = None) -> SegmentReport:
    """Everything that can be held against each other in a file. ``keys``: one of them has to have sealed it, by id.

    Raises SegmentInvalid for what is no segment, OSError for what cannot be opened.
    """
    file = open_file(path)
    problems: list[str] = []
    notes: list[str] = []
    if path.name != file.name + SUFFIX:
        words = f"it is not called {file.name}{SUFFIX}, as its manifest has it"
        # Somebody who was given a copy may have named it as he likes; one of a digest's form says what it should be.
        (problems if len(path.stem) == 64 else notes).append(words)
    problems += [*unlike(file.manifest.files, file.files), *_sealed(file, keys)]
    stretches: dict[tuple[int, int], Stretch] = {}
    try:
        stretches = dict(_stretches(file))
    except msgspec.DecodeError as error:
        problems.append(str(error))
    else:
        problems += [*_chains(stretches), *_numbers(file, stretches), *_rule_sets(file, stretches)]
    if not keys:
        notes.append("no public key was given: whoever sealed it was not looked at")
    later = sum(1 for stretch in stretches.values() if stretch.begins is not None)
    if later:
        notes.append(f"{later} lots begin before it: their earlier entries are in other segments")
    entries = sum(len(stretch.entries) for stretch in stretches.values())
    about = file.manifest
    return SegmentReport(file.name, len(stretches), entries, about.first_at, about.last_at, problems, notes)


def _sealed(file: SegmentFile, keys: Mapping[str, Ed25519PublicKey] | None) -> Iterator[str]:
    if file.seal is None:
        yield "there is no seal: nobody signed it"
        return
    if (file.seal.format, file.seal.digest) != (FORMAT, file.name):
        yield "the seal is of another manifest"
    if not keys:
        return
    public = keys.get(file.seal.key_id)
    wrong = f"it was not signed by {', '.join(keys)}" if public is None else unsealed(file.seal, public)
    if wrong is not None:
        yield wrong


def _stretches(file: SegmentFile) -> Iterator[tuple[tuple[int, int], Stretch]]:
    """Every lot by (part, line). Raises msgspec.DecodeError, naming the part."""
    number = 0
    while (name := part_name(number)) in file.files:
        for line, text in enumerate(file.files[name].splitlines()):
            try:
                yield (number, line), msgspec.json.decode(text, type=Stretch)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise msgspec.DecodeError(f"{name}, line {line + 1} cannot be read: {error}") from None
        number += 1


def _chains(stretches: dict[tuple[int, int], Stretch]) -> Iterator[str]:
    for stretch in stretches.values():
        _, broken = verify_lot(stretch.lot, [p.entry for p in stretch.entries], stretch.ends, stretch.begins)
        if broken is not None:
            yield f"lot {stretch.lot}, version {broken.version}: {broken.problem}"
        versions = {p.entry.version for p in stretch.entries}
        if any(p.entry.lot != stretch.lot for p in stretch.entries) or stretch.ends.id != stretch.lot:
            yield f"lot {stretch.lot}: an entry is of another lot"
        if any(told.version not in versions and told.version >= stretch.first for told in stretch.deliveries):
            yield f"lot {stretch.lot}: a delivery is of a version that is not here"


def _numbers(file: SegmentFile, stretches: dict[tuple[int, int], Stretch]) -> Iterator[str]:
    about = file.manifest
    spots: list[Spot] = sorted(
        (p.order, p.position, part, line, number)
        for (part, line), stretch in stretches.items() for number, p in enumerate(stretch.entries)
    )  # fmt: skip
    try:
        said = msgspec.json.decode(file.files.get(ORDER, b""), type=list[Spot])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        yield f"{ORDER} cannot be read: {error}"
    else:
        if said != spots:
            yield f"{ORDER} is not the order of the entries"
    if (about.lots, about.entries) != (len(stretches), len(spots)):
        yield f"the manifest speaks of {about.lots} lots and {about.entries} entries; there are others"


def _rule_sets(file: SegmentFile, stretches: dict[tuple[int, int], Stretch]) -> Iterator[str]:
    named = {p.entry.rule_set for stretch in stretches.values() for p in stretch.entries}
    return other_rule_sets(named | set(file.manifest.rule_sets), file.files)
