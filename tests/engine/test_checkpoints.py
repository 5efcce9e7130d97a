"""Signed checkpoints: made by this installation and nobody else, of exactly this journal, verified with nothing else."""

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.audit import CHECKPOINT, Audits, verify_archive
from engine.checkpoints import (
    KEY_FILE,
    Checkpoint,
    Signer,
    problem_of,
    read_public,
    signed_bytes,
    signer_of,
)
from engine.errors import NotFound, SettingInvalid
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES, Settings
from engine.store.opening import Store
from tests.engine.test_audit import files_of, with_sums

NOW = "2026-11-23T08:00:00.000000Z"


@pytest.fixture
def audits(store: Store, clock: Any, tmp_path: Path) -> Audits:
    sets = RuleSets(store, clock)
    sets.ensure_first(SHIPPED_RULES)
    return Audits(store, clock, sets, signer_of(Settings(home=tmp_path)))


def stranger() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def test_an_archive_shows_offline_that_this_installation_made_it(plant: Any, audits: Audits) -> None:
    plant.receive("L1")
    archive, mine = audits.export("L1", "auditor"), audits.key.public_key.encode()
    assert verify_archive(archive, mine).problems == []
    (problem,) = verify_archive(archive, stranger().public.public_key.encode()).problems
    assert "was not signed by the key" in problem
    files = files_of(archive)
    without = with_sums({name: content for name, content in files.items() if name != CHECKPOINT})
    assert verify_archive(without, mine).problems == ["there is no checkpoint.json: nobody signed this archive"]
    assert verify_archive(without).problems == [], "archives of before have none"


def test_a_journal_that_was_made_up_whole_is_found_by_the_key(plant: Any, audits: Audits) -> None:
    """Whoever rewrites everything, sums and chain included, cannot sign it."""
    plant.receive("L1")
    plant.receive("L2")
    files, others = files_of(audits.export("L1", "auditor")), files_of(audits.export("L2", "auditor"))
    mine = audits.key.public_key.encode()
    forged = with_sums(others | {CHECKPOINT: files[CHECKPOINT]})
    assert any("the checkpoint is of L1, the journal of L2" in p for p in verify_archive(forged, mine).problems)
    own = msgspec.json.decode(others[CHECKPOINT], type=Checkpoint)
    resigned = stranger().sign(own.lot, own.version, own.head, own.signed_at)
    forged = with_sums(others | {CHECKPOINT: msgspec.json.encode(resigned)})
    assert verify_archive(forged).problems == [], "that needs the key to be seen"
    assert len(verify_archive(forged, mine).problems) == 1
    named = msgspec.json.encode(replace(resigned, key_id=audits.key.key_id))
    assert len(verify_archive(with_sums(others | {CHECKPOINT: named}), mine).problems) == 1
    garbage = verify_archive(with_sums(others | {CHECKPOINT: b"{}"}), mine).problems
    assert garbage[0].startswith("checkpoint.json cannot be read")


def test_a_checkpoint_that_was_kept_holds_the_past_fast(plant: Any, audits: Audits) -> None:
    plant.receive("L1")
    kept = audits.checkpoint("L1")
    plant.hold("L1", "H-1")
    archive, mine = audits.export("L1", "auditor"), audits.key.public_key.encode()
    assert verify_archive(archive, mine, [kept]).problems == []
    rewritten = verify_archive(archive, mine, [replace(kept, head="0" * 64)]).problems
    assert [p for p in rewritten if "up to version 2 the journal is not the one of the checkpoint" in p]
    later = audits.checkpoint("L1")
    plant.lift("L1", "H-1")
    (missing,) = verify_archive(archive, mine, [audits.checkpoint("L1")]).problems
    assert "which the journal lacks" in missing
    assert verify_archive(archive, mine, [later]).problems == []
    with pytest.raises(NotFound):
        audits.checkpoint("NEVER")


def test_the_key_is_made_once_and_nobody_else_reads_it(tmp_path: Path) -> None:
    first = signer_of(Settings(home=tmp_path / "new")).public
    path = tmp_path / "new" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer_of(Settings(home=tmp_path / "new")).public == first
    assert os.listdir(tmp_path / "new") == [KEY_FILE]
    given_ = Settings(home=tmp_path / "other", signing_key=path.read_text())
    assert signer_of(given_).public == first
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(SettingInvalid, match=r"signing\.key holds no private key"):
        signer_of(Settings(home=tmp_path))
    with pytest.raises(ValueError, match="no public key"):
        read_public(text.encode())


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(SettingInvalid, match="LOTGATE_SIGNING_KEY holds a key of another kind"):
        signer_of(Settings(home=tmp_path, signing_key=pem.decode()))


@given(field=st.sampled_from(["lot", "version", "head", "signed_at", "key_id", "signature", "format"]), text=st.text(max_size=9))
def test_no_field_of_a_checkpoint_is_changed_unnoticed(field: str, text: str) -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    key = read_public(signer.public.public_key.encode())
    made = signer.sign("L1", 3, "ab" * 32, NOW)
    assert problem_of(made, key) is None
    value: Any = 4 + len(text) if field == "version" else text
    assert problem_of(replace(made, **{field: value}), key) is not None


def test_others_verify_it_by_what_the_handbook_says() -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    made = signer.sign("L/1", 3, "ab" * 32, NOW)
    said = f'["lotgate.checkpoint.v1","L/1",3,"{"ab" * 32}","{NOW}","{made.key_id}"]'.encode()
    assert said == signed_bytes("L/1", 3, "ab" * 32, NOW, made.key_id)
    import base64

    key: Any = load_pem_public_key(signer.public.public_key.encode())
    key.verify(base64.b64decode(made.signature), said)
