"""The evidence of a lot: complete, verified without a database, and whatever is changed in it is found."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from engine import events as ev
from engine.audit import ArchiveInvalid, Audits, verify_archive
from engine.errors import NotFound
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from engine.store.reading import Reading


@pytest.fixture
def audits(store: Store, clock: Any) -> Audits:
    sets = RuleSets(store, clock)
    sets.ensure_first(SHIPPED_RULES)
    return Audits(store, clock, sets)


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
        "certificate.html was changed", "holds.json is missing", "more.txt is not in the manifest",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"PK", zipped({}), zipped({"manifest.json": b"{"}), zipped({"manifest.json": b'{"format": "x"}'})])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveInvalid):
        verify_archive(content)


def test_there_is_no_archive_of_a_lot_that_nobody_knows(audits: Audits) -> None:
    with pytest.raises(NotFound):
        audits.export("NEVER", "auditor")
