"""Is the process alive, can it take events, and what does it count: /healthz, /readyz, /metrics.

What may not enter: anything about single lots. ``/healthz`` touches nothing; ``/readyz`` tells strangers only
which checks fail, and holders of a key why; ``/metrics`` needs a key, because how much a plant receives and
rejects is nobody else's business.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from actors.broker import BellState
from api.answers import visit_of
from api.views import Check, Readiness
from engine.archive import figures
from engine.business import Business, Remembered
from engine.compensation import Compensations
from engine.drift import Drift
from engine.errors import LotgateError
from engine.installation_checkpoints import unsigned_since
from engine.notices import Notices
from engine.runtime import Front
from engine.standing import Standing
from engine.store.migrate import check as check_revision
from engine.store.schema.delivery import escalations

#: Readiness is looked at no more often than this: probes must not load what they probe.
READY_SECONDS = 1.0
#: Waiting events above this share of the queue mean: send elsewhere if you can.
_FULL = 0.9
#: Suppliers that have a figure of their own: the worst.
_MAX_SUPPLIERS = 100

#: Says whether the doorbell can be rung; raises nothing.
BellCheck = Callable[[], BellState]


@get("/healthz", media_type="text/plain")
async def healthz() -> str:
    """The event loop turns."""
    return "ok\n"


class Health:
    """What readiness looks at."""

    def __init__(self, engine: Front, bell: BellCheck) -> None:
        self._engine = engine
        self._bell = bell
        self._looked_at = float("-inf")
        self._seen: Readiness | None = None
        self._draining = False

    @property
    def draining(self) -> bool:
        """Has the process been asked to stop?"""
        return self._draining

    def start_draining(self) -> None:
        """From now on not ready: the process has been asked to stop."""
        self._draining = True

    async def look(self) -> Readiness:
        """The readiness, at most ``READY_SECONDS`` old."""
        now = time.monotonic()
        if self._seen is None or now - self._looked_at > READY_SECONDS or self._draining:
            self._seen = await asyncio.to_thread(self._check_all)
            self._looked_at = now
        return self._seen

    def _check_all(self) -> Readiness:
        checks = {
            "database": self._database(),
            "rules": self._rules(),
            "committer": self._committer(),
            "judge": self._judge(),
            "queue": self._queue(),
            "redis": _of_bell(self._bell()),
            "draining": Check("failed", "the process is stopping") if self._draining else Check("ok"),
        }
        states = {check.status for check in checks.values()}
        status = "not-ready" if "failed" in states else "degraded" if "degraded" in states else "ready"
        return Readiness(status, checks)

    def _database(self) -> Check:
        """A write that changes nothing: it fails where a commit would."""
        try:
            check_revision(self._engine.store)
            with self._engine.store.engine.begin() as connection:
                connection.execute(update(escalations).where(escalations.c.id == -1).values(kind="none"))
        except SQLAlchemyError as error:
            return Check("failed", f"the database takes no write: {type(error).__name__}")
        except LotgateError as error:
            return Check("failed", error.detail)
        return Check("ok", self._engine.store.dialect)

    def _rules(self) -> Check:
        """The set in force, and whether the committer and the files on disk have it too."""
        engine = self._engine
        book = engine.rulebook
        gates = book.gates()
        words = f"{book.digest}, gates {', '.join(sorted(gates))}"
        if engine.rules.problem:
            return Check("degraded", f"{words}; what should be in force cannot be read: {engine.rules.problem}")
        if "release" not in gates:
            return Check("degraded", "no rule guards the gate release: nothing can be released")
        judging = engine.committer.rule_set
        if judging and judging != book.digest:
            return Check("degraded", f"{words}; the committer is changing over from {judging}")
        disk = engine.disk.look(book.digest)
        if disk.problem:
            return Check("degraded", f"{words}; the files on disk cannot be used and are not active: {disk.problem}")
        if disk.digest != book.digest:
            return Check("degraded", f"{words}; the files on disk are others ({disk.digest}) and not active")
        return Check("ok", words)

    def _committer(self) -> Check:
        committer = self._engine.committer
        if not committer.rule_set:
            return Check("failed", "the committer process is being started again; events are refused meanwhile")
        return Check("ok", f"process {committer.pid}")

    def _judge(self) -> Check:
        judge = self._engine.committer.judge
        if judge.pid is None and self._engine.settings.channel == "both":
            return Check("degraded", judge.problem or "the second rule engine does not run")
        return Check("ok", ", ".join(judge.engines))

    def _queue(self) -> Check:
        committer = self._engine.committer
        detail = f"{committer.waiting} events wait"
        return Check("degraded" if committer.waiting > _FULL * self._engine.settings.max_waiting else "ok", detail)


def _of_bell(state: BellState) -> Check:
    return Check(state.status, state.detail)


def health_routes(health: Health, engine: Front) -> list[HTTPRouteHandler]:
    """/readyz and /metrics, for Litestar."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))

    @get("/readyz")
    async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
        """200 when the process can take events, degraded or not; else 503."""
        seen = await health.look()
        if not visit_of(request.scope).principal.may("read"):
            seen = Readiness(seen.status, {name: Check(check.status) for name, check in seen.checks.items()})
        status = 503 if seen.status == "not-ready" else 200
        return Response(msgspec.json.encode(seen), status_code=status, media_type="application/json")

    @get("/metrics")
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Prometheus text format."""
        text = await asyncio.to_thread(lambda: generate_latest(REGISTRY) + generate_latest(registry))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [readyz, metrics]


class EngineCollector(Collector):
    """Reads the committer's figures, and the ledger's from the database, when somebody asks."""

    def __init__(self, engine: Front) -> None:
        self._engine = engine
        #: Target -> when it was last read back whole, as far as this process has seen; else since when it was not.
        self._read_back: dict[str, str] = {}
        self._numbers = Remembered(Business(engine.store, engine.clock)).numbers

    def collect(self) -> Iterator[Metric]:
        """All families."""
        committer = self._engine.committer
        counts = committer.counts
        events = CounterMetricFamily(
            "lotgate_events", "Events answered with a decision", labels=["type", "outcome"]
        )
        for (kind, outcome), number in list(counts.events.items()):
            events.add_metric([kind, outcome], number)
        yield events
        yield CounterMetricFamily("lotgate_commits", "Batches committed", value=counts.batches)
        yield CounterMetricFamily(
            "lotgate_commit_seconds", "Seconds spent committing", value=counts.commit_seconds
        )
        yield CounterMetricFamily("lotgate_commit_conflicts", "Batches decided again", value=counts.conflicts)
        yield CounterMetricFamily(
            "lotgate_commit_failures", "Batches that were not committed", value=counts.failures
        )
        yield GaugeMetricFamily(
            "lotgate_queue_events", "Events that wait for the committer", value=committer.waiting
        )
        yield from self._rules()
        yield from self._deliveries()
        yield from self._tasks()
        yield from self._drift()
        yield from self._inbound()
        yield from self._archive()
        yield from self._checkpoints()
        yield from self._business()

    def _archive(self) -> Iterator[Metric]:
        found, now = figures(self._engine.store), self._engine.clock()
        yield GaugeMetricFamily("lotgate_archive_segments", "Segments of the archive", value=found.segments)
        yield GaugeMetricFamily("lotgate_archive_bytes", "Bytes of the archive", value=found.bytes)
        yield GaugeMetricFamily("lotgate_archive_lots", "Lots in its segments", value=found.lots)
        yield GaugeMetricFamily("lotgate_archive_missing", "Segments whose file is not there", value=found.missing)
        if found.oldest_at is not None:
            age = (now - datetime.fromisoformat(found.oldest_at)).total_seconds()
            yield GaugeMetricFamily("lotgate_archive_oldest_seconds", "Age of its oldest entry", value=age)

    def _checkpoints(self) -> Iterator[Metric]:
        if not self._engine.settings.checkpoint_hours:
            return  # nobody waits for one
        since = unsigned_since(self._engine.store)
        age = 0.0 if since is None else (self._engine.clock() - datetime.fromisoformat(since)).total_seconds()
        yield GaugeMetricFamily(
            "lotgate_unsigned_seconds", "Age of the oldest entry that no checkpoint is over", value=max(0.0, age)
        )

    def _rules(self) -> Iterator[Metric]:
        digest = self._engine.rulebook.digest
        disk = self._engine.disk.look(digest)
        rules = GaugeMetricFamily("lotgate_rule_set_info", "The rule set in force", labels=["digest"])
        rules.add_metric([digest], 1)
        yield rules
        judging = self._engine.committer.rule_set == digest
        yield GaugeMetricFamily(
            "lotgate_rule_set_judges", "1 when the committer judges by the rule set in force", value=int(judging)
        )
        yield GaugeMetricFamily(
            "lotgate_rule_files_active", "1 when the rule files on disk are in force", value=int(disk.digest == digest)
        )
        yield GaugeMetricFamily(
            "lotgate_rule_files_usable", "1 when the rule files on disk can be used", value=int(not disk.problem)
        )

    def _deliveries(self) -> Iterator[Metric]:
        ledger = self._engine.ledger
        owed = GaugeMetricFamily(
            "lotgate_deliveries", "Deliveries that are owed or given up", labels=["target", "state"]
        )
        for target, states in ledger.counts().items():
            for state, number in states.items():
                owed.add_metric([target, state], number)
        age = GaugeMetricFamily(
            "lotgate_delivery_age_seconds", "Age of the oldest decision it has not agreed to", labels=["target"]
        )
        paused = GaugeMetricFamily("lotgate_target_paused", "1 while an operator has paused it", labels=["target"])
        rests = GaugeMetricFamily("lotgate_target_rests", "1 while it does not answer", labels=["target"])
        oldest, now = ledger.oldest_open(), self._engine.clock()
        for target in self._engine.committer.targets:
            seen = ledger.targets.state(target)
            since = oldest.get(target)
            old = 0.0 if since is None else (now - datetime.fromisoformat(since)).total_seconds()
            age.add_metric([target], max(0.0, old))
            paused.add_metric([target], int(seen.paused_at is not None))
            rests.add_metric([target], int(seen.breaker != "closed"))
        yield from (owed, age, paused, rests)

    def _tasks(self) -> Iterator[Metric]:
        tasks = GaugeMetricFamily("lotgate_tasks", "Tasks that are not closed", labels=["kind", "state"])
        for (kind, state), number in self._engine.ledger.tasks.counts().items():
            tasks.add_metric([kind, state], number)
        notices = GaugeMetricFamily("lotgate_notices_waiting", "Notices that could not be sent yet", labels=["channel"])
        for channel, (number, _) in Notices(self._engine.store, self._engine.clock).waiting().items():
            notices.add_metric([channel], number)
        yield from (tasks, notices)

    def _inbound(self) -> Iterator[Metric]:
        failures = GaugeMetricFamily("lotgate_inbound_failures", "Times in a row that it failed", labels=["name"])
        age = GaugeMetricFamily("lotgate_inbound_age_seconds", "Seconds since it went well", labels=["name", "kind"])
        now = self._engine.clock()
        for stand in Standing(self._engine.store, self._engine.clock).all():
            failures.add_metric([stand.name], stand.failures)
            if stand.ended_at is not None:
                age.add_metric([stand.name, stand.kind], (now - datetime.fromisoformat(stand.ended_at)).total_seconds())
        yield from (failures, age)

    def _drift(self) -> Iterator[Metric]:
        seen = Drift(self._engine.store, self._engine.clock)
        drift = GaugeMetricFamily("lotgate_drift_lots", "Lots that drift", labels=["target", "kind"])
        for (target, kind), number in seen.counts().items():
            drift.add_metric([target, kind], number)
        age = GaugeMetricFamily(
            "lotgate_read_back_age_seconds", "Seconds since it was read back whole", labels=["target"]
        )
        now = self._engine.clock()
        for target in self._engine.committer.targets:
            reading = seen.reading(target)
            if reading.started_at is None:
                continue  # nobody reads it back
            if reading.ended_at is not None and reading.problem is None:
                self._read_back[target] = reading.ended_at
            # The store keeps the newest reading only: one that fails, or is under way, must not take the age away.
            since = self._read_back.setdefault(target, reading.started_at)
            age.add_metric([target], (now - datetime.fromisoformat(since)).total_seconds())
        disputes = GaugeMetricFamily("lotgate_disputes", "Lots that it refuses while others wait", labels=["target"])
        for target, number in Compensations(self._engine.store, self._engine.clock).counts().items():
            disputes.add_metric([target], number)
        yield from (drift, age, disputes)

    def _business(self) -> Iterator[Metric]:
        kpi = self._numbers(self._engine.today())
        now = self._engine.clock()
        waiting = GaugeMetricFamily("lotgate_waiting_lots", "Living lots that wait", labels=["queue"])
        oldest = GaugeMetricFamily("lotgate_waiting_age_seconds", "Age of the oldest of them", labels=["queue"])
        for queue in kpi.queues:
            waiting.add_metric([queue.name], queue.lots)
            if queue.oldest_since is not None:
                age = now - datetime.fromisoformat(queue.oldest_since)
                oldest.add_metric([queue.name], max(0.0, age.total_seconds()))
        value = GaugeMetricFamily("lotgate_blocked_value", "Worth of blocked lots", labels=["currency"])
        for one in kpi.blocked_value:
            value.add_metric([one.currency], float(one.value))
        orders = GaugeMetricFamily("lotgate_unreleased_orders", "Orders not released", value=kpi.orders.orders)
        passed = GaugeMetricFamily("lotgate_first_pass_lots", "Lots by their original inspection", labels=["result"])
        passed.add_metric(["accepted"], kpi.first_pass.accepted)
        passed.add_metric(["rejected"], kpi.first_pass.lots - kpi.first_pass.accepted)
        lead = GaugeMetricFamily("lotgate_lead_time_seconds", "Lead time to release", labels=["step", "quantile"])
        for step in kpi.lead_times:
            for name, hours in (("0.5", step.median_hours), ("0.95", step.p95_hours)):
                if hours is not None:
                    lead.add_metric([step.step, name], hours * 3_600)
        ppm = GaugeMetricFamily("lotgate_supplier_ppm", "Nonconforming units per million", labels=["supplier"])
        for line in kpi.suppliers[:_MAX_SUPPLIERS]:
            if line.ppm is not None:
                ppm.add_metric([line.supplier], line.ppm)
        delayed = GaugeMetricFamily("lotgate_delayed_shipments", "Delayed shipments", labels=["cause", "target"])
        delayed.add_metric(["quality", ""], kpi.delays.by_quality)
        # From the start: an alert on an increase does not see a series that begins with its first shipment.
        waited = dict.fromkeys(self._engine.committer.targets, 0) | kpi.delays.interfaces
        for target, number in waited.items():
            delayed.add_metric(["interface", target], number)
        yield from (waiting, oldest, value, orders, passed, lead, ppm, delayed)
