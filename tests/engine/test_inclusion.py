"""An archive shows offline that its lot is in what was signed over everything; a kept checkpoint settles it."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine import installation_checkpoints as made_by
from engine.audit import INCLUSION, Audits, verify_archive
from engine.checkpoints import Signer
from engine.inclusion import Inclusion, prove
from engine.installation_checkpoints import InstallationCheckpoint, InstallationCheckpoints
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from tests.engine.test_audit import files_of, with_sums
from tests.engine.test_installation_checkpoints import KEY, Operator, made
from tests.engine.test_installation_checkpoints import signed as signed

MINE = Signer(KEY).public.public_key.encode()


@pytest.fixture
def audits(store: Store, clock: Any) -> Audits:
    sets = RuleSets(store, clock)
    sets.ensure_first(SHIPPED_RULES)
    return Audits(store, clock, sets, Signer(KEY))


def test_an_archive_and_one_kept_checkpoint_show_that_the_lot_was_there(
    plant: Any, audits: Audits, signed: InstallationCheckpoints
) -> None:
    plant.receive("L1")
    plant.receive("L2")
    assert INCLUSION not in files_of(audits.export("L1", "auditor")), "no checkpoint is over it yet"
    kept = [made(signed)]
    plant.hold("L1", "H-1")
    archive = audits.export("L1", "auditor")
    report = verify_archive(archive, MINE, everything=kept)
    assert (report.problems, report.included, report.checkpoint) == ([], 2, 1), "version 3 is newer"
    kept.append(made(signed))
    plant.receive("L3")
    kept.append(made(signed))
    archive = audits.export("L1", "auditor")
    report = verify_archive(archive, MINE, everything=kept[1:])
    assert (report.problems, report.included) == ([], 3)
    assert (report.checkpoint, report.newest_checkpoint) == (2, 3)
    (older,) = verify_archive(archive, MINE, everything=kept[:1]).problems
    assert "kept checkpoint 1" in older
    assert "which has checkpoints 2 to 3" in older
    assert verify_archive(archive).problems == [], "the proof holds by itself"
    other = [replace(kept[2], lots=9)]
    problems = verify_archive(archive, MINE, everything=other).problems
    assert len(problems) == 2, "neither signed nor the one of that number"


def test_every_entry_of_every_block_can_be_shown(
    plant: Any, signed: InstallationCheckpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_by, "BLOCK", 4)
    monkeypatch.setattr("engine.inclusion.BLOCK", 4)
    for number in range(11):
        plant.receive(f"L{number}")
    one = made(signed)
    seen = set()
    for number in range(11):
        for version in (1, 2):
            proof = prove(store, f"L{number}", version)
            assert proof is not None
            assert (proof.version, proof.checkpoints) == (version, [one])
            seen.add(proof.index)
    assert seen == set(range(22))
    assert prove(store, "NEVER", 1) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "is of another entry"),
        ({"hash": "0" * 64}, "is of another entry"),
        ({"lot": "L2"}, "is of another entry"),
        ({"position": 9}, "does not lead to what checkpoint 1 was signed over"),
        ({"index": 0}, "does not lead to what checkpoint 1 was signed over"),
        ({"index": 99}, "does not lead to what checkpoint 1 was signed over"),
        ({"path": ["zz"]}, "does not lead to what checkpoint 1 was signed over"),
        ({"checkpoints": []}, "has no checkpoints"),
    ],
)
def test_a_proof_that_was_changed_shows_nothing(
    plant: Any, audits: Audits, signed: InstallationCheckpoints, change: dict[str, Any], said: str
) -> None:
    plant.receive("L1")
    plant.receive("L2")
    made(signed)
    files = files_of(audits.export("L1", "auditor"))
    proof = msgspec.json.decode(files[INCLUSION], type=Inclusion)
    forged = with_sums(files | {INCLUSION: msgspec.json.encode(replace(proof, **change))})
    report = verify_archive(forged, MINE)
    assert any(said in problem for problem in report.problems), report.problems
    assert report.included == 0


def test_checkpoints_of_another_chain_or_key_and_no_proof_at_all_are_named(
    plant: Any, audits: Audits, signed: InstallationCheckpoints
) -> None:
    plant.receive("L1")
    kept = made(signed)
    plant.receive("L2")
    made(signed)
    files = files_of(audits.export("L1", "auditor"))
    proof = msgspec.json.decode(files[INCLUSION], type=Inclusion)
    first, second = proof.checkpoints

    def problems(*chain: InstallationCheckpoint) -> list[str]:
        made_up = msgspec.json.encode(replace(proof, checkpoints=list(chain)))
        return verify_archive(with_sums(files | {INCLUSION: made_up}), MINE).problems

    assert "checkpoint 2 does not follow checkpoint 1" in problems(replace(first, lots=7), second)
    assert "checkpoint 2 was not signed by the key" in problems(first, replace(second, lots=7))[0]
    assert verify_archive(with_sums(files | {INCLUSION: b"{"}), MINE).problems[0].startswith("inclusion.json cannot be read")
    without = with_sums({name: content for name, content in files.items() if name != INCLUSION})
    assert verify_archive(without, MINE).problems == []
    assert "is not shown" in verify_archive(without, MINE, everything=[kept]).problems[0]


def test_what_was_rewritten_after_it_was_signed_has_no_proof(
    plant: Any, signed: InstallationCheckpoints, store: Store
) -> None:
    plant.receive("L1")
    made(signed)
    Operator(store).rewrite("L1", principal="somebody-else")
    assert prove(store, "L1", 2) is None
