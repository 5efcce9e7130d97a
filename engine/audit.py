"""The complete evidence of a lot as one archive, and its verification by somebody who has nothing but the archive.

A zip file: the lot, its journal, results, holds, deliveries, where it came from, every rule set that judged it, a
certificate for people, and ``manifest.json`` with the SHA-256 of each of these. Verification needs no database: the
sums, the hash chain, the fold of the journal, the holds against that fold, each result against the journal entry that
recorded it, each signature against the entry that was signed, the checkpoint against the head and the key that signed
it, the proof of inclusion against the checkpoints of everything, each rule set against its digest, the certificate
against what is made of all this. What may not enter: HTTP, changes of anything.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version as release_of
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import events as ev
from engine.certificate import certificate
from engine.checkpoints import Checkpoint, PublicKey, Signer, contradiction, problem_of, read_public
from engine.clock import Clock, instant
from engine.consequences import decode_data
from engine.delivery_lines import DeliveryLine
from engine.holds import HoldLine, lines_of
from engine.inclusion import Inclusion, contradictions, prove
from engine.installation_checkpoints import InstallationCheckpoint
from engine.journal import Entry, verify_lot
from engine.ledger import Ledger
from engine.lot import Lot
from engine.packed import Bounds, PackedRefused, other_rule_sets, unlike, unpack
from engine.rulesets import RuleSets
from engine.store.opening import Store
from engine.store.reading import Reading, ResultLine
from engine.tracing import Genealogy, Trace

FORMAT = "lotgate.audit.v1"
MANIFEST = "manifest.json"
CERTIFICATE = "certificate.html"
CHECKPOINT = "checkpoint.json"
INCLUSION = "inclusion.json"
#: Rows that are read at a time.
PAGE = 500
#: A larger archive is not read: nothing of ours comes near it.
MAX_BYTES = 512 * 1024 * 1024
#: JSON packs twenty to one, and not much better.
BOUNDS = Bounds(most_bytes=MAX_BYTES, most_parts=100_000, ratio=100, freely_bytes=16 * 1024 * 1024)
#: Zip entries carry this date, so that the same evidence makes the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class Manifest(Struct, frozen=True):
    """What an archive says of itself."""

    format: str
    lot: str
    #: Version and head of the lot: the hash over its whole journal.
    version: int
    head: str
    exported_at: str
    exported_by: str
    #: The release of Lotgate that made it: another one may word the certificate differently.
    release: str
    #: File name -> SHA-256, hex.
    files: dict[str, str]


class AuditReport(Struct, frozen=True):
    """What verification of an archive found; empty ``problems``: everything that can be held against it holds."""

    lot: str
    entries: int
    files: int
    head: str
    problems: list[str]
    #: What could not be looked at here, in sentences.
    notes: list[str]
    #: The certificate made anew of the evidence; None where that does not hold.
    certificate: str | None
    #: Up to which version the journal is in a checkpoint of everything; 0: none is shown to be.
    included: int = 0
    #: That checkpoint's number, and the newest in the archive; 0: there is none.
    checkpoint: int = 0
    newest_checkpoint: int = 0


class Audits:
    """Archives of one store."""

    def __init__(self, store: Store, clock: Clock, sets: RuleSets, signer: Signer) -> None:
        self._signer = signer
        self._store = store
        self._reading = Reading(store)
        self._ledger = Ledger(store, clock)
        self._genealogy = Genealogy(store)
        self._sets = sets
        self._clock = clock

    @property
    def key(self) -> PublicKey:
        """The key that signs checkpoints."""
        return self._signer.public

    def checkpoint(self, lot_id: str) -> Checkpoint:
        """The lot's journal as it is now, signed. Raises NotFound."""
        lot = self._reading.lot(lot_id)
        return self._signer.sign(lot.id, lot.version, lot.head, instant(self._clock()))

    def export(self, lot_id: str, by: str) -> bytes:
        """The archive of a lot. Raises NotFound for one that there is not."""
        lot = self._reading.lot(lot_id)
        # Up to the version that was read: what is decided meanwhile belongs to the next archive.
        entries = [e for e in _all(lambda after: self._journal(lot_id, after)) if e.version <= lot.version]
        results = [r for r in _all(lambda after: self._results(lot_id, after)) if r.version <= lot.version]
        holds, trace = lines_of(entries), self._genealogy.trace([lot_id], "backward")
        deliveries = list(_all(lambda after: self._deliveries(lot_id, after)))
        files = {
            "lot.json": _encode(lot),
            "journal.ndjson": b"".join(_encode(entry) + b"\n" for entry in entries),
            "results.json": _encode(results),
            "holds.json": _encode(holds),
            "deliveries.json": _encode(deliveries),
            "genealogy.json": _encode(trace),
            CERTIFICATE: certificate(lot, entries, holds, deliveries).encode(),
        }
        made_at, release = instant(self._clock()), release_of("lotgate")
        files[CHECKPOINT] = _encode(self._signer.sign(lot.id, lot.version, lot.head, made_at))
        proof = prove(self._store, lot.id, lot.version)
        if proof is not None:
            files[INCLUSION] = _encode(proof)
        for digest in sorted({entry.rule_set for entry in entries}):
            for name, text in self._sets.files(digest).items():
                files[f"rules/{digest.removeprefix('sha256:')}/{name}"] = text.encode()
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = Manifest(FORMAT, lot_id, lot.version, lot.head, made_at, by, release, sums)
        return _zipped({MANIFEST: _encode(manifest)} | files)

    def _journal(self, lot: str, after: int) -> tuple[list[Entry], int]:
        page = self._reading.journal(lot, after=after, limit=PAGE)
        return page, page[-1].version if page else 0

    def _results(self, lot: str, after: int) -> tuple[list[ResultLine], int]:
        page = self._reading.results(lot, after=after, limit=PAGE)
        return page, page[-1].version if page else 0

    def _deliveries(self, lot: str, after: int) -> tuple[list[DeliveryLine], int]:
        page = self._ledger.lines(lot=lot, after=after, limit=PAGE)
        return page, page[-1].id if page else 0


def _all(read: Callable[[int], tuple[list[Any], int]]) -> Iterator[Any]:
    after = 0
    while True:
        page, last = read(after)
        yield from page
        if len(page) < PAGE:
            return
        after = last


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


# -- verifying -----------------------------------------------------------------------------------------------------


class ArchiveInvalid(Exception):
    """The file is no archive of ours; says why."""


class _Evidence(Struct, frozen=True):
    """The typed content of an archive."""

    lot: Lot
    entries: list[Entry]
    results: list[ResultLine]
    holds: list[HoldLine]
    deliveries: list[DeliveryLine]
    genealogy: Trace


def verify_archive(
    content: bytes, key: bytes | None = None, kept: Sequence[Checkpoint] = (),
    everything: Sequence[InstallationCheckpoint] = (),
) -> AuditReport:  # fmt: skip
    """Everything that can be held against each other in an archive. Raises ArchiveInvalid for what is none.

    ``key``: public key (PEM) that has to have signed its checkpoint, ValueError for what is none; ``kept``: checkpoints
    that somebody kept, of this lot as it was before; ``everything``: kept checkpoints of everything.
    """
    try:
        files = unpack(content, BOUNDS)
    except PackedRefused as error:
        raise ArchiveInvalid(str(error)) from None
    try:
        manifest = _read(files.pop(MANIFEST, b""), Manifest)
    except msgspec.DecodeError as error:
        raise ArchiveInvalid(f"it has no manifest that can be read: {error}") from None
    if manifest.format != FORMAT:
        raise ArchiveInvalid(f"its format is {manifest.format}; this release reads {FORMAT}")
    problems, notes, page, entries = list(unlike(manifest.files, files)), [], None, 0
    proof: Inclusion | None = None
    try:
        evidence = _typed(files)
    except msgspec.DecodeError as error:
        problems.append(str(error))
    else:
        entries = len(evidence.entries)
        problems += _contradictions(manifest, evidence)
        problems += other_rule_sets({entry.rule_set for entry in evidence.entries}, files)
        problems += _checkpoints(manifest, evidence.entries, files.get(CHECKPOINT), key, kept)
        proof, found = _inclusion(manifest, evidence.entries, files.get(INCLUSION), key, everything)
        problems += found
        if not problems:
            page = certificate(evidence.lot, evidence.entries, evidence.holds, evidence.deliveries)
            if files.get(CERTIFICATE) == page.encode():
                pass
            elif manifest.release == release_of("lotgate"):
                problems.append(f"{CERTIFICATE} does not say what the evidence says")
            else:
                notes.append(f"{CERTIFICATE} is of release {manifest.release}, whose words this one does not know")
    report = AuditReport(manifest.lot, entries, len(files), manifest.head, problems, notes, page)
    if proof is None:
        return report
    numbers = [one.number for one in proof.checkpoints]
    return replace(report, included=proof.version, checkpoint=numbers[0], newest_checkpoint=numbers[-1])


def _read(content: bytes, kind: type[T]) -> T:
    """JSON as ``kind``. Raises msgspec.DecodeError, for bytes that are no text too."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _typed(files: dict[str, bytes]) -> _Evidence:
    """Every part in its type. Raises msgspec.DecodeError, naming the file."""

    def part(name: str, kind: type[T]) -> T:
        try:
            return _read(files.get(name, b""), kind)
        except msgspec.DecodeError as error:
            raise msgspec.DecodeError(f"{name} cannot be read: {error}") from None

    try:
        entries = [_read(line, Entry) for line in files.get("journal.ndjson", b"").splitlines()]
    except msgspec.DecodeError as error:
        raise msgspec.DecodeError(f"journal.ndjson cannot be read: {error}") from None
    return _Evidence(
        part("lot.json", Lot), entries, part("results.json", list[ResultLine]), part("holds.json", list[HoldLine]),
        part("deliveries.json", list[DeliveryLine]), part("genealogy.json", Trace),
    )  # fmt: skip


def _contradictions(manifest: Manifest, told: _Evidence) -> Iterator[str]:
    lot, entries = told.lot, told.entries
    _, broken = verify_lot(manifest.lot, entries, lot)
    if broken is not None:
        yield f"journal, version {broken.version}: {broken.problem}"
    elif told.holds != lines_of(entries):
        yield "the holds are not those of the journal"
    if any(entry.lot != manifest.lot for entry in entries) or lot.id != manifest.lot:
        yield f"the journal or the lot is not of {manifest.lot}"
    if (manifest.version, manifest.head) != (lot.version, lot.head):
        yield "the manifest names another version or head than the lot has"
    by_version = {entry.version: entry for entry in entries}
    recorded = {e.version for e in entries if e.trigger == "record_inspection" and e.kind == "event"}
    if sorted(result.version for result in told.results) != sorted(recorded):
        yield "the results are not those of the journal"
    for result in told.results:
        entry = by_version.get(result.version)
        if entry is not None and not _same_results(entry, result):
            yield f"the results of version {result.version} are not what the journal recorded"
    for signature in lot.signatures:
        signed = by_version.get(signature.version)
        if signed is None or signed.hash != signature.digest:
            yield f"the signature of {signature.signer} is not on version {signature.version} of the journal"
    if any(line.lot != manifest.lot or line.version not in by_version for line in told.deliveries):
        yield "the deliveries are not all of versions of this lot"


def _same_results(entry: Entry, result: ResultLine) -> bool:
    try:
        data = decode_data(entry.type, entry.data)
        said = _read(bytes(result.measurements), list[ev.Measurement])
    except (KeyError, msgspec.DecodeError):
        return False
    # As texts: 74.00 is the number that 74.000 is, and not what was recorded.
    same = isinstance(data, ev.Inspection) and _encode(data.measurements) == _encode(said)
    return same and bool(data.inspection == result.inspection)


def _checkpoints(
    manifest: Manifest, entries: list[Entry], own: bytes | None, key: bytes | None, kept: Sequence[Checkpoint]
) -> Iterator[str]:
    public, by_version = None if key is None else read_public(key), {entry.version: entry for entry in entries}
    checkpoints = list(kept)
    if own is not None:
        try:
            mine = _read(own, Checkpoint)
        except msgspec.DecodeError as error:
            yield f"{CHECKPOINT} cannot be read: {error}"
        else:
            checkpoints.append(mine)
            if (mine.version, mine.head) != (manifest.version, manifest.head):
                yield f"{CHECKPOINT} is of another version or head than the archive"
    elif public is not None:
        yield f"there is no {CHECKPOINT}: nobody signed this archive"
    for one in checkpoints:
        found = contradiction(one, manifest.lot, by_version.get)
        if found is not None:
            yield found
        unsigned = None if public is None else problem_of(one, public)
        if unsigned is not None:
            yield unsigned


def _inclusion(
    manifest: Manifest, entries: list[Entry], file: bytes | None, key: bytes | None,
    everything: Sequence[InstallationCheckpoint],
) -> tuple[Inclusion | None, list[str]]:  # fmt: skip
    """The proof that the journal is in a checkpoint of everything, where it is one, and what is wrong with it."""
    if file is None:
        none = f"there is no {INCLUSION}: that the lot is in a checkpoint of everything is not shown"
        return None, [none] if everything else []
    try:
        proof = _read(file, Inclusion)
    except msgspec.DecodeError as error:
        return None, [f"{INCLUSION} cannot be read: {error}"]
    by_version, public = {entry.version: entry for entry in entries}, None if key is None else read_public(key)
    found = list(contradictions(proof, manifest.lot, by_version.get, public, everything))
    return (None if found else proof), found
