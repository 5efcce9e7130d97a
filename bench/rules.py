"""What a judgement costs: ``python -m bench.rules`` prints a table, :func:`measure` returns the figures.

A lot with ten results under the shipped packs, by the reference, by both channels in batches, by zen-engine (a
decision table, compiled once) and by a plain evaluator of nested conditions; then the two engines with 10 to 10,000
rules, and with 100,000 rows of limits. Microseconds of processor time, for both channels on the wall; the best of
several rounds, for the machine is shared.
"""

import argparse
import json
import operator
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rules.judge import TwoChannelJudge
from rules.rete import ReteEngine
from rules.rete_facts import Asked
from rules.rulebook import SHIPPED, Case, RuleBook

DAY = 739_943
MILLION = 1_000_000
ROUNDS = 7
#: Lots that the pipeline judges together under load.
BATCH = 100
GOALS_US = {"reference": 40.0, "both_channels": 150.0}
#: Ten thousand rules may cost this many times ten rules.
GOAL_GROWTH = 2.0


def lot_with_ten_results(number: int, item: str = "TEN-POINT") -> dict[str, list[dict[str, Any]]]:
    """Facts of a lot that is to be released; every lot differs."""
    lot = {
        "id": f"LOT-{number}", "item": item, "revision": "A", "state": "inspected", "quantity": 100 * MILLION,
        "unit": "ea", "supplier": "ACME", "supplier_lot": f"S{number}", "receipt": f"GR-{number}/10", "age_days": 0,
        "recall_open": False, "inspection_complete": True,
    }  # fmt: skip
    event = {"type": "lot.released.v1", "source": "lims/1", "principal": "lims"}
    results = [
        {"characteristic": f"c{i:02d}", "value": 9_950_000 + (number * 7919 + i * 104729) % 100_000, "unit": "mm",
         "sample": MILLION, "inspection": f"IL-{number}"}
        for i in range(1, 11)
    ]  # fmt: skip
    return {"lot": [lot], "event": [event], "result": results, "hold": []}


def microseconds(
    work: Callable[[], object], lots: int, rounds: int = ROUNDS, clock: Callable[[], float] = time.process_time
) -> float:
    """The best round, a lot: processor time, or the time on the wall where ``clock`` says so."""
    best = float("inf")
    for _ in range(rounds + 1):
        began = clock()
        work()
        best = min(best, clock() - began)
    return round(best / lots * 1e6, 1)


def by_reference(book: RuleBook, cases: Sequence[Case]) -> float:
    """The reference evaluator with its messages, case after case."""
    return microseconds(lambda: [book.judge(case) for case in cases], len(cases))


def by_rete(book: RuleBook, cases: Sequence[Case]) -> float:
    """The second engine alone, in this process."""
    engine = ReteEngine(book.rules)
    asked = [Asked(case.gate, case.facts, case.today) for case in cases]
    found = microseconds(lambda: [engine.failing_together([one]) for one in asked], len(cases))
    engine.close()
    return found


def by_both(book: RuleBook, cases: Sequence[Case], batch: int) -> float:
    """Two channels with their process, pipe and comparison, in batches."""
    judge = TwoChannelJudge(book)
    try:
        if judge.engines != ("reference", "durable-rules"):
            raise SystemExit(f"bench: {judge.status().problem}")
        batches = [cases[i : i + batch] for i in range(0, len(cases), batch)]
        found = min(_on_the_wall(judge, batches[i : i + 3]) for i in range(0, len(batches) - 2, 3))
        if judge.status().disagreements or judge.status().restarts:
            raise SystemExit(f"bench: {judge.status()}")
        return found
    finally:
        judge.close()


def _on_the_wall(judge: TwoChannelJudge, batches: Sequence[Sequence[Case]]) -> float:
    lots = sum(len(batch) for batch in batches)
    return microseconds(lambda: [judge.judge(batch) for batch in batches], lots, 10, time.perf_counter)


# -- peers -----------------------------------------------------------------------------------------------------


def limits_of(book: RuleBook) -> list[dict[str, Any]]:
    """The shipped specification limits."""
    return [dict(row) for row in book.rules.tables["spec_limits"].rows]


def for_peers(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The same lots as peers want them: plain numbers, the item written into every result."""
    lots = []
    for case in cases:
        [lot] = case.facts["lot"]
        results = [
            {"item": lot["item"], "revision": lot["revision"], "characteristic": one["characteristic"],
             "value": int(one["value"]) / MILLION}
            for one in case.facts["result"]
        ]  # fmt: skip
        lots.append({"complete": lot["inspection_complete"], "results": results})
    return lots


def by_zen(book: RuleBook, cases: Sequence[Case]) -> float | None:
    """zen-engine: one decision table of limits, looped over the results of a lot; None where it is not installed."""
    try:
        import zen
    except ImportError:
        return None
    names = ("item", "revision", "characteristic", "value")
    inputs = [{"id": name, "name": name, "type": "expression", "field": name} for name in names]
    rules = [
        {"_id": str(i), **{name: json.dumps(row[name]) for name in names[:3]},
         "value": f"[{int(row['lower']) / MILLION}..{int(row['upper']) / MILLION}]", "verdict": '"pass"'}
        for i, row in enumerate(limits_of(book))
    ]  # fmt: skip
    rules.append({"_id": "else", **dict.fromkeys(names, ""), "verdict": '"fail"'})
    table = {
        "hitPolicy": "first", "inputs": inputs, "rules": rules, "inputField": "results", "outputPath": "results",
        "executionMode": "loop", "passThrough": False,
        "outputs": [{"id": "verdict", "name": "verdict", "type": "expression", "field": "verdict"}],
    }  # fmt: skip
    at = {"x": 0, "y": 0}
    graph = {
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in", "position": at},
            {"id": "table", "type": "decisionTableNode", "name": "table", "content": table, "position": at},
            {"id": "out", "type": "outputNode", "name": "out", "position": at},
        ],
        "edges": [
            {"id": "a", "sourceId": "in", "targetId": "table", "type": "edge"},
            {"id": "b", "sourceId": "table", "targetId": "out", "type": "edge"},
        ],
    }  # fmt: skip
    decision = zen.ZenEngine().create_decision(json.dumps(graph))
    lots = for_peers(cases)
    answer = decision.evaluate(lots[0])["result"]
    if [one["verdict"] for one in answer["results"]] != ["pass"] * 10:
        raise SystemExit(f"bench: zen-engine says {answer}")
    return microseconds(lambda: [decision.evaluate(lot) for lot in lots], len(lots), 3)


_OPERATORS = {"equal": operator.eq, "atLeast": operator.ge, "atMost": operator.le}


def by_plain(book: RuleBook, cases: Sequence[Case]) -> float:
    """A rule a row, each a tree of conditions that is walked for every result: the straightforward evaluator."""
    keys = ("item", "revision", "characteristic")
    rules = [
        {
            "any": [
                *[{"not": {"fact": name, "operator": "equal", "value": row[name]}} for name in keys],
                {"all": [
                    {"fact": "value", "operator": "atLeast", "value": int(row["lower"]) / MILLION},
                    {"fact": "value", "operator": "atMost", "value": int(row["upper"]) / MILLION},
                ]},
            ]
        }
        for row in limits_of(book)
    ]  # fmt: skip

    def holds(condition: dict[str, Any], fact: dict[str, Any]) -> bool:
        if "all" in condition:
            return all(holds(part, fact) for part in condition["all"])
        if "any" in condition:
            return any(holds(part, fact) for part in condition["any"])
        if "not" in condition:
            return not holds(condition["not"], fact)
        return bool(_OPERATORS[condition["operator"]](fact[condition["fact"]], condition["value"]))

    def judge(lot: dict[str, Any]) -> bool:
        # Every rule is run, as by those who report every rule that fails.
        verdicts = [holds(rule, result) for rule in rules for result in lot["results"]]
        return lot["complete"] and all(verdicts)

    lots = for_peers(cases)
    if not all(judge(lot) for lot in lots):
        raise SystemExit("bench: the plain evaluator finds a fault where there is none")
    return microseconds(lambda: [judge(lot) for lot in lots], len(lots), 3)


# -- growth ----------------------------------------------------------------------------------------------------


def book_of(rules: int, rows: int = 0) -> RuleBook:
    """So many rules, each for an item of its own, and so many rows of limits that one more rule looks up."""
    head = {"rulefile": "1", "owner": "bench", "reference": "none"}
    common = {"title": "t", "gate": ["release"], "severity": "block", "rationale": "r", "message": "m"}
    per_item = [
        {**common, "id": f"ITEM-{n}", "applies_to": [f"lot.item = I{n}"],
         "require": [{"every": "result", "check": [f"result.value <= {11 + n % 7}.{n:05d}", "result.unit = mm"]}]}
        for n in range(rules)
    ]  # fmt: skip
    sources = {"vocabulary.yaml": (SHIPPED / "vocabulary.yaml").read_text()}
    # A file of rules is at most 5 MB.
    for start in range(0, rules, 2000):
        sources[f"rules{start}.yaml"] = json.dumps({**head, "rules": per_item[start : start + 2000]})
    if rows:
        lines = [f"I{n // 10},A,c{n % 10 + 1:02d},{9 + n % 3 / 10},{11 + n % 5 / 10}" for n in range(rows)]
        sources["limits.csv"] = "item,revision,characteristic,lower,upper\n" + "\n".join(lines)
        row = "limits[lot.item, lot.revision, result.characteristic]"
        check = ["result.value >= row.lower", "result.value <= row.upper"]
        limits = {**common, "id": "LIMITS", "require": [{"every": "result", "row": row, "check": check}]}
        table = {"match": ["item", "revision", "characteristic"], "csv": "limits.csv"}
        sources["limits.yaml"] = json.dumps({**head, "table limits": table, "rules": [limits]})
    return RuleBook.from_sources(sources)


def side_by_side(works: dict[str, Callable[[], object]], lots: int) -> dict[str, float]:
    """As :func:`microseconds` for several, round by round in turn: on a shared machine only so can they be compared."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(2 * ROUNDS):
        for name, work in works.items():
            began = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - began)
    return {name: round(seconds / lots * 1e6, 1) for name, seconds in best.items()}


def growth(sizes: Sequence[int], lots: int) -> dict[str, dict[str, float]]:
    """Microseconds a lot with so many rules: forty items under way at a time, as in a plant; and items at random."""
    books = {str(size): book_of(size) for size in sizes}
    engines = {size: ReteEngine(book.rules) for size, book in books.items()}
    found: dict[str, dict[str, float]] = {size: {} for size in books}
    for kind in ("", "_any_item"):
        cases = {}
        for size in sizes:
            step = 7919 if kind else size // min(40, size)
            number_of = [n * step % size if kind else n % min(40, size) * step for n in range(lots)]
            cases[str(size)] = [
                Case("release", lot_with_ten_results(n, f"I{i}"), DAY) for n, i in enumerate(number_of)
            ]
        judge = {size: partial(_each, books[size].judge, cases[size]) for size in books}
        for size, cost in side_by_side(judge, lots).items():
            found[size]["reference" + kind] = cost
        asked = {size: [[Asked(c.gate, c.facts, c.today)] for c in cases[size]] for size in books}
        judge = {size: partial(_each, engines[size].failing_together, asked[size]) for size in books}
        for size, cost in side_by_side(judge, lots).items():
            found[size]["durable_rules" + kind] = cost
    for engine in engines.values():
        engine.close()
    return found


def _each(judge: Callable[[Any], object], cases: Sequence[Any]) -> None:
    for case in cases:
        judge(case)


def unseen(rules: int, lots: int) -> dict[str, float]:
    """Microseconds a lot whose item was not seen for so long that the network of its rules had to make room."""
    book = book_of(rules)
    cases = [Case("release", lot_with_ten_results(n, f"I{n * 7919 % rules}"), DAY) for n in range(lots)]
    return {"reference": by_reference(book, cases), "durable_rules": by_rete(book, cases)}


def many_rows(rows: int, lots: int) -> dict[str, float]:
    """Microseconds a lot with ten rules and so many rows: forty items under way, and items at random."""
    book = book_of(10, rows)
    near = [Case("release", lot_with_ten_results(n, f"I{n % 40 * 97}"), DAY) for n in range(lots)]
    far = [Case("release", lot_with_ten_results(n, f"I{n * 7919 % (rows // 10)}"), DAY) for n in range(lots)]
    return {
        "reference": by_reference(book, near), "durable_rules": by_rete(book, near),
        "reference_any_item": by_reference(book, far), "durable_rules_any_item": by_rete(book, far),
    }  # fmt: skip


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Every figure, in microseconds a lot."""
    lots = 500 if quick else 1000
    book = RuleBook.load(SHIPPED)
    cases = [Case("release", lot_with_ten_results(n), DAY) for n in range(lots)]
    if not all(book.judge(case).opens for case in cases):
        raise SystemExit("bench: a lot that should be released is not")
    figures: dict[str, Any] = {
        "reference": by_reference(book, cases),
        "durable_rules": by_rete(book, cases),
        "both_channels": by_both(book, cases, BATCH),
        "both_channels_one_by_one": by_both(book, cases[:30], 1),
        "zen_engine": by_zen(book, cases[:300]),
        "plain_conditions": by_plain(book, cases[:300]),
        "rules": growth((10, 100, 1000) if quick else (10, 100, 1000, 10_000), lots),
    }
    if not quick:
        figures["unseen_item"] = unseen(10_000, 3 * lots)
        figures["rows_100000"] = many_rows(100_000, lots)
    sizes = list(figures["rules"])
    figures["growth"] = {
        engine: round(figures["rules"][sizes[-1]][engine] / figures["rules"][sizes[0]][engine], 2)
        for engine in ("reference", "durable_rules", "reference_any_item", "durable_rules_any_item")
    }
    figures["goals_met"] = all(figures[name] <= goal for name, goal in GOALS_US.items()) and all(
        grown <= GOAL_GROWTH for grown in figures["growth"].values()
    )
    return figures


def report(figures: dict[str, Any]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Microseconds a lot with ten results")
    for column in ("", "µs", "goal"):
        table.add_column(column, justify="left" if not column else "right")
    names = {
        "reference": "reference evaluator, release gate, shipped packs",
        "durable_rules": "durable-rules, in process",
        "both_channels": f"both channels, batches of {BATCH}",
        "both_channels_one_by_one": "both channels, one by one",
        "zen_engine": "zen-engine, limits alone",
        "plain_conditions": "plain conditions, limits alone",
    }
    for name, words in names.items():
        value = figures[name]
        goal = f"≤ {GOALS_US[name]:g}" if name in GOALS_US else ""
        table.add_row(words, "not installed" if value is None else f"{value:,.1f}", goal)
    grown = figures["growth"]
    for kind, items in (("", "40 items"), ("_any_item", "any item")):
        for size, of in figures["rules"].items():
            words = f"{int(size):,} rules, {items}: reference / durable-rules"
            table.add_row(words, f"{of['reference' + kind]} / {of['durable_rules' + kind]}", "")
        words = f"{grown['reference' + kind]} × / {grown['durable_rules' + kind]} ×"
        table.add_row(f"most rules over fewest, {items}", words, f"≤ {GOAL_GROWTH:g} ×")
    if far := figures.get("unseen_item"):
        words = "10,000 rules, an item not seen for 3,000 lots"
        table.add_row(words, f"{far['reference']} / {far['durable_rules']}", "")
    if rows := figures.get("rows_100000"):
        table.add_row("100,000 rows, 40 items", f"{rows['reference']} / {rows['durable_rules']}", "")
        table.add_row("100,000 rows, any item", f"{rows['reference_any_item']} / {rows['durable_rules_any_item']}", "")
    Console().print(table)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer lots, no more than a thousand rules")
    figures = measure(quick=options.parse_args().quick)
    report(figures)
    sys.exit(0 if figures["goals_met"] else 1)


if __name__ == "__main__":
    main()
