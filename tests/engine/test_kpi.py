"""Business numbers against cases that were counted by hand."""

import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from engine import kpi
from engine.business import Business, Remembered
from engine.clock import instant
from engine.quality.scorecard import Scorecard
from engine.reference import References, Wanted
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from engine.track_record import count
from rules.rulebook import RuleBook

TODAY = date(2026, 11, 23)
HOUR, DAY = 3_600.0, 86_400.0
COSTS = """
  standard_cost:
    fields:
      value: {type: number, required: true}
      unit: {type: code, required: true}
      currency: {type: code, required: true}
"""
#: The lot ONE a hundred thousand times, three of ten not released.
MANY = """
    INSERT INTO lots (id, version, state, item, revision, quantity, unit, received_at, changed_at, head, snapshot,
                      state_since)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT 'X' || i, 1, CASE i % 10 WHEN 0 THEN 'blocked' WHEN 1 THEN 'inspected' WHEN 2 THEN 'quarantined'
           ELSE 'released' END, item, revision, quantity, unit, received_at, changed_at, head, snapshot, state_since
    FROM n, lots WHERE id = 'ONE'"""


def with_costs(tmp_path: Path, costs: str = COSTS) -> RuleBook:
    packs = tmp_path / "packs"
    shutil.copytree(SHIPPED_RULES, packs)
    with (packs / "vocabulary.yaml").open("a", encoding="utf-8") as file:
        file.write(costs)
    return RuleBook.load(packs)


def produce(plant: Any, lot: str, order: str) -> None:
    data = {
        "item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "order": order,
        "confirmation": f"C-{lot}", "inputs": [],
    }  # fmt: skip
    plant.send("lot.produced.v1", lot, data)


def ship(plant: Any, lot: str, shipment: str = "S-1") -> Any:
    return plant.send("lot.shipped.v1", lot, {"shipment": shipment, "customer": "CUST"})


def test_what_waits_is_counted_by_state_and_age(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("OLD")
    clock.forward(2 * DAY)
    plant.receive("YOUNG")
    plant.receive("HELD", quantity="8")
    plant.hold("HELD", "H-1")
    clock.forward(HOUR)
    produce(plant, "P1", "MO-1")
    produce(plant, "P2", "MO-1")
    produce(plant, "P3", "MO-2")
    numbers = Business(store, clock).numbers(TODAY)
    inspection, release, blocked = numbers.queues
    assert [queue.name for queue in numbers.queues] == ["inspection", "release", "blocked"]
    assert (inspection.lots, release.lots, blocked.lots) == (5, 0, 1)
    assert [age.lots for age in inspection.ages] == [4, 0, 1, 0, 0, 0, 0]
    assert [(age.from_hours, age.to_hours) for age in inspection.ages][:3] == [(0, 8), (8, 24), (24, 72)]
    assert inspection.ages[-1].to_hours is None
    assert inspection.oldest_since == instant(clock() - timedelta(seconds=2 * DAY + HOUR))
    assert release.oldest_since is None
    assert (numbers.orders.orders, numbers.orders.lots) == (2, 3)
    assert numbers.orders.oldest_since == instant(clock())
    assert (numbers.blocked_value, numbers.blocked_unvalued) == ([], 1)


def test_blocked_stock_is_worth_its_standard_cost_on_the_day(
    plant: Any, store: Store, clock: Any, tmp_path: Path
) -> None:
    book = with_costs(tmp_path)
    references = References(store, clock, lambda: book.vocabulary, {})
    for first, value in ((date(2026, 1, 1), "2.50"), (date(2026, 12, 1), "3.00")):
        fields = {"value": value, "unit": "ea", "currency": "EUR"}
        content = {"kind": "standard_cost", "item": "RING-74", "fields": fields}
        references.put("fact", "COST-RING-74", Wanted(first, msgspec.Raw(msgspec.json.encode(content))), "finance")
    for lot, quantity in (("A", "100"), ("B", "0.1")):
        plant.receive(lot, quantity=quantity)
        plant.hold(lot, "H")
        clock.forward(9 * HOUR)
    numbers = Business(store, clock).numbers(TODAY)
    [value] = numbers.blocked_value
    # A has waited 18 h, B 9 h.
    assert (value.currency, value.value) == ("EUR", Decimal("250.25"))
    assert value.by_age == [Decimal(0), Decimal("250.25"), *[Decimal(0)] * 5]
    assert numbers.blocked_unvalued == 0
    later = Business(store, clock).numbers(date(2026, 12, 1))
    assert later.blocked_value[0].value == Decimal("300.30")


def test_stock_without_a_cost_in_its_unit_is_in_no_sum() -> None:
    Row = namedtuple("Row", "item unit quantity age lots")
    rows = [Row("A", "ea", "0.1", 0, 3), Row("A", "kg", "5", 1, 2), Row("B", "ea", "7", 2, 4), Row("C", "ea", "2", 6, 1)]
    costs = {"A": kpi.Cost(Decimal("0.1"), "ea", "EUR"), "C": kpi.Cost(Decimal(5), "ea", "USD")}
    nothing = [Decimal(0)] * 6
    euro = kpi.Value("EUR", Decimal("0.03"), [Decimal("0.03"), *nothing])
    assert kpi.worth(rows, costs) == ([euro, kpi.Value("USD", Decimal(10), [*nothing, Decimal(10)])], 6)


def test_lead_times_are_from_receipt_over_inspection_to_release(plant: Any, store: Store, clock: Any) -> None:
    for number in range(1, 5):
        plant.receive(f"L{number}")
    for number in range(1, 5):  # they leave after 1, 3, 6 and 10 hours
        clock.forward(number * HOUR)
        plant.inspect(f"L{number}", *["74.000"] * 5)
    total, inspection, release = Business(store, clock).numbers(TODAY).lead_times
    assert (total.step, total.lots, total.median_hours, total.p95_hours) == ("total", 4, 3.0, 10.0)
    assert (inspection.median_hours, inspection.p95_hours) == (3.0, 10.0)
    assert (release.lots, release.median_hours) == (4, 0.0)
    clock.forward(31 * DAY)
    assert [lead.lots for lead in Business(store, clock).numbers(TODAY).lead_times] == [0, 0, 0]


def test_first_pass_and_ppm_are_of_original_inspections(plant: Any, store: Store, clock: Any) -> None:
    for lot in ("L1", "L2", "L3"):
        plant.released(lot)
    plant.receive("BAD")
    plant.inspect("BAD", *["75.000"] * 5)
    plant.send("reinspection.requested.v1", "BAD", {"reason": {"code": "gauge"}})
    plant.inspect("BAD", *["74.000"] * 5)
    while count(store):
        pass
    numbers = Business(store, clock).numbers(TODAY)
    assert numbers.first_pass == kpi.Share(4, 3, 75.0)
    assert [line.supplier for line in numbers.suppliers] == ["ACME"]
    cards = [("A", Scorecard(lots=2, units=500, nonconforming=1)), ("A", Scorecard(lots=1, units=500)), ("B", Scorecard())]
    assert kpi.ppm(cards) == [kpi.SupplierPpm("A", 3, 1000, 1, 1000.0), kpi.SupplierPpm("B", 0, 0, 0, None)]


def test_a_shipment_is_delayed_by_what_refused_it(plant: Any, store: Store, clock: Any) -> None:
    plant.released("SILENT")  # nobody has acknowledged it
    assert ship(plant, "SILENT", "S-1").status == 409
    plant.receive("WAITING")
    assert ship(plant, "WAITING", "S-2").status == 409
    seen = Business(store, clock).numbers(TODAY).delays
    assert (seen.shipments, seen.by_quality, seen.by_interfaces, seen.waiting) == (2, 1, 1, 2)
    assert seen.interfaces == {"erp": 1, "wms": 1}
    assert seen.median_hours is None
    clock.forward(2 * HOUR)
    plant.agree()
    assert ship(plant, "SILENT", "S-1").status == 201
    assert ship(plant, "SILENT", "S-1b").status == 409  # it has left: a mistake, no delay
    seen = Business(store, clock).numbers(TODAY).delays
    assert (seen.shipments, seen.waiting, seen.median_hours) == (2, 1, 2.0)


def test_a_shipment_of_more_than_there_is_delays_nothing() -> None:
    Row = namedtuple("Row", "lot recorded_at state_before type data evidence")
    verdict = {"rule": "QUANTITY-AVAILABLE", "verdict": "fail", "severity": "block", "message": "too much"}
    evidence = msgspec.json.encode({"verdicts": [verdict]}).decode()
    row = Row("L", "2026-11-23T08:00:00.000000Z", "released", "lot.shipped.v1", '{"shipment": "S"}', evidence)
    assert kpi.delays([row], {}).shipments == 0


def test_an_interface_is_named_by_what_the_refusal_rested_on_not_by_its_words() -> None:
    Row = namedtuple("Row", "lot recorded_at state_before type data evidence")
    verdict = {"rule": "TARGETS-AGREE", "verdict": "fail", "severity": "block", "message": "other words"}
    evidence = msgspec.json.encode({"verdicts": [verdict], "undelivered": ["erp_and_more", "unrouted-wms"]}).decode()
    row = Row("L", "2026-11-23T08:00:00.000000Z", "released", "lot.shipped.v1", '{"shipment": "S"}', evidence)
    seen = kpi.delays([row], {})
    assert (seen.by_interfaces, seen.interfaces) == (1, {"erp_and_more": 1})


def test_a_lot_that_is_inspected_again_after_its_release_keeps_its_steps(plant: Any, store: Store, clock: Any) -> None:
    plant.receive("L1")
    clock.forward(HOUR)
    plant.inspect("L1", *["74.000"] * 5)
    plant.hold("L1", "H")
    plant.lift("L1", "H")
    clock.forward(2 * DAY)
    assert plant.send("lot.released.v1", "L1", {}).outcome == "applied"
    clock.forward(29 * DAY)  # the inspection is older than the window, the release is not
    plant.send("reinspection.requested.v1", "L1", {"reason": {"code": "gauge"}})
    plant.inspect("L1", *["74.000"] * 5)
    total, inspection, release = Business(store, clock).numbers(TODAY).lead_times
    assert (total.lots, inspection.lots, inspection.median_hours, release.median_hours) == (1, 1, 1.0, 48.0)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "1e999999", "much"])
def test_a_cost_that_is_no_number_spoils_no_sum(plant: Any, store: Store, clock: Any, tmp_path: Path, value: str) -> None:
    book = with_costs(tmp_path, COSTS.replace("number", "code"))
    fields = {"value": value, "unit": "ea", "currency": "EUR"}
    content = {"kind": "standard_cost", "item": "RING-74", "fields": fields}
    wanted = Wanted(date(2026, 1, 1), msgspec.Raw(msgspec.json.encode(content)))
    References(store, clock, lambda: book.vocabulary, {}).put("fact", "COST-RING-74", wanted, "finance")
    plant.receive("A")
    plant.hold("A", "H")
    numbers = Business(store, clock).numbers(TODAY)
    assert (numbers.blocked_value, numbers.blocked_unvalued) == ([], 1)


def test_probes_that_come_all_the_time_count_no_more_than_a_fiftieth_of_it(plant: Any, store: Store, clock: Any) -> None:
    times = iter([0.0, 0.2, 10.1, 10.3, 10.5])  # begins, ends 0.2 s later; asked before and after ten seconds of rest
    remembered = Remembered(Business(store, clock), lambda: next(times))
    assert remembered.numbers(TODAY).queues[2].lots == 0
    plant.receive("A")
    plant.hold("A", "H")
    assert remembered.numbers(TODAY).queues[2].lots == 0
    assert remembered.numbers(TODAY).queues[2].lots == 1


def test_ranks_are_nearest_ranks() -> None:
    assert kpi.rank([], 50) is None
    assert kpi.rank([5.0], 95) == 5.0
    assert [kpi.rank([float(n) for n in range(1, 101)], percent) for percent in (50, 95)] == [50.0, 95.0]


def test_a_hundred_thousand_lots_are_counted_quickly(plant: Any, store: Store, clock: Any) -> None:
    plant.released("ONE")
    with store.engine.begin() as connection:
        connection.execute(text(MANY))
        connection.execute(text("ANALYZE"))
    business = Business(store, clock)

    def scan() -> None:
        with store.reads.connect() as connection:
            connection.execute(text("SELECT state, count(*), min(state_since), max(snapshot) FROM lots GROUP BY state")).all()

    def fastest(question: Callable[[], Any]) -> float:
        took = []
        for _ in range(3):
            began = time.perf_counter()
            question()
            took.append(time.perf_counter() - began)
        return min(took)

    assert [queue.lots for queue in business.numbers(TODAY).queues] == [10_000, 10_000, 10_000]
    # Both in the same moment of the same machine: every number together costs as reading every lot a few times.
    ratio = fastest(lambda: business.numbers(TODAY)) / fastest(scan)
    assert ratio < 5, ratio
