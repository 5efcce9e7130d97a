"""The write-ahead log is folded back beside the committer: it stays short, commits go on, and nothing is lost."""

import sqlite3
import time
from pathlib import Path

from engine.store.folding import Folding
from engine.store.opening import open_store

#: What is written in all is more than twice this; the log may grow while a slow disk is waited for.
MOST_BYTES = 120 * 1024 * 1024


def test_the_log_begins_anew_while_commits_go_on_and_is_folded_back_behind_the_last(tmp_path: Path) -> None:
    store = open_store("", tmp_path)
    writer = store.raw()
    writer.execute("CREATE TABLE told (number INTEGER PRIMARY KEY, text TEXT)")
    folding, log = Folding(store), tmp_path / "lotgate.db-wal"
    longest = 0
    for number in range(700):
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO told VALUES (?, ?)", (number, "x" * 400_000))
        writer.execute("COMMIT")
        folding.written()
        longest = max(longest, log.stat().st_size)
    assert longest < MOST_BYTES, "the log began anew"
    until = time.monotonic() + 10
    while _unfolded(writer) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _unfolded(writer), "the thread folds back what the last commits left"
    folding.close()
    writer.close()
    store.close()
    with sqlite3.connect(tmp_path / "lotgate.db") as again:
        assert again.execute("SELECT count(*), max(number) FROM told").fetchone() == (700, 699)


def _unfolded(connection: sqlite3.Connection) -> bool:
    """Is there something in the log that is not in the database file? A file as it lies there tells."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as alone:
        try:
            return bool(alone.execute("SELECT count(*) FROM told").fetchone()[0] < 700)
        except sqlite3.DatabaseError:
            return True
