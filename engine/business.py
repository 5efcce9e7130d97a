"""Business numbers of one store: read from it, counted by engine/kpi.py. What may not enter: definitions, SQL."""

from datetime import date, timedelta
from decimal import Decimal, InvalidOperation

import msgspec

from engine import kpi
from engine.clock import Clock, instant
from engine.known import Known, Reference, ReferenceFact
from engine.kpi import Cost, Kpi
from engine.stated import as_text
from engine.store import kpi as stored
from engine.store import track_record
from engine.store.opening import Store
from engine.tracks import card_of

#: Kind of the reference fact that says what one unit of an item is worth.
COST = "standard_cost"
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
        with self._store.reads.connect() as connection:
            waiting = stored.read_waiting(connection, edges)
            blocked = stored.read_blocked(connection, edges)
            orders = stored.read_orders(connection)
            costs = costs_of(stored.read_costs(connection), today)
            released, inspected, received = stored.read_releases(connection, since, kpi.MAX_RELEASES)
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
        return Cost(Decimal(fields["value"]), fields["unit"], fields["currency"])
    except (KeyError, InvalidOperation):
        return None
