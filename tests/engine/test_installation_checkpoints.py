"""Checkpoints of the whole journal: whatever is taken away, put in or rewritten shows, and only one process makes each."""

import hashlib
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from engine import installation_checkpoints as made_by
from engine import merkle
from engine.checkpoint_verification import CheckpointReport, verify_checkpoints
from engine.checkpoints import FORMER_FILE, KEY_FILE, Signer, is_signed, known_keys, signer_of
from engine.errors import NotFound
from engine.installation_checkpoints import (
    InstallationCheckpoint,
    InstallationCheckpoints,
    JournalBehind,
    digest_of,
    line_bytes,
    signed_bytes,
    unsigned_since,
)
from engine.journal import GENESIS, Entry, entry_hash
from engine.settings import Settings
from engine.store.opening import Store
from engine.store.reading import Reading

ROOT = Path(__file__).resolve().parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {Signer(KEY).public.key_id: KEY.public_key()}


@pytest.fixture
def signed(store: Store, clock: Any) -> InstallationCheckpoints:
    return InstallationCheckpoints(store, Signer(KEY), clock)


def made(signed: InstallationCheckpoints) -> InstallationCheckpoint:
    done = signed.make()
    assert done is not None
    assert done.new
    return done.checkpoint


def found(store: Store, *kept: InstallationCheckpoint) -> list[str]:
    return verify_checkpoints(store, KEYS, kept).problems


def test_it_is_known_since_when_something_is_under_no_checkpoint(
    plant: Any, store: Store, signed: InstallationCheckpoints, clock: Any
) -> None:
    assert unsigned_since(store) is None
    plant.receive("A")
    first = unsigned_since(store)
    assert first == Reading(store).journal("A")[0].recorded_at
    clock.forward(60)
    plant.receive("B")
    assert unsigned_since(store) == first
    made(signed)
    assert unsigned_since(store) is None
    clock.forward(60)
    plant.receive("C")
    plant.receive("D")
    assert unsigned_since(store) == Reading(store).journal("C")[0].recorded_at > first


class Operator:
    """Somebody with full access to the database, who knows how everything is kept."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, *statements: str, **values: Any) -> None:
        with self.store.engine.begin() as connection:
            guards = list(connection.execute(text(
                "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'" if self.store.dialect == "sqlite" else
                "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
            )))  # fmt: skip
            for name, table in guards:
                connection.execute(text(f"DROP TRIGGER {name}" + ("" if self.store.dialect == "sqlite" else f" ON {table}")))
            for statement in statements:
                connection.execute(text(statement), values)

    def delete_lot(self, lot: str) -> None:
        self.run("DELETE FROM journal WHERE lot = :lot", "DELETE FROM lots WHERE id = :lot",
                 "DELETE FROM holds WHERE lot = :lot", lot=lot)  # fmt: skip

    def rewrite(self, lot: str, **changes: Any) -> None:
        """The whole journal of a lot anew, with hashes that fit."""
        previous = GENESIS
        for entry in Reading(self.store).journal(lot, limit=500):
            draft = replace(entry, **changes, prev_hash=previous)
            previous = entry_hash(draft)
            sets = ", ".join(f"{name} = :{name}" for name in (*changes, "prev_hash", "hash"))
            self.run(f"UPDATE journal SET {sets} WHERE lot = :lot AND version = {entry.version}",
                     **changes, prev_hash=draft.prev_hash, hash=previous, lot=lot)  # fmt: skip

    def insert_lot(self, like: str, lot: str, position: int | None = None) -> None:
        """A lot that never was, its journal copied from another one."""
        previous = GENESIS
        columns = ", ".join(f'"{name}"' for name in Entry.__struct_fields__)
        for entry in Reading(self.store).journal(like, limit=500):
            draft = replace(entry, lot=lot, event_id=f"forged-{entry.version}", prev_hash=previous)
            draft = replace(draft, hash=entry_hash(draft))
            previous = draft.hash
            at = "" if position is None else "position, "
            order = "commit_order, " if self.store.dialect == "postgresql" and position is not None else ""
            values = ", ".join(f":{name}" for name in Entry.__struct_fields__)
            number = "" if position is None else f"{position + entry.version}, "
            self.run(f"INSERT INTO journal ({at}{order}{columns}) VALUES ({number}{'-1, ' if order else ''}{values})",
                     **msgspec.structs.asdict(draft))  # fmt: skip


# -- making --------------------------------------------------------------------------------------------------------


def test_each_is_over_what_is_new_and_together_they_are_over_everything(
    plant: Any, signed: InstallationCheckpoints, store: Store, clock: Any
) -> None:
    assert signed.make() is None
    plant.receive("L1")
    plant.receive("L2")
    first = made(signed)
    assert (first.number, first.entries, first.lots, first.previous) == (1, 4, 2, "0" * 64)
    again = signed.make()
    assert again is not None
    assert (again.new, again.checkpoint) == (False, first), "nothing is made where nothing is new"
    clock.forward(60)
    plant.hold("L1", "H-1")
    second = made(signed)
    assert (second.number, second.entries, second.lots, second.previous) == (2, 1, 2, digest_of(first))
    assert [one.number for one in signed.page()] == [2, 1]
    assert signed.page(before=2) == [first]
    assert signed.get(1) == first
    with pytest.raises(NotFound, match="no checkpoint 3"):
        signed.get(3)
    report = verify_checkpoints(store, KEYS, [first, second])
    assert report == CheckpointReport(2, 5, 2, [], report.notes)


def test_others_verify_it_by_what_the_handbook_says(plant: Any, signed: InstallationCheckpoints) -> None:
    """The bytes are those of docs/audit.md, and the tree is that of RFC 6962."""
    for number in range(5):
        plant.receive(f"L/{number}")
    one = made(signed)
    said = (
        f'["lotgate.checkpoint.all.v1",1,"{one.place}",10,5,"{one.root}","{"0" * 64}","{one.signed_at}","{one.key_id}"]'
    ).encode()
    assert said == signed_bytes(one)
    assert is_signed(one.signature, said, KEY.public_key())
    assert digest_of(one) == hashlib.sha256(said).hexdigest()
    lines = [f'["lotgate.line.v1",{o.position},"{o.lot}",{o.version},"{o.hash}"]'.encode() for o in signed.lines(1)]
    assert lines[0] == line_bytes(*[getattr(signed.lines(1)[0], f) for f in ("position", "lot", "version", "hash")])
    assert defined(lines).hex() == one.root
    pages = signed.lines(1, limit=3)
    pages += signed.lines(1, after=pages[-1].place, limit=500)
    assert pages == signed.lines(1)


def test_two_at_once_make_one_and_the_same(plant: Any, store: Store, clock: Any) -> None:
    """Two processes have no lock between them but the database."""
    for number in range(150):
        plant.receive(f"L{number}")
    together, seen = threading.Barrier(2), []

    def make() -> None:
        mine = InstallationCheckpoints(store, Signer(KEY), clock)
        begun = mine._range(1, None)
        together.wait(20)
        assert begun is not None
        seen.append(mine._complete(None, begun, lambda _: None))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == [False, True]
    assert found(store) == []


def test_whoever_dies_in_the_middle_leaves_nothing_that_is_in_the_way(
    plant: Any, signed: InstallationCheckpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_by, "_TOGETHER", 1)
    for number in range(140):
        plant.receive(f"L{number}")

    class Killed(BaseException):
        pass

    def dies(_: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        signed.make(dies)
    plant.receive("MEANWHILE")
    assert signed.newest() is None
    assert signed.is_due(timedelta(0)), "one that was begun is ended, whatever the clock is set to"
    last = made(signed)
    assert (last.number, last.entries, last.lots) == (2, 2, 141)
    assert signed.get(1).entries == 280, "it goes as far as was said when it was begun"
    assert found(store) == []
    assert not signed.is_due(timedelta(0))


def write(connection: Connection, *lots: str) -> None:
    """Journal entries; what is in them is not looked at here."""
    connection.execute(text(
        'INSERT INTO journal (lot, version, kind, "trigger", type, source, event_id, recorded_at, principal, state_before,'
        " state_after, rule_set, data, evidence, prev_hash, hash) VALUES (:lot, 1, 'event', 'receive', 'lot.received.v1',"
        " 's', :lot, '2026-11-23T08:00:00.000000Z', 'p', 'absent', 'received', 'r', '{}', '{}', '0', :lot)"
    ), [{"lot": lot} for lot in lots])  # fmt: skip


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_commits_late_is_in_one_all_the_same(store: Store, signed: InstallationCheckpoints) -> None:
    """An entry may become visible behind one that has a higher position; SQLite has one writer."""
    with store.engine.begin() as early:
        write(early, "EARLY")
        with store.engine.begin() as late:
            write(late, "LATE")
        assert signed.make() is None, "EARLY may still come before it"
    one = made(signed)
    assert [line.lot for line in signed.lines(1)] == ["EARLY", "LATE"]
    assert (one.entries, found(store)) == (2, [])


_STUCK = """
import sys, time
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from engine.checkpoints import Signer
from engine.clock import system_clock
from engine.installation_checkpoints import InstallationCheckpoints
from engine.store.opening import open_store
key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
store = open_store(sys.argv[1], Path(sys.argv[2]))
InstallationCheckpoints(store, Signer(key), system_clock).make(lambda read: time.sleep(600) if read > 17_000 else None)
"""


def test_a_process_that_is_killed_while_it_makes_one_leaves_it_to_the_next(
    store: Store, signed: InstallationCheckpoints, database_url: str, tmp_path: Path
) -> None:
    with store.engine.begin() as connection:
        write(connection, *(f"L{number}" for number in range(18_000)))
    with subprocess.Popen([sys.executable, "-c", _STUCK, database_url, str(tmp_path)], cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        with store.reads.connect() as connection:
            blocks = text("SELECT count(*) FROM checkpoint_blocks")
            while not connection.execute(blocks).scalar():
                connection.rollback()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        process.kill()
    with store.engine.begin() as connection:
        write(connection, "MEANWHILE")
    last = made(signed)
    assert (signed.get(1).entries, last.number, last.entries) == (18_000, 2, 1)
    assert found(store) == []
    with store.reads.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM checkpoint_blocks WHERE number = 1")).scalar() == 71


def test_it_is_due_by_time(plant: Any, signed: InstallationCheckpoints, clock: Any) -> None:
    plant.receive("L1")
    assert signed.is_due(timedelta(hours=24))
    assert not signed.is_due(timedelta(0))
    made(signed)
    assert not signed.is_due(timedelta(hours=24))
    clock.forward(86_400)
    assert signed.is_due(timedelta(hours=24))


def test_the_database_refuses_to_change_or_delete_one(plant: Any, signed: InstallationCheckpoints, store: Store) -> None:
    plant.receive("L1")
    made(signed)
    for table in ("checkpoints", "checkpoint_ranges", "checkpoint_blocks"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET number = 2"):
            with pytest.raises(DBAPIError, match=f"{table} is append-only"), store.engine.begin() as connection:
                connection.execute(text(statement))


# -- attacks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def attacked(plant: Any, signed: InstallationCheckpoints, store: Store, clock: Any) -> tuple[Operator, list[InstallationCheckpoint]]:
    """Three checkpoints over five lots, and somebody who may do everything with the database."""
    kept = []
    for numbers in ((1, 2, 3), (4,), (5,)):
        for number in numbers:
            plant.receive(f"L{number}")
        plant.hold(f"L{numbers[0]}", "H-1")
        kept.append(made(signed))
        clock.forward(60)
    assert found(store, *kept) == []
    return Operator(store), kept


def test_a_whole_lot_that_was_deleted_is_missed(attacked: Any, store: Store) -> None:
    operator, kept = attacked
    operator.delete_lot("L2")
    (problem,) = found(store)
    assert "checkpoint 1 of" in problem
    assert "7 entries were signed, there are 5" in problem
    assert "3 lots were signed, there are 2" in problem
    assert "number 3 of its range, behind lot L1, version 2" in problem
    assert "2 entries were taken away before lot L3, version 1" in problem
    assert found(store, kept[0]) == [problem], "the checkpoint that was kept is the one in the database"


def test_the_tail_of_a_lot_that_was_dropped_is_missed(attacked: Any, store: Store) -> None:
    operator, _ = attacked
    operator.run("DELETE FROM journal WHERE lot = 'L4' AND version = 3")
    (problem,) = found(store)
    assert "checkpoint 2 of" in problem
    assert "number 3 of its range, behind lot L4, version 2" in problem
    assert "what was signed from there on is not in the journal any more" in problem


def test_the_end_of_the_journal_that_was_dropped_is_missed_and_nothing_is_signed_over_it(
    attacked: Any, store: Store, signed: InstallationCheckpoints
) -> None:
    operator, _ = attacked
    operator.delete_lot("L5")
    (problem,) = found(store)
    assert "5 lots were signed, there are 4" in problem
    assert "checkpoint 3 of" in problem
    with pytest.raises(JournalBehind, match="Entries were taken away"):
        signed.make()


def test_a_journal_that_was_rewritten_with_hashes_that_fit_is_named(attacked: Any, store: Store) -> None:
    operator, _ = attacked
    operator.rewrite("L3", principal="somebody-else")
    (problem,) = found(store)
    assert "number 5 of its range, behind lot L2, version 2" in problem
    assert "lot L3, version 1 (position 5) is not the entry that was signed" in problem


@pytest.mark.parametrize("where", ["before everything", "between"])
def test_a_lot_that_was_put_in_is_seen(attacked: Any, store: Store, where: str) -> None:
    """Not behind what was signed: what comes behind is new to every checkpoint."""
    operator, _ = attacked
    operator.insert_lot("L1", "FORGED", -1000 if where == "before everything" or store.dialect == "sqlite" else 1000)
    if where == "between" and store.dialect == "postgresql":
        operator.run("UPDATE journal SET commit_order = (SELECT min(commit_order) FROM journal WHERE lot = 'L5')"
                     " WHERE lot = 'FORGED'")  # fmt: skip
    problem = found(store)[0]
    assert "lot FORGED, version 1" in problem
    assert "was put in" in problem
    assert "lots were signed, there are" in problem


def test_the_leaves_say_nothing_when_they_were_changed_too(attacked: Any, store: Store) -> None:
    operator, _ = attacked
    operator.rewrite("L3", principal="somebody-else")
    zeros = "zeroblob(32)" if store.dialect == "sqlite" else "decode(repeat('00', 32), 'hex')"
    operator.run(f"UPDATE checkpoint_blocks SET leaves = {zeros} WHERE number = 1")
    (problem,) = found(store)
    assert "which entry cannot be told" in problem


def test_a_checkpoint_that_was_changed_or_is_another_key_s_is_named(attacked: Any, store: Store, tmp_path: Path) -> None:
    operator, kept = attacked
    operator.run("UPDATE checkpoints SET entries = 8 WHERE number = 1")
    problems = found(store)
    assert any("checkpoint 1: it was not signed by the key" in p for p in problems)
    assert any("checkpoint 2: it was signed after another checkpoint 1" in p for p in problems)
    operator.run("UPDATE checkpoints SET entries = 7 WHERE number = 1")
    other = known_keys(Settings(home=tmp_path / "none"), [signer_of(Settings(home=tmp_path / "other")).public.public_key.encode()])
    problems = verify_checkpoints(store, other, kept[:1]).problems
    assert all(f"it says that the key {kept[0].key_id} signed it" in p for p in problems)
    assert len(problems) == 4


def test_a_checkpoint_that_is_missing_is_missed(attacked: Any, store: Store) -> None:
    operator, kept = attacked
    operator.run("DELETE FROM checkpoints WHERE number = 2")
    assert found(store) == ["checkpoint 2 is missing from the database"]
    assert "kept checkpoint 2" in found(store, kept[1])[1]
    operator.run("DELETE FROM checkpoints WHERE number > 1")
    assert found(store) == ["checkpoint 2 is missing from the database"], "that it was begun is still there"


def resign(operator: Operator, signed: InstallationCheckpoints, number: int) -> None:
    """With the key: take everything from a number on away and sign anew."""
    tables = ("checkpoints", "checkpoint_ranges", "checkpoint_blocks")
    operator.run(*(f"DELETE FROM {table} WHERE number >= {number}" for table in tables))
    made(signed)


def test_whoever_has_the_key_too_is_shown_only_by_one_that_was_kept(
    attacked: Any, store: Store, signed: InstallationCheckpoints
) -> None:
    operator, kept = attacked
    operator.delete_lot("L4")
    resign(operator, signed, 2)
    assert found(store) == [], "by itself the database cannot show it"
    first, second, third = (found(store, one) for one in kept)
    assert first == []
    assert "kept checkpoint 2" in second[0]
    assert "has another one of that number" in second[0]
    assert "up to there 4 lots were signed, the journal has 3" in second[0]
    assert "the database has no such checkpoint, its newest is 2" in third[0]
    several = found(store, *kept)
    assert "(kept checkpoint 1 is there as it was kept)" in several[0], "where it was changed is told as well as it can be"


def test_a_kept_one_that_was_made_up_is_named(attacked: Any, store: Store) -> None:
    _, kept = attacked
    forged = replace(kept[2], lots=99)
    problems = found(store, forged)
    assert "it was not signed by the key" in problems[0]
    assert "lots 5 instead of 99" in problems[1]
    assert "its format is x" in found(store, replace(kept[0], format="x"))[0]


# -- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_that_was_changed_is_known_by_what_lies_beside(attacked: Any, store: Store, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert known_keys(Settings(home=home)) == {}
    assert not home.exists(), "verifying makes no key"
    new = signer_of(Settings(home=home)).public
    assert len(verify_checkpoints(store, known_keys(Settings(home=home))).problems) == 3
    old = Signer(KEY).public.public_key
    (home / FORMER_FILE).write_text(old + new.public_key)
    assert set(known_keys(Settings(home=home))) == {new.key_id, *KEYS}
    assert verify_checkpoints(store, known_keys(Settings(home=home))).problems == []
    (home / FORMER_FILE).write_text("no key")
    with pytest.raises(Exception, match=r"signing\.former cannot be used"):
        known_keys(Settings(home=home))
    (home / KEY_FILE).unlink()
    (home / FORMER_FILE).unlink()
    notes = verify_checkpoints(store, known_keys(Settings(home=home))).notes
    assert any("who signed the checkpoints was not looked at" in note for note in notes)


# -- the tree ------------------------------------------------------------------------------------------------------


def defined(lines: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(lines) < 2:
        return hashlib.sha256(b"\0" + lines[0] if lines else b"").digest()
    k = 1
    while k * 2 < len(lines):
        k *= 2
    return hashlib.sha256(b"\1" + defined(lines[:k]) + defined(lines[k:])).digest()


@given(st.lists(st.binary(max_size=3), max_size=70), st.integers(0, 69), st.integers(0, 69))
def test_a_proof_leads_to_the_root_and_no_other_line_or_place_does(lines: list[bytes], at: int, other: int) -> None:
    leaves = [merkle.leaf(line) for line in lines]
    root = merkle.Tree(leaves).root()
    assert root == defined(lines)
    if not lines:
        return
    at, other = at % len(lines), other % len(lines)
    steps = merkle.path(leaves, at)
    assert merkle.root_by(leaves[at], at, len(lines), steps) == root
    assert (merkle.root_by(leaves[other], at, len(lines), steps) == root) == (leaves[other] == leaves[at])
    assert merkle.root_by(leaves[at], at, len(lines), [*steps, root]) != root
    assert merkle.root_by(leaves[at], len(lines), len(lines), steps) is None


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=70))
def test_a_tree_over_blocks_is_the_tree_over_the_lines(lines: list[bytes]) -> None:
    leaves = [merkle.leaf(line) for line in lines]
    blocks = [merkle.Tree(leaves[at : at + 8]).root() for at in range(0, len(leaves), 8)]
    assert merkle.Tree(blocks).root() == merkle.Tree(leaves).root()
