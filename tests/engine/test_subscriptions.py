"""Subscriptions are owed every entry, oldest first, and get in nobody's way. On both databases."""

from pathlib import Path
from typing import Any

import pytest

from engine.errors import NotFound, SettingInvalid
from engine.ledger import Ledger
from engine.settings import load_settings
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.subscriptions import KEY_FILE, Subscriptions, derived, signing_key, signing_secrets


@pytest.fixture
def known(store: Store, clock: Any) -> Subscriptions:
    return Subscriptions(store, clock)


def test_every_entry_is_owed_oldest_first_and_none_is_superseded(
    store: Store, known: Subscriptions, plant: Any, clock: Any
) -> None:
    ledger = Ledger(store, clock)
    line = known.add("https://mes.example/in", "MES", (), "pat")
    only = known.add("https://qms.example/in", "QMS", ("hold.applied.v1",), "pat")
    plant.receive("A")
    plant.hold("A", "H")
    plant.receive("B")
    owed = [(d.lot, d.version) for d in ledger.lines(target=line.id)]
    assert owed == [(e.lot, e.version) for lot in ("A", "B") for e in Reading(store).journal(lot)]
    assert [d.version for d in ledger.lines(target=only.id)] == [3]
    told: list[tuple[str, int]] = []
    while claimed := ledger.claim(line.id, "w", 9, 30):
        assert len({d.lot for d in claimed}) == len(claimed), "one in flight per lot"
        told += [(d.lot, d.version) for d in claimed]
        assert ledger.claim(line.id, "other", 9, 30) == []
        ledger.complete_many(claimed)
    assert sorted(told) == sorted(owed)
    assert [version for lot, version in told if lot == "A"] == [1, 2, 3]
    assert [one.target for one in ledger.acknowledged("A")] == ["erp", "wms"]


def test_a_dead_entry_lets_the_next_ones_go_and_can_be_replayed(
    store: Store, known: Subscriptions, plant: Any, clock: Any
) -> None:
    ledger = Ledger(store, clock)
    line = known.add("https://mes.example/in", "MES", (), "pat")
    plant.receive("A")
    [first] = ledger.claim(line.id, "w", 9, 30)
    ledger.dead(first, "unreadable")
    [second] = ledger.claim(line.id, "w", 9, 30)
    assert (first.version, second.version) == (1, 2)
    ledger.complete(second)
    assert ledger.replay(target=line.id) == 1
    assert [d.version for d in ledger.claim(line.id, "w", 9, 30)] == [1]


def test_what_came_while_it_was_disabled_is_made_up_for(
    store: Store, known: Subscriptions, plant: Any, clock: Any
) -> None:
    ledger = Ledger(store, clock)
    line = known.add("https://mes.example/in", "MES", (), "pat")
    clock.forward(1)
    plant.receive("A")
    clock.forward(1)
    assert known.disable(line.id, "month-end")
    assert not known.disable(line.id, "again")
    clock.forward(1)
    plant.hold("A", "H")
    assert len(ledger.lines(target=line.id)) == 2
    assert known.enable(line.id).disabled_at is None
    assert [d.version for d in ledger.lines(target=line.id)] == [1, 2, 3]
    assert known.make_up() == 0
    known.remove(line.id)
    assert {d.state for d in ledger.lines(target=line.id)} == {"superseded"}
    plant.hold("A", "H2")
    assert len(ledger.lines(target=line.id)) == 3
    with pytest.raises(NotFound):
        known.get(line.id)


def test_secrets_are_derived_and_the_database_has_none(known: Subscriptions, clock: Any) -> None:
    line = known.add("https://mes.example/in", "MES", (), "pat")
    assert signing_secrets(b"key", line, clock()) == [derived(b"key", line.id, 1)]
    assert derived(b"key", line.id, 1) != derived(b"other", line.id, 1)
    rotated = known.rotate(line.id, 60)
    assert signing_secrets(b"key", rotated, clock()) == [derived(b"key", line.id, 2), derived(b"key", line.id, 1)]
    clock.forward(61)
    assert signing_secrets(b"key", rotated, clock()) == [derived(b"key", line.id, 2)]


def test_the_key_is_made_once_and_must_be_set_where_hosts_share_a_database(tmp_path: Path) -> None:
    alone = load_settings({"LOTGATE_HOME": str(tmp_path)})
    assert signing_key(alone) == signing_key(alone)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    shared = {"LOTGATE_HOME": str(tmp_path), "LOTGATE_DATABASE_URL": "postgresql://db/lotgate"}
    with pytest.raises(SettingInvalid, match="LOTGATE_WEBHOOK_KEY"):
        signing_key(load_settings(shared))
    assert signing_key(load_settings(shared | {"LOTGATE_WEBHOOK_KEY": "x"})) != signing_key(alone)
