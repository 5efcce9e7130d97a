"""Where lots came from and went: the links that journal entries make, and the names of inherited holds. Pure.

A link leads from what was used to what it went into and carries the quantity: lot to lot (a split, a regrade, an input
that a production names), lot to production order (a consumption), production order to lot (a production). Ends are
texts with their kind in front (``lot:L-1``, ``order:MO-7``), so that an order and a lot of the same name stay apart.
What may not enter: databases, clocks, walks (engine/tracing.py).
"""

import hashlib
from typing import Any, Literal

from msgspec import json

from engine import events as ev
from engine.consequences import decode_data
from engine.journal import Entry
from engine.lot import Hold, Lot

#: Source of holds and lifts that pass from parents to children, and the principal that they are recorded under.
GENEALOGY = "lotgate/genealogy"
#: Scopes of holds that keep their name on their way down: they came from further up, or from a recall.
PASSING = frozenset({"parent", "recall"})
#: One row of the table ``links``: lot, version, number, kind, parent, child, quantity, unit.
Link = tuple[str, int, int, str, str, str, str, str]


def lot_node(lot: str) -> str:
    """The end of links that a lot is."""
    return f"lot:{lot}"


def order_node(order: str) -> str:
    """The end of links that a production order is."""
    return f"order:{order}"


def lot_of(node: str) -> str | None:
    """The lot's id, or None for an end of another kind."""
    return node[4:] if node.startswith("lot:") else None


def links_of(entry: Entry) -> list[Link]:
    """The links that one journal entry makes; none for a refusal."""
    make = _MAKES.get(entry.trigger)
    if make is None or entry.kind == "refusal":
        return []
    found = make(lot_node(entry.lot), decode_data(entry.type, entry.data))
    return [(entry.lot, entry.version, number, *link) for number, link in enumerate(found)]


def _split_off(me: str, data: Any) -> list[tuple[str, str, str, str, str]]:
    born = json.decode(data.lot, type=Lot)
    amount = (format(born.quantity, "f"), born.unit) if data.used is None else _amount(data.used)
    return [(data.how, lot_node(data.parent), me, *amount)]


def _merged(me: str, data: Any) -> list[tuple[str, str, str, str, str]]:
    return [("merge", lot_node(part.lot), me, *_amount(part.quantity)) for part in data.parts]


def _consumed(me: str, data: ev.Consumption) -> list[tuple[str, str, str, str, str]]:
    return [("consume", me, order_node(data.order), *_amount(data.quantity))]


def _produced(me: str, data: ev.Production) -> list[tuple[str, str, str, str, str]]:
    made = ("produce", order_node(data.order), me, *_amount(data.quantity))
    return [made, *(("input", lot_node(part.lot), me, *_amount(part.quantity)) for part in data.inputs)]


def _amount(quantity: ev.Quantity) -> tuple[str, str]:
    return format(quantity.value, "f"), quantity.unit


_MAKES: dict[str, Any] = {"split_off": _split_off, "consume": _consumed, "produce": _produced, "merge": _merged}


def ends_of(event: ev.Event, made: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """What an event uses, and what it makes of that; ``made``: lots that it makes besides its subject."""
    if isinstance(event, ev.LotProduced):
        inputs = [lot_node(part.lot) for part in event.data.inputs]
        return [*inputs, order_node(event.data.order)], [lot_node(event.subject)]
    if isinstance(event, ev.LotMerged):
        return [lot_node(part.lot) for part in event.data.parts], [lot_node(event.subject)]
    if isinstance(event, ev.LotConsumed):
        return [lot_node(event.subject)], [order_node(event.data.order)]
    return [lot_node(event.subject)], [lot_node(lot) for lot in made]


def spread_of(entry: Entry) -> tuple[str, str | None] | None:
    """(lot, hold) where a hold began or ended, (lot, None) where a lot was born of others; None: nothing to pass on."""
    if entry.kind == "refusal":
        return None
    if entry.trigger in ("hold", "lift_hold"):
        return entry.lot, str(decode_data(entry.type, entry.data).hold)
    return (entry.lot, None) if entry.trigger in ("produce", "merge") else None


def inherited_name(lot: str, hold: Hold) -> str:
    """The name under which what was made of ``lot`` carries its ``hold``; at most 64 characters, always the same."""
    if hold.scope in PASSING:
        return hold.hold
    name = f"{hold.hold}@{lot}"
    return name if len(name) <= 64 else "parent:" + hashlib.sha256(name.encode()).hexdigest()[:40]


def inherited(lot: str, hold: Hold) -> ev.HoldOrder:
    """The hold that what was made of ``lot`` gets for its ``hold``."""
    scope: Literal["recall", "parent"] = "recall" if hold.scope == "recall" else "parent"
    text = hold.text if hold.scope in PASSING else f"on its ancestor {lot}" + (f": {hold.text}" if hold.text else "")
    return ev.HoldOrder(
        hold=inherited_name(lot, hold), reason=ev.Reason(code=hold.reason, text=text[:500]), scope=scope,
        owner=hold.owner, lift_role=hold.lift_role,
    )  # fmt: skip
