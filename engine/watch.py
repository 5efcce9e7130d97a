"""Looks at batches that have landed: spans for whoever traces them, a line in the log for decisions that were slow.

What may not enter: deciding. It looks after the answers are out, and takes nothing but times from the flight.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from engine.answer import Answer
from engine.flight import Flight, Phases
from engine.inbox import Waiting
from engine.slow import SlowLog
from engine.spans import Spans

#: Rules that a line names.
_RULES = 50


class _Verdict(Struct):
    rule: str
    verdict: str


class _Judged(Struct):
    """What a decision or a refusal says of rules."""

    verdicts: list[_Verdict] = []
    rules: list[_Verdict] = []


_decode = msgspec.json.Decoder(_Judged).decode


class Watch:
    """One committer's."""

    def __init__(self, slow: SlowLog, spans: Spans | None, dialect: str) -> None:
        self._slow = slow
        self._spans = spans
        self._system = "sqlite" if dialect == "sqlite" else "postgresql"

    def landed(self, waiting: Sequence[Waiting], answers: Sequence[Answer], flight: Flight) -> None:
        """A batch is on disk and answered."""
        now = time.perf_counter_ns()
        oldest = waiting[0].arrived
        if self._slow.is_slow(now - oldest):
            for one, answer in zip(waiting, answers, strict=True):
                if self._slow.is_slow(now - one.arrived):
                    self._say(one, answer, flight.phases, now, len(waiting))
        if self._spans is not None:
            since_1970 = time.time_ns() - now
            for one, answer in zip(waiting, answers, strict=True):
                if one.trace is not None:
                    self._trace(self._spans, one, answer, flight.phases, since_1970, now, len(waiting))

    def _say(self, one: Waiting, answer: Answer, phases: Phases, now: int, size: int) -> None:
        event = one.submission.event
        judged = _decode(answer.body)
        names = sorted({line.rule for line in (*judged.verdicts, *judged.rules)})
        self._slow.say(
            "slow decision", now - one.arrived, lot=answer.lot, version=answer.version, outcome=answer.outcome,
            type=str(event.__struct_config__.tag), source=event.source, id=event.id,
            correlation_id=event.correlationid or event.id, trace_id=None if one.trace is None else one.trace[3:35],
            batch=size, rules=names[:_RULES], phases_ms=phases.spent(one.arrived, now),
        )  # fmt: skip

    def _trace(
        self, spans: Spans, one: Waiting, answer: Answer, phases: Phases, since_1970: int, now: int, size: int
    ) -> None:
        event, kind = one.submission.event, str(one.submission.event.__struct_config__.tag)
        about: dict[str, Any] = {
            "cloudevents.event_id": event.id, "cloudevents.event_source": event.source,
            "cloudevents.event_spec_version": event.specversion, "cloudevents.event_type": kind,
            "cloudevents.event_subject": event.subject, "lotgate.outcome": answer.outcome,
            "lotgate.replayed": answer.replayed, "lotgate.batch.size": size,
        }  # fmt: skip
        if answer.version is not None:
            about["lotgate.lot.version"] = answer.version
        began = min(one.arrived, phases.began) or phases.began
        whole = spans.begin(f"CloudEvents Process {kind}", "CONSUMER", one.trace, about, start_ns=began + since_1970)
        if phases.judged > phases.asked > 0:
            inner = spans.begin("judge", "INTERNAL", whole, start_ns=phases.asked + since_1970)
            inner.end(phases.judged + since_1970)
        if phases.written:
            system = {"db.system.name": self._system, "db.operation.name": "COMMIT"}
            inner = spans.begin("COMMIT", "CLIENT", whole, system, start_ns=phases.writing + since_1970)
            inner.end(phases.written + since_1970)
        whole.end(now + since_1970)
