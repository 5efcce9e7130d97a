"""The second engine by itself, where random rule files seldom go: limits of the library, sizes, memory, names."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rules import rete
from rules.rete import NotEvaluated, ReteEngine
from rules.rete_patterns import MAX_WAYS, CannotCompile
from rules.rete_shards import PATHS_EACH, PATTERNS_EACH
from rules.rete_text import CASE_HEADS, MAX_NUMBER, ROW_HEADS, fnv1a
from rules.rulebook import SHIPPED, Case, RuleBook

DAY = 739_000
MILLION = 1_000_000
VOCABULARY = (SHIPPED / "vocabulary.yaml").read_text()


def book_of(rules: Sequence[dict[str, Any]], vocabulary: str = VOCABULARY, **tables: Any) -> RuleBook:
    common = {"title": "t", "gate": ["release"], "severity": "block", "rationale": "r", "message": "m"}
    file = {"rulefile": "1", "owner": "o", "reference": "r", **{f"table {n}": t for n, t in tables.items()}}
    named = [{**common, "id": f"R{n}", **rule} for n, rule in enumerate(rules)]
    return RuleBook.from_sources({"vocabulary.yaml": vocabulary, "rules.yaml": json.dumps({**file, "rules": named})})


def facts(*, results: Sequence[dict[str, Any]] = (), **lot: Any) -> dict[str, list[dict[str, Any]]]:
    return {"lot": [{"id": "L1", "item": "A", "revision": "1", "state": "inspected", "quantity": MILLION, **lot}],
            "event": [{}], "result": [{"characteristic": "c", **one} for one in results], "hold": []}  # fmt: skip


def both(engine: ReteEngine, book: RuleBook, world: dict[str, Any], today: int = DAY) -> list[int]:
    """The failing rules, by both."""
    found = engine.failing("release", world, today)
    assert found == book.verdicts(Case("release", world, today))[1]
    return found


# -- what is easily overlooked ---------------------------------------------------------------------------------

LIMITS = {"match": ["item"], "columns": ["item", "lower", "upper"],
          "rows": [["A", "1", "~"], ["B", "~", "2"], ["C", "1", "2"]]}  # fmt: skip


def test_the_limit_itself_is_within_the_limits() -> None:
    book = book_of([{"require": [f"lot.quantity {op} 2"]} for op in ("<", "<=", ">", ">=", "=", "!=")])
    engine = ReteEngine(book.rules)
    failing = {q: both(engine, book, facts(quantity=q * MILLION)) for q in (1, 2, 3)}
    assert failing == {1: [2, 3, 4], 2: [0, 2, 5], 3: [0, 1, 4]}
    assert both(engine, book, facts(quantity=2 * MILLION + 1)) == [0, 1, 4]


def test_an_empty_cell_is_no_limit_neither_in_a_check_nor_in_a_where() -> None:
    row = "limits[lot.item]"
    book = book_of(
        [
            {"require": [{"every": "result", "row": row, "check": ["result.value <= row.upper"]}]},
            {"require": [{"every": "result", "row": row, "where": ["result.value <= row.upper"], "check": ["result.unit = mm"]}]},
            {"require": [{"none": "result", "row": row, "where": ["result.value >= row.lower"]}]},
        ],
        limits=LIMITS,
    )  # fmt: skip
    engine = ReteEngine(book.rules)
    nine = [{"value": 9 * MILLION, "unit": "kg"}]
    assert {item: both(engine, book, facts(item=item, results=nine)) for item in "ABCD"} == {
        "A": [1, 2], "B": [0, 2], "C": [0, 2], "D": [],
    }  # fmt: skip


def test_how_many_of_them_counts_only_those_that_the_row_lets_in() -> None:
    requirement = {"every": "result", "row": "limits[lot.item]", "where": ["result.value <= row.upper"], "at_least": 2,
                   "check": ["result.value >= 0"]}  # fmt: skip
    book = book_of([{"require": [requirement]}], limits=LIMITS)
    engine = ReteEngine(book.rules)
    values = [{"value": v * MILLION} for v in (1, 2, 3)]
    assert both(engine, book, facts(item="C", results=values)) == []
    assert both(engine, book, facts(item="C", results=values[1:])) == [0]


def test_long_texts_differ_in_their_last_letter() -> None:
    book = book_of([{"require": ["lot.item = " + "x" * 300]}, {"require": ["lot.supplier = lot.item"]}])
    engine = ReteEngine(book.rules)
    assert both(engine, book, facts(item="x" * 300, supplier="x" * 300)) == []
    assert both(engine, book, facts(item="x" * 299 + "y", supplier="x" * 300)) == [0, 1]


def test_a_missing_field_that_another_rule_joins_is_missing_all_the_same() -> None:
    book = book_of([{"require": ["lot.supplier = lot.item"]}, {"require": ["lot.supplier != B"]}, {"require": ["lot.age_days > 3"]},
                    {"require": ["lot.age_days = event.quantity"]}])  # fmt: skip
    engine = ReteEngine(book.rules)
    assert both(engine, book, facts()) == []
    assert both(engine, book, facts(age_days=0, supplier="B")) == [0, 1, 2]


def test_a_single_fact_that_is_not_there_lacks_everything() -> None:
    book = book_of([{"require": ["event.reason is present"]}, {"require": ["event.reason is missing"]}])
    world = {**facts(), "event": []}
    assert both(ReteEngine(book.rules), book, world) == [0]


def test_fields_may_have_names_that_the_library_uses_itself() -> None:
    fields = ["id", "sid", "kind", "n", "rid", "h_id", "w0", "spare", "d_p0", "row", "today"]
    kinds = "\n".join(f"      {name}: code" for name in fields)
    words = f"kinds:\n  lot:\n    one: true\n    fields:\n{kinds}\n  today:\n    fields:\n{kinds}\n"
    rules = [{"require": [{"none": "today", "where": [f"today.{name} = lot.{name}"]}]} for name in fields]
    book = book_of(rules, words)
    engine = ReteEngine(book.rules)
    lot = {name: f"v-{name}" for name in fields}
    for number, name in enumerate(fields):
        other = {**dict.fromkeys(fields, "1"), name: f"v-{name}"}
        assert both(engine, book, {"lot": [lot], "today": [other]}) == [number]


# -- what is refused -------------------------------------------------------------------------------------------


def test_two_fields_that_the_library_would_confuse_are_refused() -> None:
    assert fnv1a("liquid") == fnv1a("costarring")
    words = "kinds:\n  lot:\n    one: true\n    fields: {liquid: code, costarring: code}\n"
    book = book_of([{"require": ["lot.liquid = A", "lot.costarring = B"]}], words)
    with pytest.raises(CannotCompile, match="the same hash"):
        ReteEngine(book.rules)


def test_a_rule_that_can_fail_in_too_many_ways_is_refused_by_name() -> None:
    many = [[f"lot.quantity > {n}", f"lot.age_days < {n}", "lot.item = A", "lot.unit = ea"] for n in range(7)]
    with pytest.raises(CannotCompile, match=f"rule R0: it can fail in more than {MAX_WAYS} ways"):
        ReteEngine(book_of([{"require": [{"any_of": many}]}]).rules)


@pytest.mark.parametrize("quantity", [MAX_NUMBER, -MAX_NUMBER, 10**30])
def test_a_number_that_the_library_would_cut_off_is_not_judged(quantity: int) -> None:
    book = book_of([{"require": ["lot.quantity < 2"]}])
    engine = ReteEngine(book.rules)
    with pytest.raises(NotEvaluated, match="too large"):
        engine.failing("release", facts(quantity=quantity), DAY)
    assert both(engine, book, facts(quantity=MAX_NUMBER - 1)) == [0]


def test_more_facts_than_there_are_ids_are_not_judged_by_half() -> None:
    book = book_of([{"require": [{"every": "result", "check": ["result.value > 0"]}]}])
    engine = ReteEngine(book.rules)
    results = [{"value": 1}] * len(CASE_HEADS) + [{"value": -1}]
    with pytest.raises(NotEvaluated, match="more than the second engine is given at once"):
        engine.failing("release", facts(results=results), DAY)
    assert both(engine, book, facts(results=results[:3000] + results[-1:])) == [0]


# -- sizes -----------------------------------------------------------------------------------------------------


def test_two_hundred_rules_about_one_field_can_fail_at_once() -> None:
    book = book_of([{"require": [f"lot.quantity < {n}"]} for n in range(1, 201)])
    engine = ReteEngine(book.rules)
    assert both(engine, book, facts(quantity=1000 * MILLION)) == list(range(200))
    assert both(engine, book, facts(quantity=100 * MILLION)) == list(range(100))
    shards = engine._shards.all
    assert max(len(tests) for shard in shards for tests in shard.paths.values()) <= PATHS_EACH
    assert max(len(shard.patterns) for shard in shards) <= PATTERNS_EACH


def test_three_hundred_equal_rules_all_fail() -> None:
    book = book_of([{"require": ["lot.unit = ea"]}] * 300)
    assert both(ReteEngine(book.rules), book, facts(unit="kg")) == list(range(300))


def test_a_lot_visits_its_own_rules_and_those_for_every_lot_and_no_others() -> None:
    own = [{"applies_to": ["lot.state = inspected", f"lot.item = I{n}"], "require": ["lot.quantity < 1"]} for n in range(600)]
    book = book_of([*own, {"require": ["lot.quantity < 1"]}, {"applies_to": ["lot.item in [I7, I8]"], "require": ["lot.unit = ea"]}])
    engine = ReteEngine(book.rules)
    assert both(engine, book, facts(item="I7", unit="kg")) == [7, 600, 601]
    assert both(engine, book, facts(item="I599")) == [599, 600]
    assert both(engine, book, facts(item="other")) == [600]
    assert len(engine._shards.of([{"item": "I7", "state": "inspected"}], frozenset(["release"]))) == 2
    world = facts()
    del world["lot"][0]["item"]
    assert both(engine, book, world) == [600]


def test_networks_that_made_room_are_built_anew_and_judge_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rete, "RESIDENT", 8 * (rete.NETWORK_UNITS + rete.PATTERN_UNITS))
    own = [{"applies_to": [f"lot.item = I{n}"], "require": ["lot.quantity < 1"]} for n in range(200)]
    book = book_of(own)
    engine = ReteEngine(book.rules)
    for number in [*range(200), *range(199, -1, -7)]:
        assert both(engine, book, facts(item=f"I{number}")) == [number]
        assert len(engine._networks) <= 8
    assert engine._resident == sum(n.units + len(n.rows) for n in engine._networks.values())


def test_more_rows_than_stay_in_memory_are_looked_up_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rete, "RESIDENT_ROWS", 20)
    rows = [[f"I{n}", "~", str(n)] for n in range(300)]
    requirement = {"row": "limits[lot.item]", "check": ["lot.quantity <= row.upper"]}
    book = book_of([{"require": [requirement]}], limits={**LIMITS, "rows": rows})
    engine = ReteEngine(book.rules)
    for number in range(300):
        assert both(engine, book, facts(item=f"I{number}", quantity=number * MILLION)) == []
        assert both(engine, book, facts(item=f"I{number}", quantity=number * MILLION + 1)) == [0]
    assert all(len(network.rows) <= 20 for network in engine._networks.values())


def test_ids_of_facts_and_rows_never_share_a_hash() -> None:
    ids = [head[7:-2] for head in (*CASE_HEADS, *ROW_HEADS)] + ["w", "t"]
    assert len({fnv1a(identity) for identity in ids}) == len(ids)


# -- time and memory -------------------------------------------------------------------------------------------


def test_the_day_moves_on_while_rows_stay() -> None:
    rows = [["A", "2024-05-01", "~"], ["B", "2024-05-03", "~"]]
    requirement = {"row": "limits[lot.item]", "check": ["row.lower >= today"]}
    book = book_of([{"require": [requirement]}, {"effective": {"from": "2024-05-03"}, "require": ["lot.item = B"]}],
                   limits={**LIMITS, "rows": rows})  # fmt: skip
    engine = ReteEngine(book.rules)
    first = 739_007  # 2024-05-01
    found = [[both(engine, book, facts(item=item), first + shift) for item in "AB"] for shift in (0, 1, 2, 3, 0)]
    assert found == [[[], []], [[0], []], [[0, 1], []], [[0, 1], [0]], [[], []]]


def test_an_error_of_the_library_costs_one_network_and_not_the_next_lot() -> None:
    book = book_of([{"require": ["lot.quantity < 1"]}])
    engine = ReteEngine(book.rules)
    [network] = engine._networks.values()
    network.close()  # from now on the library answers with an error
    with pytest.raises(NotEvaluated):
        engine.failing("release", facts(), DAY)
    assert both(engine, book, facts()) == [0]


def test_building_and_closing_networks_leaks_nothing() -> None:
    book = RuleBook.load(SHIPPED)

    def rss_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def once() -> None:
        engine = ReteEngine(book.rules)
        assert both(engine, book, facts(item="TEN-POINT", revision="A")) != []
        engine.close()

    for _ in range(20):
        once()
    before = rss_mb()
    for _ in range(200):
        once()
    assert rss_mb() - before < 15
