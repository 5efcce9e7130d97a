"""SQLite's write-ahead log is folded back into the database beside the committer, and not by it.

SQLite does that within a commit when the log has grown long, and whoever waits for that commit waits for tens of
milliseconds more. Here a thread with a connection of its own does it shortly after each commit; readers and writers go
on meanwhile. The log begins anew when all of it is folded back and nobody reads it, which a commit finds out from
``wal_autocheckpoint`` pages on: by then there is little left to fold. What may not enter: tables, decisions.
"""

import logging
import sqlite3
import threading
from contextlib import closing

from engine.store.opening import Store

log = logging.getLogger("lotgate.store")

#: Commits within this time are folded back together.
PAUSE_SECONDS = 0.02


class Folding:
    """The thread; none on PostgreSQL, which has processes for that."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if store.dialect == "sqlite":
            self._thread = threading.Thread(target=self._run, name="folding", daemon=True)
            self._thread.start()

    def written(self) -> None:
        """A commit was made; for any thread."""
        self._written.set()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._written.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with closing(self._store.raw()) as connection:
            while not self._ended.is_set():
                self._written.wait()
                self._ended.wait(PAUSE_SECONDS)
                self._written.clear()
                try:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                except sqlite3.Error as error:
                    # A commit does it then, or says so itself where the disk is full.
                    log.warning("the write-ahead log could not be folded back: %s", error)
