"""Checkpoints by time: made when they are due, handed to whoever keeps them, and nobody's trouble is silent."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from actors.keeping import Keeper, NotKept, content_of, file_name
from engine.checkpoints import Signer
from engine.clock import system_clock
from engine.errors import ArchiveUnavailable
from engine.installation_checkpoints import InstallationCheckpoints, JournalBehind
from engine.processes import Processes
from engine.store.opening import Store
from engine.tasks import Tasks, TaskState
from tests.actors.conftest import clock_process, seconds_to_stop


def write(store: Store, lot: str) -> None:
    """A journal entry; what is in it is not looked at here."""
    with store.engine.begin() as connection:
        connection.execute(text(
            'INSERT INTO journal (lot, version, kind, "trigger", type, source, event_id, recorded_at, principal, state_before,'
            " state_after, rule_set, data, evidence, prev_hash, hash) VALUES (:lot, 1, 'event', 'receive', 'lot.received.v1',"
            " 's', :lot, '2026-11-23T08:00:00.000000Z', 'p', 'absent', 'received', 'r', '{}', '{}', '0', :lot)"
        ), {"lot": lot})  # fmt: skip


class Now:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def keeper(store: Store, now: Now, folder: Path | str, hours: float = 24) -> tuple[Keeper, InstallationCheckpoints]:
    checkpoints = InstallationCheckpoints(store, Signer(Ed25519PrivateKey.from_private_bytes(bytes(32))), now)
    return Keeper(checkpoints, Tasks(store, now), hours, str(folder)), checkpoints


def open_kinds(store: Store) -> list[str]:
    return [task.kind for task in Tasks(store, system_clock).lines(state=TaskState.OPEN)]


def test_one_a_day_is_made_and_each_becomes_a_file(store: Store, tmp_path: Path) -> None:
    now, folder = Now(), tmp_path / "kept"
    folder.mkdir()
    keeping, checkpoints = keeper(store, now, folder)
    keeping.look()
    assert list(folder.iterdir()) == []
    for lot, hours in (("A", 1), ("B", 24), ("C", 24)):
        write(store, lot)
        keeping.look()
        now.now += timedelta(hours=hours)
    keeping.look()
    assert sorted(path.name for path in folder.iterdir()) == [file_name(1), file_name(2)]
    assert (folder / file_name(2)).read_bytes() == content_of(checkpoints.get(2))
    assert [one.entries for one in checkpoints.page()] == [2, 1]
    (folder / file_name(1)).unlink()
    keeper(store, now, folder)[0].look()
    assert (folder / file_name(1)).read_bytes() == content_of(checkpoints.get(1)), "a clock that starts makes up for it"


def test_no_hours_make_none_and_no_folder_gets_none(store: Store) -> None:
    now = Now()
    write(store, "A")
    keeping, checkpoints = keeper(store, now, "", hours=0)
    keeping.look()
    assert checkpoints.newest() is None


def test_a_folder_that_is_away_and_a_file_that_says_otherwise_are_somebody_s_task(store: Store, tmp_path: Path) -> None:
    now, folder = Now(), tmp_path / "kept"
    write(store, "A")
    keeping, _ = keeper(store, now, folder)
    for _ in range(2):
        with pytest.raises(NotKept, match=r"kept \(LOTGATE_CHECKPOINT_DIR\): No such file"):
            keeping.look()
    assert open_kinds(store) == ["checkpoint-not-kept"]
    folder.mkdir()
    keeping.look()
    assert open_kinds(store) == []
    (folder / file_name(1)).write_text("another")
    keeper(store, now, folder)[0].look()
    assert open_kinds(store) == ["checkpoint-contradicted"]
    assert (folder / file_name(1)).read_text() == "another", "what was kept is never written over"


def test_a_journal_that_ends_before_what_was_signed_is_somebody_s_task(store: Store, tmp_path: Path) -> None:
    now = Now()
    write(store, "A")
    write(store, "B")
    keeping, _ = keeper(store, now, "")
    keeping.look()
    with sqlite3.connect(str(store.engine.url.database), timeout=10) as database:
        database.execute("DROP TRIGGER journal_no_delete")
        database.execute("DELETE FROM journal WHERE lot = 'B'")
    now.now += timedelta(days=1)
    with pytest.raises(JournalBehind):
        keeping.look()
    assert open_kinds(store) == ["journal-behind"]


def test_a_segment_that_cannot_be_read_is_somebody_s_task_and_what_is_made_is_handed_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, folder = Now(), tmp_path / "kept"
    write(store, "A")
    keeping, checkpoints = keeper(store, now, folder)
    with pytest.raises(NotKept):
        keeping.look()
    folder.mkdir()
    write(store, "B")
    now.now += timedelta(days=1)
    with store.engine.begin() as connection:
        connection.execute(text(
            "INSERT INTO archive_segments (name, bytes, lots, entries, first_at, last_at, first_order, last_order, first_position,"
            " last_position, rule_sets, made_at, made_by) VALUES ('gone', 1, 1, 1, 'a', 'b', 0, 0, 2, 2, '[]', 'c', 'd')"
        ))  # fmt: skip
    with pytest.raises(ArchiveUnavailable):
        keeping.look()
    assert open_kinds(store) == ["archive-failing"]
    assert [path.name for path in folder.iterdir()] == [file_name(1)]
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM archive_segments"))
    keeping.look()
    assert open_kinds(store) == []
    assert (folder / file_name(2)).read_bytes() == content_of(checkpoints.get(2))


def test_a_key_that_cannot_be_used_stops_nothing_else_of_the_clock(store: Store, tmp_path: Path) -> None:
    settings = {"LOTGATE_SIGNING_KEY": "no key", "LOTGATE_ARCHIVE_AFTER_DAYS": "31"}
    with clock_process(tmp_path, **settings) as clock:
        deadline = time.monotonic() + 30
        while not any(one.role == "clock" for one in Processes(store, system_clock).all()):
            assert clock.poll() is None, "it ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert seconds_to_stop(clock) < 10


def test_the_clock_process_makes_them(store: Store, tmp_path: Path) -> None:
    write(store, "A")
    folder = tmp_path / "kept"
    folder.mkdir()
    with clock_process(tmp_path, LOTGATE_CHECKPOINT_DIR=str(folder)):
        deadline = time.monotonic() + 30
        while not (folder / file_name(1)).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
