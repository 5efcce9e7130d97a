"""Another rule set while events go on: no event is dropped, none is judged by two sets, the last good set stays."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.answer import Answer
from engine.changeover import Changeover, DiskWatch, OnDisk
from engine.clock import instant
from engine.decoding import decode_event
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.rulesets import RuleSets
from engine.store.opening import Store
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook, digest_of, read_sources

HEAD = "rulefile: 1\nowner: QC\nreference: SOP-1\n"
RULES = (
    HEAD
    + """\
rules:
  - id: QUANTITY
    title: Not too much
    gate: [receive]
    severity: block
    rationale: Typing errors
    require: [lot.quantity <= 100]
    message: "{lot.quantity} is too much"
tests:
  - name: little
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: received, quantity: 1, unit: ea}}
    expect: {QUANTITY: pass}
  - name: much
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: received, quantity: 999999, unit: ea}}
    expect: {QUANTITY: fail}
"""
)


def at_most(quantity: int) -> dict[str, str]:
    return {"quantity.yaml": RULES.replace("<= 100", f"<= {quantity}")}


class Works:
    """A pipeline that changes over, with the sets of its database."""

    def __init__(self, store: Store, clock: Any, folder: Path, channel: str) -> None:
        (folder / "quantity.yaml").write_text(RULES)
        self.store, self.clock = store, clock
        self.sets = RuleSets(store, clock)
        book = self.sets.book(self.sets.ensure_first(folder))
        self.first = book.digest
        self.changeover = Changeover(self.sets, clock, book, lambda b: TwoChannelJudge(b, channel=channel))
        judge = TwoChannelJudge(book, channel=channel)
        self.pipeline = Pipeline(store, judge, book, clock, changeover=self.changeover)
        self.pipeline.start()
        self._number = 0

    def send(self, quantity: int) -> Any:
        self._number += 1
        lot = f"L{self._number}"
        amount = {"value": str(quantity), "unit": "ea"}
        data = {"item": "X", "revision": "A", "quantity": amount, "receipt": lot, "supplier": "ACME"}
        envelope = {
            "specversion": "1.0", "id": lot, "source": "test", "type": "lot.received.v1", "subject": lot, "data": data,
        }  # fmt: skip
        return self.pipeline.submit(decode_event(json.dumps(envelope).encode()), "tester")

    def activate(self, files: dict[str, str], at: str | None = None) -> str:
        digest = self.sets.stage(files, "anna").line.digest
        self.sets.approve(digest, "bela")
        self.sets.activate(digest, "bela", at=at)
        return digest

    def rule_sets(self) -> list[str]:
        """Digests in the journal, in the order in which they were written."""
        with self.store.reads.connect() as connection:
            rows = connection.execute(text("SELECT rule_set FROM journal ORDER BY position"))
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        self.pipeline.stop()
        self.changeover.close()
        assert isinstance(self.pipeline.judge, TwoChannelJudge)
        self.pipeline.judge.close()


@pytest.fixture
def works(store: Store, clock: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Works]:
    folder = tmp_path / "rules"
    folder.mkdir()
    running = Works(store, clock, folder, getattr(request, "param", "reference"))
    yield running
    running.close()


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@pytest.mark.parametrize("works", ["both"], indirect=True)
def test_rules_change_under_load_without_a_dropped_or_half_judged_event(works: Works) -> None:
    works.changeover.start()
    promises = [works.send(50) for _ in range(200)]
    second = works.activate(at_most(10))
    while works.pipeline.rulebook.digest != second:
        promises += [works.send(50) for _ in range(20)]
        time.sleep(0.02)
        assert len(promises) < 20_000
    promises += [works.send(50) for _ in range(200)]
    answers: list[Answer] = [promise.result(30) for promise in promises]
    outcomes = [answer.outcome for answer in answers]
    assert set(outcomes) == {"applied", "refused"}
    # Everything before the changeover was let in, everything after it refused: nobody was judged by both.
    assert outcomes == sorted(outcomes)
    assert outcomes[:200] == ["applied"] * 200
    assert outcomes[-200:] == ["refused"] * 200
    assert json.loads(answers[-1].body)["rules"][0]["rule"] == "QUANTITY"
    assert works.pipeline.judge.status().engines == ("reference", "durable-rules")  # type: ignore[attr-defined]
    assert set(works.rule_sets()) == {works.first}
    assert verify(Reading(works.store).journals()).intact


def test_an_idle_process_changes_over_too(works: Works) -> None:
    second = works.activate(at_most(10))
    works.changeover.start()
    until(lambda: works.pipeline.rulebook.digest == second)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_process_on_the_database_changes_over(works: Works, store: Store, clock: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Works(store, clock, tmp_path / "other", "reference")
    try:
        assert other.first == works.first
        second = works.activate(at_most(10))
        for process in (works, other):
            process.changeover.start()
        until(lambda: all(process.pipeline.rulebook.digest == second for process in (works, other)))
    finally:
        other.close()


def test_a_set_is_ready_before_its_instant_and_judges_from_it_on(works: Works, clock: Any) -> None:
    second = works.activate(at_most(10), at=instant(clock.now.replace(second=20)))
    works.changeover.look()
    assert works.send(50).result(10).outcome == "applied"
    clock.now = clock.now.replace(second=19, microsecond=999_999)
    assert works.send(50).result(10).outcome == "applied"
    clock.now = clock.now.replace(second=20, microsecond=0)
    assert works.send(50).result(10).outcome == "refused"
    assert works.pipeline.rulebook.digest == second


def test_a_process_without_a_thread_of_its_own_changes_over_between_batches(works: Works) -> None:
    works.pipeline.stop()
    second = works.activate(at_most(10))
    works.changeover.look()
    works.pipeline.process([])
    assert works.pipeline.rulebook.digest == second


def test_a_prepared_set_that_is_withdrawn_does_not_come(works: Works, clock: Any) -> None:
    second = works.activate(at_most(10), at=instant(clock.now.replace(second=20)))
    works.changeover.look()
    clock.forward(1)
    works.sets.withdraw(second, "anna")
    works.changeover.look()
    clock.forward(60)
    assert works.send(50).result(10).outcome == "applied"


def test_what_is_in_force_now_comes_before_what_is_about_to_be(works: Works, clock: Any) -> None:
    works.activate(at_most(10), at=instant(clock.now.replace(second=20)))
    works.changeover.look()
    third = works.activate(at_most(20))
    works.changeover.look()
    works.send(1).result(10)
    assert works.pipeline.rulebook.digest == third


def test_a_set_that_this_release_cannot_read_leaves_the_last_good_one_in_force(works: Works, clock: Any) -> None:
    with works.store.engine.begin() as connection:
        connection.execute(text("INSERT INTO rule_sets VALUES ('sha256:bad', '{\"a.yaml\": \"rules: [\"}', 'now')"))
        connection.execute(
            text(
                "INSERT INTO rule_set_steps (digest, step, by_whom, at, effective_at, comment) "
                f"VALUES ('sha256:bad', 'activated', 'x', '{instant(clock())}', '{instant(clock())}', '')"
            )
        )
    works.changeover.look()
    assert works.send(50).result(10).outcome == "applied"
    assert works.pipeline.rulebook.digest == works.first
    assert "a.yaml" in works.changeover.problem
    works.sets.roll_back("anna")
    clock.forward(1)
    works.changeover.look()
    assert works.changeover.problem == ""


def test_a_failure_that_nobody_foresaw_does_not_end_the_looking(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = works.sets.steps, iter([ZeroDivisionError("unforeseen")])

    def fail_once() -> Any:
        for error in calls:
            raise error
        return real()

    second = works.activate(at_most(10))
    monkeypatch.setattr(works.sets, "steps", fail_once)
    works.changeover.start()
    until(lambda: works.pipeline.rulebook.digest == second)


def test_the_watch_on_the_disk_says_what_state_the_files_are_in(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path)
    path = tmp_path / "quantity.yaml"
    path.write_text(RULES)
    assert watch.look().digest == RuleBook.load(tmp_path).digest
    path.write_text(RULES[: RULES.index("severity")])  # half-written
    assert watch.look().digest == ""
    assert "quantity.yaml" in watch.look().problem
    path.write_text(RULES.replace("<= 100", "<= 10"))
    changed = watch.look()
    assert changed.problem == ""
    assert changed.digest == RuleBook.load(tmp_path).digest
    path.unlink()
    assert watch.look().digest == ""
    path.parent.rmdir()
    assert "no such directory" in watch.look().problem


def test_files_that_are_the_active_set_are_not_compiled_again(tmp_path: Path) -> None:
    (tmp_path / "quantity.yaml").write_text("rules: [")  # could not be compiled
    active = digest_of(read_sources(tmp_path))
    assert DiskWatch(tmp_path).look(active) == OnDisk(active, "")
    assert DiskWatch(tmp_path).look("sha256:other").problem
