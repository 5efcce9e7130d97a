"""Migrations, applied at start-up: plain, numbered, forward. Alembic is imported only here, for it is slow to import.

Two processes that start at once are served one after the other (SQLite: the write lock; PostgreSQL: an advisory
lock), and a revision that fails leaves the one before it.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.errors import StoreNotMigrated
from engine.store.opening import Store

#: The newest revision in migrations/versions.
HEAD = "0025"
#: Key of the advisory lock on PostgreSQL: any number nobody else uses.
_LOCK = 0x107_6A7E


def revision(store: Store) -> str | None:
    """The revision that the database has; None when it is empty."""
    from sqlalchemy import inspect

    with store.reads.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def check(store: Store) -> None:
    """Raises StoreNotMigrated when the database is not at this release's revision."""
    found = revision(store)
    if found != HEAD:
        raise StoreNotMigrated(f"The database is at revision {found or 'none'}, this release needs {HEAD}.")


def migrate(store: Store) -> None:
    """Bring the database to this release's revision; nothing happens when it is there."""
    if revision(store) == HEAD:
        return
    from alembic import command

    with store.engine.begin() as connection:
        if store.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(_config(connection), HEAD)


def _config(connection: Any) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
