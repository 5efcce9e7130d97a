"""What people look for and what waits, on both databases: found by what they have, counted by age, in pages."""

from datetime import timedelta
from typing import Any

from engine.clock import instant
from engine.sessions import IDLE, LONGEST, Sessions
from engine.store.backlog import Backlog
from engine.store.opening import Store
from engine.store.reading import Reading


def ids(found: list[Any]) -> list[str]:
    return [line.id for line in found]


def test_a_search_finds_by_beginning_item_supplier_and_order_in_pages(plant: Any, store: Store) -> None:
    for name in ("A-1", "a-2", "B-1", "B_1", "B%1", "Ä-1"):
        plant.released(name)
    reading = Reading(store)
    assert ids(reading.search("B-")) == ["B-1"]
    assert ids(reading.search("B_")) == ["B_1"]
    assert ids(reading.search("B%")) == ["B%1"]
    assert ids(reading.search("b-1")) == ["B-1"]
    assert ids(reading.search("Ä")) == ["Ä-1"]
    assert set(ids(reading.search("a-"))) == {"A-1", "a-2"}
    whole = ids(reading.search("RING-74"))
    assert len(whole) == 6
    paged: list[str] = []
    while page := ids(reading.search("ring-74", after=paged[-1] if paged else "", limit=2)):
        paged += page
    assert paged == whole
    assert reading.search("nothing like it") == []


def test_lots_wait_since_they_came_into_their_state(plant: Any, store: Store, clock: Any) -> None:
    for name in ("OLD", "NEW"):
        plant.released(name)
        clock.forward(3600)
    backlog, now = Backlog(store), clock()
    edges = [instant(now - timedelta(minutes=90))]
    assert backlog.ages(["released"], edges) == [1, 1]
    first, second = backlog.oldest("released")
    assert (first.id, second.id) == ("OLD", "NEW")
    assert ids(backlog.oldest("released", after=(first.state_since, first.id))) == ["NEW"]
    assert ids(backlog.oldest("released", limit=1)) == ["OLD"]
    plant.hold("OLD", "H-1")
    since = backlog.oldest("blocked")[0].state_since
    clock.forward(60)
    plant.hold("OLD", "H-2")
    assert backlog.oldest("blocked")[0].state_since == since
    assert [h.hold for h in backlog.holds(["OLD", "NEW"])["OLD"]] == ["H-1", "H-2"]
    assert backlog.ages(["released", "blocked"], edges) == [2, 0]


def test_a_session_stands_until_it_is_idle_over_or_ended(store: Store, clock: Any) -> None:
    sessions = Sessions(store, clock)
    token, first = sessions.begin("k")
    _, second = sessions.begin("k")
    assert token not in str(first)
    clock.forward(IDLE.total_seconds() / 2)
    sessions.seen(first.token_hash)
    clock.forward(IDLE.total_seconds() / 2)
    assert [s.token_hash for s in sessions.standing()] == [first.token_hash]
    for _ in range(int(LONGEST / IDLE) * 2):
        sessions.seen(first.token_hash)
        clock.forward(IDLE.total_seconds() / 2)
    assert sessions.standing() == []
    _, third = sessions.begin("k")
    sessions.end(third.token_hash)
    assert sessions.standing() == []
    assert second.token_hash != third.token_hash
