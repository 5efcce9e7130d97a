"""Both engines name the same failing rules, whatever the rule files and the facts. Each run is a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "two_engines.py"
#: LOTGATE_DIFFERENTIAL_CASES=20000 for a thorough run, LOTGATE_DIFFERENTIAL_SEED for another one.
CASES = int(os.environ.get("LOTGATE_DIFFERENTIAL_CASES", "1500"))
SEED = int(os.environ.get("LOTGATE_DIFFERENTIAL_SEED", "20261123"))
LIMIT_SECONDS = 120 + CASES // 20


def judge_random_cases(
    folder: Path, cases: int, seed: int, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    last = folder / "last-case.txt"
    command = [sys.executable, str(PROGRAM), "--cases", str(cases), "--seed", str(seed), "--last", str(last), *more]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
        timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode < 0 and "--fork" not in more:
        # A crash in C: the same cases again, each in a child, so that the example can be made small.
        again = judge_random_cases(folder, cases, seed, "--fork", *more, **environment)
        if again.returncode == 0:
            again.stderr = f"not seen again in children; the case at hand was:\n{last.read_text()}"
        done.stderr += f"\nthe process ended with {signal.Signals(-done.returncode).name}\n{again.stderr}"
    return done


def agreed(done: subprocess.CompletedProcess[str], at_least: int) -> None:
    assert done.returncode == 0, done.stderr[-6000:]
    tally = json.loads(done.stdout)
    assert tally["cases"] >= at_least, tally
    # Rules that never failed, or files that were mostly refused, would prove nothing.
    assert tally["failing"] >= tally["cases"] // 5, tally
    assert tally["refused"] <= tally["cases"] // 20, tally


@pytest.mark.timeout(LIMIT_SECONDS * 2 + 10)
def test_both_engines_name_the_same_failing_rules(tmp_path: Path) -> None:
    agreed(judge_random_cases(tmp_path, CASES + CASES // 5, SEED), CASES)


def test_both_engines_agree_when_fresh_memory_is_not_zero(tmp_path: Path) -> None:
    agreed(judge_random_cases(tmp_path, 500, SEED + 1, MALLOC_PERTURB_="165"), 300)


def test_a_wrong_verdict_is_found(tmp_path: Path) -> None:
    done = judge_random_cases(tmp_path, 600, 7, "--sabotage", "wrong", "--as-found")
    assert done.returncode == 1
    assert "Disagreement: at gate" in done.stderr
    assert "'recalled': True" in done.stderr.partition("smallest counterexample (seed 7):")[2]


def test_a_crash_in_the_library_is_a_counterexample_and_made_small(tmp_path: Path) -> None:
    done = judge_random_cases(tmp_path, 200, 7, "--sabotage", "crash")
    assert done.returncode == -signal.SIGSEGV
    assert "SIGSEGV" in done.stderr
    smallest = done.stderr.partition("smallest counterexample (seed 7):")[2]
    assert "'recalled': True" in smallest
    assert smallest.count('"id": "R') == 1
