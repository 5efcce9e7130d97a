"""May this shipment leave now? Every lot of it is asked what its shipment would be answered, and where it came from.

For each lot: the lifecycle, the built-in guards, the ship rules in force, its shelf life on the day of delivery, the
plants that the customer approves, whether every system has acknowledged its release, and every lot that it was made
of. The answer is *ready* only when nothing is against it, *not ready* when something is known to be, *unknown* when a
fact is missing. Reads only; shipping itself is decided again, by both engines, when the shipment is reported.
"""

import enum
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Connection

from engine import decide
from engine import events as ev
from engine.at_hand import results_in_force
from engine.clock import Clock, instant
from engine.errors import EventInvalid
from engine.gather import Fact, event_fact
from engine.genealogy import lot_node
from engine.known import Reference
from engine.lifecycle import steps
from engine.lot import Lot, decode_lot
from engine.reference import read_reference
from engine.store import genealogy as stored
from engine.store import writing
from engine.store.opening import Store
from engine.surroundings import Surroundings
from engine.tracing import MAX_NODES, Genealogy, Trace
from engine.track_record import read_tracks
from engine.tracks import pair_of
from rules.compiled import Verdict
from rules.rulebook import Case, RuleBook, RuleVerdict

#: Lots of one question.
MAX_LINES = 500


class Readiness(enum.Enum):
    """What may be said of a shipment, or of one lot of it."""

    READY = "ready"
    NOT_READY = "not_ready"
    UNKNOWN = "unknown"


class Line(ev.Closed, frozen=True):
    """One lot, or a part of it."""

    lot: ev.LotId
    #: Left out: the whole lot.
    quantity: ev.Quantity | None = None


class Question(ev.Closed, frozen=True):
    """What is to leave, to whom, and what the customer asks for."""

    shipment: ev.Code
    customer: ev.Code
    lines: Annotated[list[Line], Meta(min_length=1, max_length=MAX_LINES)]
    order: ev.Code | None = None
    #: The day it arrives: shelf life is counted on it; left out: today.
    deliver_on: date | None = None
    #: Days of shelf life that the customer has to get.
    remaining_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    #: Plants that the customer approves; none: any.
    plants: Annotated[list[ev.Code], Meta(max_length=100)] = []


class Against(Struct, frozen=True):
    """One reason why a lot may not leave, or may not be known to."""

    #: Rule or guard.
    rule: str
    readiness: Readiness
    message: str


class LineReadiness(Struct, frozen=True):
    """One lot."""

    lot: str
    readiness: Readiness
    #: Null for a lot that nobody has received.
    version: int | None
    state: str | None
    #: When it last changed: how old what is said of it is.
    changed_at: str | None
    against: list[Against]


class ShipmentReadiness(Struct, frozen=True):
    """The answer, as of ``asked_at``."""

    shipment: str
    readiness: Readiness
    asked_at: str
    rule_set: str
    lines: list[LineReadiness]


class Readinesses:
    """Answers for one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._statements = writing.Statements(store.dialect)
        self._genealogy = Genealogy(store)

    def of(
        self, question: Question, rulebook: RuleBook, principal: str, today: date,
        also: Callable[[Lot], list[Against]] | None = None, connection: Connection | None = None,
    ) -> ShipmentReadiness:  # fmt: skip
        """Ask every lot, and ``also`` of it, by one look. Raises EventInvalid for a lot that is named twice."""
        ids = [line.lot for line in question.lines]
        for number, name in enumerate(ids):
            if name in ids[:number]:
                words = f"Lot {name} is in the shipment twice; give its whole quantity once."
                raise EventInvalid(words, f"/lines/{number}")
        with self._store.reading(connection) as reads:
            lots, results, around = self._load(reads, ids, rulebook, today)
            above = self._above(reads, [name for name in ids if name in lots])
        lines = []
        for line in question.lines:
            lot = lots.get(line.lot)
            if lot is None:
                known = Against("LOT-KNOWN", Readiness.UNKNOWN, f"there is no lot {line.lot}")
                lines.append(LineReadiness(line.lot, Readiness.UNKNOWN, None, None, None, [known]))
                continue
            asked = _Asked(question, line, lot, around, principal, today)
            against = asked.guards() + asked.rules(results.get(lot.id, []))
            against += asked.customer() + above.get(lot.id, []) + ([] if also is None else also(lot))
            lines.append(LineReadiness(lot.id, worst(against), lot.version, lot.state, lot.changed_at, against))
        all_of_it = [a for line in lines for a in line.against]
        return ShipmentReadiness(
            question.shipment, worst(all_of_it), instant(self._clock()), rulebook.digest, lines
        )  # fmt: skip

    def _load(
        self, connection: Connection, ids: Sequence[str], rulebook: RuleBook, today: date
    ) -> tuple[dict[str, Lot], dict[str, list[Fact]], Surroundings]:
        lots = {row.id: decode_lot(row.snapshot) for row in stored.read_lots(connection, list(ids))}
        cursor = connection.connection.cursor()
        undelivered = writing.read_undelivered(cursor, self._statements, ids)
        records: dict[str, list[writing.Result]] = {}
        wanted = {lot.results_from or lot.id for lot in lots.values() if lot.has_results}
        for record in writing.read_results(cursor, self._statements, wanted) if wanted else ():
            records.setdefault(record[0], []).append(record)
        pairs = {pair_of(lot.item, lot.supplier) for lot in lots.values()}
        tracks = read_tracks(cursor, self._statements, pairs)
        items, suppliers = {lot.item for lot in lots.values()}, {lot.supplier or "" for lot in lots.values()}
        reference = Reference(read_reference(cursor, self._statements, items, suppliers - {""}))
        around = Surroundings(
            instant(self._clock()), today.toordinal(), rulebook, undelivered, tracks, reference
        )  # fmt: skip
        results = {lot.id: results_in_force(lot, records.get(lot.results_from or lot.id, ())) for lot in lots.values()}
        return lots, results, around

    def _above(self, connection: Connection, ids: list[str]) -> dict[str, list[Against]]:
        """What is against lots in what they were made of; one look for all of them where all of that is good."""

        def bad(lots: list[str]) -> list[Against]:
            return _bad(self._genealogy.trace(lots, "backward", nodes=MAX_NODES, connection=connection), lots)

        return {} if not ids or not bad(ids) else {lot: bad([lot]) for lot in ids}


class _Asked:
    """One lot and what is asked of it."""

    def __init__(
        self, question: Question, line: Line, lot: Lot, around: Surroundings, principal: str, today: date
    ) -> None:
        data = ev.Shipment(question.shipment, question.customer, question.order, line.quantity)
        self._event = ev.LotShipped(specversion="1.0", id="readiness", source="lotgate", subject=lot.id, data=data)
        self._question, self._lot, self._around = question, lot, around
        self._principal, self._today = principal, today

    def guards(self) -> list[Against]:
        lot, found = self._lot, []
        undelivered = self._around.undelivered.get(lot.id, ())
        if "ship" not in steps(lot.state) or lot.closed is not None:
            ended = f" and ended ({lot.closed})" if lot.closed is not None else ""
            found.append(Against("RELEASED", Readiness.NOT_READY, f"the lot is {lot.state}{ended}"))
        failing = decide.guards(lot, self._event, "ship", self._around.today, undelivered)
        return found + [Against(v.rule, Readiness.NOT_READY, v.message) for v in failing]

    def rules(self, results: list[Fact]) -> list[Against]:
        around = self._around
        if "ship" not in around.rulebook.gates():
            return [_of(decide.unguarded("ship"))]
        asked = event_fact(self._event, self._principal)
        facts = around.facts(self._lot, asked, results)
        judgement = around.rulebook.judge(Case("ship", facts, around.today))
        return [_of(verdict) for verdict in decide.refusing(judgement, fact=False)]

    def customer(self) -> list[Against]:
        question, lot, found = self._question, self._lot, []
        last = (question.deliver_on or self._today) + timedelta(days=question.remaining_days)
        if lot.expires_on is not None and lot.expires_on < last:
            words = f"its shelf life ends on {lot.expires_on}; it has to last until {last}"
            found.append(Against("SHELF-LIFE-ON-DELIVERY", Readiness.NOT_READY, words))
        if lot.expires_on is None and question.remaining_days:
            found.append(Against("SHELF-LIFE-ON-DELIVERY", Readiness.UNKNOWN, "nobody said how long it lasts"))
        if question.plants and lot.plant is None:
            found.append(Against("APPROVED-PLANT", Readiness.UNKNOWN, "nobody said which plant it is of"))
        elif question.plants and lot.plant not in question.plants:
            words = f"it is of plant {lot.plant}; the customer approves {', '.join(question.plants)}"
            found.append(Against("APPROVED-PLANT", Readiness.NOT_READY, words))
        return found


def _of(verdict: RuleVerdict) -> Against:
    known = verdict.verdict is Verdict.FAIL
    return Against(verdict.rule, Readiness.NOT_READY if known else Readiness.UNKNOWN, verdict.message)


def _bad(trace: Trace, own: Sequence[str]) -> list[Against]:
    """What is against lots in those above them; lots of the shipment itself are asked themselves.

    What a lot was split off from was decided apart from it: a hold on that passes on, its being rejected does not. What
    was put together whole is what it went into, and is decided there.
    """
    mine, found = set(own), []
    used = {link.parent for link in trace.links if link.kind not in ("split", "repack")}
    for node in trace.nodes:
        if node.kind != "lot" or node.id in mine or lot_node(node.id) not in used:
            continue
        if not node.known:
            words = f"it was made of {node.id}, which nobody has received"
            found.append(Against("MADE-OF-KNOWN-LOTS", Readiness.UNKNOWN, words))
        elif node.state == "blocked" and node.closed != "merged":
            words = f"it was made of {node.id}, which is blocked"
            found.append(Against("MADE-OF-GOOD-LOTS", Readiness.NOT_READY, words))
    if trace.truncated is not None:
        words = f"it was made of more lots than can be looked at ({trace.truncated})"
        found.append(Against("MADE-OF-KNOWN-LOTS", Readiness.UNKNOWN, words))
    return found


def worst(against: Sequence[Against]) -> Readiness:
    """What may be said where all of ``against`` is known: not ready outweighs unknown."""
    kinds = {one.readiness for one in against}
    if Readiness.NOT_READY in kinds:
        return Readiness.NOT_READY
    return Readiness.UNKNOWN if kinds else Readiness.READY
