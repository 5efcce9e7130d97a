"""Stored rule sets on both databases: staged, approved by somebody else, activated, rolled back, found again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from engine.clock import instant
from engine.errors import NotFound
from engine.rulesets import RuleFilesInvalid, RuleSetChanged, RuleSetRefused, RuleSets, coming, succession
from engine.settings import SHIPPED_RULES
from engine.store.opening import Store
from engine.store.rulesets import Step
from engine.trial import trial
from rules.findings import RulePackError
from rules.rulebook import VOCABULARY_FILE, RuleBook

#: For what is the same on every database: one is enough.
ANY_DATABASE = pytest.mark.parametrize("database_url", [""], ids=["sqlite"])
LIMITS, SHIPMENT = "limits.yaml", "shipping/shipment.yaml"
FILES = {
    LIMITS: """\
rulefile: 1
owner: QC Laboratory
reference: SPEC-74
table spec_limits:
  match: [item, revision, characteristic]
  columns: [item, revision, characteristic, lower, upper]
  rows:
    - [RING-74, A, diameter, 73.950, 74.050]
rules:
  - id: SPEC-LIMITS
    title: Every result lies within its limits
    gate: [release]
    severity: block
    rationale: SPEC-74
    require:
      - every: result
        at_least: 1
        row: spec_limits[lot.item, lot.revision, result.characteristic]
        check: [result.value >= row.lower, result.value <= row.upper]
    message: "{result.value} is not within {row.lower} to {row.upper}"
  - id: QUANTITY
    title: There is something
    gate: [receive]
    severity: block
    rationale: Typing errors
    require: [lot.quantity > 0, lot.quantity < 1000000]
    message: "{lot.quantity} is not plausible"
tests:
  - name: on the limit
    at: 2026-03-01
    given:
      lot: {id: L1, item: RING-74, revision: A, state: inspected, quantity: 1, unit: ea}
      result: [{characteristic: diameter, value: 73.950}]
    expect: {SPEC-LIMITS: pass, QUANTITY: pass}
  - name: far above
    at: 2026-03-01
    given:
      lot: {id: L1, item: RING-74, revision: A, state: inspected, quantity: 0, unit: ea}
      result: [{characteristic: diameter, value: 75}]
    expect: {SPEC-LIMITS: fail, QUANTITY: fail}
""",
    SHIPMENT: """\
rulefile: 1
owner: Shipping
reference: SOP-SH-003
rules:
  - id: NO-RECALL
    title: The lot is not being recalled
    gate: [ship]
    severity: block
    rationale: SOP-QA-015
    require: [lot.recall_open = no]
    message: "lot {lot.id} is being recalled"
tests:
  - name: fine
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: released, quantity: 1, unit: ea, recall_open: no}}
    expect: {NO-RECALL: pass}
  - name: recalled
    at: 2026-03-01
    given: {lot: {id: L1, item: X, revision: A, state: released, quantity: 1, unit: ea, recall_open: yes}}
    expect: {NO-RECALL: fail}
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rule files on disk."""
    for name, content in FILES.items():
        (tmp_path / "rules" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rules" / name).write_text(content)
    return tmp_path / "rules"


@pytest.fixture
def sets(store: Store, clock: Any, folder: Path) -> RuleSets:
    found = RuleSets(store, clock)
    found.ensure_first(folder)
    return found


def with_upper(upper: str) -> dict[str, str]:
    """The files with another upper limit."""
    return FILES | {LIMITS: FILES[LIMITS].replace("74.050", upper)}


def in_force(sets: RuleSets, files: dict[str, str], clock: Any) -> str:
    """Stage, approve and activate ``files``; gives the digest."""
    digest = sets.stage(files, "anna").line.digest
    sets.approve(digest, "bela")
    clock.forward(1)
    sets.activate(digest, "bela")
    clock.forward(1)
    return digest


# -- the first start ---------------------------------------------------------------------------------------------


def test_the_files_on_disk_become_the_first_active_set(sets: RuleSets, folder: Path) -> None:
    book = RuleBook.load(folder)
    assert sets.active() == book.digest
    assert [(s.step, s.by) for s in sets.steps()] == [("staged", "lotgate"), ("activated", "lotgate")]
    assert sets.files(book.digest) == book.sources


def test_a_second_start_changes_nothing_even_with_other_files(sets: RuleSets, tmp_path: Path) -> None:
    (tmp_path / "rules" / "broken.yaml").write_text("rules: [")
    before = sets.active()
    assert sets.ensure_first(tmp_path / "rules") == before
    assert len(sets.steps()) == 2


@ANY_DATABASE
def test_broken_files_do_not_become_the_first_set(store: Store, clock: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("rules: [")
    with pytest.raises(RulePackError):
        RuleSets(store, clock).ensure_first(tmp_path)
    assert RuleSets(store, clock).active() is None


def test_two_processes_that_start_at_once_make_one_first_set(store: Store, clock: Any, folder: Path) -> None:
    import threading

    starts = [threading.Thread(target=RuleSets(store, clock).ensure_first, args=(folder,)) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join(30)
    assert len(RuleSets(store, clock).steps()) == 2


# -- the way of a change -----------------------------------------------------------------------------------------


def test_a_change_goes_from_stage_to_approval_to_force(sets: RuleSets, clock: Any) -> None:
    first = sets.active()
    staged = sets.stage(with_upper("74.060"), "anna", "customer asked for it")
    assert staged.line.state == "staged"
    assert [str(c) for c in staged.changes if c.what.startswith("table")] == [
        "table spec_limits: row RING-74, A, diameter: upper was 74.05, is 74.06"
    ]
    assert sets.active() == first
    digest = staged.line.digest
    assert sets.approve(digest, "bela").state == "approved"
    assert sets.activate(digest, "anna").state == "active"
    assert sets.active() == digest
    assert [line.state for line in sets.overview()] == ["active", "retired"]


def test_its_author_cannot_approve_a_set(sets: RuleSets) -> None:
    digest = sets.stage(with_upper("74.060"), "anna").line.digest
    with pytest.raises(RuleSetRefused, match=r"anna staged rule set .* somebody else has to approve it"):
        sets.approve(digest, "anna")
    with pytest.raises(RuleSetRefused, match="is not approved"):
        sets.activate(digest, "bela")


@ANY_DATABASE
def test_whoever_stages_the_same_files_too_is_an_author_too(sets: RuleSets) -> None:
    digest = sets.stage(with_upper("74.060"), "anna").line.digest
    sets.stage(with_upper("74.060"), "bela")
    with pytest.raises(RuleSetRefused, match="bela staged"):
        sets.approve(digest, "bela")


@ANY_DATABASE
def test_a_plant_of_one_person_may_let_the_author_approve(store: Store, clock: Any, folder: Path) -> None:
    alone = RuleSets(store, clock, one_person=True)
    alone.ensure_first(folder)
    digest = alone.stage(with_upper("74.060"), "anna").line.digest
    assert alone.approve(digest, "anna").approved_by == "anna"


@ANY_DATABASE
def test_a_set_whose_tests_fail_cannot_be_approved(sets: RuleSets) -> None:
    files = FILES | {LIMITS: FILES[LIMITS].replace("73.950, 74.050", "73.960, 74.050")}
    staged = sets.stage(files, "anna")
    assert any("SPEC-LIMITS is fail, expected pass" in o for o in staged.examination.obstacles)
    with pytest.raises(RuleSetRefused, match="SPEC-LIMITS is fail, expected pass"):
        sets.approve(staged.line.digest, "bela")


@ANY_DATABASE
def test_a_set_with_a_rule_that_nobody_tested_cannot_be_approved(sets: RuleSets) -> None:
    files = FILES | {SHIPMENT: FILES[SHIPMENT].partition("tests:")[0]}
    staged = sets.stage(files, "anna")
    with pytest.raises(RuleSetRefused, match="NO-RECALL has no test that passes and one that does not"):
        sets.approve(staged.line.digest, "bela")


@ANY_DATABASE
def test_a_set_with_a_lint_error_cannot_be_approved(sets: RuleSets) -> None:
    files = FILES | {LIMITS: FILES[LIMITS].replace("lot.quantity > 0", "lot.quantity > 5000000")}
    with pytest.raises(RuleSetRefused, match="can never pass"):
        sets.approve(sets.stage(files, "anna").line.digest, "bela")


@ANY_DATABASE
def test_a_set_on_which_the_engines_do_not_agree_cannot_be_approved(store: Store, clock: Any, folder: Path) -> None:
    asked: list[str] = []

    def disagree(book: RuleBook) -> list[str]:
        asked.append(book.digest)
        return ["the engines do not agree at the gate ship: one fails NO-RECALL, the other nothing"]

    doubtful = RuleSets(store, clock, trial=disagree)
    doubtful.ensure_first(folder)
    digest = doubtful.stage(with_upper("74.060"), "anna").line.digest
    with pytest.raises(RuleSetRefused, match="the engines do not agree at the gate ship"):
        doubtful.approve(digest, "bela")
    assert asked == [digest]


def test_both_engines_judge_the_tests_of_a_set_before_it_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    book = RuleBook.from_sources(FILES | {VOCABULARY_FILE: (SHIPPED_RULES / VOCABULARY_FILE).read_text()})
    assert trial(book, "both") == ()
    assert trial(book, "reference") == ()
    judged = book.verdicts
    # The reference goes wrong here, and only here: the judge process has its own.
    monkeypatch.setattr(book, "verdicts", lambda case: (judged(case)[0], []))
    said = trial(book, "both")
    assert any("the reference fails nothing" in words and "NO-RECALL" in words for words in said), said


@ANY_DATABASE
def test_a_file_that_is_too_large_is_refused_before_it_is_read(sets: RuleSets) -> None:
    with pytest.raises(RuleFilesInvalid, match=r"huge\.csv is larger than 5 MB"):
        sets.stage(FILES | {"huge.csv": "x" * 5_000_001}, "anna")
    with pytest.raises(RuleFilesInvalid, match="at most 2000 files"):
        sets.stage(FILES | {f"{n}.csv": "x" for n in range(2_000)}, "anna")


def test_files_that_do_not_load_are_refused_with_every_mistake(
    sets: RuleSets, count: Callable[[str], int]
) -> None:
    before = count("rule_sets")
    broken = FILES | {LIMITS: FILES[LIMITS].replace("severity: block", "severity: blokc")}
    with pytest.raises(RuleFilesInvalid) as caught:
        sets.stage(broken, "anna")
    assert [place.rpartition(":")[0].rpartition(":")[0] for place, _ in caught.value.faults] == [LIMITS, LIMITS]
    assert 'did you mean "block"?' in caught.value.faults[0][1]
    assert count("rule_sets") == before


@ANY_DATABASE
@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/rules.yaml", "a/../b.yaml", "notes.txt", "", "a\nb.yaml"])
def test_names_that_lead_elsewhere_are_refused(sets: RuleSets, name: str) -> None:
    with pytest.raises(RuleFilesInvalid, match="cannot be the name of a rule file"):
        sets.stage(FILES | {name: "rulefile: 1"}, "anna")


def test_a_set_is_found_by_its_first_digits(sets: RuleSets) -> None:
    digest = str(sets.active())
    assert sets.find(digest[7:15]) == digest
    assert sets.find("active") == digest
    for name in ("abcdef12345", digest[7:10]):
        with pytest.raises(NotFound):
            sets.find(name)


# -- times -------------------------------------------------------------------------------------------------------


def test_a_set_comes_into_force_at_its_instant(sets: RuleSets, clock: Any) -> None:
    first = sets.active()
    digest = sets.stage(with_upper("74.060"), "anna").line.digest
    sets.approve(digest, "bela")
    clock.forward(1)
    at = instant(clock.now.replace(hour=12, second=0))
    assert sets.activate(digest, "bela", at=at).state == "scheduled"
    assert sets.active() == first
    clock.now = clock.now.replace(hour=11, minute=59, second=59)
    assert sets.active() == first
    clock.forward(1)
    assert sets.active() == digest


@ANY_DATABASE
def test_nothing_comes_into_force_in_the_past(sets: RuleSets, clock: Any) -> None:
    digest = sets.stage(with_upper("74.060"), "anna").line.digest
    sets.approve(digest, "bela")
    with pytest.raises(RuleSetRefused, match="is over"):
        sets.activate(digest, "bela", at="2026-11-22T00:00:00.000000Z")


def test_withdrawing_a_scheduled_set_keeps_it_from_coming(
    sets: RuleSets, clock: Any
) -> None:
    first = sets.active()
    digest = sets.stage(with_upper("74.060"), "anna").line.digest
    sets.approve(digest, "bela")
    sets.activate(digest, "bela", at=instant(clock.now.replace(hour=12)))
    clock.forward(60)
    assert sets.withdraw(digest, "anna", "the customer changed his mind").state == "withdrawn"
    clock.now = clock.now.replace(hour=13)
    assert sets.active() == first
    with pytest.raises(RuleSetRefused, match="was withdrawn; stage it again"):
        sets.approve(digest, "bela")


@ANY_DATABASE
def test_the_set_in_force_cannot_be_withdrawn(sets: RuleSets) -> None:
    with pytest.raises(RuleSetRefused, match="is in force; roll back"):
        sets.withdraw("active", "anna")


def test_rolling_back_goes_one_set_back_each_time(sets: RuleSets, clock: Any) -> None:
    first = sets.active()
    second = in_force(sets, with_upper("74.060"), clock)
    third = in_force(sets, with_upper("74.070"), clock)
    assert sets.active() == third
    assert sets.roll_back("anna", "too wide").digest == second
    clock.forward(1)
    assert sets.active() == second
    sets.roll_back("anna")
    clock.forward(1)
    assert sets.active() == first
    with pytest.raises(RuleSetRefused, match="No other rule set was in force"):
        sets.roll_back("anna")


def test_a_roll_back_that_is_sent_twice_goes_back_once(sets: RuleSets, clock: Any) -> None:
    second = in_force(sets, with_upper("74.060"), clock)
    third = in_force(sets, with_upper("74.070"), clock)
    sets.roll_back("anna", expected=third)
    clock.forward(1)
    with pytest.raises(RuleSetRefused, match="is in force now"):
        sets.roll_back("anna", expected=third)
    assert sets.active() == second


@ANY_DATABASE
def test_a_set_that_was_in_force_may_come_again_without_a_new_approval(
    sets: RuleSets, clock: Any
) -> None:
    first = sets.active()
    in_force(sets, with_upper("74.060"), clock)
    assert sets.activate(str(first), "anna").state == "active"


def test_steps_and_files_are_never_changed(sets: RuleSets, store: Store) -> None:
    for statement in ("UPDATE rule_set_steps SET by_whom = 'x'", "DELETE FROM rule_set_steps", "DELETE FROM rule_sets"):
        with pytest.raises(DatabaseError, match="append-only"), store.engine.begin() as connection:
            connection.execute(text(statement))


@ANY_DATABASE
def test_a_stored_set_that_somebody_changed_judges_nothing(sets: RuleSets, store: Store, clock: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER rule_sets_no_update"))
        connection.execute(text("UPDATE rule_sets SET files = replace(files, '74.050', '75.050')"))
    with pytest.raises(RuleSetChanged, match="were changed in the database"):
        RuleSets(store, clock).book(str(sets.active()))
    assert sets.verify() == [f"rule set {sets.active()}: its stored files were changed"]


def test_verification_misses_sets_that_judged_and_are_not_stored(sets: RuleSets, plant: Any) -> None:
    assert sets.verify() == []
    plant.receive("L1")  # judged by rules that were never stored here
    plant.pipeline.stop()
    assert sets.verify() == [f"rule set {plant.pipeline.rulebook.digest}: it judged entries of the journal, and is not stored"]


def test_the_succession_is_what_the_steps_say() -> None:
    def step(position: int, digest: str, what: str, at: int) -> Step:
        return Step(position, digest, what, "x", f"2026-01-01T00:00:{at:02}Z", f"2026-01-01T00:00:{at:02}Z", "")

    steps = [
        step(1, "a", "activated", 1), step(2, "b", "activated", 2), step(3, "c", "activated", 9),
        step(4, "a", "activated", 4), step(5, "b", "rolled_back", 5),
    ]  # fmt: skip
    seen = {at: [s.digest for s in succession(steps, f"2026-01-01T00:00:{at:02}Z")] for at in (0, 1, 3, 4, 5, 9)}
    assert seen == {0: [], 1: ["a"], 3: ["a", "b"], 4: ["a", "b", "a"], 5: ["a", "b"], 9: ["a", "b", "c"]}
    assert [s.digest for s in coming(steps, "2026-01-01T00:00:05Z")] == ["c"]
