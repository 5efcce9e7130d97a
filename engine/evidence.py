"""What a decision rested on, as the journal keeps it, and what the gate that lets a lot in knows of it. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from engine import events as ev
from engine.gather import Facts
from engine.lot import Lot
from rules.compiled import Verdict
from rules.rulebook import Case, Judgement, RuleVerdict

_encode = msgspec.json.Encoder().encode


class Evidence(Struct, omit_defaults=True):
    """What a decision rested on, as the journal keeps it."""

    gate: str | None = None
    engines: tuple[str, ...] = ()
    agreed: bool = True
    disagreement: str | None = None
    verdicts: tuple[RuleVerdict, ...] = ()
    #: Facts as the engines saw them, but for results: numbers x 10**6, dates as ordinals.
    facts: Facts | None = None
    #: Where the result facts come from: data of inspection.recorded entries of this journal.
    results: "ResultsUsed | None" = None
    sequence: str | None = None
    #: Of a shipment that was refused: targets that had not acknowledged the lot's present status.
    undelivered: tuple[str, ...] = ()


class ResultsUsed(Struct):
    """Result facts by reference: those of ``lot``'s journal versions above ``after``, up to ``upto``."""

    lot: str
    after: int
    upto: int


class Judged(Struct):
    """One gate's judgement on the course's way."""

    case: Case
    judgement: Judgement
    used: ResultsUsed | None


def evidence(
    judged: Sequence[Judged], judgement: Judgement | None, builtin: tuple[RuleVerdict, ...], sequence: str | None,
    undelivered: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """The evidence of an entry, JSON: ``judgement`` is one of ``judged``, or None where no rule had a say."""
    if judgement is None:
        if not builtin and sequence is None:
            return "{}"
        return _encode(Evidence(verdicts=builtin, sequence=sequence, undelivered=undelivered)).decode()
    mine = next(j for j in reversed(judged) if j.judgement is judgement)
    facts = {kind: lines for kind, lines in mine.case.facts.items() if kind != "result"}
    return _encode(
        Evidence(judgement.gate, judgement.engines, judgement.agreed, judgement.disagreement,
                 (*builtin, *judgement.verdicts), facts, mine.used, sequence, undelivered)  # type: ignore[arg-type]
    ).decode()  # fmt: skip


def expected_lot(event: ev.Event, now: str) -> Lot:
    """The lot as the event says it will be, for the gate that lets it in."""
    data: Any = event.data  # type: ignore[attr-defined]  # every event type has data
    return Lot(
        id=event.subject, version=0, state="received", item=data.item, revision=data.revision,
        quantity=data.quantity.value, unit=data.quantity.unit, received_at=now, changed_at=now,
        supplier=getattr(data, "supplier", None), supplier_lot=getattr(data, "supplier_lot", None),
        receipt=getattr(data, "receipt", None), order=data.order, plant=data.plant, location=data.location,
        manufactured_on=getattr(data, "manufactured_on", None), expires_on=getattr(data, "expires_on", None),
        retest_on=getattr(data, "retest_on", None), in_production=isinstance(data, ev.ProductionStart),
    )  # fmt: skip


def time_of(event: ev.Event) -> str | None:
    """When it happened, as its source said; None when it did not say."""
    moment = event.time
    return None if moment is None else ev.utc(moment).isoformat(timespec="microseconds")[:-6] + "Z"


def gate_detail(gate: str | None, reasons: tuple[RuleVerdict, ...]) -> str:
    """Which rules shut the gate, in one sentence."""
    failed = [v.rule for v in reasons if v.verdict is Verdict.FAIL]
    unknown = [v.rule for v in reasons if v.verdict is not Verdict.FAIL]
    parts = []
    if failed:
        parts.append(f"{', '.join(failed)} failed")
    if unknown:
        parts.append(f"{', '.join(unknown)} could not be evaluated")
    return f"The gate {gate or 'of this step'} is shut: {'; '.join(parts)}."
