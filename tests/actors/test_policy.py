"""Policy: what follows when a target does not take a status, with real systems and a real pipeline."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from actors.connectors.format import ConnectorInvalid, load
from actors.deliver import check_connectors
from engine.clock import system_clock
from engine.decoding import decode_event
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_CONNECTORS, SHIPPED_RULES, load_settings
from engine.store.reading import Reading
from engine.upkeep import compensate
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook


@pytest.fixture(scope="module")
def judge() -> Iterator[TwoChannelJudge]:
    one = TwoChannelJudge(RuleBook.load(SHIPPED_RULES), channel="reference")
    yield one
    one.close()


@pytest.fixture
def pipeline(owing: Any, judge: TwoChannelJudge) -> Iterator[Pipeline]:
    running = Pipeline(owing.store, judge, RuleBook.load(SHIPPED_RULES), system_clock)
    running.start()
    yield running
    running.stop()


def release(pipeline: Pipeline, lot: str) -> None:
    lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
    received = {"item": "RING-74", "revision": "A", "quantity": {"value": "10", "unit": "ea"}, "supplier": "ACME",
                "receipt": f"GR {lot}"}  # fmt: skip
    for type_, data in (
        ("lot.received.v1", received), ("inspection.recorded.v1", {"inspection": "IL-1", "measurements": lines}),
    ):  # fmt: skip
        event = {"specversion": "1.0", "id": f"{type_}/{lot}", "source": "t", "type": type_, "subject": lot, "data": data}
        assert pipeline.submit(decode_event(msgspec.json.encode(event)), "t").result(20).status == 201


def until(done: Callable[[], bool], *steps: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        for step in steps:
            step()
        time.sleep(0.02)


def test_the_wms_is_told_to_keep_what_the_erp_refuses_and_told_again_when_it_agrees(
    owing: Any, pipeline: Pipeline, erp: Any, wms: Any, deliverer: Any, lot: str
) -> None:
    """The ERP says 422 to this lot; somebody mends it, replays, and everybody agrees."""
    one, other = deliverer(erp.url), deliverer(wms.url, "wms")
    erp.fault("status", status=422, match="/api/lots")
    release(pipeline, lot)

    def clock() -> None:
        compensate(owing.store, pipeline, system_clock)

    until(lambda: bool((wms.lot(lot) or {}).get("allocatable")), other.run)
    until(lambda: wms.lot(lot)["status"] == "QUALITY", one.run, clock, other.run)
    assert not wms.lot(lot)["allocatable"]
    assert wms.lot(lot)["reasons"][-1].startswith("erp does not take version")
    found = Reading(owing.store).lot(lot)
    assert (found.state, [d.target for d in found.disputes]) == ("released", ["erp"])
    [task] = owing.ledger.tasks.lines()
    assert (task.kind, task.target) == ("delivery-dead", "erp")

    erp.fault("off")
    assert owing.ledger.replay(lot=lot) == 1
    until(lambda: bool(wms.lot(lot)["allocatable"]), one.run, clock, other.run)
    assert erp.lot(lot)["stock"] == "unrestricted"
    assert Reading(owing.store).lot(lot).disputes == ()
    assert owing.ledger.tasks.settle() == 1


def test_the_compensation_itself_is_retried(
    owing: Any, pipeline: Pipeline, erp: Any, wms: Any, deliverer: Any, lot: str
) -> None:
    one, other = deliverer(erp.url), deliverer(wms.url, "wms")
    erp.fault("status", status=422, match="/api/lots")
    release(pipeline, lot)
    until(lambda: bool((wms.lot(lot) or {}).get("allocatable")), other.run)
    wms.fault("lost_answer", count=2, match="availability")
    until(
        lambda: wms.lot(lot)["status"] == "QUALITY" and not owing.ledger.counts().get("wms"),
        one.run, lambda: compensate(owing.store, pipeline, system_clock), owing.make_due, other.run,
    )  # fmt: skip
    tried = [d for d in owing.ledger.lines(lot=lot, target="wms") if d.state == "delivered"][-1]
    assert tried.attempts >= 2


def test_a_policy_of_retry_never_gives_up_and_tells_somebody_once(
    owing: Any, erp: Any, deliverer: Any, lot: str
) -> None:
    erp.fault("status", status=422, match="/api/lots")
    one = deliverer(erp.url, policy={"permanent": "retry", "exhausted": "retry", "late": "retry", "undo": []})
    owing.owe(lot, 1)
    for _ in range(3):
        one.run()
        owing.make_due()
    assert owing.line(lot, 1).state == "pending"
    [task] = owing.ledger.tasks.lines()
    assert (task.kind, task.subject, task.target) == ("delivery-refused", lot, "erp")
    erp.fault("off")
    one.run()
    assert owing.ledger.tasks.settle() == 1


def test_only_what_opens_a_lot_is_undone(owing: Any, erp: Any, deliverer: Any, lot: str) -> None:
    erp.fault("status", status=422, match="/api/lots")
    owing.owe(lot, 1, stock="blocked", allocatable=False, state="blocked")
    deliverer(erp.url).run()
    assert owing.line(lot, 1).state == "dead"
    with owing.store.reads.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM compensations").scalar() == 0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"permanent": "compensate"}, "erp.yaml:1:10: policy.permanent: compensate needs an undo"),
        ({"undo": [{"refused": ["restricted"], "tell": {"wms": "quality"}}]}, "policy.undo: is of no use"),
        ({"permanent": "ignore"}, "Invalid enum value 'ignore'"),
        ({"late": "compensate", "undo": [{"refused": ["blocked"], "tell": {"wms": "quality"}}]}, "'blocked'"),
        ({"late": "compensate", "undo": [{"refused": ["restricted"], "tell": {"wms": "unrestricted"}}]}, "'unrestricted'"),
        ({"late": "compensate", "undo": [{"refused": ["restricted"], "tell": {}}]}, "length >= 1"),
        ({"late": "compensate", "undo": [{"refused": ["restricted"], "tell": {"erp": "quality"}}]},
         "a target cannot be told something else because it refused"),
        ({"late": "compensate", "undo": [{"refused": ["restricted"], "tell": {"mes": "quality"}}]},
         "policy.undo[0].tell.mes: there is no target mes; there are erp"),
    ],
)  # fmt: skip
def test_mistakes_of_a_policy_are_found_with_their_place(tmp_path: Path, policy: dict[str, Any], words: str) -> None:
    tree = yaml.safe_load((SHIPPED_CONNECTORS / "erp.yaml").read_text())
    tree.pop("policy")
    first = f"policy: {yaml.safe_dump(policy, default_flow_style=True, width=1000)}"
    (tmp_path / "erp.yaml").write_text(first + yaml.safe_dump(tree))
    settings = load_settings({"LOTGATE_CONNECTORS": str(tmp_path)})
    with pytest.raises(ConnectorInvalid) as found:
        check_connectors(("erp",), settings)
    assert words in found.value.detail


def test_the_erp_s_policy_that_is_shipped_undoes_an_opening_at_the_wms() -> None:
    policy = load(SHIPPED_CONNECTORS / "erp.yaml", load_settings({})).policy
    assert policy.undo_of("permanent", "unrestricted") == {"wms": "quality"}
    assert policy.undo_of("permanent", "blocked") == {}


WAITS = {
    "classify": [{"status": [409], "when": "body.error == 'reserved'", "outcome": "conflict", "message": "${body.error}"}],
    "limits": {"timeout_s": 1.0, "attempts": 2},
}


def test_what_somebody_has_to_free_first_is_waited_for_with_a_task_and_never_given_up_by_count(
    owing: Any, talker: Any, deliverer: Any, lot: str
) -> None:
    one = deliverer(talker.url, deliver_batch=None, register_batch=None, **WAITS)
    owing.owe(lot, 1)
    for attempt in range(1, 7):
        talker.say(409, {"error": "reserved"})
        assert one.run() == 1
        line = owing.line(lot, 1)
        assert (line.state, line.attempts) == ("pending", attempt)
        assert line.last_error == "reserved"
        tasks = [task for task in owing.ledger.tasks.lines() if task.subject == lot]
        assert len(tasks) == (attempt >= 5), "a moment's conflict is nobody's task"
        owing.make_due()
    assert one.breaker.state.value == "closed", "others are told meanwhile"
    assert "cannot take version 1" in tasks[0].detail
    talker.say(200, {"applied": True})
    assert one.run() == 1
    assert owing.line(lot, 1).state == "delivered"
    assert owing.ledger.tasks.settle() == 1, "it closes by itself"
