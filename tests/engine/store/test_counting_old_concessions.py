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
from tests.engine.test_concessions import concession, ea, rejected, totals, used_as_is, uses


@pytest.fixture
def from_before(
    store: Store, database_url: str, tmp_path: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Store]]:
    """Moves what the plant did into a database of the release before, and that to this release.

    The journals of lots that are named to it are in the archive.
    """
    url = "" if not database_url else str(request.getfixturevalue("empty_postgres")())
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


def test_what_was_consumed_counts_though_the_rest_was_reworked(
    plant: Any, store: Store, from_before: Callable[..., Store]
) -> None:
    """Every way out of a concession, counted from journals as this release counted it when it happened."""
    for lot in ("REWORKED", "ANEW", "OVER", "BACK", "PARTS", "RECORD", "SHIPPED"):
        rejected(plant, lot, "50")
    plant.send("quality_record.opened.v1", "RECORD", {
        "record": "NC", "kind": "nonconformance", "severity": "major", "text": "scratches"})  # fmt: skip
    plant.send("quality_record.changed.v1", "RECORD", {"record": "NC", "step": "investigate", "text": "a burr"})
    plant.send("quality_record.changed.v1", "RECORD", {"record": "NC", "step": "decide", "text": "use", "dispositions": [
        {"decision": "use_as_is", "quantity": ea(50), "concession": concession(500)}]})  # fmt: skip
    for lot in ("REWORKED", "ANEW", "OVER", "BACK", "PARTS", "SHIPPED"):
        assert used_as_is(plant, lot, quantity=ea(500)).status == 201
    carried_out = {"decision": "use_as_is", "reason": {"code": "MRB"}, "record": "NC"}
    assert plant.send("lot.dispositioned.v1", "RECORD", carried_out).status == 201
    for lot in ("REWORKED", "ANEW", "OVER", "PARTS", "RECORD"):
        assert plant.send("lot.consumed.v1", lot, {"quantity": ea(10), "order": "MO-1"}).status == 201

    def again(lot: str) -> None:
        assert plant.send("reinspection.requested.v1", lot, {"reason": {"code": "DOUBT"}}).status == 201

    for lot in ("REWORKED", "OVER", "RECORD"):
        again(lot)
        plant.inspect(lot, *["75.000"] * 5)
    rework = {"decision": "rework", "reason": {"code": "MRB"}}
    assert plant.send("lot.dispositioned.v1", "REWORKED", rework).status == 201
    assert used_as_is(plant, "OVER", number="C-8").status == 201
    assert plant.send("lot.consumed.v1", "OVER", {"quantity": ea(5), "order": "MO-1"}).status == 201
    again("ANEW")
    plant.send("lot.split.v1", "PARTS", {"children": [{"lot": "PARTS.1", "quantity": ea(15)}]})
    plant.send("lot.repacked.v1", "PARTS.1", {"into": [{"lot": "BOX", "quantity": ea(2, "box"), "used": ea(5)}]})
    plant.send("lot.merged.v1", "ALL", {"parts": [{"lot": "PARTS", "quantity": ea(5)}, {"lot": "PARTS.1"}]})
    again("ALL")
    plant.agree()
    for lot in ("BACK", "SHIPPED"):
        assert plant.send("lot.shipped.v1", lot, {"shipment": f"S-{lot}", "customer": "BOLT-CO"}).status == 201
    assert plant.send("lot.returned.v1", "BACK", {"rma": "R-1", "quantity": ea(20)}).status == 201
    old = from_before()
    assert uses(store) == {"REWORKED": "10", "ANEW": "10", "OVER": "10", "RECORD": "10", "BACK": "30", "SHIPPED": "50",
                           "PARTS": "30", "BOX": "5"}  # fmt: skip
    assert uses(old) == uses(store)
    assert totals(old) == totals(store) == {("C-7", "ea"): ("155", "500"), ("C-8", "ea"): ("40", "100")}


@pytest.mark.parametrize(
    ("said", "permitted"),
    [(["100", "100.0", "100.00"], "100"), (["100", "150", "80"], "80"), ([None, "90", None], "90"), ([None] * 3, None)],
)
def test_limits_of_before_are_compared_as_numbers_and_the_smallest_holds(
    plant: Any, store: Store, from_before: Callable[..., Store], said: list[str | None], permitted: str | None
) -> None:
    for lot, limit in zip("ABC", said, strict=True):
        rejected(plant, lot, "20")
        # The release before knew no ``amends``: each lot said its limit as it liked.
        limited = {"quantity": None} if limit is None else {"quantity": ea(limit), "amends": "said so then"}
        assert used_as_is(plant, lot, **limited).status == 201
    ((key, (used, limit)),) = totals(from_before()).items()
    assert (key, used) == (("C-7", "ea"), "60")
    assert (None if limit is None else Decimal(limit)) == (None if permitted is None else Decimal(permitted))


def test_what_is_in_the_archive_counts_with_all_that_was_consumed_of_it(
    plant: Any, store: Store, from_before: Callable[..., Store]
) -> None:
    for lot in ("GONE", "HERE"):
        rejected(plant, lot, "30", plant="NORTH")
        assert used_as_is(plant, lot).status == 201
        for amount in (10, 20):
            plant.send("lot.consumed.v1", lot, {"quantity": ea(amount), "order": "MO-1"})
    old = from_before("GONE")
    assert totals(old) == totals(store) == {("C-7", "ea"): ("60", "100")}
    assert uses(old) == {"GONE": "30", "HERE": "30"}
    assert read_used_in(old, "C-7", ["NORTH"]) == {"ea": Decimal(60)}
