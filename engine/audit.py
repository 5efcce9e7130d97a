"""The complete evidence of a lot as one archive, and its verification by somebody who has nothing but the archive.

A zip file: the lot, its journal, results, holds, deliveries, where it came from, every rule set that judged it, a
certificate for people, and ``manifest.json`` with the SHA-256 of each of these. Verification needs no database: the
sums, the hash chain, the fold of the journal, each result against the journal entry that recorded it, each signature
against the entry that was signed, each rule set against its digest. What may not enter: HTTP, changes of anything.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from engine.certificate import certificate
from engine.clock import Clock, instant
from engine.journal import Entry, verify_lot
from engine.ledger import DeliveryLine, Ledger
from engine.lot import Lot, decode_data, decode_lot
from engine.rulesets import RuleSets
from engine.store.opening import Store
from engine.store.reading import Reading, ResultLine
from engine.tracing import Genealogy
from rules.rulebook import digest_of

FORMAT = "lotgate.audit.v1"
MANIFEST = "manifest.json"
#: Rows that are read at a time.
PAGE = 500
#: A larger archive is not read: nothing of ours comes near it.
MAX_BYTES = 512 * 1024 * 1024
#: Zip entries carry this date, so that the same evidence makes the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)

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
    #: File name -> SHA-256, hex.
    files: dict[str, str]


class AuditReport(Struct, frozen=True):
    """What verification of an archive found; empty ``problems``: everything holds."""

    lot: str
    entries: int
    files: int
    head: str
    problems: list[str]


class Audits:
    """Archives of one store."""

    def __init__(self, store: Store, clock: Clock, sets: RuleSets) -> None:
        self._reading = Reading(store)
        self._ledger = Ledger(store, clock)
        self._genealogy = Genealogy(store)
        self._sets = sets
        self._clock = clock

    def export(self, lot_id: str, by: str) -> bytes:
        """The archive of a lot. Raises NotFound for one that there is not."""
        lot = self._reading.lot(lot_id)
        # Up to the version that was read: what is decided meanwhile belongs to the next archive.
        entries = [e for e in _all(lambda after: self._journal(lot_id, after)) if e.version <= lot.version]
        results = [r for r in _all(lambda after: self._results(lot_id, after)) if r.version <= lot.version]
        holds, trace = self._reading.holds(lot_id), self._genealogy.trace([lot_id], "backward")
        deliveries = list(_all(lambda after: self._deliveries(lot_id, after)))
        files = {
            "lot.json": _encode(lot),
            "journal.ndjson": b"".join(_encode(entry) + b"\n" for entry in entries),
            "results.json": _encode(results),
            "holds.json": _encode(holds),
            "deliveries.json": _encode(deliveries),
            "genealogy.json": _encode(trace),
            "certificate.html": certificate(lot, entries, results, holds, deliveries).encode(),
        }
        for digest in sorted({entry.rule_set for entry in entries}):
            for name, text in self._sets.files(digest).items():
                files[f"rules/{digest.removeprefix('sha256:')}/{name}"] = text.encode()
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = Manifest(FORMAT, lot_id, lot.version, lot.head, instant(self._clock()), by, sums)
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


class ArchiveInvalid(ValueError):
    """The file is no archive of ours; says why."""


def verify_archive(content: bytes) -> AuditReport:
    """Everything that can be held against each other in an archive. Raises ArchiveInvalid for what is none."""
    files = _unzipped(content)
    try:
        manifest = msgspec.json.decode(files.pop(MANIFEST, b""), type=Manifest)
    except msgspec.DecodeError as error:
        raise ArchiveInvalid(f"it has no manifest that can be read: {error}") from None
    if manifest.format != FORMAT:
        raise ArchiveInvalid(f"its format is {manifest.format}; this release reads {FORMAT}")
    problems = list(_sums(manifest, files))
    entries: list[Entry] = []
    try:
        entries = [msgspec.json.decode(line, type=Entry) for line in files.get("journal.ndjson", b"").splitlines()]
        lot = decode_lot(files.get("lot.json", b""))
        results = msgspec.json.decode(files.get("results.json", b""), type=list[ResultLine])
    except msgspec.DecodeError as error:
        problems.append(f"the lot, its journal or its results cannot be read: {error}")
    else:
        problems += _evidence(manifest, lot, entries, results)
        problems += _rule_sets(entries, files)
    return AuditReport(manifest.lot, len(entries), len(files), manifest.head, problems)


def _unzipped(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise ArchiveInvalid("it unpacks to more than any lot has")
            names = [info.filename for info in archive.infolist()]
            if len(set(names)) < len(names):
                raise ArchiveInvalid("it holds two files of one name")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ArchiveInvalid(f"it is no zip file: {error}") from None


def _sums(manifest: Manifest, files: dict[str, bytes]) -> Iterator[str]:
    for name, digest in manifest.files.items():
        if name not in files:
            yield f"{name} is missing"
        elif hashlib.sha256(files[name]).hexdigest() != digest:
            yield f"{name} was changed"
    for name in files.keys() - manifest.files.keys():
        yield f"{name} is not in the manifest"


def _evidence(manifest: Manifest, lot: Lot, entries: list[Entry], results: list[ResultLine]) -> Iterator[str]:
    _, broken = verify_lot(manifest.lot, entries, lot)
    if broken is not None:
        yield f"journal, version {broken.version}: {broken.problem}"
    if any(entry.lot != manifest.lot for entry in entries) or lot.id != manifest.lot:
        yield f"the journal or the lot is not of {manifest.lot}"
    if (manifest.version, manifest.head) != (lot.version, lot.head):
        yield "the manifest names another version or head than the lot has"
    by_version = {entry.version: entry for entry in entries}
    recorded = {e.version for e in entries if e.trigger == "record_inspection" and e.kind == "event"}
    if {result.version for result in results} != recorded:
        yield "the results are not those of the journal"
    for result in results:
        entry = by_version.get(result.version)
        if entry is not None and not _same_results(entry, result):
            yield f"the results of version {result.version} are not what the journal recorded"
    for signature in lot.signatures:
        signed = by_version.get(signature.version)
        if signed is None or signed.hash != signature.digest:
            yield f"the signature of {signature.signer} is not on version {signature.version} of the journal"


def _same_results(entry: Entry, result: ResultLine) -> bool:
    try:
        data = decode_data(entry.type, entry.data)
    except (KeyError, msgspec.DecodeError):
        return False
    said = msgspec.json.decode(_encode(data.measurements))
    return bool(said == msgspec.json.decode(result.measurements)) and data.inspection == result.inspection


def _rule_sets(entries: list[Entry], files: dict[str, bytes]) -> Iterator[str]:
    for digest in sorted({entry.rule_set for entry in entries}):
        start = f"rules/{digest.removeprefix('sha256:')}/"
        sources = {n.removeprefix(start): c.decode(errors="replace") for n, c in files.items() if n.startswith(start)}
        if digest_of(sources) != digest:
            yield f"the rule set {digest} that judged is not in the archive as it was"
