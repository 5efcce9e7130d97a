"""The two channels with a real judge process: killed, stopped, lying, missing, exchanged. The gate stays shut."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rules import reproduction
from rules.compiled import Verdict
from rules.judge import KEPT, TwoChannelJudge
from rules.rulebook import SHIPPED, Case, RuleBook

DAY = 739_000
MILLION = 1_000_000
RULES = """\
rulefile: 1
owner: o
reference: r
rules:
  - id: WEIGHT
    title: Not too much
    gate: [release]
    severity: block
    rationale: r
    require: [lot.quantity <= {limit}]
    message: "{{lot.quantity}} is too much"
  - id: VALUES
    title: Results
    gate: [release, ship]
    severity: block
    rationale: r
    require:
      - every: result
        check: [result.value <= {limit}]
    message: "{{result.value}} is too much"
"""
Start = Callable[..., TwoChannelJudge]


def book_of(limit: int) -> RuleBook:
    vocabulary = (SHIPPED / "vocabulary.yaml").read_text()
    return RuleBook.from_sources({"vocabulary.yaml": vocabulary, "rules.yaml": RULES.format(limit=limit)})


def case(quantity: int, item: str = "RING-74", gate: str = "release") -> Case:
    lot = {"id": "L1", "item": item, "revision": "A", "state": "inspected", "quantity": quantity * MILLION, "unit": "ea"}
    return Case(gate, {"lot": [lot], "event": [{}], "result": [{"characteristic": "c", "value": quantity * MILLION}]}, DAY)


def program(patch: str) -> tuple[str, ...]:
    """A judge process like any other, but for ``patch``."""
    text = f"from rules import judge_process\n{textwrap.dedent(patch)}\njudge_process.main()"
    return sys.executable, "-c", text


#: Ends at an item, as if the library had crashed on it; notes each time in a file.
ENDS_AT_POISON = """
import os, signal
from rules.rete import ReteEngine
judged = ReteEngine.failing_together
def fragile(engine, asked):
    if any(one.facts["lot"][0]["item"] == "POISON" for one in asked):
        os.write(os.open({notes!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY), b"x")
        os.kill(os.getpid(), {signal})
    return judged(engine, asked)
ReteEngine.failing_together = fragile
"""


@pytest.fixture(scope="module")
def book() -> RuleBook:
    return book_of(100)


@pytest.fixture
def start(book: RuleBook) -> Iterator[Start]:
    judges: list[TwoChannelJudge] = []

    def started(rulebook: RuleBook = book, **options: Any) -> TwoChannelJudge:
        judges.append(TwoChannelJudge(rulebook, **options))
        return judges[-1]

    yield started
    for judge in judges:
        judge.close()


def pid_of(judge: TwoChannelJudge) -> int:
    pid = judge.status().pid
    assert pid is not None
    return pid


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


def failing(judge: TwoChannelJudge, cases: list[Case]) -> list[list[str]]:
    found = judge.judge(cases)
    assert all(j.agreed and j.engines == ("reference", "durable-rules") for j in found), found
    return [[v.rule for v in j.verdicts if v.verdict is Verdict.FAIL] for j in found]


# -- killed ----------------------------------------------------------------------------------------------------


def test_both_engines_stand_behind_a_judgement(start: Start) -> None:
    judge = start()
    assert failing(judge, [case(100), case(101), case(101, gate="ship")]) == [[], ["WEIGHT", "VALUES"], ["VALUES"]]
    assert judge.status().problem == ""


def test_a_batch_is_answered_although_the_process_is_killed_before_it(start: Start) -> None:
    judge = start()
    first = pid_of(judge)
    os.kill(first, signal.SIGKILL)
    assert failing(judge, [case(q) for q in (1, 200, 3)]) == [[], ["WEIGHT", "VALUES"], []]
    assert pid_of(judge) != first
    assert judge.status().restarts == 1


def test_a_batch_is_answered_although_the_process_is_killed_in_the_middle_of_it(start: Start) -> None:
    judge = start()
    for round_ in range(5):
        cases = [case(q % 150) for q in range(3000)]
        pending = judge.begin(cases)
        time.sleep(0.005 * round_)
        os.kill(pid_of(judge), signal.SIGKILL)
        found = judge.finish(pending)
        assert [j.agreed for j in found] == [True] * len(cases)
        assert [j.opens for j in found] == [q % 150 <= 100 for q in range(3000)]
    assert judge.status().restarts == 5
    assert judge.status().disagreements == 0


def test_a_case_that_kills_the_process_twice_stays_shut_and_harms_no_other(start: Start, tmp_path: Path) -> None:
    notes, kept = tmp_path / "deaths", tmp_path / "reproductions"
    patch = ENDS_AT_POISON.format(notes=str(notes), signal=int(signal.SIGSEGV))
    judge = start(command=program(patch), keep_in=kept)
    cases = [case(1), case(200), case(1, "POISON"), *[case(2)] * 5]
    found = judge.judge(cases)
    assert [j.agreed for j in found] == [True, True, False, True, True, True, True, True]
    assert [j.opens for j in found] == [True, False, False, True, True, True, True, True]
    assert found[2].refusing == ()
    assert "ended the judge process 2 times" in (found[2].disagreement or "")
    # The whole batch twice, then its halves: the number of deaths is bounded by the size of the batch.
    assert len(notes.read_text()) <= 2 + 3 + 2
    assert judge.status().disagreements == 1
    # The next lot is judged as if nothing had been.
    assert failing(judge, [case(300)]) == [["WEIGHT", "VALUES"]]


def test_a_disagreement_leaves_a_file_from_which_it_can_be_tried_again(start: Start, tmp_path: Path) -> None:
    patch = ENDS_AT_POISON.format(notes=str(tmp_path / "deaths"), signal=int(signal.SIGKILL))
    judge = start(command=program(patch), keep_in=tmp_path / "kept")
    poison = case(200, "POISON")
    judge.judge([poison])
    judge.judge([poison])
    [path] = (tmp_path / "kept").glob("*")
    found = reproduction.load(path)
    assert found.case == poison
    assert found.reference == ["WEIGHT", "VALUES"]
    assert isinstance(found.second, str)
    again = RuleBook.from_sources(found.sources)
    assert again.digest == found.rule_set == judge.judge([poison])[0].rule_set
    assert failing(start(again), [found.case]) == [found.reference]


def test_the_oldest_reproductions_make_room(tmp_path: Path, book: RuleBook) -> None:
    for number in range(KEPT + 5):
        path = reproduction.keep(
            reproduction.Reproduction(book.digest, book.sources, case(number), [], ["WEIGHT"]), tmp_path
        )
        os.utime(path, (number, number))
    kept = [reproduction.load(p).case.facts["lot"][0]["quantity"] for p in tmp_path.glob("*")]
    assert sorted(kept) == [n * MILLION for n in range(5, KEPT + 5)]


def test_evidence_that_cannot_be_written_keeps_the_gate_shut_all_the_same(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    patch = ENDS_AT_POISON.format(notes=str(tmp_path / "deaths"), signal=int(signal.SIGKILL))
    judge = start(command=program(patch), keep_in=tmp_path / "file")
    [found] = judge.judge([case(1, "POISON")])
    assert not found.agreed
    assert not found.opens
    assert len(judge.reproductions) == 1


# -- hanging ---------------------------------------------------------------------------------------------------


def test_a_process_that_hangs_is_given_up_after_the_time_limit(start: Start) -> None:
    judge = start(limit_seconds=0.5)
    hanging = pid_of(judge)
    os.kill(hanging, signal.SIGSTOP)
    began = time.monotonic()
    assert failing(judge, [case(1), case(200)]) == [[], ["WEIGHT", "VALUES"]]
    assert 0.5 <= time.monotonic() - began < 10
    assert gone(hanging)
    assert judge.status().restarts == 1


def test_a_process_that_hangs_does_not_hold_up_a_batch_larger_than_the_pipe(start: Start) -> None:
    judge = start(limit_seconds=0.5)
    os.kill(pid_of(judge), signal.SIGSTOP)
    began = time.monotonic()
    assert sum(j.opens for j in judge.judge([case(q % 200) for q in range(4000)])) == 4000 // 200 * 101
    assert time.monotonic() - began < 10


def test_a_case_that_hangs_the_process_every_time_stays_shut(start: Start, tmp_path: Path) -> None:
    patch = ENDS_AT_POISON.format(notes=str(tmp_path / "hangs"), signal=int(signal.SIGSTOP))
    judge = start(command=program(patch), limit_seconds=0.5)
    found = judge.judge([case(1), case(1, "POISON"), case(200)])
    assert [(j.agreed, j.opens) for j in found] == [(True, True), (False, False), (True, False)]


# -- lying -----------------------------------------------------------------------------------------------------


def test_a_verdict_that_is_turned_round_shuts_the_gate(start: Start) -> None:
    lie = """
    from rules.rete import ReteEngine
    judged = ReteEngine.failing_together
    ReteEngine.failing_together = lambda engine, asked: [[n for n in found if n] for found in judged(engine, asked)]
    """
    judge = start(command=program(lie))
    good, bad = judge.judge([case(1), case(200)])
    assert good.opens
    assert not bad.agreed
    assert not bad.opens
    assert bad.disagreement == "the reference fails WEIGHT, VALUES; durable-rules: it fails VALUES"
    assert [r.case for r in judge.reproductions] == [case(200)]


def test_a_rule_that_only_the_second_engine_fails_shuts_the_gate(start: Start) -> None:
    lie = "from rules.rete import ReteEngine\nReteEngine.failing_together = lambda engine, asked: [[1]] * len(asked)"
    [found] = start(command=program(lie)).judge([case(1)])
    assert found.refusing == ()
    assert not found.opens


@pytest.mark.parametrize("answer", ["[[99]]", "[[-1]]", "[]", "[[0], [0], [0]]", "'nonsense'", "{1: 2}"])
def test_an_answer_that_makes_no_sense_opens_nothing(start: Start, answer: str) -> None:
    lie = f"judge_process._judge = lambda engine, pool, lines: {answer}"
    found = start(command=program(lie), limit_seconds=2.0).judge([case(1), case(200)])
    assert [(j.agreed, j.opens) for j in found] == [(False, False)] * 2


def test_a_process_that_has_other_rules_is_not_asked(start: Start) -> None:
    lie = """
    from rules import judge_rules
    read = judge_rules.read_rules
    judge_rules.read_rules = lambda written: read(written.replace(b"WEIGHT", b"HEIGHT"))
    """
    judge = start(command=program(lie))
    assert judge.status().pid is None
    assert judge.status().problem == "the judge process has other rules"
    found = judge.judge([case(1), case(200)])
    assert [(j.agreed, j.opens) for j in found] == [(False, False)] * 2


# -- missing ---------------------------------------------------------------------------------------------------


def test_without_the_library_the_reference_judges_alone_and_says_so(start: Start) -> None:
    judge = start(command=program("import sys\nsys.modules['durable_rules_engine'] = None"))
    status = judge.status()
    assert status.engines == judge.engines == ("reference",)
    assert status.pid is None
    assert "durable-rules cannot be loaded on this Python" in status.problem
    began = time.monotonic()
    found = judge.judge([case(1), case(200)])
    assert time.monotonic() - began < 0.5
    assert [(j.engines, j.agreed, j.opens) for j in found] == [(("reference",), True, True), (("reference",), True, False)]


def test_a_library_that_was_built_without_the_new_name_says_how_to_build_it(start: Start) -> None:
    broken = """
    import importlib.abc, sys
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "durable_rules_engine":
                raise ImportError("durable_rules_engine.so: undefined symbol: PyEval_CallObject")
    sys.meta_path.insert(0, Broken())
    """
    judge = start(command=program(broken))
    assert judge.engines == ("reference",)
    assert "CPPFLAGS=-DPyEval_CallObject=PyObject_CallObject pip install" in judge.status().problem


def test_a_process_that_cannot_start_leaves_the_gates_shut_and_is_not_started_for_every_batch(start: Start) -> None:
    judge = start(command=(sys.executable, "-c", "raise SystemExit(3)"))
    assert "did not start" in judge.status().problem
    for _ in range(20):
        [found] = judge.judge([case(1)])
        assert not found.agreed
        assert not found.opens
    assert judge.status().restarts <= 1


def test_the_reference_alone_starts_no_process(start: Start) -> None:
    judge = start(channel="reference")
    assert judge.status().pid is None
    assert judge.judge([case(1)])[0].engines == ("reference",)


# -- exchanged -------------------------------------------------------------------------------------------------


def test_a_batch_that_was_begun_is_judged_whole_by_the_rules_it_began_with(start: Start, book: RuleBook) -> None:
    other = book_of(1000)
    judge = start()
    cases = [case(q) for q in range(90, 111)] * 100
    for before, after in ((book, other), (other, book)) * 3:
        pending = judge.begin(cases)
        old = pid_of(judge)
        judge.swap(after)
        found = judge.finish(pending)
        assert all(j.agreed for j in found)
        assert {j.rule_set for j in found} == {before.digest}
        assert [j.opens for j in found] == [before.judge(c).opens for c in cases]
        assert gone(old)
        [next_] = judge.judge([case(500)])
        assert (next_.agreed, next_.rule_set, next_.opens) == (True, after.digest, after is other)


def test_a_batch_whose_process_dies_during_the_exchange_still_sees_one_rule_set(start: Start, book: RuleBook) -> None:
    other = book_of(1000)
    judge = start()
    pending = judge.begin([case(q) for q in range(90, 111)])
    old = pid_of(judge)
    os.kill(old, signal.SIGKILL)
    judge.swap(other)
    found = judge.finish(pending)
    assert [(j.agreed, j.opens, j.rule_set) for j in found] == [(True, q <= 100, book.digest) for q in range(90, 111)]
    assert judge.judge([case(500)])[0].opens


def test_two_exchanges_during_one_batch_leave_one_process(start: Start, book: RuleBook) -> None:
    judge = start()
    pids = {pid_of(judge)}
    pending = judge.begin([case(1)])
    for limit in (1000, 2000):
        judge.swap(book_of(limit))
        pids.add(pid_of(judge))
    assert judge.finish(pending)[0].agreed
    assert len(pids) == 3
    assert [gone(pid) for pid in pids - {pid_of(judge)}] == [True, True]
    assert judge.judge([case(1500)])[0].opens


# -- ended -----------------------------------------------------------------------------------------------------


def test_close_leaves_no_process_even_when_it_hangs(start: Start) -> None:
    calm, hanging, busy = start(), start(), start()
    pids = [pid_of(judge) for judge in (calm, hanging, busy)]
    os.kill(pids[1], signal.SIGSTOP)
    busy.begin([case(q) for q in range(5000)])
    for judge in (calm, hanging, busy):
        judge.close()
    assert [gone(pid) for pid in pids] == [True] * 3


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    parent = textwrap.dedent(
        """
        import os, signal
        from rules.judge import TwoChannelJudge
        from rules.rulebook import SHIPPED, RuleBook
        judge = TwoChannelJudge(RuleBook.load(SHIPPED))
        print(judge.status().pid, flush=True)
        os.kill(judge.status().pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert gone(int(done.stdout))


def test_signals_to_the_whole_group_do_not_end_the_process(start: Start) -> None:
    judge = start()
    pid = pid_of(judge)
    for which in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, which)
    assert failing(judge, [case(1)]) == [[]]
    assert pid_of(judge) == pid


# -- long ------------------------------------------------------------------------------------------------------


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_fifty_thousand_cases_do_not_make_the_process_grow(start: Start) -> None:
    rulebook = RuleBook.load(SHIPPED)
    judge = start(rulebook)

    def batch(serial: int) -> list[Case]:
        cases = []
        for number in range(serial * 250, serial * 250 + 250):
            lot = {"id": f"LOT-{number}", "item": "TEN-POINT", "revision": "A", "state": "inspected", "unit": "ea",
                   "quantity": number * MILLION, "inspection_complete": True}  # fmt: skip
            results = [{"characteristic": f"c{i:02d}", "value": 10 * MILLION + number * 20, "unit": "mm"} for i in range(1, 11)]
            facts = {"lot": [lot], "event": [{"type": "lot.released", "principal": f"p{number}"}], "result": results, "hold": []}
            cases += [Case("inspect", facts, DAY + number // 5000), Case("release", facts, DAY + number // 5000)]
        return cases

    for serial in range(10):
        judge.judge(batch(serial))
    before = rss_mb(pid_of(judge))
    for serial in range(10, 110):
        assert all(j.agreed for j in judge.judge(batch(serial)))
    assert rss_mb(pid_of(judge)) - before < 30
    assert judge.status().restarts == 0


def test_a_batch_larger_than_the_pipe_does_not_lock_the_two_processes(start: Start) -> None:
    judge = start()
    cases = [case(q % 200) for q in range(20_000)]
    assert sum(j.opens for j in judge.judge(cases)) == 20_000 // 200 * 101


def test_a_process_with_thousands_of_open_files_can_still_judge(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files: list[int] = []
    try:
        while not files or files[-1] < 1100:
            files.append(os.open("/dev/null", os.O_RDONLY))
        assert failing(start(), [case(200)]) == [["WEIGHT", "VALUES"]]
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
