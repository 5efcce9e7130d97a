"""What an older version wrote is read for ever: a database of version 0.1, and types that were followed by others."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.webhooks import message
from api.console.words import sentence
from engine.as_of import lot_as_of
from engine.audit import Audits, verify_archive
from engine.checkpoints import signer_of
from engine.clock import system_clock
from engine.consequences import JOURNAL_TYPES, decode_data
from engine.feed import START, Feed, Interest
from engine.history import decisions_of
from engine.journal import Entry, VerifyReport, entry_hash, fold, verify
from engine.lot import decode_lot
from engine.rulesets import RuleSets
from engine.settings import Settings
from engine.store.migrate import migrate
from engine.store.opening import Store, open_store
from engine.store.reading import Reading
from engine.store.recalls import quantities
from engine.tracing import Genealogy
from engine.track_record import count
from engine.upcasts import UPCASTS, Upcast, current, newest

JOURNALS = Path(__file__).parents[1] / "data" / "journals"
SAMPLES = sorted(JOURNALS.glob("*.sql"))
#: Receipts once had their quantity as one text; inspections were first called measurings, then had no list.
OLD = {
    "lot.received.v0": "lot.received.v1",
    "lot.measured.v0": "inspection.recorded.v1",
}


def load(sample: Path, home: Path) -> None:
    connection = sqlite3.connect(home / "lotgate.db")
    connection.executescript(sample.read_text())
    connection.close()


def opened(home: Path) -> Store:
    store = open_store("", home)
    migrate(store)
    return store


@pytest.fixture(params=SAMPLES, ids=lambda path: path.name)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    load(request.param, tmp_path)
    store = opened(tmp_path)
    yield store
    store.close()


def entries_of(store: Store, lot: str) -> list[Entry]:
    return Reading(store).journal(lot, limit=500)


def verified(store: Store) -> VerifyReport:
    return verify(Reading(store).journals())


# -- databases that older versions left behind ----------------------------------------------------------------------


def test_every_reader_reads_what_an_older_version_wrote(sample: Store) -> None:
    report = verified(sample)
    assert report.intact, report.breaks
    assert report.entries >= 40
    changes = [change for _, change in Feed(sample).after(START, 500)]
    assert len(changes) == report.entries
    reading = Reading(sample)
    for line in reading.lots(limit=500):
        entries = entries_of(sample, line.id)
        assert fold(entries) == reading.lot(line.id)
        assert lot_as_of(reading, line.id, entries[-1].recorded_at).lot == reading.lot(line.id)
        assert all(sentence(entry) for entry in entries)
        assert exported(sample, line.id) == []
        assert [past.version for past in decisions_of(sample, UTC, line.id)] == [
            entry.version for entry in entries if b'"gate"' in entry.evidence.encode()
        ]
    assert "S-INPUT" in {node.id for node in Genealogy(sample).trace(["S-MADE"], "backward").nodes}
    assert quantities(sample, ["S-CHILD", "S-SPLIT"])[0]["S-CHILD"].parent == "S-SPLIT"
    assert count(sample) > 0


def test_a_sample_has_what_lots_live_through() -> None:
    assert SAMPLES
    text = "".join(path.read_text() for path in SAMPLES)
    lived = ("lot.received.v1", "lot.produced.v1", "inspection.recorded.v1", "lot.split_off.v1", "lot.shipped.v1", "hold.lifted.v1")
    assert all(f"'{kind}'" in text for kind in lived)
    assert "'refusal'" in text


# -- types that were followed by others -----------------------------------------------------------------------------


def _receipt(block: dict[str, Any]) -> dict[str, Any]:
    value, unit = block.pop("amount").split(" ")
    return block | {"quantity": {"value": value, "unit": unit}}


def _measured(block: dict[str, Any]) -> dict[str, Any]:
    return {"inspection": block["number"], "of": block["values"]}


def _listed(block: dict[str, Any]) -> dict[str, Any]:
    lines = [{"characteristic": "diameter", "unit": "mm", "sample": n, "value": v} for n, v in enumerate(block["of"], 1)]
    return {"inspection": block["inspection"], "measurements": lines}


@pytest.fixture
def upcasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTS, "lot.received.v0", Upcast("lot.received.v1", _receipt))
    monkeypatch.setitem(UPCASTS, "lot.measured.v0", Upcast("inspection.recorded.v0", _measured))
    monkeypatch.setitem(UPCASTS, "inspection.recorded.v0", Upcast("inspection.recorded.v1", _listed))


def _aged(type_: str, data: str) -> tuple[str, str]:
    """An entry's type and block as the oldest version would have written them."""
    block = json.loads(data)
    if type_ == "lot.received.v1":
        quantity = block.pop("quantity")
        return "lot.received.v0", json.dumps(block | {"amount": f"{quantity['value']} {quantity['unit']}"})
    if type_ == "inspection.recorded.v1":
        values = [line["value"] for line in block["measurements"]]
        return "lot.measured.v0", json.dumps({"number": block["inspection"], "values": values})
    return type_, data


def _age(home: Path) -> None:
    """Make the journal what it would be, had the oldest version written it: types, blocks and hashes."""
    names = ", ".join(f'"{name}"' for name in Entry.__struct_fields__)
    connection = sqlite3.connect(home / "lotgate.db")
    connection.executescript("DROP TRIGGER journal_no_update; DROP TRIGGER journal_no_delete;")
    heads: dict[str, str] = {}
    for row in connection.execute(f"SELECT {names} FROM journal ORDER BY lot, version").fetchall():
        entry = Entry(*row)
        type_, data = _aged(entry.type, entry.data)
        before = heads.get(entry.lot, entry.prev_hash)
        old = msgspec.structs.replace(entry, type=type_, data=data, prev_hash=before)
        heads[entry.lot] = entry_hash(old)
        connection.execute(
            "UPDATE journal SET type = ?, data = ?, prev_hash = ?, hash = ? WHERE lot = ? AND version = ?",
            (type_, data, before, heads[entry.lot], entry.lot, entry.version),
        )
    for lot, snapshot in connection.execute("SELECT id, snapshot FROM lots").fetchall():
        aged = msgspec.structs.replace(decode_lot(snapshot), head=heads[lot])
        connection.execute("UPDATE lots SET snapshot = ? WHERE id = ?", (msgspec.json.encode(aged).decode(), lot))
    connection.commit()
    connection.close()


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[Store]:
    load(JOURNALS / "0.1.sql", tmp_path)
    _age(tmp_path)
    store = opened(tmp_path)
    yield store
    store.close()


def test_a_type_that_nobody_can_read_is_named(aged: Store) -> None:
    report = verified(aged)
    assert len(report.breaks) == 7, 'every lot that was received'
    assert "lot.received.v0" in report.breaks[0].problem


def test_every_reader_reads_types_that_were_followed_by_others(aged: Store, upcasts: None, tmp_path: Path) -> None:
    report = verified(aged)
    assert report.intact, report.breaks
    reading = Reading(aged)
    stored = {entry.type for line in reading.lots(limit=500) for entry in entries_of(aged, line.id)}
    assert set(OLD) <= stored
    assert not set(OLD.values()) & stored
    changes = [change for _, change in Feed(aged).after(START, 500)]
    assert {change.type for change in changes} <= set(JOURNAL_TYPES)
    for old, new in OLD.items():
        by_old, by_new = ([c.id for c in changes if Interest(type=name).takes(c)] for name in (old, new))
        assert by_old == by_new != []
    first = next(change for change in changes if change.type == "lot.received.v1")
    assert json.loads(bytes(first.data))["quantity"] == {"value": "100", "unit": "ea"}
    entry = entries_of(aged, "S-RELEASED")[0]
    assert sentence(entry).startswith("Received")
    told = json.loads(message(entry))
    assert (told["type"], told["data"]["hash"]) == ("lot.received.v1", entry.hash)
    assert lot_as_of(reading, "S-RELEASED", entry.recorded_at).lot.quantity == 100
    assert decisions_of(aged, UTC, "S-RELEASED")
    assert count(aged) > 0
    assert exported(aged, "S-RELEASED") == []


def exported(store: Store, lot: str) -> list[str]:
    """What is wrong with the evidence of a lot, as an auditor sees it."""
    with tempfile.TemporaryDirectory() as home:
        audits = Audits(store, system_clock, RuleSets(store, system_clock), signer_of(Settings(home=Path(home))))
        return verify_archive(audits.export(lot, "auditor")).problems


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str)))
def test_what_is_still_written_is_read_as_it_stands(block: dict[str, Any]) -> None:
    data = json.dumps(block).encode()
    for type_ in ("lot.received.v1", "no.such.v1"):
        assert current(type_, data) == (type_, data)
        assert newest(type_) == type_


def test_numbers_stay_exact_on_their_way_through_an_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPCASTS, "a.v0", Upcast("a.v1", lambda block: {"b": block["a"]}))
    assert current("a.v0", b'{"a":0.10000000000000000555}') == ("a.v1", b'{"b":0.10000000000000000555}')


def test_no_line_leads_in_a_circle_or_away_from_what_is_read() -> None:
    for old in UPCASTS:
        assert newest(old) in JOURNAL_TYPES
        assert old not in JOURNAL_TYPES
        with pytest.raises(KeyError):
            decode_data("no.such.v1", b"{}")
