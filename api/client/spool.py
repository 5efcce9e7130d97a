"""Events that wait on disk until the service takes them: through outages of days, restarts and power cuts, in order.

    put → (on disk) → forward: send the oldest → answered → gone from disk → the next …

An event is deleted only after its answer; a crash between the two sends it again, which has no second effect. What the
service refuses for good is set aside with the reason and holds up nobody. The spool is bounded: when it is full,
``put`` refuses, and the sender knows. What may not enter: HTTP (api/client/caller.py).
"""

import fcntl
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from api.client.caller import Answered

#: A quarter of a gibibyte: some 300,000 events of a scanner.
MAX_BYTES = 256 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (position INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refused (position INTEGER PRIMARY KEY, event BLOB NOT NULL, status INTEGER NOT NULL,
                                    answer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS kept (bytes INTEGER NOT NULL);
INSERT INTO kept SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM kept);
"""


class SpoolFull(Exception):
    """There is no room for these events; none of them was kept."""


class SpoolBusy(Exception):
    """Another process forwards this spool; two at once could change the order."""


class Refusal(Struct, frozen=True):
    """An event that was refused for good, and why."""

    position: int
    event: bytes
    status: int
    answer: bytes


class Forwarded(Struct):
    """What a run of ``forward`` did."""

    #: outcome -> how many
    outcomes: dict[str, int] = {}
    refused: int = 0


class Spool:
    """A file of events that wait."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._max_bytes = path, max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database:
            database.executescript(_SCHEMA)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        # Whoever put an event here may forget it: it must be on disk.
        database.execute("PRAGMA synchronous = FULL")
        return database

    def __len__(self) -> int:
        with closing(self._open()) as database:
            return int(database.execute("SELECT count(*) FROM waiting").fetchone()[0])

    def put(self, events: Iterable[bytes]) -> int:
        """Keep events, all or none, behind those that wait; how many. Raises SpoolFull."""
        kept = list(events)
        more = sum(map(len, kept))
        with closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")
            have = int(database.execute("SELECT bytes FROM kept").fetchone()[0])
            if have + more > self._max_bytes:
                database.execute("ROLLBACK")
                raise SpoolFull(f"{self._path} has {have} bytes of events; {more} more are above {self._max_bytes}")
            database.executemany("INSERT INTO waiting (event) VALUES (?)", [(event,) for event in kept])
            database.execute("UPDATE kept SET bytes = bytes + ?", (more,))
            database.execute("COMMIT")
        return len(kept)

    def forward(self, send: Callable[[bytes], Answered], done: Forwarded | None = None) -> Forwarded:
        """Send what waits, the oldest first, until nothing does. What ``send`` raises ends it; ``done`` is up to date.

        Raises SpoolBusy while another process forwards the same spool.
        """
        done = Forwarded() if done is None else done
        with self._path.with_name(self._path.name + ".lock").open("a") as lock, closing(self._open()) as database:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolBusy(f"another process forwards {self._path}") from None
            oldest = "SELECT position, event FROM waiting ORDER BY position LIMIT 1"
            while (row := database.execute(oldest).fetchone()) is not None:
                position, event = int(row[0]), bytes(row[1])
                answered = send(event)
                self._settle(database, position, event, answered)
                done.outcomes[answered.outcome] = done.outcomes.get(answered.outcome, 0) + 1
                done.refused += answered.refused
        return done

    def _settle(self, database: sqlite3.Connection, position: int, event: bytes, answered: Answered) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM waiting WHERE position = ?", (position,))
        if answered.refused:
            row = position, event, answered.status, answered.body
            database.execute("INSERT INTO refused VALUES (?, ?, ?, ?)", row)
        else:
            database.execute("UPDATE kept SET bytes = bytes - ?", (len(event),))
        database.execute("COMMIT")

    def refused(self) -> list[Refusal]:
        """Events that were refused for good, the oldest first; they take room until they are cleared away."""
        with closing(self._open()) as database:
            rows = database.execute("SELECT position, event, status, answer FROM refused ORDER BY position")
            return [Refusal(position, bytes(event), status, bytes(answer)) for position, event, status, answer in rows]

    def clear_refused(self) -> int:
        """Forget the events that were refused; how many there were."""
        with closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")
            size, number = database.execute("SELECT coalesce(sum(length(event)), 0), count(*) FROM refused").fetchone()
            database.execute("DELETE FROM refused")
            database.execute("UPDATE kept SET bytes = bytes - ?", (size,))
            database.execute("COMMIT")
        return int(number)


def reason(refusal: Refusal) -> str:
    """Why an event was refused, in the service's words."""
    body = msgspec.json.decode(refusal.answer) if refusal.answer else {}
    return str(body.get("detail") or body.get("title") or refusal.status)
