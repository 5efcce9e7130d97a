"""Random rule files and facts, judged by both engines: run by test_two_engines.py in a process of its own.

``python two_engines.py --cases 2000 --seed 1 [--fork] --last FILE``. The rule files go through the real parser and
checker, the cases through the real frames of the judge process. The case at hand lies in FILE, so that a crash in C
has a name; with --fork every example is judged in a child, so that Hypothesis can shrink a crash too.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rules import judge_process
from rules.findings import RulePackError
from rules.judge_pipe import frame_of
from rules.judge_rules import read_rules, write_rules
from rules.rete import ReteEngine
from rules.rulebook import Case, RuleBook
from rules.units import parse_number

DAY = 739_000
#: Fields of each kind; some have names that mean something to the library or to the compiler.
KINDS: dict[str, dict[str, str]] = {
    "lot": {"id": "code", "item": "code", "grade": "code", "state": "choice", "quantity": "number", "weight": "number",
            "made_on": "date", "expires_on": "date", "recalled": "yes_no"},
    "event": {"reason": "code", "sid": "code", "quantity": "number", "on": "date", "urgent": "yes_no"},
    "result": {"characteristic": "code", "unit": "code", "kind": "code", "value": "number", "limit": "number",
               "taken_on": "date", "conforming": "yes_no"},
    "hold": {"hold": "code", "scope": "code", "h_scope": "code", "weight": "number", "since": "date"},
}  # fmt: skip
#: Sets of facts for each rule file; each is judged at every gate.
WORLDS = 3
SINGLE = ("lot", "event")
COLUMNS = {"unit": "code", "lower": "number", "upper": "number", "until": "date", "flag": "yes_no", "id": "code"}
STATES = ["received", "inspected", "released"]
CODES = ["A", "B", "A", "B", "5", "05", "é", "e\u0301", 'a"b', "back\\slash", "\u0001", "😀", "x" * 300, "x" * 301, ""]
WRITTEN = ["A", "B", "5", "05", "é", 'a"b', "😀", "x" * 300, "true", "null"]
NUMBERS = ["0", "1", "2", "0", "1", "2", "1", "2", "3", "-1", "0.5", "0.000001", "1.000001", "999999999999.999999",
           "-999999999999.999999"]  # fmt: skip
DAYS = [0, 1, -1, 0, 1, -1, 0, 90, 89, 91, -2, 2, -400, 400, 0]
GATES = ["release", "ship", "receive"]
ORDER, EQUAL, PRESENCE = ["<", "<=", ">", ">="], ["=", "!="], ["is present", "is missing"]


def vocabulary() -> str:
    lines = ["kinds:"]
    for kind, fields in KINDS.items():
        lines += [f"  {kind}:", *(["    one: true"] if kind in SINGLE else []), "    fields:"]
        for name, type_ in fields.items():
            shape = f"{{type: choice, values: [{', '.join(STATES)}]}}" if type_ == "choice" else type_
            lines.append(f"      {name}: {shape}")
    return "\n".join(lines) + "\n"


def day(shift: int) -> str:
    return date.fromordinal(DAY + shift).isoformat()


@lru_cache
def written(type_: str) -> st.SearchStrategy[str]:
    """A constant as a rule file says it."""
    return {
        "code": st.sampled_from(WRITTEN), "choice": st.sampled_from(STATES), "number": st.sampled_from(NUMBERS),
        "date": st.sampled_from(DAYS).map(day), "yes_no": st.sampled_from(["yes", "no"]),
    }[type_]  # fmt: skip


#: Sixteen values of each type, the first one missing: a fact is made of a few numbers, which is quick.
POOLS: dict[str, list[Any]] = {
    "code": [None, *CODES], "choice": [None, *STATES * 5], "number": [None, *map(parse_number, NUMBERS)],
    "date": [None, *(DAY + shift for shift in DAYS)], "yes_no": [None, *[True, False] * 7, True],
}  # fmt: skip
CELLS = {
    "code": ["~", *WRITTEN, "A", "B", "A", "B", "A"], "number": ["~", *NUMBERS],
    "date": ["~", *map(day, DAYS)], "yes_no": ["~", *["yes", "no"] * 7, "yes"],
}  # fmt: skip


def numbers(count: int) -> st.SearchStrategy[list[int]]:
    """``count`` numbers below 16, four drawn at once."""
    fours = st.tuples(*[st.integers(0, 16**4 - 1)] * -(-count // 4))
    return fours.map(lambda drawn: [number >> 4 * place & 15 for number in drawn for place in range(4)][:count])


def names(subject: str | None, row: bool) -> list[tuple[str, str]]:
    """What a condition may speak of: words with their types."""
    found = [(f"{kind}.{name}", type_) for kind in (*SINGLE, *([subject] if subject else []))
             for name, type_ in KINDS[kind].items()]  # fmt: skip
    if row:
        # Twice, for rows are what most rules are about.
        found += [(f"row.{name}", type_) for name, type_ in COLUMNS.items()] * 2
    if subject:
        found += [(f"{subject}.{name}", type_) for name, type_ in KINDS[subject].items()] * 2
    return found


@lru_cache
def lefts(subject: str | None, row: bool) -> st.SearchStrategy[tuple[str, str]]:
    return st.sampled_from(names(subject, row))


@lru_cache
def operators(type_: str) -> st.SearchStrategy[str]:
    ordered = ORDER * 2 if type_ in ("number", "date") else []
    return st.sampled_from([*ordered, *EQUAL, *EQUAL, "in", "not in", *PRESENCE])


@lru_cache
def rights(subject: str | None, row: bool, type_: str) -> st.SearchStrategy[str]:
    others = [word for word, other in names(subject, row) if other == type_]
    ways = [written(type_), *([st.sampled_from(others)] * 2 if len(others) > 1 else [])]
    if type_ == "date":
        ways.append(st.sampled_from(["today", "today + 90 days", "today - 1 days"]))
    return st.one_of(ways)


@st.composite
def condition_of(draw: Any, subject: str | None, row: bool) -> str:
    left, type_ = draw(lefts(subject, row))
    op = draw(operators(type_))
    if op in PRESENCE:
        return f"{left} {op}"
    if op in ("in", "not in"):
        return f"{left} {op} [{', '.join(draw(lists_of(type_)))}]"
    return f"{left} {op} {draw(rights(subject, row, type_))}"


@lru_cache
def lists_of(type_: str) -> st.SearchStrategy[list[str]]:
    return st.lists(written(type_), min_size=1, max_size=3)


@lru_cache
def condition(subject: str | None = None, row: bool = False) -> st.SearchStrategy[str]:
    return condition_of(subject, row)


@lru_cache
def conditions(low: int, high: int, subject: str | None = None, row: bool = False) -> st.SearchStrategy[list[str]]:
    return st.lists(condition(subject, row), min_size=low, max_size=high)


@st.composite
def lookup(draw: Any, subject: str | None, partial: bool = False) -> str:
    codes = ["lot.item", "lot.grade", "A"]
    mine = ["result.characteristic", "result.unit"] if subject == "result" else ["lot.grade", "B"]
    if not partial and draw(st.booleans()):
        return f"plan[{draw(st.sampled_from(codes))}, {draw(st.sampled_from(['lot.quantity', 'event.quantity']))}]"
    if partial and draw(st.booleans()):
        return f"limits[{draw(st.sampled_from(codes))}]"
    return f"limits[{draw(st.sampled_from(codes))}, {draw(st.sampled_from(mine))}]"


@st.composite
def requirement(draw: Any) -> Any:
    form = draw(st.sampled_from(["plain", "row", "every", "every", "every", "none", "count", "any_of"]))
    if form == "plain":
        return draw(condition())
    if form == "any_of":
        return {"any_of": draw(st.lists(conditions(1, 2), min_size=1, max_size=3))}
    if form == "row":
        return {"row": draw(lookup(None)), "check": draw(conditions(1, 2, None, True))}
    subject = draw(st.sampled_from(["result", "result", "hold"]))
    found: dict[str, Any] = {form: subject}
    looks = draw(st.booleans())
    if form == "count":
        found["at_least"] = draw(st.integers(0, 3))
        if looks:
            found["for_each" if draw(st.booleans()) else "row"] = draw(lookup(None))
        if draw(st.booleans()):
            found["distinct"] = f"{subject}.{draw(st.sampled_from(sorted(KINDS[subject])))}"
    elif looks:
        found["row"] = draw(lookup(subject))
    if draw(st.booleans()):
        found["where"] = draw(conditions(1, 2, subject, looks))
    if form == "every":
        found["check"] = draw(conditions(1, 2, subject, looks))
        if draw(st.booleans()):
            found["at_least"] = draw(st.integers(0, 3))
    return found


ROW = numbers(len(COLUMNS) + 1)


@st.composite
def table_rows(draw: Any, heads: list[list[str]]) -> list[list[str]]:
    rows = []
    for head in heads:
        there, *drawn = draw(ROW)
        cells = [CELLS[type_][number] for type_, number in zip(COLUMNS.values(), drawn, strict=True)]
        if "~" not in cells[1:3]:
            cells[1:3] = sorted(cells[1:3], key=float)
        if there < 12:
            rows.append([*head, *cells])
    return rows or [[*heads[0], "A", "0", "1", day(0), "yes", "A"]]


LIMITS = table_rows([[item, name] for item in ("A", "B", "5") for name in ("A", "B", "é")])
PLAN = table_rows([[item, span] for item in ("A", "B") for span in ("0..1", "2..999", "999999999999.999999")])


@st.composite
def rule_file(draw: Any) -> str:
    """A rule file in YAML; JSON is YAML, so texts need no quoting of ours."""
    rules = []
    for number in range(draw(st.integers(1, 4))):
        rule: dict[str, Any] = {
            "id": f"R{number}", "title": "t", "severity": "block", "rationale": "r", "message": "m",
            "gate": draw(st.lists(st.sampled_from(GATES), min_size=1, max_size=3, unique=True)),
            "require": draw(st.lists(requirement(), min_size=1, max_size=2)),
        }  # fmt: skip
        if draw(st.booleans()):
            rule["applies_to"] = draw(conditions(1, 2))
        if draw(st.integers(0, 3)) == 0:
            rule["effective"] = {"from": day(draw(st.sampled_from(DAYS)))}
        rules.append(rule)
    file = {
        "rulefile": "1", "owner": "o", "reference": "r",
        "table limits": {"match": ["item", "name"], "columns": ["item", "name", *COLUMNS], "rows": draw(LIMITS)},
        "table plan": {"match": ["item", "span"], "columns": ["item", "span", *COLUMNS], "rows": draw(PLAN)},
        "rules": rules,
    }  # fmt: skip
    return json.dumps(file, ensure_ascii=False, indent=1)


def fact(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = KINDS[kind]

    def made(drawn: list[int]) -> dict[str, Any]:
        values = {name: POOLS[type_][n] for (name, type_), n in zip(fields.items(), drawn, strict=True)}
        return {name: found for name, found in values.items() if found is not None}

    return numbers(len(fields)).map(made)


FACTS = st.fixed_dictionaries(
    {"lot": st.lists(fact("lot"), min_size=1, max_size=1), "event": st.lists(fact("event"), max_size=1),
     "result": st.lists(fact("result"), max_size=3), "hold": st.lists(fact("hold"), max_size=2)}
)  # fmt: skip


class Tally(msgspec.Struct):
    """What a run did."""

    cases: int = 0
    failing: int = 0
    refused: int = 0


class Disagreement(AssertionError):
    """The engines named different rules."""


def judge_both(book: RuleBook, cases: list[Case]) -> int:
    """Judge, compare; the number of rules that failed. Raises Disagreement."""
    engine = ReteEngine(read_rules(write_rules(book.rules)))
    failed = 0
    # Back and forth and mixed: neither what an earlier case left in the network nor its neighbours may matter.
    for order in (cases, cases[::-1], cases[::4] + cases[1::4] + cases[2::4] + cases[3::4]):
        pool, lines = judge_process._decode_batch(frame_of(order))
        for case, second in zip(order, judge_process._judge(engine, pool, lines), strict=True):
            first = book.verdicts(case)[1]
            failed += len(first)
            if first != second:
                raise Disagreement(f"at gate {case.gate} the reference fails {first}, durable-rules {second}")
    engine.close()
    return failed


def in_a_child(book: RuleBook, cases: list[Case]) -> int:
    """As :func:`judge_both`, and a crash is an error like any other."""
    child = os.fork()
    if child == 0:
        try:
            judge_both(book, cases)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise Disagreement(f"the child that judged ended with {status}")
    return 0


# -- proof that a wrong or crashing engine is noticed ----------------------------------------------------------


def overlook_recalled_lots() -> None:
    judged = ReteEngine.failing_together

    def forgetful(engine: ReteEngine, asked: Any) -> list[list[int]]:
        found = judged(engine, asked)
        return [[] if one.facts["lot"][0].get("recalled") else answer for one, answer in zip(asked, found, strict=True)]

    ReteEngine.failing_together = forgetful  # type: ignore[method-assign]


def crash_on_recalled_lots() -> None:
    judged = ReteEngine.failing_together

    def fragile(engine: ReteEngine, asked: Any) -> list[list[int]]:
        if any(one.facts["lot"][0].get("recalled") for one in asked):
            os.kill(os.getpid(), signal.SIGSEGV)
        return judged(engine, asked)

    ReteEngine.failing_together = fragile  # type: ignore[method-assign]


SABOTAGES = {"wrong": overlook_recalled_lots, "crash": crash_on_recalled_lots}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--cases", type=int, required=True)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--fork", action="store_true")
    options.add_argument("--last", type=Path, required=True)
    options.add_argument("--as-found", action="store_true")
    options.add_argument("--sabotage", choices=list(SABOTAGES))
    asked = options.parse_args()
    if asked.sabotage:
        SABOTAGES[asked.sabotage]()
    tally, words, judge = Tally(), vocabulary(), in_a_child if asked.fork else judge_both
    shown: dict[str, str] = {}

    @seed(asked.seed)
    @settings(max_examples=max(1, asked.cases // (WORLDS * len(GATES))), deadline=None, database=None,
              phases=[Phase.generate] if asked.as_found else [Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck))
    @given(rule_file(), st.lists(FACTS, min_size=WORLDS, max_size=WORLDS))  # fmt: skip
    def both_engines_name_the_same_failing_rules(text: str, worlds: list[dict[str, Any]]) -> None:
        sources = {"vocabulary.yaml": words, "rules.yaml": text}
        cases = [Case(gate, world, DAY) for world in worlds for gate in GATES]
        example = f"{text}\n\nfacts on {day(0)}:\n" + "\n".join(repr(world) for world in worlds)
        try:
            book = RuleBook.from_sources(sources)
        except RulePackError:
            tally.refused += 1
            return
        asked.last.write_text(example)
        try:
            tally.failing += judge(book, cases)
        except Exception:
            # The last failing example that Hypothesis tries is the smallest it found.
            shown["smallest"] = example
            raise
        tally.cases += len(cases)

    try:
        both_engines_name_the_same_failing_rules()
    except Exception:
        traceback.print_exc(limit=-2)
        print(f"smallest counterexample (seed {asked.seed}):\n{shown.get('smallest', '')}", file=sys.stderr)
        sys.exit(1)
    print(msgspec.json.encode(tally).decode())


if __name__ == "__main__":
    main()
