"""The lot as it stands. Pure.

How one step changes it is in engine/evolution.py. What may not enter: rules, guards (``decide``), clocks, databases.
"""

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from engine import events as ev
from engine.production import AssignedRouting, OperationInspection, OperationRun
from engine.records import (
    AssignedPlan,
    QualityRecord,
    SampleOutcome,
    Signature,
)
from engine.supplier_certificates import Certificate

#: Ids of the holds that the lifecycle itself places.
EXPIRED = "expired"
GATE_SHUT = "release-gate"
CONCESSION_ENDED = "concession-ended"


class Hold(Struct, frozen=True, omit_defaults=True):
    """An active hold."""

    hold: str
    reason: str
    #: Who or what placed it: the event source, or ``rule`` for a rule's consequence.
    source: str
    scope: str = "lot"
    text: str = ""
    owner: str | None = None
    #: The role in which it must be lifted; None: ``hold``.
    lift_role: ev.LiftRole | None = None


class Dispute(Struct, frozen=True):
    """A target does not take the lot's status, and others are told less until it does."""

    target: str
    #: Version of the lot that it does not take.
    version: int
    #: permanent, exhausted, late
    failure: str
    detail: str
    #: Instant since when.
    since: str
    #: Target -> canonical stock status that it is told instead of one that opens the lot.
    undo: dict[str, str]


class Lot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An identified quantity of one item, treated as one for quality."""

    id: str
    #: Number of journal entries: the entity tag of the lot.
    version: int
    #: One of engine.lifecycle.State, as its value.
    state: str
    item: str
    revision: str
    quantity: Decimal
    unit: str
    #: Instants of the first and the newest journal entry.
    received_at: str
    changed_at: str
    supplier: str | None = None
    supplier_lot: str | None = None
    #: Receipt line, or production confirmation.
    receipt: str | None = None
    order: str | None = None
    plant: str | None = None
    location: str | None = None
    manufactured_on: date | None = None
    expires_on: date | None = None
    retest_on: date | None = None
    #: Where these two days come from; empty: from the event that brought it.
    expires_by: str = ""
    retest_by: str = ""
    opened_on: date | None = None
    #: Active holds, oldest first.
    holds: tuple[Hold, ...] = ()
    #: Holds that ended and were not placed again, by id.
    lifted: tuple[str, ...] = ()
    #: A rejecting decision stands (a failed inspection) and no disposition has answered it.
    rejected: bool = False
    #: A complete inspection stands.
    inspection_stands: bool = False
    #: Journal version of the newest inspection record; 0 when there is none.
    results_version: int = 0
    #: Results up to this journal version belong to an earlier inspection (a re-inspection or a return came after).
    results_after: int = 0
    #: asked: it has to be inspected again; passed: it was, and shelf life was not put off since; empty: neither.
    retest: Literal["", "asked", "passed"] = ""
    #: The lot this one was split off from, while that lot's results stand for it too.
    results_from: str | None = None
    #: The inspection plan that was assigned; None: rules alone say what is inspected.
    plan: AssignedPlan | None = None
    #: What the present inspection said, where it was by plan.
    sample: SampleOutcome | None = None
    disposition: str | None = None
    #: Permission by which it is used although it does not conform.
    concession: ev.Concession | None = None
    #: Customers a concession permits; empty: no restriction.
    restrictions: tuple[str, ...] = ()
    recall_open: bool = False
    #: shipped, consumed, scrapped, returned, split, merged, repacked, regraded; None while the lot lives.
    closed: str | None = None
    shipment: str | None = None
    customer: str | None = None
    parent: str | None = None
    #: Lots that it was put together from.
    parts: tuple[str, ...] = ()
    packaging: ev.Packaging | None = None
    #: Pallets and containers on which it lies.
    handling_units: tuple[str, ...] = ()
    #: Newest ``sequence`` per event source.
    sequences: dict[str, str] = {}
    #: Who recorded results of the present inspection, where the record says so.
    inspectors: tuple[str, ...] = ()
    #: Signatures that stand.
    signatures: tuple[Signature, ...] = ()
    #: Nonconformances, deviations and corrective actions, in order of their opening.
    records: tuple[QualityRecord, ...] = ()
    #: Production has started and was not completed: the lot is nowhere in stock.
    in_production: bool = False
    #: The operations of its production; None: nobody said which there are.
    routing: AssignedRouting | None = None
    #: The newest report of each operation, in the order of the reports.
    operations: tuple[OperationRun, ...] = ()
    #: Inspections in process, one an operation that has a plan, in the order in which these began.
    operation_inspections: tuple[OperationInspection, ...] = ()
    #: Facts that other systems stated: kind -> key -> fields, as texts.
    facts: dict[str, dict[str, dict[str, str]]] = {}
    #: Certificates of its supplier, in order of their recording.
    certificates: tuple[Certificate, ...] = ()
    #: Targets that do not take the lot's status, while others are told less.
    disputes: tuple[Dispute, ...] = ()
    #: Hash of the newest journal entry.
    head: str = ""

    @property
    def has_results(self) -> bool:
        """True when results of the present inspection are recorded."""
        return self.results_version > self.results_after


def puts_off(lot: Lot, data: ev.ShelfLife) -> tuple[str, ...]:
    """What ``data`` would make longer: ``last day``, ``day of retest``. A first day makes nothing longer."""
    days = (("last day", lot.expires_on, data.expires_on), ("day of retest", lot.retest_on, data.retest_on))
    return tuple(name for name, old, new in days if old is not None and new is not None and new > old)


def used_of(pack: ev.Pack) -> ev.Quantity:
    """How much of the repacked lot a new lot is, in the unit of that lot."""
    return pack.used or pack.quantity


_snapshot = msgspec.json.Decoder(Lot)


def decode_lot(snapshot: str | bytes) -> Lot:
    """A stored snapshot as a Lot."""
    return _snapshot.decode(snapshot)


def stays_on_hold(lot: Lot, without: str | None = None) -> bool:
    """True when an active hold other than ``without`` stands."""
    return any(h.hold != without for h in lot.holds)
