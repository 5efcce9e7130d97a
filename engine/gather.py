"""Records to facts: what the rules may look at, for one lot at one moment. Pure.

Numbers become integers x 10**6, dates proleptic ordinals, a missing value is left out and never guessed: so that
both rule engines see exactly the same, and "missing" stays missing.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from engine import events as ev
from engine.decoding import DECIMAL_PLACES, scaled
from engine.lot import Lot
from engine.production import operation_facts
from engine.records import record_facts, signature_facts
from engine.stated import Stated, together, typed
from rules.facts import Vocabulary

Fact = dict[str, int | str | bool]
Facts = dict[str, list[Fact]]

_SCALE = 10**DECIMAL_PLACES


def lot_fact(lot: Lot, today: int) -> Fact:
    """The lot itself; ``today`` is an ordinal, ``age_days`` counts from the day the lot was received."""
    received = date.fromisoformat(lot.received_at[:10]).toordinal()
    fact: Fact = {
        "id": lot.id,
        "item": lot.item,
        "revision": lot.revision,
        "state": lot.state,
        "quantity": scaled(lot.quantity),
        "unit": lot.unit,
        "age_days": (today - received) * _SCALE,
        "recall_open": lot.recall_open,
        "inspection_complete": lot.inspection_stands,
    }
    for name in ("supplier", "supplier_lot", "receipt", "order", "plant", "location", "disposition"):
        value = getattr(lot, name)
        if value is not None:
            fact[name] = value
    for name in ("manufactured_on", "expires_on", "retest_on"):
        day = getattr(lot, name)
        if day is not None:
            fact[name] = day.toordinal()
    return fact


def event_fact(event: ev.Event, principal: str) -> Fact:
    """What is being asked, by whom."""
    data: Any = event.data  # type: ignore[attr-defined]  # every event type has data
    fact: Fact = {
        "type": str(event.__struct_config__.tag),
        "source": event.source,
        "principal": principal,
    }
    quantity = getattr(data, "quantity", None)
    if quantity is not None:
        fact["quantity"] = scaled(quantity.value)
        fact["unit"] = quantity.unit
    for name in ("customer", "order", "shipment", "decision"):
        value = getattr(data, name, None)
        if value is not None:
            fact[name] = value
    reason = getattr(data, "reason", None)
    if reason is not None:
        fact["reason"] = reason.code
    return fact


def result_facts(inspection: str, measurements: Sequence[ev.Measurement]) -> list[Fact]:
    """One fact per recorded measurement of ``inspection``."""
    facts: list[Fact] = []
    for m in measurements:
        fact: Fact = {
            "characteristic": m.characteristic,
            "sample": m.sample * _SCALE,
            "inspection": inspection,
        }
        if m.value is not None:
            fact["value"] = int(m.value.scaleb(DECIMAL_PLACES))
        if m.unit is not None:
            fact["unit"] = m.unit
        if m.conforming is not None:
            fact["conforming"] = m.conforming
        if m.inspected is not None and m.nonconforming is not None:
            fact["inspected"] = m.inspected * _SCALE
            fact["nonconforming"] = m.nonconforming * _SCALE
        if m.gauge is not None:
            fact["gauge"] = m.gauge
        facts.append(fact)
    return facts


def with_results(results: Sequence[Fact], inspection: str, measurements: Sequence[ev.Measurement]) -> list[Fact]:
    """``results`` and what was recorded after them: a correction takes the place of what it corrects."""
    corrected = {(m.characteristic, m.sample * _SCALE) for m in measurements if m.corrects is not None}
    kept = [r for r in results if (r["characteristic"], r["sample"]) not in corrected] if corrected else results
    return [*kept, *result_facts(inspection, measurements)]


def hold_facts(lot: Lot) -> list[Fact]:
    """One fact per active hold."""
    return [{"hold": h.hold, "reason": h.reason, "scope": h.scope, "source": h.source} for h in lot.holds]


def gather(
    lot: Lot, event: Fact | None, results: list[Fact], today: int, vocabulary: Vocabulary, more: Facts, known: Stated
) -> Facts:
    """Everything a rule of any gate may look at.

    ``more``: facts of other kinds; ``known``: what reference data states of the lot's item and supplier.
    """
    facts: Facts = {"lot": [lot_fact(lot, today)]}
    if event is not None:
        facts["event"] = [event]
    if results:
        facts["result"] = results
    if lot.holds:
        facts["hold"] = hold_facts(lot)
    if lot.records:
        facts |= record_facts(lot.records, date.fromordinal(today).isoformat())
    if lot.operations:
        facts |= operation_facts(lot.operations)
    if lot.signatures:
        facts["signature"] = signature_facts(lot.signatures, lot.inspectors)
    if lot.facts or known:
        for kind, lines in typed(together(known, lot.facts), vocabulary).items():
            if kind == "lot":
                facts["lot"][0] = {n: v for line in lines for n, v in line.items()} | facts["lot"][0]
            else:
                facts[kind] = [*facts.get(kind, []), *lines]
    return facts | more
