"""Targets are read back: what drifted is told again or told to somebody. Real systems, whose records are changed
behind Lotgate's back as a person at their screens would."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from actors.connectors.format import ConnectorInvalid, load
from actors.connectors.readback import NotRead
from actors.lookup import AT_ONCE, LOOKUP_SECONDS, Elsewhere, Lookup
from actors.reconcile import Reconciler, reconcile_due
from engine.clock import system_clock
from engine.decoding import decode_event
from engine.drift import Drift
from engine.journal import verify
from engine.pipeline import Pipeline
from engine.settings import SHIPPED_RULES, load_settings
from engine.store.reading import Reading
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook

Sandbox = Any


@pytest.fixture(scope="module")
def judge() -> Iterator[TwoChannelJudge]:
    one = TwoChannelJudge(RuleBook.load(SHIPPED_RULES), channel="reference")
    yield one
    one.close()


class Screen:
    """A person at the screen of a system: its records change, and nobody tells Lotgate."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def change(self, lot: str, **members: Any) -> None:
        with sqlite3.connect(self._storage, timeout=10) as records:
            [text] = records.execute("select body from lots where lot = ?", (lot,)).fetchone()
            body = json.loads(text) | members
            version = body.get("version", body.get("revision_no"))
            records.execute("update lots set body = ?, version = ? where lot = ?", (json.dumps(body), version, lot))

    def forget(self, lot: str) -> None:
        with sqlite3.connect(self._storage, timeout=10) as records:
            records.execute("delete from lots where lot = ?", (lot,))
            records.execute("delete from applications where lot = ?", (lot,))


@pytest.fixture
def erp_screen(erp_process: Sandbox) -> Screen:
    return Screen(storage_of(erp_process))


def storage_of(sandbox: Sandbox) -> Path:
    arguments = sandbox.process.args
    return Path(arguments[arguments.index("--storage") + 1])


class Site:
    """A pipeline, the ERP and the WMS, and reading them back."""

    def __init__(self, owing: Any, pipeline: Pipeline, deliverer: Any, adapt: Any, erp: Sandbox, wms: Sandbox) -> None:
        self.owing, self.pipeline, self.adapt = owing, pipeline, adapt
        self.erp, self.wms = deliverer(erp.url), deliverer(wms.url, "wms")
        self.urls = {"LOTGATE_ERP_URL": erp.url, "LOTGATE_WMS_URL": wms.url}
        self.drift = Drift(owing.store, system_clock)

    def reconciler(self, **read_back: Any) -> Reconciler:
        folder = self.adapt("erp", read_back=read_back)
        self.adapt("wms")
        settings = load_settings({**self.urls, "LOTGATE_CONNECTORS": str(folder)})
        return Reconciler(settings, self.drift, self.owing.ledger, system_clock, self.pipeline, threading.Lock())

    def say(self, lot: str, type_: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "id": f"{type_}/{lot}", "source": "t", "type": type_, "subject": lot, "data": data}
        assert self.pipeline.submit(decode_event(msgspec.json.encode(event)), "t").result(20).status == 201

    def released(self, lot: str) -> None:
        lines = [{"characteristic": "diameter", "value": "74.000", "unit": "mm", "sample": n} for n in range(1, 6)]
        quantity = {"value": "10", "unit": "ea"}
        self.say(lot, "lot.received.v1", {"item": "RING-74", "revision": "A", "quantity": quantity, "supplier": "ACME",
                                          "receipt": lot})  # fmt: skip
        self.say(lot, "inspection.recorded.v1", {"inspection": "IL-1", "measurements": lines})
        self.deliver()

    def blocked(self, lot: str) -> None:
        self.released(lot)
        self.say(lot, "hold.applied.v1", {"hold": "H", "reason": {"code": "SUSPECT"}})
        self.deliver()

    def deliver(self) -> None:
        self.erp.run()
        self.wms.run()

    def tasks(self) -> list[tuple[str, str | None]]:
        return [(task.kind, task.target) for task in self.owing.ledger.tasks.lines()]


@pytest.fixture
def site(
    owing: Any, judge: TwoChannelJudge, deliverer: Any, adapt: Any, erp: Sandbox, wms: Sandbox
) -> Iterator[Site]:
    pipeline = Pipeline(owing.store, judge, RuleBook.load(SHIPPED_RULES), system_clock)
    pipeline.start()
    yield Site(owing, pipeline, deliverer, adapt, erp, wms)
    pipeline.stop()
    assert verify(Reading(owing.store).journals()).intact


def test_targets_that_agree_are_compared_and_nothing_is_said(site: Site, lot: str) -> None:
    site.released(lot)
    site.blocked(f"{lot}2")
    for target in ("erp", "wms"):
        found = site.reconciler().run(target, repair=True)
        assert (found.lots, found.drifting, found.repaired, found.problem) == (2, 0, 0, None)
        assert found.ended_at is not None
    assert site.tasks() == []


def test_a_change_by_hand_is_reported_and_left_alone(site: Site, erp: Sandbox, erp_screen: Screen, lot: str) -> None:
    site.blocked(lot)
    erp_screen.change(lot, stock="unrestricted")
    for _ in range(2):
        found = site.reconciler().run("erp", repair=True)
        assert (found.drifting, found.repaired) == (1, 0)
    [line] = site.drift.lines("erp")
    assert (line.lot, line.kind, line.expected, line.observed) == (
        lot, "changed-by-hand", {"stock": "blocked"}, {"stock": "unrestricted"},
    )  # fmt: skip
    assert line.since < line.seen_at
    [task] = site.owing.ledger.tasks.lines()
    assert (task.kind, task.subject, task.target) == ("changed-by-hand", lot, "erp")
    assert task.detail.startswith(f"somebody changed lot {lot} in erp by hand: stock is unrestricted, not blocked")
    assert erp.lot(lot)["stock"] == "unrestricted"
    erp_screen.change(lot, stock="blocked")
    site.reconciler().run("erp", repair=True)
    assert (site.drift.lines("erp"), site.tasks()) == ([], []), "it was put right, so the task is closed"


def test_a_change_by_hand_is_told_again_where_the_file_says_so(
    site: Site, erp: Sandbox, erp_screen: Screen, lot: str
) -> None:
    site.blocked(lot)
    erp_screen.change(lot, stock="unrestricted")
    careful = site.reconciler(repair=["differs", "unknown-lot", "changed-by-hand"])
    assert careful.run("erp", repair=False).repaired == 0
    assert careful.run("erp", repair=True).repaired == 1
    entry = Reading(site.owing.store).journal(lot)[-1]
    assert (entry.type, entry.trigger, entry.state_after) == ("delivery.drifted.v1", "tell_again", "blocked")
    assert '"observed":{"stock":"unrestricted"}' in entry.data
    site.deliver()
    assert erp.lot(lot)["stock"] == "blocked"
    assert careful.run("erp", repair=True).drifting == 0
    assert site.drift.lines("erp") == []
    assert len(site.owing.ledger.lines(lot=lot, target="wms")) == len(site.owing.ledger.lines(lot=lot, target="erp")) - 1


def test_a_target_restored_from_an_old_backup_is_brought_up_to_date(
    site: Site, erp: Sandbox, erp_screen: Screen, lot: str
) -> None:
    site.blocked(lot)
    site.released(f"{lot}2")
    erp_screen.change(lot, stock="unrestricted", version=1)
    erp_screen.forget(f"{lot}2")
    one = site.reconciler()
    found = one.run("erp", repair=True)
    assert (found.drifting, found.repaired) == (2, 2)
    assert {line.kind for line in site.drift.lines("erp")} == {"differs", "unknown-lot"}
    assert site.tasks() == []
    site.deliver()
    assert (erp.lot(lot)["stock"], erp.lot(f"{lot}2")["stock"]) == ("blocked", "unrestricted")
    assert one.run("erp", repair=True).drifting == 0


def test_what_left_while_it_was_blocked_is_nobody_s_to_repair(site: Site, erp_screen: Screen, lot: str) -> None:
    site.blocked(lot)
    erp_screen.change(lot, stock="issued", version=1)
    everything = site.reconciler(repair=["differs", "unknown-lot", "changed-by-hand"])
    assert everything.run("erp", repair=True).repaired == 0
    assert site.tasks() == [("left-while-blocked", "erp")]


def test_what_is_told_again_in_vain_becomes_somebody_s_task(site: Site, erp_screen: Screen, lot: str) -> None:
    site.blocked(lot)
    one = site.reconciler(repair=["changed-by-hand"])
    for _ in range(4):
        erp_screen.change(lot, stock="unrestricted")
        one.run("erp", repair=True)
        site.deliver()
        erp_screen.change(lot, stock="unrestricted")
    [task] = site.owing.ledger.tasks.lines()
    assert task.detail.endswith("told again 3 times in vain")


def test_a_file_that_reads_the_wrong_member_does_not_turn_everything_over(site: Site, lot: str) -> None:
    for n in range(5):
        site.released(f"{lot}{n}")
    found = site.reconciler(expect={"item": "${target_stock}"}, repair=["changed-by-hand"], repairs_at_most=2)
    assert (found.run("erp", repair=True).repaired, len(site.tasks())) == (2, 3)


def test_what_is_owed_is_not_compared(site: Site, erp: Sandbox, erp_screen: Screen, lot: str) -> None:
    site.released(lot)
    erp_screen.change(lot, stock="quality")
    site.say(lot, "hold.applied.v1", {"hold": "H", "reason": {"code": "SUSPECT"}})
    found = site.reconciler().run("erp", repair=True)
    assert (found.lots, found.drifting) == (0, 0), "the newer status is on its way"


def test_what_is_told_while_it_is_read_is_no_drift(site: Site, erp: Sandbox, lot: str) -> None:
    """The answer is from before a delivery, the comparison from after it."""
    site.released(lot)
    one = site.reconciler()

    class Late(Drift):
        def agreed_to(self, target: str, lots: Any) -> Any:
            site.say(lot, "hold.applied.v1", {"hold": "H", "reason": {"code": "SUSPECT"}})
            site.deliver()
            Late.agreed_to = Drift.agreed_to  # type: ignore[method-assign]
            return Drift.agreed_to(self, target, lots)

    before = one.drift.agreed("erp")
    assert [found.lot for found in before] == [lot]
    one = msgspec.structs.replace(one, drift=Late(site.owing.store, system_clock))
    assert one.run("erp", repair=True).drifting == 0
    assert erp.lot(lot)["stock"] == "blocked"


def test_lots_are_found_by_the_target_s_list_and_one_by_one_alike(
    site: Site, erp: Sandbox, erp_screen: Screen, lot: str
) -> None:
    for n in range(4):
        site.released(f"{lot}{n}")
    erp_screen.change(f"{lot}1", stock="quality")
    listed = site.reconciler(list={"path": "/api/lots?limit=2&after=${after}", "items": "lots"})
    seen = listed.run("erp", repair=False)
    assert len(erp.log("/api/lots?")) > 1 or len(erp.log("/api/lots")) > 1
    alone = site.reconciler(list=None).run("erp", repair=False)
    assert (seen.lots, seen.drifting) == (alone.lots, alone.drifting) == (4, 1)
    one = site.reconciler().run("erp", repair=False, lot=f"{lot}1")
    assert (one.lots, one.drifting) == (1, 1)


def test_a_target_that_is_away_is_said_to_be_and_nothing_is_concluded(site: Site, erp: Sandbox, lot: str) -> None:
    site.released(lot)
    erp.fault("status", status=503)
    found = site.reconciler().run("erp", repair=True)
    assert (found.problem, found.drifting) == ("erp answered 503 when it was read back.", 0)
    erp.fault("off")
    assert site.drift.reading("erp").problem == found.problem


def test_the_clock_reads_back_when_it_is_due_and_not_while_paused(site: Site, lot: str) -> None:
    site.released(lot)
    one = site.reconciler(every_s=3600)
    site.owing.ledger.targets.pause("erp", "pat", "upgrade")
    reconcile_due(one, ("erp",))
    assert site.drift.reading("erp").started_at is None
    site.owing.ledger.targets.resume("erp")
    reconcile_due(one, ("erp",))
    first = site.drift.reading("erp")
    assert first.lots == 1
    reconcile_due(one, ("erp",))
    assert site.drift.reading("erp") == first
    site.drift.ask("erp")
    reconcile_due(one, ("erp",))
    assert str(site.drift.reading("erp").started_at) > str(first.started_at)


def test_reading_keeps_the_target_s_rate(site: Site, adapt: Any, lot: str) -> None:
    for n in range(7):
        site.released(f"{lot}{n}")
    one = site.reconciler()
    adapt("erp", limits={"per_second": 4.0, "timeout_s": 1.0}, read_back={"list": None})
    began = time.monotonic()
    assert one.run("erp", repair=False).lots == 7
    assert time.monotonic() - began > 0.7, "four at once, then four a second"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path": "/x/${what}"}, "read_back.path: ${what} is not known"),
        ({"expect": {}}, "length >= 1"),
        ({"expect": {"stock": "${"}}, "read_back.expect: a ${ is not closed"),
        ({"list": {"path": "/x?${cursor}"}}, "read_back.list.path: ${cursor} is not known; known: after"),
        ({"headers": {"Authorization": "Bearer ${secret.nobody}"}}, "set LOTGATE_SECRET_NOBODY"),
        ({"repair": ["left-while-blocked"]}, "'left-while-blocked'"),
    ],
)
def test_mistakes_of_the_part_are_found(adapt: Any, changes: dict[str, Any], words: str) -> None:
    folder = adapt("erp", read_back=changes)
    with pytest.raises(ConnectorInvalid) as found:
        load(folder / "erp.yaml", load_settings({"LOTGATE_CONNECTORS": str(folder)}))
    assert words in found.value.detail


def test_a_target_without_the_part_says_so(site: Site, adapt: Callable[..., Path]) -> None:
    one = site.reconciler()
    adapt("erp", read_back=None)
    with pytest.raises(NotRead, match="has no read_back part"):
        one.run("erp", repair=True)


# -- asked for by somebody ---------------------------------------------------------------------------------------------


@pytest.fixture
def ask(site: Site) -> Iterator[Callable[..., Elsewhere]]:
    """Asks the systems of ``site``; ``erp_url``, ``read_back``: another ERP, and how it is asked."""
    made: list[Lookup] = []

    def asked(lot: str, erp_url: str | None = None, **read_back: Any) -> Elsewhere:
        folder = site.adapt("erp", read_back=read_back)
        site.adapt("wms")
        urls = site.urls if erp_url is None else {**site.urls, "LOTGATE_ERP_URL": erp_url}
        settings = load_settings({**urls, "LOTGATE_CONNECTORS": str(folder)})
        made.append(Lookup(settings, site.owing.store, system_clock))
        return made[-1].of(lot).result(20)

    yield asked
    for one in made:
        one.close()


def test_every_system_says_what_it_has_when_somebody_asks(
    site: Site, ask: Callable[..., Elsewhere], erp_screen: Screen, lot: str
) -> None:
    site.blocked(lot)
    found = ask(lot)
    assert (found.state, [(s.target, s.outcome, s.owed) for s in found.systems]) == (
        "blocked", [("erp", "agrees", False), ("wms", "agrees", False)],
    )  # fmt: skip
    assert all(s.said and s.version == found.version for s in found.systems)
    erp_screen.change(lot, stock="unrestricted")
    erp, wms = ask(lot).systems
    assert (erp.outcome, erp.expected, erp.observed) == ("differs", {"stock": "blocked"}, {"stock": "unrestricted"})
    assert (wms.outcome, wms.problem) == ("agrees", None)
    erp_screen.forget(lot)
    assert [s.outcome for s in ask(lot).systems] == ["unknown-lot", "agrees"]
    assert site.drift.lines("erp") == [], "asking changes nothing"


def test_what_is_on_its_way_is_no_mystery(site: Site, ask: Callable[..., Elsewhere], lot: str) -> None:
    site.released(lot)
    site.say(lot, "hold.applied.v1", {"hold": "H", "reason": {"code": "SUSPECT"}})
    assert [(s.outcome, s.owed) for s in ask(lot).systems] == [("differs", True), ("differs", True)]


def test_documents_of_the_lot_are_read_along(
    site: Site, ask: Callable[..., Elsewhere], talker: Any, lot: str
) -> None:
    site.released(lot)
    version = len(Reading(site.owing.store).journal(lot))
    talker.say(200, {"lot": lot, "stock": "unrestricted", "version": version})
    talker.say(200, {"number": "PO-7", "open": "40"})
    talker.say(404)
    talker.say(500)
    documents = {"receipt": "/receipts/${receipt}", "supplier": "/suppliers/${supplier}", "terms": "/terms/${item}",
                 "production_order": "/orders/${order}"}  # fmt: skip
    erp, wms = ask(lot, talker.url, documents=documents).systems
    assert [(d.name, d.said) for d in erp.documents] == [
        ("receipt", {"number": "PO-7", "open": "40"}), ("supplier", None), ("terms", None),
    ], "the lot has no production order"  # fmt: skip
    assert [d.problem for d in erp.documents] == [None, None, "erp answered 500 when it was read back."]
    paths = [path for path, _, _ in talker.heard]
    assert paths[1:] == [f"GET /receipts/{quote(lot, safe='')}", "GET /suppliers/ACME", "GET /terms/RING-74"]
    assert (erp.outcome, wms.outcome) == ("agrees", "agrees")


def test_a_system_that_hangs_holds_up_nobody_else(
    site: Site, ask: Callable[..., Elsewhere], talker: Any, lot: str
) -> None:
    site.released(lot)
    over = threading.Event()
    for _ in range(AT_ONCE):
        talker.do(lambda _: over.wait(20))
    began = time.monotonic()
    erp, wms = ask(lot, talker.url).systems
    over.set()
    assert time.monotonic() - began < 2 * LOOKUP_SECONDS
    assert (erp.outcome, erp.said, erp.took_ms) == ("not-read", None, None)
    assert erp.problem is not None
    assert (wms.outcome, wms.problem) == ("agrees", None)


def test_a_document_with_a_name_that_is_not_known_is_refused_at_load(site: Site, ask: Callable[..., Elsewhere], lot: str) -> None:
    site.released(lot)
    [erp, _] = ask(lot, documents={"order": "/orders/${ordre}"}).systems
    assert erp.outcome == "not-read"
    assert "${ordre} is not known" in str(erp.problem)
