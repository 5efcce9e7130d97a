"""Random commits, faults, crashes and two workers: in the end the target shows what was decided, always."""

import threading
import time
import uuid
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from actors.connectors.http import Target
from actors.deliver import Deliverer
from engine.ledger import Delivery

STOCKS = ("quality", "unrestricted", "blocked", "restricted", "none")
FAULTS = (
    {"mode": "drop"},
    {"mode": "lost_answer"},
    {"mode": "slow", "seconds": 0.35},
    {"mode": "status", "status": 500},
    {"mode": "status", "status": 503},
    {"mode": "status", "status": 422},
    {"mode": "status", "status": 404},
    {"mode": "status", "status": 409},
)
WHERE = ("status", "status", "register")
STEPS = (
    "commit", "commit", "commit", "misbehave", "misbehave", "behave", "deliver", "deliver", "deliver_twice_at_once",
    "die_before_calling", "die_after_calling", "come_back_from_the_dead", "let_time_pass", "let_time_pass", "pause",
    "resume", "resume", "replay",
)  # fmt: skip
#: Shorter than the slowest fault: a target that answers too late has applied it all the same.
TIMEOUT_SECONDS = 0.25
#: What a worker that dies held comes back after this.
DEAD_LEASE_SECONDS = 0.1


def test_whatever_goes_wrong_the_target_ends_where_the_lots_are(owing: Any, own_erp: Any, deliverer: Any) -> None:
    erp = own_erp
    seen_lots: list[int] = []
    limits = {"timeout_s": TIMEOUT_SECONDS, "concurrency": 2, "batch": 8}
    single = {"deliver_batch": None, "register_batch": None, "limits": limits}
    first: Deliverer = deliverer(erp.url, limits=limits)
    second: Deliverer = deliverer(erp.url, **single)
    target: Target = first._target

    class AnyFaults(RuleBasedStateMachine):
        """Two workers of one ledger, one that dies, one that comes back from the dead, and a target that misbehaves."""

        def __init__(self) -> None:
            super().__init__()
            head = uuid.uuid4().hex[:8]
            self.lots = [f"{head} {name}" for name in "ABC"]
            self.newest: dict[str, tuple[int, str]] = {}
            self.held: list[Delivery] = []

        @rule(data=st.data(), steps=st.lists(st.sampled_from(STEPS), min_size=2, max_size=2))
        def go_on(self, data: st.DataObject, steps: list[str]) -> None:
            """One rule for everything: hypothesis would switch whole rules off, and commit nothing at all."""
            for step in steps:
                getattr(self, step)(data)

        def commit(self, data: st.DataObject) -> None:
            lot = self.lots[data.draw(st.integers(0, 2))]
            stock = data.draw(st.sampled_from(STOCKS))
            version = self.newest.get(lot, (0, ""))[0] + data.draw(st.integers(1, 3))
            self.newest[lot] = (version, stock)
            owing.owe(lot, version, stock=stock)

        def misbehave(self, data: st.DataObject) -> None:
            fault, where = data.draw(st.sampled_from(FAULTS)), data.draw(st.sampled_from(WHERE))
            erp.fault(**fault, count=data.draw(st.integers(1, 4)), match=where)

        def behave(self, _: st.DataObject) -> None:
            erp.fault("off")

        def deliver(self, _: st.DataObject) -> None:
            first.run()

        def deliver_twice_at_once(self, _: st.DataObject) -> None:
            threads = [threading.Thread(target=one.run) for one in (first, second, first)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)

        def die_before_calling(self, _: st.DataObject) -> None:
            self.held += owing.ledger.claim("erp", "dead", 2, DEAD_LEASE_SECONDS)

        def die_after_calling(self, _: st.DataObject) -> None:
            claimed = owing.ledger.claim("erp", "dead", 2, DEAD_LEASE_SECONDS)
            for delivery in claimed:
                target.deliver([delivery])
            self.held += claimed

        def come_back_from_the_dead(self, _: st.DataObject) -> None:
            """A worker that stood still: it calls with what it held, and writes as if nothing had been."""
            if self.held:
                time.sleep(DEAD_LEASE_SECONDS)
                second.run()
                delivery = self.held.pop(0)
                told = target.deliver([delivery])[0]
                if told.outcome in ("applied", "duplicate"):
                    owing.ledger.complete(delivery)
                else:
                    owing.ledger.retry(delivery, "late", 0)

        def let_time_pass(self, _: st.DataObject) -> None:
            owing.make_due()

        def pause(self, _: st.DataObject) -> None:
            owing.ledger.targets.pause("erp", "pat", "trying")

        def resume(self, _: st.DataObject) -> None:
            owing.ledger.targets.resume("erp")

        def replay(self, _: st.DataObject) -> None:
            owing.ledger.replay(target="erp")

        @invariant()
        def nothing_is_claimed_that_is_not_so(self) -> None:
            """Where the ledger says that the target agrees to a version, the target has it, or a newer one."""
            for lot in self.newest:
                agreed = [d.version for d in owing.ledger.lines(lot=lot, state="delivered")]
                if agreed:
                    assert erp.lot(lot)["version"] >= max(agreed), lot

        def teardown(self) -> None:
            seen_lots.append(len(self.newest))
            erp.fault("off")
            owing.ledger.targets.resume("erp")
            deadline = time.monotonic() + 90
            while owing.ledger.counts():
                assert time.monotonic() < deadline, owing.ledger.counts()
                owing.ledger.replay()
                owing.make_due()
                first.run()
                second.run()
            for lot, (version, stock) in self.newest.items():
                seen = erp.lot(lot)
                assert (seen["version"], seen["stock"]) == (version, stock), lot
            held = erp.http.get("/_invariants").json()
            wrong = ("duplicate_applications", "version_regressions", "lots_out_of_step")
            assert {name: held[name] for name in wrong} == dict.fromkeys(wrong, 0)

    bounds = settings(max_examples=50, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(AnyFaults, settings=bounds)
    assert sum(seen_lots) > len(seen_lots) >= 50
