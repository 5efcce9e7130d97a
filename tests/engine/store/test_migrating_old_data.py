"""A plant that ran on an older schema goes on: nothing is lost, and what is new reads what is old."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import inspect, text

from engine.family import pass_holds_on
from engine.journal import verify
from engine.order_readiness import OrderReadinesses
from engine.ownership import owners_of
from engine.recalls import Recalls, Selection
from engine.reference import References, Wanted
from engine.store import migrate as migrations
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from engine.tracing import Genealogy
from engine.upkeep import retest_lots
from tests.engine.conftest import Plant
from tests.engine.test_genealogy import consume, produce, released

#: The revision that the old plant ran on.
OLD = "0013"
#: Tables whose rows are numbered as they come.
NUMBERED = {"journal": "position", "events": "position", "deliveries": "id", "reference": "position", "escalations": "id", "spreading": "id"}
#: Tables that a migration itself fills.
BORN_WITH_ROWS = ("alembic_version", "commit_offset", "track_position")
PLAN = {
    "item": "RING-74", "characteristics": [{"characteristic": "diameter", "unit": "mm", "lower": "73.95", "upper": "74.05",
                                            "sample_size": 5}],
}  # fmt: skip


@pytest.fixture
def old(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Another database of the same kind, at the old revision."""
    from alembic import command

    url = "" if not database_url else str(request.getfixturevalue("empty_postgres")())
    opened = open_store(url, tmp_path / "old")
    with opened.engine.begin() as connection:
        command.upgrade(migrations._config(connection), OLD)
    yield opened
    opened.close()


@pytest.fixture
def references(plant: Any, store: Store, clock: Any, rulebook: Any) -> References:
    return References(store, clock, lambda: rulebook.vocabulary, owners_of("", {}))


def lived(plant: Any, references: References) -> None:
    """What a plant did: lots in every state, families, holds, early events, plans."""
    references.put("inspection-plan", "IP-74", Wanted(date(2026, 1, 1), raw(PLAN | {"supplier": "NORDRING"})), "qms")
    references.put("inspection-plan", "IP-74", Wanted(date(2026, 6, 1), raw(PLAN | {"supplier": "NORDRING", "revision": "A"})), "qms")
    released(plant, "RAW-1")
    consume(plant, "RAW-1", "MO-1")
    produce(plant, "DONE-1", "MO-1", "RAW-1")
    plant.receive("HELD", plant="P1")
    plant.hold("HELD", "H-1")
    plant.hold("EARLY", "H-2")
    plant.receive("RETEST", retest_on="2026-11-01", expires_on="2027-05-01")
    plant.receive("PLANNED", supplier="NORDRING", retest_on="2027-03-01")
    released(plant, "SHIPPED")
    plant.agree()
    plant.send("lot.shipped.v1", "SHIPPED", {"shipment": "S-1", "customer": "BOLT-CO"})
    plant.send("lot.split.v1", "RAW-1", {"children": [{"lot": "RAW-1.A", "quantity": {"value": "40", "unit": "ea"}}]})
    pass_holds_on(plant.store, plant.pipeline)


def raw(value: Any) -> Any:
    return msgspec.Raw(json.dumps(value).encode())


def move_over(new: Store, old: Store) -> None:
    """The rows of ``new`` as the old release would have kept them."""
    with new.reads.connect() as source, old.engine.begin() as target:
        tables = [name for name in inspect(target).get_table_names() if name not in BORN_WITH_ROWS]
        for table in tables:
            numbered = NUMBERED.get(table)
            columns = [c["name"] for c in inspect(target).get_columns(table) if c["name"] not in (numbered, "commit_order")]
            names = ", ".join(f'"{name}"' for name in columns)
            order = f" ORDER BY {numbered}" if numbered else ""
            rows = [dict(zip(columns, row, strict=True)) for row in source.execute(text(f"SELECT {names} FROM {table}{order}"))]
            if not rows:
                continue
            values = ", ".join(f":{name}" for name in columns)
            target.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), [older(table, row) for row in rows])


def older(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Without what the old release did not write."""
    if table == "lots":
        snapshot = {k: v for k, v in json.loads(row["snapshot"]).items() if k not in ("retest", "packaging", "handling_units", "parts")}
        return row | {"snapshot": json.dumps(snapshot, separators=(",", ":"))}
    if table == "deliveries":
        payload = {k: v for k, v in json.loads(row["payload"]).items() if k != "expires_on"}
        return row | {"payload": json.dumps(payload)}
    return row


def shown(store: Store) -> dict[str, Any]:
    """What people see of every lot."""
    reading = Reading(store)
    with store.reads.connect() as connection:
        ids = sorted(str(row[0]) for row in connection.execute(text("SELECT id FROM lots")))
    return {lot: (reading.lot(lot), [e.hash for e in reading.journal(lot)], reading.results(lot)) for lot in ids}


def count_of(store: Store) -> dict[str, int]:
    with store.reads.connect() as connection:
        tables = ("lots", "journal", "events", "results", "holds", "links", "deliveries", "parked", "reference")
        return {t: connection.execute(text(f"SELECT count(*) FROM {t}")).scalar_one() for t in tables}


def test_everything_old_is_there_and_read_by_what_is_new(
    plant: Any, store: Store, old: Store, clock: Any, rulebook: Any, judge: Any, references: References
) -> None:
    lived(plant, references)
    move_over(store, old)
    migrations.migrate(old)
    migrations.check(old)

    assert count_of(old) == count_of(store)
    assert shown(old) == shown(store)
    assert verify(Reading(old).journals()).intact
    with old.reads.connect() as connection:
        days = dict(connection.execute(text("SELECT id, retest_on FROM lots WHERE retest_on IS NOT NULL")).all())
    assert days == {"RETEST": "2026-11-01", "PLANNED": "2027-03-01"}
    assert {n.id for n in Genealogy(old).trace(["RAW-1"], "forward").nodes} == {"RAW-1", "MO-1", "DONE-1", "RAW-1.A"}

    kept = References(old, clock, lambda: rulebook.vocabulary, owners_of("", {}))
    assert [(r.revision, r.confirmed_at) for r in kept.revisions("inspection-plan", "IP-74")] == [(1, None), (2, None)]
    again = Wanted(date(2026, 6, 1), raw(PLAN | {"supplier": "NORDRING", "revision": "A"}))
    assert kept.put("inspection-plan", "IP-74", again, "qms").outcome == "unchanged", "the digests of old records stand"
    assert kept.revisions("inspection-plan", "IP-74")[1].confirmed_at is not None

    going = Plant(old, judge, rulebook, clock)
    try:
        going._number = 1_000
        goes_on(going, old, clock, kept, rulebook)
    finally:
        going.pipeline.stop()


def goes_on(plant: Any, store: Store, clock: Any, references: References, rulebook: Any) -> None:
    """Old lots do what only the new release knows."""
    reading = Reading(store)
    assert retest_lots(store, plant.pipeline, clock, date(2026, 11, 23)) == 1
    assert (reading.lot("RETEST").state, reading.lot("RETEST").retest, reading.lot("RETEST").retest_on) == ("quarantined", "asked", None)
    assert retest_lots(store, plant.pipeline, clock, date(2026, 11, 23)) == 0, "the day comes once"
    plant.receive("EARLY")
    assert [h.hold for h in reading.lot("EARLY").holds] == ["H-2"], "what waited then is met now"
    order = {"customer": "BOLT-CO", "status": "releasable",
             "lines": [{"line": "10", "item": "RING-74", "quantity": {"value": "40", "unit": "ea"}}]}  # fmt: skip
    part = {"lines": [{"line": "10", "lot": "RAW-1.A", "quantity": {"value": "40", "unit": "ea"}}]}
    references.put("order", "SO-1", Wanted(date(2026, 11, 1), raw(order)), "erp")
    references.put("customer", "BOLT-CO", Wanted(date(2026, 1, 1), raw({})), "erp")
    references.put("allocation", "SO-1", Wanted(date(2026, 11, 1), raw(part)), "wms")
    plant.agree()
    ready = OrderReadinesses(store, clock).of("SO-1", rulebook, "tester", date(2026, 11, 23))
    assert (ready.readiness.value, [a.rule for a in ready.against]) == ("ready", []), ready
    merged = {"parts": [{"lot": "RAW-1"}, {"lot": "RAW-1.A"}]}
    assert plant.send("lot.merged.v1", "TOGETHER", merged).outcome == "applied"
    (line,) = [x for x in Recalls(store, clock).preview(Selection(lots=["RAW-1"])).balance if x.made == 100 or x.made == 105]
    assert line.unaccounted == 0
    assert plant.send("lot.returned.v1", "SHIPPED", {"rma": "R-1", "quantity": {"value": "100", "unit": "ea"}}).outcome == "applied"
    assert verify(reading.journals()).intact
