"""Recalls: bad material is found by what is known of it, and everything that was made of it is held, wherever it is.

A recall places one hold, ``recall:<id>`` of scope ``recall``, on every lot that its selection names; families pass it
on (engine/family.py). The clock process does it in pages, each committed with how far it has come, so that it goes on
after a crash and makes nobody wait. A preview is the same look at the same lots and writes nothing: a mock recall.
What may not enter: SQL (engine/store/recalls.py), arithmetic (engine/balance.py).
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from engine import events as ev
from engine.balance import Balance, Holding, balance
from engine.clock import Clock, instant, parse_instant
from engine.errors import EventInvalid, NotFound
from engine.pipeline import Pipeline
from engine.store import recalls as stored
from engine.store.opening import Store
from engine.submission import submission
from engine.tasks import Tasks
from engine.tracing import MAX_NODES, Genealogy, Node, lots_of

#: Source of the holds and lifts of recalls.
RECALL = "lotgate/recall"
#: Lots that one page holds or lifts, and how many of them are decided together.
PAGE, TOGETHER = 500, 25
#: Where the page after the last lot begins.
EVERY_LOT = ""
MAX_LOTS = 10_000

RecallId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


class Measured(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Lots of which any result, corrected ones too, lies above or below a bound: a process parameter gone wrong."""

    characteristic: ev.Code
    #: At least one of the two; a result that is the bound itself is not meant.
    above: Decimal | None = None
    below: Decimal | None = None
    #: Left out: whatever unit it was recorded in.
    unit: ev.Code | None = None


class Selection(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which lots are bad: those that fit everything that is said. Instants are ISO 8601 with a zone."""

    lots: Annotated[list[ev.LotId], Meta(max_length=MAX_LOTS)] = []
    supplier: ev.Code | None = None
    item: ev.Code | None = None
    revision: ev.Code | None = None
    #: Purchase or production order.
    order: ev.Code | None = None
    plant: ev.Code | None = None
    received_from: str | None = None
    received_until: str | None = None
    measured: Measured | None = None


class Recall(Struct, frozen=True):
    """One recall. Instants are ISO 8601, UTC."""

    id: str
    selection: Selection
    reason: ev.Reason
    #: opening (holds are being placed), open, closing, closed
    state: str
    opened_at: str
    opened_by: str
    #: Lots of the selection that were held so far; those made of them come after.
    selected: int
    #: When everything was held.
    held_at: str | None
    closed_at: str | None
    closed_by: str | None
    note: str | None


class Shipped(Struct, frozen=True):
    """What left."""

    lot: str
    item: str
    quantity: str
    unit: str
    customer: str | None
    shipment: str | None


class Extent(Struct, frozen=True):
    """What a recall touches."""

    #: Lots that the selection names, and those made of them.
    selected: int
    lots: int
    #: Lots by state; those that have ended by how (``consumed``, ``scrapped``, …).
    states: dict[str, int]
    shipped: list[Shipped]
    balance: list[Balance]
    #: The limit that cut the look short; null: it is complete.
    truncated: str | None


class RecallView(Struct, frozen=True):
    """A recall and what it touches."""

    recall: Recall
    extent: Extent


_COLUMNS = ("id", "selection", "reason", "state", "opened_at", "opened_by", "selected", "held_at", "closed_at",
            "closed_by", "note")  # fmt: skip


class Recalls:
    """The recalls of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._genealogy = Genealogy(store)

    # -- looking -----------------------------------------------------------------------------------------------

    def preview(self, selection: Selection) -> Extent:
        """What a recall would touch; writes nothing. Raises EventInvalid for a selection that says nothing."""
        roots, cut = self._roots(selection)
        if not roots:
            return Extent(0, 0, {}, [], [], None)
        trace = self._genealogy.trace(roots, "forward", nodes=MAX_NODES)
        nodes = [node for node in lots_of(trace.nodes) if node.known]
        return self._extent(len(roots), nodes, trace.truncated or cut)

    def lots(self, identity: str, *, after: str = "", limit: int | None = None) -> list[Node]:
        """The lots that carry the recall's hold, or carried it, by id, from ``after`` on."""
        self.get(identity)
        return self._genealogy.known(stored.held(self._store, hold_of(identity), after, limit))

    def mark(self, identity: str) -> tuple[int, int]:
        """How many lots it is on, and a number that is another one as soon as any of them has changed."""
        return stored.held_mark(self._store, hold_of(identity))

    def view(self, identity: str) -> RecallView:
        """A recall and what it touches now. Raises NotFound."""
        recall = self.get(identity)
        return RecallView(recall, self._extent(recall.selected, self.lots(identity), None))

    def lines(
        self, *, states: Sequence[str] = (), after: tuple[str, str] | None = None, limit: int | None = None
    ) -> list[Recall]:
        """Recalls in ``states``, or all, the newest first, from ``after`` (opened at, id) on; without a limit all."""
        return [_recall(row) for row in stored.lines(self._store, states, after, limit)]

    def counts(self) -> dict[str, int]:
        """How many recalls there are in each state."""
        return stored.counts(self._store)

    def get(self, identity: str) -> Recall:
        """One recall. Raises NotFound."""
        row = stored.line(self._store, identity)
        if row is None:
            raise NotFound(f"There is no recall {identity}.")
        return _recall(row)

    def _roots(self, selection: Selection) -> tuple[list[str], str | None]:
        wanted = checked(self._store, selection)
        roots = stored.select_lots(self._store, wanted, "", MAX_NODES + 1)
        return roots[:MAX_NODES], "nodes" if len(roots) > MAX_NODES else None

    def _extent(self, selected: int, nodes: Sequence[Node], truncated: str | None) -> Extent:
        ids = [node.id for node in nodes]
        begun, used = stored.quantities(self._store, ids)
        holdings = [_holding(node, begun.get(node.id, stored.Beginning(Decimal(0)))) for node in nodes]
        shipped = [
            Shipped(n.id, n.item or "", n.quantity or "0", n.unit or "", n.customer, n.shipment)
            for n in nodes if n.closed == "shipped"
        ]  # fmt: skip
        states = Counter(n.closed or n.state or "" for n in nodes)
        return Extent(selected, len(nodes), dict(sorted(states.items())), shipped, balance(holdings, used), truncated)

    # -- deciding ----------------------------------------------------------------------------------------------

    def open(
        self, selection: Selection, reason: ev.Reason, by: str, identity: str | None = None
    ) -> tuple[Recall, bool]:
        """Open a recall; the clock carries it out. Gives it, and whether it is new: the same again is the same recall.

        Raises EventInvalid for a selection that says nothing, names unknown lots, or an id that another recall has.
        """
        checked(self._store, selection)
        identity = identity or f"R-{secrets.token_hex(4)}"
        row = {
            "id": identity, "selection": _text(selection), "reason": _text(reason), "state": "opening",
            "opened_at": instant(self._clock()), "opened_by": by,
        }  # fmt: skip
        new = stored.add(self._store, row)
        there = self.get(identity)
        if not new and (_text(there.selection), _text(there.reason)) != (row["selection"], row["reason"]):
            raise EventInvalid(f"There is another recall {identity} already.", "/id")
        return there, new

    def close(self, identity: str, by: str, note: str) -> Recall:
        """It is over: its holds are lifted. Raises NotFound; EventInvalid while it is still being opened."""
        there = self.get(identity)
        if there.state == "opening":
            raise EventInvalid(f"Recall {identity} is still placing its holds; close it when it is open.", "")
        if there.state == "open":
            change = {"state": "closing", "closed_by": by, "note": note}
            stored.move(self._store, identity, "open", change)
        return self.get(identity)


def hold_of(identity: str) -> str:
    """The name of a recall's hold."""
    return f"recall:{identity}"


def checked(store: Store, selection: Selection, what: str = "A recall") -> dict[str, Any]:
    """What a selection wants, checked. Raises EventInvalid."""
    said = {name: getattr(selection, name) for name in selection.__struct_fields__}
    wanted = {name: value for name, value in said.items() if value not in (None, [])}
    if not wanted:
        raise EventInvalid(f"{what} names lots, or what they have in common: it never means everything.", "/selection")
    for name in ("received_from", "received_until"):
        if name in wanted:
            try:
                wanted[name] = instant(parse_instant(wanted[name]))
            except ValueError as error:
                raise EventInvalid(str(error), f"/selection/{name}") from None
    measured = selection.measured
    if measured is not None:
        bounds = [bound for bound in (measured.above, measured.below) if bound is not None]
        if not bounds or not all(bound.is_finite() for bound in bounds):
            raise EventInvalid("Say above or below which number the results are bad.", "/selection/measured")
    known = set(stored.known(store, selection.lots))
    for number, lot in enumerate(selection.lots):
        if lot not in known:
            raise EventInvalid(f"There is no lot {lot}.", f"/selection/lots/{number}")
    return wanted


def carry_out(store: Store, pipeline: Pipeline, clock: Clock) -> int:
    """Take every recall that is opening or closing one page further; gives how many events that took.

    A crash repeats events under their ids, which changes nothing.
    """
    said = 0
    for row in stored.lines(store, ("opening", "closing")):
        recall = _recall(row)
        if recall.state == "closing":
            said += _lift_page(store, pipeline, clock, recall, row.cursor)
        elif row.cursor is not None:
            said += _hold_page(store, pipeline, recall, row.cursor)
        elif not stored.is_spreading(store, hold_of(recall.id)):
            _opened(store, clock, recall)
    return said


def _opened(store: Store, clock: Clock, recall: Recall) -> None:
    stored.move(store, recall.id, "opening", {"state": "open", "held_at": instant(clock())})
    extent = Recalls(store, clock).view(recall.id).extent
    customers = {line.customer for line in extent.shipped}
    words = f"recall {recall.id} ({recall.reason.code}) holds {extent.lots} lots"
    shipped = f"; {len(extent.shipped)} of them were shipped, to {len(customers)} customers" if customers else ""
    Tasks(store, clock).open_once("recall", recall.id, words + shipped)


def _hold_page(store: Store, pipeline: Pipeline, recall: Recall, cursor: str) -> int:
    lots = stored.select_lots(store, checked(store, recall.selection), cursor, PAGE)
    data = ev.HoldOrder(hold=hold_of(recall.id), reason=recall.reason, scope="recall")
    _say(pipeline, recall, lots, "held", recall.opened_by, ev.HoldApplied, data)
    after = lots[-1] if len(lots) == PAGE else None
    stored.move(store, recall.id, "opening", {"cursor": after, "selected": recall.selected + len(lots)})
    return len(lots)


def _lift_page(store: Store, pipeline: Pipeline, clock: Clock, recall: Recall, cursor: str | None) -> int:
    """Each lot is told once. Where a rule refuses, the hold stands until somebody lifts it there; then it is closed."""
    name = hold_of(recall.id)
    if cursor != EVERY_LOT:
        lots = stored.still_held(store, name, RECALL, PAGE, cursor or "")
        data = ev.HoldLift(hold=name, reason=ev.Reason(code=recall.reason.code, text=(recall.note or "")[:500]))
        _say(pipeline, recall, lots, "lifted", recall.closed_by or RECALL, ev.HoldLifted, data)
        stored.move(store, recall.id, "closing", {"cursor": lots[-1] if lots else EVERY_LOT})
        if lots:
            return len(lots)
    if not stored.still_held(store, name, RECALL, 1) and not stored.is_spreading(store, name):
        stored.move(store, recall.id, "closing", {"state": "closed", "closed_at": instant(clock()), "cursor": None})
        Tasks(store, clock).close_about("recall", "the recall was closed", subject=recall.id)
    return 0


def _say(pipeline: Pipeline, recall: Recall, lots: Sequence[str], what: str, by: str, kind: Any, data: Any) -> None:
    told = []
    for lot in lots:
        identity = f"{recall.id}/{what}/{ev.event_key('lot', lot)}"
        told.append(submission(kind(specversion="1.0", source=RECALL, id=identity, subject=lot, data=data), by))
    for start in range(0, len(told), TOGETHER):
        pipeline.process(told[start : start + TOGETHER])


def _holding(node: Node, begun: stored.Beginning) -> Holding:
    left = Decimal(node.quantity or "0")
    return Holding(
        node.id, node.item or "", node.unit or "", begun.born, left, node.closed, begun.parent, begun.used, begun.parts
    )


def _recall(row: Any) -> Recall:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["selection"] = msgspec.json.decode(row.selection, type=Selection)
    values["reason"] = msgspec.json.decode(row.reason, type=ev.Reason)
    return Recall(**values)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
