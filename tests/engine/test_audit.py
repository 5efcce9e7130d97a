"""The evidence of a lot: complete, verified without a database, and whatever is changed in it is found."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine.audit import ArchiveInvalid, Audits, verify_archive
from engine.checkpoints import Signer, signer_of
from engine.errors import NotFound
from engine.holds import HoldLine
from engine.journal import Entry
from engine.lot import Lot
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES, Settings
from engine.store.opening import Store
from engine.store.reading import Reading


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return signer_of(Settings(home=tmp_path))


@pytest.fixture
def audits(store: Store, clock: Any, signer: Signer) -> Audits:
    sets = RuleSets(store, clock)
    sets.ensure_first(SHIPPED_RULES)
    return Audits(store, clock, sets, signer)


@pytest.fixture
def archive(plant: Any, store: Store, audits: Audits) -> bytes:
    """Of a lot that was inspected, held, refused, signed and told."""
    plant.receive("L/1", supplier="<script>alert(1)</script>")
    plant.lift("L/1", "rule:SUPPLIER-APPROVED")
    plant.inspect("L/1", "74.000", "74.001")
    plant.hold("L/1", "H-1")
    plant.send("lot.released.v1", "L/1", {})
    there = Reading(store).lot("L/1")
    data = ev.Signing(meaning="review", version=there.version, digest=there.head, signer="qa")
    event = ev.LotSigned(specversion="1.0", id="s1", source="api/qa", subject="L/1", data=data)
    plant.pipeline.submit(event, "qa").result(20)
    return audits.export("L/1", "auditor")


def files_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def with_sums(files: dict[str, bytes]) -> bytes:
    """An archive whose manifest was made to fit: whoever changes evidence changes the sums too."""
    import hashlib

    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {n: hashlib.sha256(c).hexdigest() for n, c in files.items() if n != "manifest.json"}
    return zipped(files | {"manifest.json": json.dumps(manifest).encode()})


def test_an_archive_has_everything_and_holds(archive: bytes) -> None:
    report = verify_archive(archive)
    assert report.problems == []
    files = files_of(archive)
    assert report.entries == len(files["journal.ndjson"].splitlines())
    assert any(name.startswith("rules/") and name.endswith("spec_limits.yaml") for name in files)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["lot"], manifest["exported_by"]) == ("L/1", "auditor")
    assert [s["signer"] for s in json.loads(files["lot.json"])["signatures"]] == ["qa"]


def test_the_certificate_shows_what_was_decided_and_runs_nothing(archive: bytes) -> None:
    page = files_of(archive)["certificate.html"].decode()
    for said in ("Lot L/1", "74.001 mm", "release (refused)", "H-1", "qa", "&lt;script&gt;alert(1)&lt;/script&gt;"):
        assert said in page
    assert "<script" not in page


CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a result": (lambda f: f.update({"results.json": f["results.json"].replace(b"74.001", b"74.009")}), "are not what"),
    "a result left out": (lambda f: f.update({"results.json": b"[]"}), "not those of the journal"),
    "an entry": (lambda f: f.update({"journal.ndjson": f["journal.ndjson"].replace(b"H-1", b"H-2")}), "hash differs"),
    "the last entry left out": (
        lambda f: f.update({"journal.ndjson": f["journal.ndjson"].rsplit(b"\n", 2)[0] + b"\n"}), "journal, version"),
    "the lot": (lambda f: f.update({"lot.json": f["lot.json"].replace(b"blocked", b"released")}), "folding the journal"),
    "a rule": (
        lambda f: f.update({n: c.replace(b"73.950", b"70.000") for n, c in f.items() if n.endswith("spec_limits.yaml")}),
        "is not in the archive as it was"),
    "a hold": (lambda f: f.update({"holds.json": f["holds.json"].replace(b"H-1", b"H-9")}), "the holds are not"),
    "the certificate": (
        lambda f: f.update({"certificate.html": f["certificate.html"].replace(b"blocked", b"released")}),
        "does not say what"),
    "a delivery": (
        lambda f: f.update({"deliveries.json": f["deliveries.json"].replace(b'"lot":"L/1"', b'"lot":"L/2"')}),
        "not all of versions of this lot"),
    "the head": (lambda f: f.update({"manifest.json": f["manifest.json"].replace(b'"head":"', b'"head":"f')}), "another"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(CHANGES))
def test_whatever_is_changed_is_found_even_with_fitting_sums(archive: bytes, what: str) -> None:
    change, words = CHANGES[what]
    files = files_of(archive)
    change(files)
    report = verify_archive(with_sums(files))
    assert any(words in problem for problem in report.problems), report.problems


def test_sums_that_do_not_fit_are_found(archive: bytes) -> None:
    files = files_of(archive)
    changed = files | {"certificate.html": b"<p>all is well</p>", "more.txt": b"x"}
    del changed["holds.json"]
    assert sorted(verify_archive(zipped(changed)).problems) == [
        "certificate.html was changed", "holds.json cannot be read: Input data was truncated", "holds.json is missing",
        "more.txt is not in the manifest",
    ]  # fmt: skip


def test_a_certificate_of_another_release_is_noted_and_made_anew(archive: bytes) -> None:
    files = files_of(archive)
    page = files["certificate.html"].decode()
    files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"release": "0.0.1"}).encode()
    files["certificate.html"] = b"<p>in other words</p>"
    report = verify_archive(with_sums(files))
    assert (report.problems, report.certificate) == ([], page)
    assert report.notes == ["certificate.html is of release 0.0.1, whose words this one does not know"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_archive_is_refused_or_its_problems_are_named(
    archive: bytes, where: float, byte: int, cut: bool
) -> None:
    at = int(where * len(archive))
    damaged = archive[:at] if cut else archive[:at] + bytes([byte]) + archive[at + 1 :]
    try:
        report = verify_archive(damaged)
    except ArchiveInvalid:
        return
    assert report.problems or files_of(damaged) == files_of(archive), "damage that changes nothing is no damage"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["lot.json", "journal.ndjson", "results.json", "holds.json", "certificate.html"]),
       where=st.floats(0, 1, exclude_max=True), byte=st.sampled_from(list(b'0129"{}[],:abcnullz \xff')))  # fmt: skip
def test_no_byte_of_the_evidence_is_changed_unnoticed(archive: bytes, name: str, where: float, byte: int) -> None:
    files = files_of(archive)
    before = files[name]
    at = int(where * len(before))
    files[name] = before[:at] + bytes([byte]) + before[at + 1 :]
    if read(name, files[name]) == read(name, before):
        return
    assert verify_archive(with_sums(files)).problems


def read(name: str, content: bytes) -> Any:
    """What a part says, whichever way it is written; its bytes where it says nothing."""
    try:
        if name.endswith(".ndjson"):
            return [msgspec.json.decode(line, type=Entry) for line in content.splitlines()]
        kind = {"lot.json": Lot, "holds.json": list[HoldLine]}.get(name, Any)
        return content if name.endswith(".html") else msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content


@pytest.mark.parametrize("content", [b"", b"PK", zipped({}), zipped({"manifest.json": b"{"}), zipped({"manifest.json": b'{"format": "x"}'})])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveInvalid):
        verify_archive(content)


def test_there_is_no_archive_of_a_lot_that_nobody_knows(audits: Audits) -> None:
    with pytest.raises(NotFound):
        audits.export("NEVER", "auditor")
