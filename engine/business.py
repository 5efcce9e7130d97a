"""Business numbers of one store: read from it, counted by engine/kpi.py. What may not enter: definitions, SQL."""

import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation

import msgspec

from engine import kpi
from engine.clock import Clock, instant
from engine.decoding import scaled
from engine.known import Known, Reference, ReferenceFact
from engine.kpi import Cost, Kpi
from engine.stated import as_text
from engine.store import kpi as stored
from engine.store import track_record
from engine.store.opening import Store
from engine.tracks import card_of

#: Kind of the reference fact that says what one unit of an item is worth.
COST = "standard_cost"
#: For whoever asks again and again, numbers stay as many times as long as counting them took: 2 % of one core, at most.
_REST = 50
_decode = msgspec.json.Decoder(ReferenceFact | None).decode


class Business:
    """Answers for one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def numbers(self, today: date) -> Kpi:
        """Every business number; ``today`` says which costs are in force."""
        now = self._clock()
        since = instant(now - timedelta(days=kpi.WINDOW_DAYS))
        edges = [instant(now - edge) for edge in kpi.EDGES]
        with self._store.moments.connect() as connection:
            waiting = stored.read_waiting(connection, edges)
            blocked = stored.read_blocked(connection, edges)
            orders = stored.read_orders(connection)
            costs = costs_of(stored.read_costs(connection, sorted({row.item for row in blocked})), today)
            released, inspected, received = stored.read_releases(self._store, connection, since, kpi.MAX_RELEASES)
            refused, shipped = stored.read_refused_shipments(connection, since, kpi.MAX_SHIPMENTS)
        cards = [(row.supplier, card_of(row.content)) for row in track_record.list_scorecards(self._store, None, None)]
        values, unvalued = kpi.worth(blocked, costs)
        return Kpi(
            instant(now), since, kpi.queues(waiting), values, unvalued, kpi.UnreleasedOrders(*orders),
            kpi.first_pass(card for _, card in cards),
            kpi.lead_times(
                ((row.lot, row.recorded_at) for row in released),
                ((row.lot, row.recorded_at) for row in inspected),
                received,
            ),
            kpi.ppm(cards), kpi.delays(refused, shipped),
        )  # fmt: skip


class Remembered:
    """The numbers for probes that come all the time: counting must not stand beside the hot path all day.

    ``stopwatch`` returns seconds and never goes back.
    """

    def __init__(self, business: Business, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._business = business
        self._stopwatch = stopwatch
        self._counting = threading.Lock()
        self._until = float("-inf")
        self._kept: Kpi | None = None

    def numbers(self, today: date) -> Kpi:
        """As :meth:`Business.numbers`, a little older where counting takes long; asked at once, counted once."""
        with self._counting:
            began = self._stopwatch()
            if self._kept is None or began >= self._until:
                self._kept = self._business.numbers(today)
                ended = self._stopwatch()
                self._until = ended + _REST * (ended - began)
            return self._kept


def costs_of(rows: list[stored.Row], today: date) -> dict[str, Cost]:
    """Item -> its standard cost in force; one that is not a cost, or only a supplier's, is left out."""
    day = today.isoformat()
    known = [
        Known(r.kind, r.key, r.revision, r.effective_from, r.effective_until, _decode(r.content)) for r in rows
    ]  # fmt: skip
    reference, found = Reference(known), {}
    for key in sorted({one.key for one in known}):
        one = reference.in_force("fact", key, day)
        fact = None if one is None else one.content
        if isinstance(fact, ReferenceFact) and fact.kind == COST and fact.item is not None and fact.supplier is None:
            cost = _cost({name: as_text(value) for name, value in fact.fields.items()})
            if cost is not None:
                found[fact.item] = cost
    return found


def _cost(fields: dict[str, str]) -> Cost | None:
    try:
        value = Decimal(fields["value"])
        scaled(value)  # a plant may have called it a code: NaN or 1e999999 would spoil every sum
        return Cost(value, fields["unit"], fields["currency"])
    except (KeyError, InvalidOperation, ValueError):
        return None
