"""Traces find all that was touched, once, whatever came first."""

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import StaticPool, create_engine, insert, text

from engine import tracing
from engine.errors import NotFound
from engine.store import migrate
from engine.store.opening import Store
from engine.store.schema import lots as schema
from engine.tracing import Genealogy
from tests.databases import new_store

_INTO = text("INSERT INTO links VALUES (:lot, 1, :number, 'input', :parent, :child, '1', 'ea')")


def produce(plant: Any, lot: str, order: str, *inputs: str) -> Any:
    amount = {"value": "5", "unit": "ea"}
    return plant.send("lot.produced.v1", lot, {
        "item": "RING-74", "revision": "A", "quantity": amount, "order": order, "confirmation": f"C-{lot}",
        "inputs": [{"lot": name, "quantity": amount} for name in inputs],
    })  # fmt: skip


def consume(plant: Any, lot: str, order: str) -> Any:
    data = {"quantity": {"value": "5", "unit": "ea"}, "order": order, "confirmation": f"K-{lot}-{order}"}
    return plant.send("lot.consumed.v1", lot, data)


def released(plant: Any, lot: str) -> None:
    plant.receive(lot)
    plant.inspect(lot, *["74.000"] * 5)
    plant.send("lot.released.v1", lot, {})
    plant.agree()


def ids(trace: Any) -> list[tuple[str, int]]:
    return [(node.id, node.depth) for node in trace.nodes]


def test_what_an_order_consumed_went_into_what_it_produced_whichever_was_reported_first(plant: Any, store: Store) -> None:
    released(plant, "RAW-1")
    produce(plant, "FIRST", "MO-1")
    assert consume(plant, "RAW-1", "MO-1").outcome == "applied"
    produce(plant, "SECOND", "MO-1")
    genealogy = Genealogy(store)
    forward = genealogy.trace(["RAW-1"], "forward")
    assert ids(forward) == [("RAW-1", 0), ("MO-1", 1), ("FIRST", 2), ("SECOND", 2)]
    assert [(link.kind, link.parent, link.child, link.quantity) for link in forward.links] == [
        ("consume", "lot:RAW-1", "order:MO-1", "5"),
        ("produce", "order:MO-1", "lot:FIRST", "5"),
        ("produce", "order:MO-1", "lot:SECOND", "5"),
    ]
    assert ids(genealogy.trace(["SECOND"], "backward")) == [("SECOND", 0), ("MO-1", 1), ("RAW-1", 2)]


def test_inputs_are_links_also_before_they_have_come_themselves(plant: Any, store: Store) -> None:
    produce(plant, "P-1", "MO-1", "LATE")
    trace = Genealogy(store).trace(["P-1"], "backward")
    assert [(node.id, node.kind, node.known) for node in trace.nodes] == [
        ("P-1", "lot", True), ("MO-1", "order", True), ("LATE", "lot", False)
    ]  # fmt: skip
    plant.receive("LATE")
    late = Genealogy(store).trace(["LATE"], "forward").nodes
    assert [(node.id, node.known, node.state) for node in late] == [
        ("LATE", True, "quarantined"), ("P-1", True, "quarantined")
    ]  # fmt: skip


def test_parts_of_a_lot_and_what_was_shipped_are_found_with_their_customers(plant: Any, store: Store) -> None:
    released(plant, "L1")
    part = {"lot": "L1.A", "quantity": {"value": "40", "unit": "ea"}}
    plant.send("lot.split.v1", "L1", {"children": [part]})
    plant.agree()
    shipped = plant.send("lot.shipped.v1", "L1.A", {"shipment": "S-1", "customer": "BOLT-CO"})
    assert shipped.outcome == "applied"
    trace = Genealogy(store).trace(["L1"], "forward")
    assert [(n.id, n.state, n.quantity, n.customer, n.shipment) for n in trace.nodes] == [
        ("L1", "released", "60", None, None), ("L1.A", "shipped", "40", "BOLT-CO", "S-1")
    ]  # fmt: skip


def test_a_refused_attempt_makes_no_link(plant: Any, store: Store) -> None:
    plant.receive("L1")
    assert consume(plant, "L1", "MO-1").outcome != "applied"
    assert Genealogy(store).trace(["L1"], "forward").links == []


def test_a_lot_that_nobody_knows_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no lot NEVER"):
        Genealogy(store).trace(["NEVER"], "forward")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pairs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40),
    start=st.integers(0, 12), forward=st.booleans(),
)  # fmt: skip
def test_a_trace_is_exactly_what_can_be_reached_with_cycles_too(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]], start: int, forward: bool
) -> None:
    store = new_store(tmp_path_factory.mktemp("trace"))
    with store.engine.begin() as connection:
        for number, (parent, child) in enumerate(pairs):
            row = {"lot": "x", "number": number, "parent": f"lot:{parent}", "child": f"lot:{child}"}
            connection.execute(_INTO, row)
    expected, level, depth = {start: 0}, {start}, 0
    ends = pairs if forward else [(child, parent) for parent, child in pairs]
    while level:
        depth += 1
        level = {child for parent, child in ends if parent in level and child not in expected}
        expected |= dict.fromkeys(level, depth)
    if not any(parent == start for parent, _ in ends):
        store.close()
        return
    trace = Genealogy(store).trace([str(start)], "forward" if forward else "backward")
    store.close()
    assert {int(node.id): node.depth for node in trace.nodes} == expected
    assert len(trace.links) == sum(parent in expected for parent, _ in ends)
    assert trace.truncated is None


@pytest.mark.parametrize(("limit", "why"), [({"depth": 3}, "depth"), ({"nodes": 4}, "nodes"), ({"seconds": 0}, "time")])
def test_a_trace_that_is_cut_short_says_so(store: Store, limit: dict[str, Any], why: str) -> None:
    with store.engine.begin() as connection:
        for n in range(10):
            connection.execute(_INTO, {"lot": "x", "number": n, "parent": f"lot:{n}", "child": f"lot:{n + 1}"})
    trace = Genealogy(store).trace(["0"], "forward", **limit)
    assert trace.truncated == why
    assert len(trace.nodes) <= 5
    assert Genealogy(store).trace(["0"], "forward", depth=10).truncated is None


def test_links_of_old_journals_are_made_up_as_they_would_have_been_made(plant: Any, store: Store) -> None:
    released(plant, "RAW-1")
    consume(plant, "RAW-1", "MO-1")
    produce(plant, "P-1", "MO-1", "RAW-2")
    plant.send("lot.split.v1", "P-1", {"children": [{"lot": "P-1.A", "quantity": {"value": "2", "unit": "ea"}}]})
    with store.reads.connect() as connection:
        stored = {tuple(row) for row in connection.execute(text("SELECT * FROM links"))}
        rows = connection.execute(text("SELECT lot, version, type, data FROM journal WHERE kind <> 'refusal'")).all()
    path = Path(migrate.__file__).parent / "migrations" / "versions" / "0006_genealogy.py"
    spec = importlib.util.spec_from_file_location("revision_6", path)
    assert spec is not None
    assert spec.loader is not None
    revision = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(revision)
    made_up = {
        (link["lot"], link["version"], link["number"], link["kind"], link["parent"], link["child"], link["quantity"],
         link["unit"])
        for row in rows if row.type in revision.TYPES
        for link in revision._links(row.lot, row.version, row.type, json.loads(row.data))
    }  # fmt: skip
    assert made_up == stored
    assert len(stored) == 4


_PAIR = st.tuples(st.integers(0, 29), st.integers(1, 30)).map(lambda pair: (pair[0], min(30, sum(pair))))
_SOME = st.lists(_PAIR, min_size=40, max_size=120)


@settings(max_examples=60, deadline=None)
@given(_SOME, st.integers(1, 34), st.sampled_from(["forward", "backward"]), st.integers(1, 3))
def test_a_trace_that_is_cut_short_has_every_link_between_what_it_shows(
    pairs: list[tuple[int, int]], most: int, direction: Any, first: int
) -> None:
    """However little of the links below a level is read for it."""
    # Several at the first step, so that some of a level is not read.
    wide = [(0, child) for child in range(1, 7)] + [(parent, 30) for parent in range(24, 30)]
    links = [(f"lot:{parent}", f"lot:{child}") for parent, child in (*pairs, *wide)]
    store = Store(create_engine("sqlite://", poolclass=StaticPool), None, Path())
    with store.engine.begin() as connection:
        schema.links.create(connection)
        schema.lots.create(connection)
        rows = [{"lot": "x", "version": 1, "number": n, "kind": "input", "parent": parent, "child": child,
                 "quantity": "1", "unit": "ea"} for n, (parent, child) in enumerate(links)]  # fmt: skip
        connection.execute(insert(schema.links), rows)
    start = "0" if direction == "forward" else "30"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "FIRST_LOOK", first)
        trace = Genealogy(store).trace([start], direction, nodes=most)
    everything = [(row["parent"], row["child"]) for row in rows]
    ahead: dict[str, set[str]] = {}
    for parent, child in everything:
        near, far = (parent, child) if direction == "forward" else (child, parent)
        ahead.setdefault(near, set()).add(far)
    reached, level = {f"lot:{start}"}, {f"lot:{start}"}
    while level := {far for near in level for far in ahead.get(near, ())} - reached:
        reached |= level
    depths = {f"lot:{node.id}": node.depth for node in trace.nodes}
    assert len(depths) == min(most, len(reached))
    assert (trace.truncated == "nodes") == (len(reached) > most)
    shown = Counter((edge.parent, edge.child) for edge in trace.links)
    inside = Counter(pair for pair in everything if pair[0] in depths and pair[1] in depths)
    deepest = max(depths.values()) + (trace.truncated is None)
    side = 0 if direction == "forward" else 1
    assert not shown - inside
    assert not Counter({pair: n for pair, n in inside.items() if depths[pair[side]] < deepest}) - shown
    store.close()
