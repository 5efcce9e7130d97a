"""What each role may do: which calls it opens, which events it may send. Whatever stands in no table is denied.

What may not enter: keys, requests, HTTP. ``admin`` may everything; every role may read. That a key is limited to some
sources or plants narrows what its roles say, never widens it.
"""

from collections.abc import Iterable

#: Role -> what it is for, in the words of the handbook.
ROLES: dict[str, str] = {
    "read": "every GET",
    "submit": "events of goods and production: received, operations, produced, consumed, split, merged, repacked,"
    " opened, shipped, returned; specifications; holds",
    "inspect": "inspection results, reinspections, stated facts; holds",
    "hold": "holds, and lifting them",
    "release": "releasing lots, dispositions, shelf life; holds",
    "sign": "electronic signatures; checkpoints of the whole record",
    "edit-reference": "reference data: inspection plans, facts of items and suppliers, orders, allocations",
    "edit-rules": "staging rule sets, control limits",
    "approve-rules": "approving, activating, withdrawing and rolling back rule sets; sampling by order",
    "replay": "sending deliveries again, having targets read back",
    "admin": "everything",
}

_GOODS = frozenset({"submit"})
_INSPECTION = frozenset({"inspect"})
_DECISION = frozenset({"release"})
#: What only an administrator may do: the clock sends these by itself.
_NOBODY: frozenset[str] = frozenset()

#: CloudEvents type -> roles that may send it, besides ``admin``. Whoever may send anything may place a hold.
SENDERS: dict[str, frozenset[str]] = {
    "lot.received.v1": _GOODS,
    "lot.produced.v1": _GOODS,
    "production.started.v1": _GOODS,
    "operation.reported.v1": _GOODS,
    "inspection.recorded.v1": _INSPECTION,
    "hold.applied.v1": frozenset({"submit", "inspect", "hold", "release"}),
    "hold.lifted.v1": frozenset({"hold"}),
    "lot.released.v1": _DECISION,
    "lot.dispositioned.v1": _DECISION,
    "usage_decision.made.v1": _DECISION,
    "concession.ended.v1": _NOBODY,
    "reinspection.requested.v1": _INSPECTION,
    "lot.consumed.v1": _GOODS,
    "lot.split.v1": _GOODS,
    "lot.merged.v1": _GOODS,
    "lot.repacked.v1": _GOODS,
    "lot.shipped.v1": _GOODS,
    "shipment.voided.v1": _GOODS,
    "lot.returned.v1": _GOODS,
    "lot.opened.v1": _GOODS,
    "lot.expired.v1": _NOBODY,
    "lot.retest_due.v1": _NOBODY,
    "shelf_life.changed.v1": _DECISION,
    "specification.revised.v1": _GOODS,
    "fact.stated.v1": _INSPECTION,
    "certificate.recorded.v1": _INSPECTION,
    "inspection_plan.changed.v1": _INSPECTION,
    "quality_record.opened.v1": frozenset({"inspect", "hold", "release"}),
    "quality_record.changed.v1": frozenset({"inspect", "hold", "release"}),
}

#: Roles that may send at least one type of event.
SENDING: tuple[str, ...] = ("submit", "inspect", "hold", "release")


def sent_by(roles: Iterable[str]) -> frozenset[str]:
    """The event types that a holder of ``roles`` may send; an administrator's are not listed, being all."""
    mine = set(roles)
    return frozenset(kind for kind, senders in SENDERS.items() if mine & senders)


def opens(roles: Iterable[str], asked: tuple[str, ...]) -> bool:
    """Does any of ``roles`` open a call that one of ``asked`` opens?"""
    mine = ROLES.keys() & set(roles)
    return bool(mine) and ("admin" in mine or "read" in asked or not mine.isdisjoint(asked))
