"""What was used by concessions before they were counted over all lots counts when the database is migrated."""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from engine.store import migrate as migrations
from engine.store.concessions import read_used_in
from engine.store.opening import Store, open_store
from tests.engine.test_concessions import ea, rejected, totals, used_as_is, uses


@pytest.fixture
def from_before(
    store: Store, database_url: str, tmp_path: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Store]]:
    """Moves what the plant did into a database of the release before, and that to this release.

    The journals of lots that are named to it are in the archive.
    """
    url = "" if not database_url else str(request.getfixturevalue("new_postgres")())
    with closing(open_store(url, tmp_path / "old")) as old:
        with old.engine.begin() as connection:
            command.upgrade(migrations._config(connection), "0023")

        def moved(*archived: str) -> Store:
            with store.reads.connect() as source, old.engine.begin() as target:
                for table, ordered in (("lots", "id"), ("journal", "position"), ("links", "lot")):
                    found = source.execute(text(f"SELECT * FROM {table} ORDER BY {ordered}")).mappings()
                    rows = [
                        {k: v for k, v in row.items() if k not in ("position", "commit_order")}
                        for row in found if table != "journal" or row["lot"] not in archived
                    ]  # fmt: skip
                    if not rows:
                        continue
                    names = ", ".join(f'"{name}"' for name in rows[0])
                    values = ", ".join(f":{name}" for name in rows[0])
                    target.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), rows)
            migrations.migrate(old)
            return old

        yield moved


def test_what_was_used_before_concessions_were_counted_counts(
    plant: Any, store: Store, from_before: Callable[..., Store]
) -> None:
    """What is left of a lot, what was consumed since, and where it is."""
    for lot in ("A", "B"):
        rejected(plant, lot, "40", plant="NORTH" if lot == "A" else None)
        assert used_as_is(plant, lot).status == 201
    plant.send("lot.consumed.v1", "A", {"quantity": ea(10), "order": "MO-1"})
    old = from_before()
    assert totals(old) == totals(store) == {("C-7", "ea"): ("80", "100")}
    assert uses(old) == {"A": "40", "B": "40"}
    assert read_used_in(old, "C-7", ["NORTH"]) == read_used_in(store, "C-7", ["NORTH"]) == {"ea": Decimal(40)}
