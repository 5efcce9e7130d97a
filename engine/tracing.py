"""Traces: everything that a lot went into, or that it was made of, level by level, each once. Reads only.

The cost is that of what is touched: one indexed look at the links of a level, whatever else is stored. A trace that is
cut short says by what. What may not enter: what links mean (engine/genealogy.py), SQL (engine/store/genealogy.py).
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import Struct, field, json
from msgspec.structs import replace
from sqlalchemy import Connection

from engine.errors import NotFound
from engine.genealogy import lot_node, lot_of
from engine.store.genealogy import read_links, read_lots
from engine.store.opening import Store

Direction = Literal["forward", "backward"]
#: Levels at most: deeper families are nobody's.
MAX_DEPTH = 1_000
#: Lots and orders that one trace shows, by default and at most.
DEFAULT_NODES, MAX_NODES = 10_000, 100_000
#: Seconds after which a trace is cut short.
PATIENCE_SECONDS = 20.0
#: Ends of a level whose links are read first; then twice as many, and so on.
FIRST_LOOK = 8


class Node(Struct, frozen=True):
    """A lot or a production order."""

    id: str
    kind: Literal["lot", "order"]
    #: Steps from where the trace began.
    depth: int
    #: False: a lot that others name and that has not come itself.
    known: bool = True
    item: str | None = None
    revision: str | None = None
    state: str | None = None
    closed: str | None = None
    quantity: str | None = None
    unit: str | None = None
    supplier: str | None = None
    plant: str | None = None
    customer: str | None = None
    shipment: str | None = None


class Edge(Struct, frozen=True):
    """What went into what."""

    #: produce, input, consume, split, merge, repack
    kind: str
    #: ``lot:<id>`` or ``order:<number>``.
    parent: str = field(name="from")
    child: str = field(name="to")
    #: Decimal text in ``unit``: of the parent; of the child where an order is the parent.
    quantity: str
    unit: str


class Trace(Struct, frozen=True):
    """What was found, nearest first."""

    lots: list[str]
    direction: Direction
    nodes: list[Node]
    links: list[Edge]
    #: depth, nodes or time: the limit that cut it short; None: it is complete.
    truncated: str | None


class _Shipped(Struct):
    shipment: str | None = None
    customer: str | None = None


def lots_of(nodes: Iterable[Node]) -> list[Node]:
    """The lots among ``nodes``."""
    return [node for node in nodes if node.kind == "lot"]


class Genealogy:
    """The families of one store's lots."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def trace(
        self, lots: Sequence[str], direction: Direction, *, depth: int = MAX_DEPTH, nodes: int = DEFAULT_NODES,
        seconds: float = PATIENCE_SECONDS, connection: Connection | None = None,
    ) -> Trace:  # fmt: skip
        """Walk from ``lots``. Raises NotFound for one that nobody has ever named."""
        with self._store.reading(connection) as reads:
            found, rows, truncated = _walk(reads, lots, direction, depth, nodes, time.monotonic() + seconds)
            known = _lots(reads, found)
        near = {(row.parent if direction == "forward" else row.child) for row in rows}
        for lot in lots:
            if lot not in known and lot_node(lot) not in near:
                raise NotFound(f"There is no lot {lot}.")
        links = [Edge(*row) for row in rows if row.parent in found and row.child in found]
        return Trace(list(lots), direction, [_node(n, d, known) for n, d in found.items()], links, truncated)

    def known(self, lots: Sequence[str]) -> list[Node]:
        """Those of ``lots`` that exist, as nodes of depth 0, by id."""
        with self._store.reads.connect() as connection:
            return sorted(_lots(connection, map(lot_node, lots)).values(), key=lambda node: node.id)


def _walk(
    connection: Connection, lots: Sequence[str], direction: Direction, depth: int, most: int, until: float
) -> tuple[dict[str, int], list[Any], str | None]:
    """Ends that can be reached with their depth, the links on the way, and what cut it short."""
    near, far = ("parent", "child") if direction == "forward" else ("child", "parent")
    found = dict.fromkeys(map(lot_node, lots), 0)
    level, rows = list(found), []
    for step in range(1, depth + 2):
        below = _below(connection, (near, far), level, found, 0 if step > depth else most - len(found))
        rows += below
        level = [end for end in dict.fromkeys(getattr(row, far) for row in below) if end not in found]
        if not level:
            return found, rows, None
        if step > depth:
            return found, rows, "depth"
        room = most - len(found)
        found |= dict.fromkeys(level[:room], step)
        if len(level) > room:
            return found, rows, "nodes"
        if time.monotonic() >= until:
            return found, rows, "time"
    raise AssertionError("the last step always returns")


def _below(
    connection: Connection, sides: tuple[str, str], level: list[str], found: dict[str, int], room: int
) -> list[Any]:
    """Links of a level's ends: all of them where they lead to ``room`` new ends or fewer.

    Else no more than lead to one too many, and whatever else leads from the level to an end that was found: one end
    may have ten thousand links, and a drawing has room for twenty of them.
    """
    near, far = sides
    rows: list[Any] = []
    start, step = 0, FIRST_LOOK
    while start < len(level):
        rows += read_links(connection, near, level[start : start + step])
        start, step = start + step, 2 * step
        new = list(dict.fromkeys(end for row in rows if (end := getattr(row, far)) not in found))
        if len(new) > room:
            rest, kept = set(level[start:]), [*found, *new[:room]]
            return rows + [row for row in read_links(connection, far, kept) if getattr(row, near) in rest]
    return rows


def _lots(connection: Connection, found: Iterable[str]) -> dict[str, Node]:
    ids = [lot for lot in map(lot_of, found) if lot is not None]
    known = {}
    for row in read_lots(connection, ids):
        shipped = json.decode(row.snapshot, type=_Shipped)
        known[row.id] = Node(
            row.id, "lot", 0, True, row.item, row.revision, row.state, row.closed, row.quantity, row.unit,
            row.supplier, row.plant, shipped.customer, shipped.shipment,
        )  # fmt: skip
    return known


def _node(end: str, depth: int, known: dict[str, Node]) -> Node:
    lot = lot_of(end)
    if lot is None:
        return Node(end.partition(":")[2], "order", depth)
    there = known.get(lot)
    if there is None:
        return Node(lot, "lot", depth, known=False)
    return replace(there, depth=depth)


def children(connection: Connection, lots: Iterable[str]) -> list[tuple[str, str]]:
    """(parent, child) of every lot that was made of ``lots``, directly or through an order."""
    return _relatives(connection, lots, "parent", "child")


def parents(connection: Connection, lots: Iterable[str]) -> list[tuple[str, str]]:
    """(child, parent) of every lot that ``lots`` were made of, directly or through an order."""
    return _relatives(connection, lots, "child", "parent")


def _relatives(connection: Connection, lots: Iterable[str], near: str, far: str) -> list[tuple[str, str]]:
    first = [(getattr(r, near), getattr(r, far)) for r in read_links(connection, near, list(map(lot_node, lots)))]
    through: dict[str, list[str]] = {}
    for mine, other in first:
        if lot_of(other) is None:
            through.setdefault(other, []).append(mine)
    for row in read_links(connection, near, list(through)):
        first += [(mine, getattr(row, far)) for mine in through[getattr(row, near)]]
    pairs = ((lot_of(mine), lot_of(other)) for mine, other in first)
    return list(dict.fromkeys((m, o) for m, o in pairs if m is not None and o is not None and m != o))
