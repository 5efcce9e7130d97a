"""Opening the database: SQLite or PostgreSQL, with the durability that an acknowledged event was promised.

SQLite: write-ahead log, ``synchronous=FULL``, writers begin with BEGIN IMMEDIATE. PostgreSQL: psycopg 3,
``synchronous_commit=on``. Reading code uses ``store.engine`` (SQLAlchemy Core); the committer has a DB-API
connection of its own (:meth:`Store.raw`). What may not enter: tables and queries.
"""

import sqlite3
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from engine.errors import SettingInvalid, StoreUnavailable

#: How long a writer waits for another one before it gives up.
BUSY_SECONDS = 10.0
#: How long a committer waits for a lot that another process has locked on PostgreSQL.
LOCKED_SECONDS = 5.0
#: A process that has lots locked and says nothing for so long has stopped, or its machine has: PostgreSQL lets go of
#: them. Longer than a judge takes that has to be started again several times (rules/judge.py).
STALLED_SECONDS = 120.0
#: Name of the directory in LOTGATE_HOME that the segments of the archive are in, where no setting says another.
ARCHIVE = "archive"
#: Prepared statements that a connection keeps: each shape of a batch is one.
PREPARED = 512


class Overtaken(Exception):
    """What a batch was decided on has changed before it was committed: it has to be decided again."""


class Store:
    """A database that Lotgate keeps its records in."""

    def __init__(self, engine: Engine, path: Path | None, archive: Path) -> None:
        #: SQLAlchemy's engine, for everything but the hot path.
        self.engine = engine
        #: Directory of the segments of the archive.
        self.archive = archive
        #: ``sqlite`` or ``postgresql``.
        self.dialect: str = engine.dialect.name
        self._path = path
        #: The engine for reads: on SQLite its transactions take no write lock.
        self.reads = engine.execution_options(lotgate_read=True)
        #: As ``reads``, where several statements have to see the same moment. On SQLite each transaction does.
        self.moments = self.reads
        if self.dialect == "postgresql":
            self.moments = self.reads.execution_options(isolation_level="REPEATABLE READ")

    def reading(self, connection: Connection | None = None) -> AbstractContextManager[Connection]:
        """A connection for reads: ``connection`` where a caller has one already, which stays open, or a new one."""
        return self.reads.connect() if connection is None else nullcontext(connection)

    def raw(self) -> Any:
        """A DB-API connection in autocommit mode, for one thread; the caller closes it."""
        if self._path is not None:
            return _sqlite(self._path)
        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=2)
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = {int(LOCKED_SECONDS * 1000)}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(STALLED_SECONDS * 1000)}")
        # Plans of prepared statements are kept: one that was made while a table was small would read all of it
        # for ever. Every statement of the hot path has its index.
        connection.execute("SET enable_seqscan = off")
        return connection

    def is_conflict(self, error: BaseException) -> bool:
        """True when another process committed the same lot or event, or is about to: deciding again will see it."""
        if isinstance(error, Overtaken):
            return True
        if isinstance(error, sqlite3.IntegrityError):
            return "UNIQUE" in str(error)
        return isinstance(
            error,
            psycopg.errors.UniqueViolation
            | psycopg.errors.DeadlockDetected
            | psycopg.errors.SerializationFailure
            | psycopg.errors.LockNotAvailable,
        )

    def is_driver_error(self, error: BaseException) -> bool:
        """True for errors of the database or its driver."""
        return isinstance(error, sqlite3.Error | psycopg.Error)

    def is_unavailable(self, error: BaseException) -> bool:
        """True when the database is away, full or busy: no event of the batch is to blame."""
        return isinstance(error, sqlite3.OperationalError | psycopg.OperationalError)

    def close(self) -> None:
        """Close every connection of the engine."""
        self.engine.dispose()


def open_store(url: str, home: Path, archive: Path | None = None) -> Store:
    """Open the database at ``url``; an empty ``url`` means SQLite in ``home``.

    ``archive``: where the segments of the archive are, if not in ``home``.
    Raises SettingInvalid for a URL that cannot be used, StoreUnavailable when the database does not answer.
    """
    archive = archive or home / ARCHIVE
    if not url:
        home.mkdir(parents=True, exist_ok=True)
        return _open_sqlite(home / "lotgate.db", archive)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingInvalid(
            "LOTGATE_DATABASE_URL cannot be read; expected postgresql://user:password@host/name."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(Path(parsed.database or ""), archive)
    if parsed.get_backend_name() != "postgresql":
        raise SettingInvalid(
            f"LOTGATE_DATABASE_URL names {parsed.get_backend_name()};"
            " Lotgate keeps its records in SQLite or PostgreSQL."
        )
    engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_size=8, max_overflow=8, pool_pre_ping=True)
    return _checked(Store(engine, None, archive))


def _open_sqlite(path: Path, archive: Path) -> Store:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        # Without this, sqlite3 opens transactions by itself, late and deferred.
        connection.isolation_level = None
        _pragmas(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        deferred = connection.get_execution_options().get("lotgate_read")
        connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return _checked(Store(engine, path, archive))


def _sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=PREPARED
    )
    _pragmas(connection)
    return connection


def _pragmas(connection: sqlite3.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    cursor.execute("PRAGMA cache_size = -65536")
    # Pages of the log from which on a commit folds it back: 64 MB. The committer has a thread for that, which leaves
    # little to do (engine/store/folding.py); by then the log begins anew.
    cursor.execute("PRAGMA wal_autocheckpoint = 16000")
    cursor.close()


def _checked(store: Store) -> Store:
    try:
        store.raw().close()
    except (sqlite3.Error, psycopg.Error) as error:
        store.close()
        where = store.engine.url.render_as_string(hide_password=True)
        raise StoreUnavailable(f"The database {where} cannot be opened: {error}") from None
    return store

