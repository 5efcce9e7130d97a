"""What lots' inspections add up to: each counted once, whatever happens to whoever counts, and seen by rules."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from engine.explaining import explain
from engine.pipeline import Pipeline
from engine.quality.scorecard import Scorecard
from engine.store import track_record as stored
from engine.store.opening import Store
from engine.track_record import count
from engine.tracks import card_of, pair_of, series_of
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

SPC = """\
rulefile: 1
owner: Quality Engineering
reference: SOP-SPC-003
rules:
  - id: IN-CONTROL
    title: No lot beyond three standard errors on a chart of at least 10 lots
    gate: [release]
    severity: block
    rationale: SOP-SPC-003
    require:
      - every: chart
        where: [chart.lots >= 10]
        check: [chart.nelson_1 = no]
    message: "{chart.characteristic} = {chart.value}, limits {chart.lower} to {chart.upper}"
  - id: SUPPLIER-TRUSTED
    title: Not more than half of a supplier's lots were rejected
    gate: [receive]
    severity: hold
    rationale: SOP-SQ-007
    applies_to: [scorecard.lots >= 2]
    require: [scorecard.rejection_percent <= 50]
    message: "{scorecard.rejected_lots} of {scorecard.lots} lots were rejected"
"""


@pytest.fixture
def charting(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Any:
    """The plant of the other tests, under rules that look at charts."""
    book = RuleBook.from_sources(rulebook.sources | {"spc.yaml": SPC})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    plant.rulebook = book
    yield plant
    plant.pipeline.stop()
    judge.close()


def card(store: Store, item: str = "RING-74", supplier: str = "ACME") -> Scorecard:
    rows = stored.list_scorecards(store, item, supplier)
    return card_of(rows[0].content) if rows else Scorecard()


def count_all(store: Store) -> None:
    while count(store):
        pass


def five(middle: float) -> list[str]:
    return [f"{middle + offset:.3f}" for offset in (-0.002, -0.001, 0.0, 0.001, 0.002)]


def test_every_completed_inspection_is_counted_once(plant: Any, store: Store) -> None:
    for n in range(3):
        plant.receive(f"L{n}")
        plant.inspect(f"L{n}", *five(74.0 + n / 1000))
    plant.receive("BAD")
    plant.inspect("BAD", *["75.000"] * 5)
    plant.receive("WAITING")
    plant.inspect("WAITING", "74.000")
    count_all(store)
    count_all(store)
    mine = card(store)
    assert (mine.lots, mine.rejected, mine.accepted_in_row) == (4, 1, 0)
    (row,) = stored.list_series(store, "RING-74", "ACME", "diameter")
    series = series_of(row.content, row.limits)
    assert [point.lot for point in series.recent] == ["L0", "L1", "L2", "BAD"]
    assert (series.lots, series.values) == (4, 20)
    assert series.recent[0].mean == pytest.approx(74.0)


def test_a_lot_that_is_inspected_again_counts_once_for_its_supplier(plant: Any, store: Store) -> None:
    plant.receive("L1")
    plant.inspect("L1", *["75.000"] * 5)
    plant.send("reinspection.requested.v1", "L1", {"reason": {"code": "gauge"}})
    plant.inspect("L1", *five(74.0))
    count_all(store)
    mine = card(store)
    assert (mine.lots, mine.rejected) == (1, 1)
    (row,) = stored.list_series(store, "RING-74", "ACME", "diameter")
    # The second inspection is a point of its own, of its own values only.
    assert [point.mean for point in series_of(row.content, None).recent] == pytest.approx([75.0, 74.0])


def test_units_that_were_judged_count_for_ppm(plant: Any, store: Store) -> None:
    plant.receive("L1")
    lines = [{"characteristic": "diameter", "value": v, "unit": "mm", "sample": i} for i, v in enumerate(five(74.0), 1)]
    lines += [{"characteristic": "diameter", "unit": "mm", "value": "74.0", "inspected": 50, "nonconforming": 2}]
    plant.send("inspection.recorded.v1", "L1", {"inspection": "IL-1", "measurements": lines})
    count_all(store)
    mine = card(store)
    assert (mine.units, mine.nonconforming, mine.ppm) == (50, 2, 40_000)


def test_two_that_count_at_the_same_time_count_once(plant: Any, store: Store, monkeypatch: Any) -> None:
    plant.released("L1")
    read = stored.read_page

    def overtaken(*arguments: Any) -> Any:
        page = read(*arguments)
        monkeypatch.setattr(stored, "read_page", read)
        count_all(store)
        return page

    monkeypatch.setattr(stored, "read_page", overtaken)
    count_all(store)
    assert card(store).lots == 1


def test_a_chart_out_of_control_shuts_the_release_gate(charting: Any, store: Store, clock: Any) -> None:
    for n in range(12):
        charting.receive(f"L{n}")
        answer = charting.inspect(f"L{n}", *five(74.0 + (n % 3 - 1) / 1000))
        assert json.loads(answer.body)["state"]["after"] == "released"
        count_all(store)
    charting.receive("ODD")
    # Every value is within its specification, 73.95 to 74.05, and far from what this supplier does.
    body = json.loads(charting.inspect("ODD", *five(74.03)).body)
    assert body["state"]["after"] == "inspected"
    refused = json.loads(charting.send("lot.released.v1", "ODD", {}).body)
    assert refused["code"] == "gate-failed"
    (failing,) = [rule for rule in refused["rules"] if rule["verdict"] == "fail"]
    assert failing["rule"] == "IN-CONTROL"
    assert "diameter = 74.03" in failing["message"]
    answer = explain(store, charting.rulebook, clock, "ODD", "release", clock().toordinal())
    assert not answer.open
    assert {rule.rule: rule.verdict for rule in answer.rules}["IN-CONTROL"] == "fail"
    # What was released before stays explained by the chart of then.
    assert explain(store, charting.rulebook, clock, "L11", "release", clock().toordinal()).guards == ()


def test_a_supplier_that_fails_is_held_at_the_door(charting: Any, store: Store) -> None:
    for n in range(2):
        charting.receive(f"B{n}")
        charting.inspect(f"B{n}", *["75.000"] * 5)
    count_all(store)
    body = json.loads(charting.receive("NEXT").body)
    assert body["state"]["after"] == "blocked"
    with store.reads.connect() as connection:
        evidence = connection.execute(
            text("SELECT evidence FROM journal WHERE lot = 'NEXT' AND version = 1")
        ).scalar_one()
    assert json.loads(evidence)["facts"]["scorecard"][0]["rejected_lots"] == 2_000_000


def test_nobody_reads_charts_for_rules_that_do_not_look_at_them(rulebook: RuleBook) -> None:
    assert not rulebook.kinds & {"chart", "scorecard"}
    assert {"lot", "result", "hold"} <= rulebook.kinds


def test_a_pair_is_one_key_whatever_is_in_the_names() -> None:
    assert len({pair_of("a", "b|c"), pair_of("a|b", "c"), pair_of('a","b', "c"), pair_of("a", None)}) == 4
    assert pair_of("a", None) == pair_of("a", "")


@pytest.mark.parametrize("table", ["series", "scorecards"])
def test_a_chart_is_found_by_its_item_among_those_of_all_others(store: Store, table: str) -> None:
    """A table scan would read the points of every other item: 140 times as long among 20,000 (bench/spc_history.py)."""
    query = f"SELECT content FROM {table} WHERE item = 'RING-74' AND supplier = 'ACME'"
    with store.reads.connect() as connection:
        if store.dialect == "sqlite":
            plan = str(connection.execute(text("EXPLAIN QUERY PLAN " + query)).all())
        else:
            connection.execute(text("SET enable_seqscan = off"))
            plan = str(connection.execute(text("EXPLAIN " + query)).all())
    assert f"{table}_by_item" in plan
