"""Opening and migrating both databases."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.errors import SettingInvalid, StoreNotMigrated, StoreUnavailable
from engine.store import migrate as migrations
from engine.store.opening import Store, open_store
from engine.store.schema.whole import metadata


def test_the_migrated_schema_is_the_declared_one(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    found = {(kind, getattr(what[-1], "name", None)) for kind, *what in differences}
    # What only PostgreSQL needs, for the change feed (engine/store/feed.py).
    own = {("remove_table", "commit_offset"), ("remove_column", "commit_order"), ("remove_index", "journal_commit_order")}
    assert found == (own if store.dialect == "postgresql" else set())


def test_a_commit_is_on_disk_before_it_is_answered(store: Store) -> None:
    cursor = store.raw().cursor()
    if store.dialect == "sqlite":
        assert cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert cursor.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    else:
        assert cursor.execute("SHOW synchronous_commit").fetchone()[0] == "on"


@pytest.mark.parametrize("statement", ["UPDATE journal SET principal = 'x'", "DELETE FROM journal"])
def test_the_database_itself_refuses_to_change_the_journal(store: Store, statement: str) -> None:
    columns = "lot, version, kind, trigger, type, source, event_id, recorded_at, principal, state_before, state_after, rule_set, data, evidence, prev_hash, hash"
    values = ", ".join(["'a'", "1"] + ["'x'"] * 14)
    with store.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO journal ({columns.replace('trigger', chr(34) + 'trigger' + chr(34))}) VALUES ({values})"))
    with pytest.raises(DBAPIError, match="append-only"), store.engine.begin() as connection:
        connection.execute(text(statement))


def test_a_database_of_another_release_is_refused(store: Store) -> None:
    migrations.check(store)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    with pytest.raises(StoreNotMigrated, match="revision other"):
        migrations.check(store)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_processes_may_migrate_at_once(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = "" if database == "sqlite" else request.getfixturevalue("empty_postgres")()
    code = (
        "import sys; from pathlib import Path; from engine.store.opening import open_store;"
        "from engine.store.migrate import migrate, check;"
        "s = open_store(sys.argv[1], Path(sys.argv[2])); migrate(s); check(s)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()[-1500:]


@pytest.mark.parametrize("url", ["mysql://x/y", "not a url at all"])
def test_a_url_that_cannot_be_used_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="LOTGATE_DATABASE_URL"):
        open_store(url, tmp_path)


def test_a_database_that_is_away_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened") as caught:
        open_store("postgresql://me:secret@127.0.0.1:1/none", tmp_path)
    assert "secret" not in caught.value.detail
