"""May this order leave now? What ERP, WMS, the customer and Lotgate itself say, composed into one answer.

ERP says whether the order may leave, the WMS which lots are put aside for it, the customer's record what it asks of a
lot; every lot is asked what its shipment would be answered (engine/readiness.py). Each of the facts has an age, and a
policy says what one that is too old means. Reads only; answers are kept by engine/readiness_record.py.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from engine import events as ev
from engine.clock import Clock, instant
from engine.known import Content
from engine.lot import Lot
from engine.orders import Allocated, Allocation, Calendar, Customer, Order, OrderLine
from engine.readiness import Against, Line, LineReadiness, Question, Readiness, Readinesses, worst
from engine.reference import live_content
from engine.store import reference as stored
from engine.store.genealogy import read_lots
from engine.store.opening import Store
from engine.store.signals import shipments
from rules.rulebook import RuleBook

#: What a fact that is too old means.
StalePolicy = Literal["accept", "unknown", "not_ready"]


class FactAge(Struct, frozen=True):
    """What somebody said, who, and when for the last time."""

    #: order, allocation, customer, calendar
    kind: str
    key: str
    revision: int
    said_by: str
    #: When it was said, or last confirmed.
    known_at: str
    age_seconds: float
    stale: bool


class OrderLineReadiness(Struct, frozen=True):
    """One line of the order, with the lots that are put aside for it."""

    line: str
    item: str
    readiness: Readiness
    #: Decimal text in ``unit``.
    ordered: str
    allocated: str
    unit: str
    lots: list[str]
    against: list[Against]


class OrderReadiness(Struct, frozen=True):
    """The answer, as of ``asked_at``."""

    order: str
    customer: str | None
    readiness: Readiness
    asked_at: str
    rule_set: str
    facts: list[FactAge]
    #: What is against the order as a whole.
    against: list[Against]
    lines: list[OrderLineReadiness]
    lots: list[LineReadiness]
    #: All of it has left, or the order was closed.
    left: bool = False


class Freshness(Struct, frozen=True):
    """What is too old, and what that means."""

    #: 0: nothing ever is.
    stale_after_seconds: float = 86_400.0
    policy: StalePolicy = "unknown"


class _Fact(Struct, frozen=True):
    age: FactAge
    content: Content


class OrderReadinesses:
    """Answers for one store."""

    def __init__(self, store: Store, clock: Clock, freshness: Freshness | None = None) -> None:
        self._store = store
        self._clock = clock
        self._freshness = freshness or Freshness()
        self._readinesses = Readinesses(store, clock)

    def of(self, order: str, rulebook: RuleBook, principal: str, today: date) -> OrderReadiness:
        """Everything that is for and against ``order``."""
        with self._store.reading() as connection:
            return self._of(connection, order, rulebook, principal, today)

    def _of(
        self, connection: Connection, order: str, rulebook: RuleBook, principal: str, today: date
    ) -> OrderReadiness:
        now = self._clock()
        facts = self._facts(connection, order, now, today)
        against = [found for fact in facts.values() if (found := self._stale(fact.age)) is not None]
        said = facts.get("order")
        if said is None or not isinstance(said.content, Order):
            against.append(_unknown("ORDER-KNOWN", f"no system has said anything of the order {order}"))
            ages = [fact.age for fact in facts.values()]
            return OrderReadiness(
                order, None, Readiness.UNKNOWN, instant(now), rulebook.digest, ages, against, [], []
            )  # fmt: skip
        asked = _Order(order, said.content, facts, today)
        against += asked.against()
        here = self._still_here(connection, asked)
        lots = self._lots(connection, asked, here, rulebook, principal, today)
        lines = [asked.line(line, lots) for line in said.content.lines]
        every = [*against, *(a for line in lines for a in line.against), *(a for lot in lots for a in lot.against)]
        ages = [fact.age for fact in facts.values()]
        return OrderReadiness(
            order, said.content.customer, worst(every), instant(now), rulebook.digest, ages, against, lines, lots,
            said.content.status == "closed" or (asked.is_allocated and not here),
        )  # fmt: skip

    def _still_here(self, connection: Connection, asked: "_Order") -> list[Allocated]:
        """What the warehouse has put aside, without what it calls shipped, and lots that were shipped for the order."""
        parts = asked.parts_here()
        gone = [row.id for row in read_lots(connection, [part.lot for part in parts]) if row.closed == "shipped"]
        said = shipments(self._store, connection, gone) if gone else {}
        left = {lot for lot, data in said.items() if msgspec.json.decode(data, type=ev.Shipment).order == asked.number}
        return [part for part in parts if part.lot not in left]

    def _lots(
        self, connection: Connection, asked: "_Order", here: list[Allocated], rulebook: RuleBook, principal: str,
        today: date,
    ) -> list[LineReadiness]:
        if not here:
            return []
        terms = asked.terms
        question = Question(
            shipment=asked.number, order=asked.number, customer=asked.order.customer, lines=_together(here),
            deliver_on=max(today, asked.order.deliver_on or today), remaining_days=terms.remaining_days,
            plants=terms.plants,
        )  # fmt: skip
        asked_of = self._readinesses.of(question, rulebook, principal, today, also=asked.of_lot, connection=connection)
        return asked_of.lines

    def _facts(self, connection: Connection, order: str, now: datetime, today: date) -> dict[str, _Fact]:
        day, found = today.isoformat(), {}

        def look(kind: str, key: str | None) -> Any:
            fact = None if key is None else _fact(connection, kind, key, day, now, self._freshness)
            if fact is not None:
                found[kind] = fact
            return None if fact is None else fact.content

        known = look("order", order)
        look("allocation", order)
        terms = look("customer", known.customer if isinstance(known, Order) else None)
        look("calendar", terms.calendar if isinstance(terms, Customer) else None)
        return found

    def _stale(self, age: FactAge) -> Against | None:
        if not age.stale or self._freshness.policy == "accept":
            return None
        words = f"{age.said_by} last said the {age.kind} {age.key} at {age.known_at}, which is too long ago"
        return Against("FRESH", Readiness(self._freshness.policy), words)


def _fact(connection: Any, kind: str, key: str, day: str, now: datetime, fresh: Freshness) -> _Fact | None:
    rows = [row for row in stored.read_confirmed(connection, kind, key) if row.effective_from <= day]
    row = max(rows, key=lambda row: (row.effective_from, row.revision), default=None)
    if row is None or row.content == "null" or (row.effective_until is not None and row.effective_until < day):
        return None
    known_at = max(str(row.recorded_at), row.confirmed_at or "")
    age = (now - datetime.fromisoformat(known_at)).total_seconds()
    # Terms and calendars hold until they are changed; what changes by the hour grows old.
    grows_old = kind in ("order", "allocation") and fresh.stale_after_seconds > 0
    stale = grows_old and age > fresh.stale_after_seconds
    said = FactAge(kind, key, row.revision, row.recorded_by, known_at, round(age, 3), stale)
    return _Fact(said, live_content(kind, row.content))


class _Order:
    """The order, and what others say about it."""

    def __init__(self, number: str, order: Order, facts: dict[str, _Fact], today: date) -> None:
        self.number, self.order = number, order
        self._today = today
        allocation, terms, calendar = (
            facts[kind].content if kind in facts else None for kind in ("allocation", "customer", "calendar")
        )
        self._allocation = allocation if isinstance(allocation, Allocation) else None
        self._terms = terms if isinstance(terms, Customer) else None
        self._calendar = calendar if isinstance(calendar, Calendar) else None
        self.terms = self._terms or Customer()
        self._items: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
        by_line = {line.line: line for line in order.lines}
        for part in self._parts():
            if part.line in by_line:
                self._items[part.lot].add((by_line[part.line].item, by_line[part.line].revision))

    def _parts(self) -> Sequence[Allocated]:
        return () if self._allocation is None else self._allocation.lines

    @property
    def is_allocated(self) -> bool:
        """Has anything been put aside?"""
        return bool(self._parts())

    def parts_here(self) -> list[Allocated]:
        """What is put aside and has not left yet."""
        return [part for part in self._parts() if part.state != "shipped"]

    def against(self) -> list[Against]:
        """What is against the order as a whole."""
        order, found = self.order, []
        if order.status != "releasable":
            why = f": {order.reason}" if order.reason else ""
            found.append(_not_ready("ORDER-RELEASABLE", f"the order is {order.status}{why}"))
        if self._terms is None:
            found.append(_unknown("CUSTOMER-KNOWN", f"nobody has said what the customer {order.customer} asks for"))
        elif self._terms.calendar is not None and self._calendar is None:
            found.append(_unknown("DELIVERY-DAY", f"there is no calendar {self._terms.calendar}"))
        if self._calendar is not None and order.deliver_on is not None and not self._calendar.is_open(order.deliver_on):
            found.append(_not_ready("DELIVERY-DAY", f"nobody takes deliveries on {order.deliver_on}"))
        if self._allocation is None:
            found.append(_unknown("ALLOCATION-KNOWN", "the warehouse has not said what it has put aside"))
        lines = {line.line for line in order.lines}
        for part in self._parts():
            if part.line not in lines:
                words = f"the warehouse has put {part.lot} aside for line {part.line}, which the order has not"
                found.append(_not_ready("ALLOCATION-MATCHES", words))
        return found

    def line(self, line: OrderLine, lots: Sequence[LineReadiness]) -> OrderLineReadiness:
        """One line, with what is against the lots that are put aside for it."""
        parts = [part for part in self._parts() if part.line == line.line]
        unit, found = line.quantity.unit, []
        others = sorted({part.quantity.unit for part in parts} - {unit})
        there = sum((part.quantity.value for part in parts if part.quantity.unit == unit), Decimal(0))
        if others:
            found.append(_not_ready("ALLOCATION-MATCHES", f"it is ordered in {unit} and put aside in {others[0]}"))
        elif self._allocation is not None and there != line.quantity.value:
            words = f"{_text(line.quantity.value)} {unit} are ordered and {_text(there)} put aside"
            found.append(_not_ready("ALLOCATION-MATCHES", words))
        named = list(dict.fromkeys(part.lot for part in parts))
        of_lots = [lot.readiness for lot in lots if lot.lot in named]
        known = [one.readiness for one in found] + of_lots
        if self._allocation is None:
            known.append(Readiness.UNKNOWN)
        return OrderLineReadiness(
            line.line, line.item, _worst_of(known), _text(line.quantity.value), _text(there), unit, named, found
        )  # fmt: skip

    def of_lot(self, lot: Lot) -> list[Against]:
        """What the order has against a lot that was put aside for it."""
        found = []
        for item, revision in sorted(self._items[lot.id], key=str):
            if lot.item != item or revision not in (None, lot.revision):
                wanted = item if revision is None else f"{item} {revision}"
                found.append(_not_ready("ITEM-ORDERED", f"it is {lot.item} {lot.revision}; ordered is {wanted}"))
        kind = self.terms.certificate
        if kind is not None and not lot.facts.get(kind):
            found.append(_unknown("CERTIFICATE", f"nobody has stated its {kind}, which the customer asks for"))
        return found


def _together(parts: Sequence[Allocated]) -> list[Line]:
    """Each lot once; a lot whose parts are in several units is asked for as a whole, and refused by its line."""
    amounts: dict[str, dict[str, Decimal]] = {}
    for part in parts:
        units = amounts.setdefault(part.lot, {})
        units[part.quantity.unit] = units.get(part.quantity.unit, Decimal(0)) + part.quantity.value
    return [
        Line(lot=lot, quantity=ev.Quantity(value=next(iter(u.values())), unit=next(iter(u))) if len(u) == 1 else None)
        for lot, u in amounts.items()
    ]


def _worst_of(known: Sequence[Readiness]) -> Readiness:
    for kind in (Readiness.NOT_READY, Readiness.UNKNOWN):
        if kind in known:
            return kind
    return Readiness.READY


def _not_ready(rule: str, message: str) -> Against:
    return Against(rule, Readiness.NOT_READY, message)


def _unknown(rule: str, message: str) -> Against:
    return Against(rule, Readiness.UNKNOWN, message)


def _text(number: Decimal) -> str:
    return format(number, "f")


def basis(answer: OrderReadiness) -> bytes:
    """What was answered and on which facts, as canonical JSON: the same until one of them changes."""
    plain = msgspec.to_builtins(answer)
    del plain["asked_at"]
    for fact in plain["facts"]:
        del fact["known_at"], fact["age_seconds"]
    return msgspec.json.encode(plain, order="sorted")
