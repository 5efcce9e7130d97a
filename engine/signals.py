"""Telling warehouses whether an order may leave, before it is staged, and taking it back when that is no longer so.

A signal is an ordinary delivery of the ledger, to systems that are told of orders and not of lots: under the number of
the kept answer (engine/readiness_record.py), so that the newest is always enough and one that comes late takes nothing
back. An order that was signalled is watched until it has left: the clock process looks several times a second whether
a lot of it or a fact about it has changed, asks again then, and signals what is answered. What may not enter: what an
answer rests on (engine/order_readiness.py), calls to systems.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from engine.clock import Clock, instant
from engine.effects import StockStatus, encode_status
from engine.errors import EventInvalid
from engine.order_readiness import Freshness, OrderReadiness, OrderReadinesses
from engine.readiness import Readiness
from engine.readiness_record import Answered, ReadinessRecords
from engine.settings import Settings
from engine.store import signals as stored
from engine.store.opening import Store
from rules.rulebook import RuleBook

#: The principal that answers are recorded under when nobody asked.
WATCH = "lotgate/readiness"
#: What brings time itself about (stale facts, shelf lives, late acknowledgements) is noticed after this long.
ASK_AGAIN_SECONDS = 10.0
#: Reasons that a system is told.
MAX_REASONS = 50
#: Orders that are asked about again in one look, beside those of which something changed.
ROUND = 25


class Signalled(Struct, frozen=True):
    """An answer that was signalled, and to whom."""

    answered: Answered
    release: bool
    targets: list[str]


class _Watched(Struct, frozen=True):
    order: str
    number: int
    #: Lot -> version, and ``kind/key`` -> revision, that the answer rested on.
    lots: dict[str, int]
    facts: dict[str, int]
    asked_at: float


def ledger_name(order: str) -> str:
    """What an order is called in the ledger, beside lots."""
    return f"order:{order}"


class Signals:
    """Signals about the orders of one store."""

    def __init__(
        self, store: Store, clock: Clock, targets: Sequence[str], readinesses: OrderReadinesses,
        ring: Callable[[Sequence[str]], None] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._targets = tuple(targets)
        self._readinesses = readinesses
        self._records = ReadinessRecords(store, clock)
        self._ring = ring

    def send(self, order: str, rulebook: RuleBook, by: str, today: date) -> Signalled:
        """Signal what is answered about ``order`` now, and watch it. Raises EventInvalid where nobody is told."""
        if not self._targets:
            raise EventInvalid("LOTGATE_SIGNAL_TARGETS names no system that is told of orders.")
        answer = self._readinesses.of(order, rulebook, by, today)
        if answer.customer is None:
            raise EventInvalid(f"No system has said anything of the order {order}; there is nothing to signal.")
        return self._tell(answer, by)

    def watch(self, rulebook: Callable[[], RuleBook], today: date) -> int:
        """Ask again about every order of which something has changed, and about a round of those not asked for long.

        Gives how many were signalled anew.
        """
        watched = [_watched(row) for row in stored.watched(self._store)]
        if not watched:
            return 0
        versions = stored.versions(self._store, {lot for one in watched for lot in one.lots})
        revisions = stored.revisions(self._store, {key for one in watched for key in one.facts})
        moved = [one for one in watched if _differs(one.lots, versions) or _differs(one.facts, revisions)]
        now, told = self._clock().timestamp(), 0
        known = {one.order for one in moved}
        due = [one for one in watched if one.order not in known and not 0 <= now - one.asked_at < ASK_AGAIN_SECONDS]
        for one in (*moved, *sorted(due, key=lambda one: one.asked_at)[:ROUND]):
            answer = self._readinesses.of(one.order, rulebook(), WATCH, today)
            if answer.left:
                stored.forget(self._store, one.order)
                continue
            told += self._tell(answer, WATCH).answered.number != one.number
        return told

    def _tell(self, answer: OrderReadiness, by: str) -> Signalled:
        kept = self._records.keep(answer, by)
        number = kept.number or 0
        now = self._clock()
        payload = encode_status(_status(answer, number)).decode()
        owed = [
            {"lot": ledger_name(answer.order), "version": number, "target": target, "payload": payload,
             "due_at": now.timestamp(), "created_at": instant(now)}
            for target in self._targets
        ]  # fmt: skip
        lots = {lot.lot: lot.version or 0 for lot in answer.lots}
        facts = {f"{kind}/{answer.order}": 0 for kind in ("order", "allocation")}
        facts |= {f"{fact.kind}/{fact.key}": fact.revision for fact in answer.facts}
        seen = {"number": number, "lots": _text(lots), "facts": _text(facts), "asked_at": now.timestamp()}
        if stored.signal(self._store, answer.order, owed, seen) and self._ring is not None:
            self._ring(self._targets)
        return Signalled(kept, answer.readiness is Readiness.READY, list(self._targets))


def signals_of(
    settings: Settings, store: Store, clock: Clock, ring: Callable[[Sequence[str]], None] | None = None
) -> Signals:
    """Signals as the settings say."""
    readinesses = OrderReadinesses(store, clock, Freshness(settings.stale_after_s, settings.stale_facts))
    return Signals(store, clock, settings.signal_names, readinesses, ring)


def _status(answer: OrderReadiness, number: int) -> StockStatus:
    """The signal in the words of the ledger: ``lot`` is the order, ``item`` the customer."""
    release = answer.readiness is Readiness.READY
    against = [*answer.against, *(a for line in answer.lines for a in line.against)]
    reasons = [f"{one.rule}: {one.message}" for one in against]
    reasons += [f"{lot.lot}: {one.rule}: {one.message}" for lot in answer.lots for one in lot.against]
    return StockStatus(
        answer.order, number, answer.customer or "", "", answer.readiness.value,
        "unrestricted" if release else "blocked", release, "0", "", None, None, reasons[:MAX_REASONS], [],
    )  # fmt: skip


def _differs(seen: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return any(now.get(name, 0) != number for name, number in seen.items())


def _watched(row: Any) -> _Watched:
    lots, facts = (msgspec.json.decode(text, type=dict[str, int]) for text in (row.lots, row.facts))
    return _Watched(row.order_number, row.number, lots, facts, row.asked_at)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
