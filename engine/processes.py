"""Which processes of the installation are alive: each says so in SQL, every few seconds, until it ends.

So that whoever looks from one host sees all of them. A process that is killed says nothing any more, and is shown as
not seen until it is forgotten. What may not enter: what a process does.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from engine.clock import Clock, instant, parse_instant
from engine.store.opening import Store
from engine.store.schema.access import processes

log = logging.getLogger("lotgate.processes")

#: A process says that it is alive this often; after so long without a word it is not seen, later forgotten.
BEAT_SECONDS, UNSEEN_SECONDS, FORGOTTEN_SECONDS = 10.0, 35.0, 86_400.0


class Process(Struct, frozen=True):
    """One process. Instants are ISO 8601, UTC."""

    #: web, worker, clock
    role: str
    host: str
    pid: int
    release: str
    began_at: str
    seen_at: str
    #: Resident memory.
    memory_bytes: int


_COLUMNS = tuple(processes.c[name] for name in Process.__struct_fields__)


class Processes:
    """Those of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def all(self) -> list[Process]:
        """Every process that has not been forgotten, by role."""
        query = select(*_COLUMNS).order_by(processes.c.role, processes.c.host, processes.c.began_at)
        with self._store.reads.connect() as connection:
            return [Process(*row) for row in connection.execute(query)]

    def is_seen(self, process: Process) -> bool:
        """Has it said a word lately?"""
        return (self._clock() - parse_instant(process.seen_at)).total_seconds() < UNSEEN_SECONDS

    def name(self, role: str) -> str:
        """An id for this process, which no other has or had."""
        return f"{role}/{socket.gethostname()}/{os.getpid()}/{instant(self._clock())}"

    @contextmanager
    def alive(self, role: str, identity: str = "") -> Iterator[None]:
        """This process is alive meanwhile; ``identity``: what :meth:`name` gave, where others are to know it."""
        host, stop = socket.gethostname(), threading.Event()
        began = instant(self._clock())
        identity = identity or self.name(role)
        row: dict[str, str | int] = {
            "id": identity, "role": role, "host": host, "pid": os.getpid(), "release": version("lotgate"),
            "began_at": began,
        }  # fmt: skip

        def beat() -> None:
            while True:
                try:
                    self._beat(row)
                except SQLAlchemyError as error:
                    log.warning("nobody sees that this process is alive: %s", type(error).__name__)
                if stop.wait(BEAT_SECONDS):
                    return

        thread = threading.Thread(target=beat, name="alive", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(1.0)
            try:
                with self._store.engine.begin() as connection:
                    connection.execute(delete(processes).where(processes.c.id == identity))
            except SQLAlchemyError as error:
                log.warning("this process is shown until it is forgotten: %s", type(error).__name__)

    def _beat(self, row: dict[str, str | int]) -> None:
        now = self._clock()
        said = {"seen_at": instant(now), "memory_bytes": memory_bytes()}
        forgotten = instant(now - timedelta(seconds=FORGOTTEN_SECONDS))
        with self._store.engine.begin() as connection:
            if not connection.execute(update(processes).where(processes.c.id == row["id"]).values(**said)).rowcount:
                connection.execute(insert(processes).values(**row, **said))
                connection.execute(delete(processes).where(processes.c.seen_at < forgotten))


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
