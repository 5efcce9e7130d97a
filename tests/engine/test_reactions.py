"""Reactions of rule files: what Lotgate does by itself after a step, in the journal and before people."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from engine.journal import verify
from engine.pipeline import Pipeline
from engine.scorecards import Scorecards
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.track_record import count
from rules.findings import RulePackError
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

REACTIONS = """\
rulefile: 1
owner: QA
reference: SOP-QA-020
reactions:
  - id: NCR-ON-BLOCK
    title: A nonconformance for whatever is blocked
    after: blocked
    do: open_nonconformance
    message: "lot {lot.id} of {lot.item} from {lot.supplier} was blocked"
  - id: TELL-SUPPLIER-QUALITY
    title: Supplier quality hears of blocked lots of ACME
    after: blocked
    when: [lot.supplier = ACME]
    do: notify
    message: "{lot.quantity} {lot.unit} of ACME blocked"
  - id: WATCH-LARGE
    title: Large lots wait for a second look
    after: quarantined
    when: [lot.quantity >= 1000]
    do: hold
    message: "{lot.quantity} {lot.unit} in one lot"
  - id: NEVER
    title: Not for this supplier
    after: blocked
    when: [lot.supplier = OTHER]
    do: escalate
    message: never
"""


@pytest.fixture
def reacting(store: Store, clock: Any, rulebook: RuleBook, plant: Any) -> Any:
    """The plant of the other tests, under rules that react."""
    book = RuleBook.from_sources(rulebook.sources | {"reactions.yaml": REACTIONS})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    yield plant
    plant.pipeline.stop()
    judge.close()
    assert verify(Reading(store).journals()).intact


def tasks(plant: Any) -> list[tuple[str, str, str]]:
    with plant.store.reads.connect() as connection:
        rows = connection.execute(text("SELECT kind, subject, detail FROM escalations ORDER BY id"))
        return [(r.kind, r.subject, r.detail) for r in rows]


def test_a_failed_inspection_opens_a_nonconformance_and_tells_people(reacting: Any) -> None:
    reacting.receive("L1")
    answer = json.loads(reacting.inspect("L1", "74.06", *["74.00"] * 4).body)
    assert [c["type"] for c in answer["consequences"]] == [
        "inspection.completed.v1", "lot.rejected.v1", "nonconformance.opened.v1", "notification.raised.v1",
    ]  # fmt: skip
    assert tasks(reacting) == [
        ("nonconformance", "L1", "lot L1 of RING-74 from ACME was blocked [NCR-ON-BLOCK]"),
        ("notification", "L1", "100 ea of ACME blocked [TELL-SUPPLIER-QUALITY]"),
    ]
    entries = Reading(reacting.store).journal("L1")
    opened = json.loads(entries[-2].data)
    assert opened["reaction"] == "NCR-ON-BLOCK"
    assert entries[-2].state_after == entries[-2].state_before == "blocked"


def test_a_reaction_that_holds_sets_off_what_follows_a_hold_and_no_loop(reacting: Any) -> None:
    answer = json.loads(reacting.receive("L1", quantity="1000").body)
    assert answer["state"]["after"] == "blocked"
    assert [c["type"] for c in answer["consequences"]] == [
        "lot.quarantined.v1", "hold.applied.v1", "nonconformance.opened.v1", "notification.raised.v1",
    ]  # fmt: skip
    assert [h.hold for h in Reading(reacting.store).lot("L1").holds] == ["rule:WATCH-LARGE"]


def test_a_refused_event_sets_off_nothing(reacting: Any) -> None:
    reacting.receive("L1")
    before = tasks(reacting)
    assert reacting.send("lot.released.v1", "L1", {}).status == 409
    assert tasks(reacting) == before


def test_a_replay_opens_nothing_twice(reacting: Any) -> None:
    reacting.receive("L1")
    event = reacting.event("hold.applied.v1", "L1", {"hold": "H", "reason": {"code": "x"}})
    for _ in range(3):
        reacting.pipeline.submit(event, "tester").result(20)
    assert [kind for kind, _, _ in tasks(reacting)] == ["nonconformance", "notification"]


@pytest.mark.parametrize(
    ("written", "instead", "finding"),
    [
        ("do: escalate", "do: escalat", '"escalat" is not a do'),
        ("    message: never\n", "", 'reaction NEVER has no "message:"'),
        ("message: never", 'message: "{lot.itm}"', "the message uses {lot.itm}, which is not a field"),
        ("after: quarantined", "after: quarantine", '"quarantine" is not an after'),
    ],
)
def test_a_mistake_in_a_reaction_is_named(rulebook: RuleBook, written: str, instead: str, finding: str) -> None:
    with pytest.raises(RulePackError) as caught:
        RuleBook.from_sources(rulebook.sources | {"reactions.yaml": REACTIONS.replace(written, instead)})
    assert finding in str(caught.value)


SAMPLING = """\
rulefile: 1
owner: QA
reference: SOP-SQ-012
reactions:
  - id: TIGHTEN
    title: A blocked lot tightens the sampling of its supplier
    after: blocked
    do: change_sampling
    to: tightened
    when: [lot.supplier = ACME]
    message: "{lot.id} was blocked"
"""


def test_a_reaction_changes_how_hard_a_supplier_is_inspected(
    store: Store, clock: Any, rulebook: RuleBook, plant: Any
) -> None:
    book = RuleBook.from_sources(rulebook.sources | {"sampling.yaml": SAMPLING})
    judge = TwoChannelJudge(book)
    plant.pipeline.stop()
    plant.pipeline = Pipeline(store, judge, book, clock)
    plant.pipeline.start()
    plant.receive("L1")
    body = json.loads(plant.inspect("L1", *["75.000"] * 5).body)
    assert [c["type"] for c in body["consequences"]][-2:] == ["lot.rejected.v1", "sampling.changed.v1"]
    while count(store):
        pass
    (line,) = Scorecards(store, clock).lines("RING-74", "ACME")
    assert (line.scorecard.sampling.severity.value, line.scorecard.rejected) == ("tightened", 1)
    plant.pipeline.stop()
    judge.close()
    assert verify(Reading(store).journals()).intact


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("do: change_sampling", 'has no "to:"'),
        ("do: change_sampling\n    to: harsh", '"harsh" is not a to'),
        ("do: notify\n    to: tightened", '"to:" is for change_sampling only'),
    ],
)
def test_a_reaction_that_does_not_say_where_to_is_refused(rulebook: RuleBook, line: str, words: str) -> None:
    text = SAMPLING.replace("do: change_sampling\n    to: tightened", line)
    with pytest.raises(RulePackError, match=words):
        RuleBook.from_sources(rulebook.sources | {"sampling.yaml": text})
