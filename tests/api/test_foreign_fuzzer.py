"""Schemathesis over the whole document that is served: its boundary cases, its own inventions, and chains of calls.

A second opinion beside tests/api/test_every_call.py, by somebody who knows nothing of Lotgate. Every check of it
is on but one: ``positive_data_acceptance`` takes what fits the schema for acceptable, and a gate refuses much that fits.
``LOTGATE_FUZZ_SECONDS`` and ``LOTGATE_FUZZ_SEED`` make it longer and different.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from api.operations import OPERATIONS

#: For the tests of every commit; a night can have more.
SECONDS = int(os.environ.get("LOTGATE_FUZZ_SECONDS", "20"))
SEED = os.environ.get("LOTGATE_FUZZ_SEED", "74")
#: These answer when something happens, not at once; tests/api/test_feed_http.py asks them.
WAITING = ("/v1/feed", "/v1/changes")
#: Here a bad item spoils only itself, with a result of its own: the answer to the whole is no refusal, so only what
#: fits the schema is sent (tests/api/test_batches.py sends the rest).
ITEM_BY_ITEM = """
[[operations]]
include-path = "/v1/events/batch"
generation.mode = "positive"
[[operations]]
include-path = "/v1/reference/{kind}/import"
generation.mode = "positive"
"""
#: With all boundary cases and no call left out it is far above; below, it has not really run.
FEWEST_CASES = 200


def test_a_foreign_fuzzer_finds_no_answer_outside_the_contract(own: Any, tmp_path: Path) -> None:
    excluded = [word for path in WAITING for word in ("--exclude-path", path)]
    (tmp_path / "schemathesis.toml").write_text(ITEM_BY_ITEM)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", own.url + "/schema/openapi.json",
        "-H", f"Authorization: Bearer {own.key}", "--phases", "coverage,fuzzing,stateful", "--mode", "all",
        "--checks", "all", "--exclude-checks", "positive_data_acceptance", *excluded, "--max-time", str(SECONDS),
        "--seed", SEED, "--max-examples", "3", "--no-shrink", "--request-timeout", "30", "--warnings", "off",
        "--continue-on-failure", "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS + 100, check=False, cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.foreign_hooks",
             "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    selected = re.search(r"Selected: (\d+)/(\d+)", done.stdout)
    generated = re.search(r"(\d+) generated", done.stdout)
    assert selected is not None, done.stdout[-2_000:]
    assert generated is not None, done.stdout[-2_000:]
    assert int(selected[1]) == int(selected[2]) - len(WAITING), "no other call is left out"
    assert int(selected[2]) <= len(OPERATIONS)
    assert int(generated[1]) >= FEWEST_CASES
    assert own.http.get("/readyz").status_code == 200, "and the service stands"
