"""Random plants: whatever is sent, in whatever order, the promises hold. A state machine over the real committer."""

import json
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import text

from engine.archive import LEAST_DAYS, Archiver, check_age
from engine.checkpoints import signer_of
from engine.decoding import decode_event
from engine.effects import encode_status, stock_status
from engine.family import pass_holds_on
from engine.holds import lines_of
from engine.journal import verify
from engine.lifecycle import allowed
from engine.pipeline import Pipeline
from engine.recalls import Recalls, Selection
from engine.rulesets import RuleSets
from engine.settings import SHIPPED_RULES, Settings
from engine.store.opening import Store
from engine.store.reading import Reading
from engine.submission import submission
from engine.track_record import count
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.databases import new_store

LOTS = st.sampled_from(["A", "B"])
HOLDS = st.sampled_from(["H1", "H2"])
DECISIONS = ["release", "block", "use_as_is", "rework", "repair", "return_to_supplier", "scrap"]
GOOD, BAD = "74.000", "74.060"
INSPECTIONS = st.sampled_from([[GOOD] * 5, [GOOD] * 5, [GOOD] * 4 + [BAD], [GOOD]])
BOOK = RuleBook.load(SHIPPED_RULES)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class RandomPlant(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lotgate-plant-"))
        self.store: Store = new_store(self.home)
        self.judge = TwoChannelJudge(BOOK, channel="reference")
        self.clock = Clock()
        RuleSets(self.store, self.clock).ensure_first(SHIPPED_RULES)
        self.archiver = Archiver(self.store, self.clock, signer_of(Settings(home=self.home)))
        self.pipeline = Pipeline(self.store, self.judge, BOOK, self.clock)
        self.reading = Reading(self.store)
        self.sent: list[tuple[bytes, bytes]] = []
        self.received: dict[str, Decimal] = {}
        self.number = 0
        self.take_in("A", 12)
        self.clear("A")

    def clear(self, lot: str) -> None:
        """Lots that nobody ever releases would be neither used up nor shipped."""
        self.inspect_with(lot, [GOOD] * 5)
        self.agree_all()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            report = verify(self.reading.journals())
            self.store.close()
            shutil.rmtree(self.home)
            assert report.intact, report.breaks

    # -- what plants send --------------------------------------------------------------------------------------

    def send(self, type_: str, lot: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.number += 1
        head = {"specversion": "1.0", "id": f"e{self.number}", "source": "plant", "type": type_, "subject": lot}
        raw = json.dumps({**head, "data": data, **more}).encode()
        before = self.lots()
        (answer,) = self.pipeline.process([submission(decode_event(raw), "tester")])
        self.sent.append((raw, answer.body))
        body: dict[str, Any] = json.loads(answer.body)
        after = self.lots()
        if answer.outcome != "applied":
            assert {k: (v.state, v.quantity, v.holds) for k, v in after.items()} == {
                k: (v.state, v.quantity, v.holds) for k, v in before.items()
            }, "a refused or parked event changed a lot"
        if answer.status == 409 and body["code"] == "transition-not-allowed":
            assert body["allowed"] == list(allowed(body["state"]))
        return body | {"outcome": answer.outcome}

    def lots(self) -> dict[str, Any]:
        with self.store.reads.connect() as connection:
            ids = [str(row[0]) for row in connection.execute(text("SELECT id FROM lots"))]
        return {lot: self.reading.lot(lot) for lot in ids}

    @rule(quantity=st.integers(1, 5))
    def receive(self, quantity: int) -> None:
        self.take_in("B", quantity)

    def take_in(self, lot: str, quantity: int) -> None:
        data = {
            "item": "RING-74", "revision": "A", "quantity": {"value": str(quantity), "unit": "ea"},
            "supplier": "ACME", "receipt": f"GR-{lot}-{self.number}",
        }  # fmt: skip
        if self.send("lot.received.v1", lot, data)["outcome"] == "applied":
            self.received[lot] = Decimal(quantity)

    @rule(lot=LOTS, values=INSPECTIONS)
    def inspect(self, lot: str, values: list[str]) -> None:
        self.inspect_with(lot, values)

    @rule(quantity=st.integers(6, 12))
    def receive_and_clear(self, quantity: int) -> None:
        self.take_in("B", quantity)
        self.clear("B")

    def inspect_with(self, lot: str, values: list[str]) -> None:
        lines = [{"characteristic": "diameter", "value": v, "unit": "mm", "sample": i} for i, v in enumerate(values, 1)]
        self.send("inspection.recorded.v1", lot, {"inspection": "IL", "measurements": lines})

    @rule(lot=LOTS, hold=HOLDS)
    def hold(self, lot: str, hold: str) -> None:
        known = self.lots().get(lot)
        answer = self.send("hold.applied.v1", lot, {"hold": hold, "reason": {"code": "suspect"}})
        if known is None:
            assert answer["outcome"] == "parked"
        elif known.closed is None or known.state == "shipped":
            assert answer["outcome"] in ("applied", "duplicate"), "a hold did not land"
            now = self.reading.lot(lot)
            # A lift that came before its hold is taken up at once.
            assert hold in {h.hold for h in now.holds} or hold in now.lifted
            assert now.state in ("blocked", "shipped") or not now.holds

    @rule(lot=LOTS, hold=HOLDS)
    def lift(self, lot: str, hold: str) -> None:
        self.send("hold.lifted.v1", lot, {"hold": hold, "reason": {"code": "cleared"}})

    @rule(lot=LOTS)
    def retest(self, lot: str) -> None:
        self.send("lot.retest_due.v1", lot, {"due_on": "2026-11-23"})

    @rule(lot=LOTS, last=st.sampled_from(["2026-12-31", "2027-06-30"]))
    def change_shelf_life(self, lot: str, last: str) -> None:
        before = self.lots().get(lot)
        answer = self.send("shelf_life.changed.v1", lot, {"expires_on": last, "reason": {"code": "R"}})
        if before is not None and before.expires_on is not None and before.expires_on.isoformat() < last:
            assert (answer["outcome"] == "applied") <= (before.retest == "passed" and before.inspection_stands)

    @rule(lot=LOTS)
    def release(self, lot: str) -> None:
        self.send("lot.released.v1", lot, {})

    @rule(data=st.data(), decision=st.sampled_from(["use_as_is", "rework", "repair", "regrade", "scrap", "return_to_supplier"]))
    def dispose(self, data: st.DataObject, decision: str) -> None:
        lot = self.any_lot(data)
        said: dict[str, Any] = {"decision": decision, "reason": {"code": "mrb"}}
        if decision in ("rework", "return_to_supplier"):
            said["reference"] = f"R-{self.number}"
        if decision == "regrade":
            said |= {"item": "RING-74-B", "revision": "A", "child": f"{lot}.{self.number}.G"}
        # Only blocked lots are decided on.
        if lot in self.lots():
            self.send("hold.applied.v1", lot, {"hold": "MRB", "reason": {"code": "suspect"}})
        if decision in ("use_as_is", "rework", "repair"):
            self.send("hold.lifted.v1", lot, {"hold": "MRB", "reason": {"code": "mrb"}})
        self.send("lot.dispositioned.v1", lot, said)

    def any_lot(self, data: st.DataObject) -> str:
        """Also a part of a part; targets have agreed to all."""
        self.agree_all()
        return str(data.draw(st.sampled_from(sorted({"A", "B", *self.lots()}))))

    @rule(data=st.data(), parts=st.lists(st.integers(1, 3), min_size=1, max_size=2))
    def split(self, data: st.DataObject, parts: list[int]) -> None:
        lot = self.any_lot(data)
        children = [
            {"lot": f"{lot}.{self.number}.{i}", "quantity": {"value": str(q), "unit": "ea"}} for i, q in enumerate(parts)
        ]
        self.send("lot.split.v1", lot, {"children": children})

    @rule(data=st.data(), number=st.integers(2, 3), whole=st.booleans())
    def merge(self, data: st.DataObject, number: int, whole: bool) -> None:
        parts: list[dict[str, Any]] = [{"lot": self.any_lot(data)} for _ in range(number)]
        if not whole:
            parts[0]["quantity"] = {"value": "1", "unit": "ea"}
        known, lot = self.lots(), f"M.{self.number}"
        answer = self.send("lot.merged.v1", lot, {"parts": parts})
        if answer["outcome"] != "applied":
            return
        made = self.reading.lot(lot)
        before = [known[part["lot"]] for part in parts]
        assert {p.item for p in before} == {made.item}
        assert made.state == "blocked" if any(p.state == "blocked" for p in before) else made.state in {
            "quarantined", "inspected", "released"}  # fmt: skip
        if made.state in ("inspected", "released"):
            assert {p.state for p in before} <= {"inspected", "released"}
        assert len(made.holds) == len({f"{h.hold}@{p.id}" if h.scope != "parent" else h.hold for p in before for h in p.holds})

    @rule(data=st.data(), parts=st.lists(st.integers(1, 3), max_size=2), unit=st.sampled_from(["ea", "ea", "box"]))
    def repack(self, data: st.DataObject, parts: list[int], unit: str) -> None:
        lot = self.any_lot(data)
        into = [
            {"lot": f"{lot}.{self.number}.R{i}", "quantity": {"value": str(q), "unit": "ea"}} for i, q in enumerate(parts)
        ]
        if unit != "ea":
            for pack in into:
                pack |= {"used": pack["quantity"], "quantity": {"value": "1", "unit": unit}}
        said = {"packaging": {"package": "carton", "count": 2}} if not into else {}
        self.send("lot.repacked.v1", lot, {"into": into, "packed": [f"PALLET-{self.number}"], **said})
    @rule(data=st.data(), decisions=st.lists(st.sampled_from(DECISIONS), min_size=2, max_size=3), off=st.sampled_from([0, 0, 0, 1]))
    def decide_usage(self, data: st.DataObject, decisions: list[str], off: int) -> None:
        """A lot is divided by what becomes of its parts; whatever does not balance changes nothing."""
        lot = self.any_lot(data)
        known = self.lots().get(lot)
        whole = Decimal(4) if known is None or not known.quantity else known.quantity
        amounts = [Decimal(1)] * (len(decisions) - 1)
        amounts.append(max(whole - len(amounts) + off, Decimal(1)))
        parts = [
            {"decision": decision, "quantity": {"value": f"{amount:f}", "unit": "ea"}, "lot": f"{lot}.{self.number}.P{i}"}
            for i, (decision, amount) in enumerate(zip(decisions, amounts, strict=True))
        ]
        answer = self.send("usage_decision.made.v1", lot, {"parts": parts, "reason": {"code": "UD"}})
        if answer["outcome"] == "applied":
            assert sum(amounts) == whole
            assert self.reading.lot(lot).closed == "split"

    @rule(chosen=st.data(), quantity=st.integers(1, 5))
    def consume(self, chosen: st.DataObject, quantity: int) -> None:
        lot = self.any_lot(chosen)
        data = {"quantity": {"value": str(quantity), "unit": "ea"}, "order": "MO-1", "confirmation": f"C{self.number}"}
        self.send("lot.consumed.v1", lot, data)

    @rule(lot=LOTS, voided=st.booleans())
    def ship(self, lot: str, voided: bool) -> None:
        shipment = f"S{self.number}"
        self.send("lot.shipped.v1", lot, {"shipment": shipment, "customer": "C"})
        if voided:
            self.send("shipment.voided.v1", lot, {"shipment": shipment, "reason": {"code": "carrier"}})

    @rule(data=st.data(), quantity=st.integers(1, 4))
    def ship_a_part(self, data: st.DataObject, quantity: int) -> None:
        lot = self.any_lot(data)
        part = {"quantity": {"value": str(quantity), "unit": "ea"}, "child": f"{lot}.{self.number}.S"}
        self.send("lot.shipped.v1", lot, {"shipment": f"S{self.number}", "customer": "C", **part})

    @rule()
    def agree(self) -> None:
        self.agree_all()

    def agree_all(self) -> None:
        """ERP and WMS acknowledge everything."""
        with self.store.engine.begin() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'delivered'"))

    @rule(settled=st.booleans())
    def archive(self, settled: bool) -> None:
        """What is closed leaves the journal; nobody who reads sees a difference."""
        # The newest of all stays: let it be one that nobody talks of.
        self.take_in(f"N.{self.number}", 1)
        if settled:
            self.agree_all()
        while pass_holds_on(self.store, self.pipeline) or count(self.store):
            pass
        before = {lot: self.reading.journal(lot) for lot in self.lots()}
        self.clock.now += timedelta(days=LEAST_DAYS)
        self.archiver.run(check_age(self.clock() - timedelta(days=LEAST_DAYS), self.clock()), "tester")
        assert {lot: self.reading.journal(lot) for lot in self.lots()} == before

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        if not self.sent:
            return
        raw, first = data.draw(st.sampled_from(self.sent))
        (answer,) = self.pipeline.process([submission(decode_event(raw), "tester")])
        assert answer.replayed
        if json.loads(first).get("outcome") != "parked":
            assert answer.body == first

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def nothing_got_out_without_its_gate(self) -> None:
        if not hasattr(self, "store"):
            return
        for lot in self.lots().values():
            if lot.state not in ("released", "shipped") or lot.parent is not None:
                continue
            if lot.parts and self.reading.journal(lot.id)[0].state_after == "released":
                for part in lot.parts:
                    given = [e for e in self.reading.journal(part) if e.trigger == "merge_into"]
                    assert any(e.state_before == "released" and lot.id in e.data for e in given)
                continue
            entries = self.reading.journal(lot.id)
            doors = [e for e in entries if e.state_after == "released" and e.state_before != "released"]
            assert doors
            evidence = json.loads(doors[-1].evidence)
            assert evidence["gate"] in ("release", "use_as_is")
            assert evidence["verdicts"]
            assert {v["verdict"] for v in evidence["verdicts"] if v["severity"] in ("block", "hold")} <= {"pass"}

    @invariant()
    def the_history_of_holds_is_that_of_the_journal(self) -> None:
        if not hasattr(self, "store"):
            return
        for lot in self.lots():
            assert self.reading.holds(lot) == lines_of(self.reading.journal(lot))

    @invariant()
    def blocked_means_a_hold_or_a_rejection(self) -> None:
        if not hasattr(self, "store"):
            return
        for lot in self.lots().values():
            if lot.state == "blocked" and lot.closed is None:
                assert lot.holds or lot.rejected
            if lot.holds:
                assert lot.state in ("blocked", "shipped")

    @invariant()
    def nothing_is_made_or_lost_whatever_is_decided(self) -> None:
        if not hasattr(self, "store"):
            return
        lots = self.lots()
        assert all(lot.quantity >= 0 for lot in lots.values())
        lines = Recalls(self.store, Clock()).preview(Selection(lots=sorted(self.received))).balance
        assert all(line.unaccounted == 0 for line in lines), lines
        made = {(line.item, line.unit): line.made for line in lines}
        assert made["RING-74", "ea"] == sum(self.received.values())

    @invariant()
    def the_newest_delivery_says_what_the_lot_is(self) -> None:
        if not hasattr(self, "store"):
            return
        with self.store.reads.connect() as connection:
            rows = connection.execute(
                text("SELECT lot, target, payload FROM deliveries d WHERE version ="
                     " (SELECT max(version) FROM deliveries WHERE lot = d.lot AND target = d.target)")
            ).all()  # fmt: skip
        lots = self.lots()
        assert {(r.lot, r.target) for r in rows} == {(lot, t) for lot in lots for t in ("erp", "wms")}
        for row in rows:
            told, now = json.loads(row.payload), json.loads(encode_status(stock_status(lots[row.lot])))
            assert told | {"version": 0} == now | {"version": 0}


TestRandomPlant = RandomPlant.TestCase
TestRandomPlant.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
