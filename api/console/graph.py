"""The family of a lot as a drawing: what it was made of to the left, what it went into to the right. Pure.

Layers by steps from the lot; within a layer whatever hangs together lies together. What may not enter: walking
(engine/tracing.py), colours.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from api.console.render import amount, lot_path
from api.console.words import label
from engine.tracing import Edge, Node, Trace

#: Pixels: a box, and the room between boxes.
WIDTH, HEIGHT, ACROSS, DOWN = 168, 40, 62, 12
_MARGIN = 8
#: Characters that fit into a box.
_FITTING = 21


class Box(Struct, frozen=True):
    """A lot or a production order."""

    id: str
    x: float
    y: float
    #: The id, or as much of it as fits.
    shown: str
    #: State and item, or what else there is to say.
    words: str
    #: Names of styles: lot or order, its state, me.
    style: str
    #: Address of its page; empty: none.
    href: str


class Wire(Struct, frozen=True):
    """What went into what."""

    path: str
    words: str


class Graph(Struct, frozen=True):
    """A drawing."""

    width: float
    height: float
    boxes: list[Box]
    wires: list[Wire]
    #: Lots and orders besides the lot itself, on either side.
    before: int
    after: int
    #: There is more than is drawn.
    truncated: bool


def drawn(lot: str, backward: Trace, forward: Trace) -> Graph | None:
    """The family of ``lot`` by its two traces; None where it has none."""
    me = f"lot:{lot}"
    nodes: dict[str, Node] = {}
    layers: dict[int, list[str]] = {}
    for trace, sign in ((backward, -1), (forward, 1)):
        for node in trace.nodes:
            end = f"{node.kind}:{node.id}"
            if end not in nodes:
                nodes[end] = node
                layers.setdefault(sign * node.depth, []).append(end)
    if len(nodes) < 2:
        return None
    edges = {(edge.parent, edge.child, edge.kind): edge for edge in (*backward.links, *forward.links)}
    edges = {key: edge for key, edge in edges.items() if edge.parent in nodes and edge.child in nodes}
    places = _places(layers, edges.values())
    boxes = [_box(nodes[end], x, y, me == end) for end, (x, y) in places.items()]
    wires = [_wire(edge, places) for edge in edges.values()]
    tallest = max(map(len, layers.values()))
    return Graph(
        2 * _MARGIN + len(layers) * (WIDTH + ACROSS) - ACROSS, 2 * _MARGIN + tallest * (HEIGHT + DOWN) - DOWN,
        boxes, wires, sum(len(ends) for depth, ends in layers.items() if depth < 0),
        sum(len(ends) for depth, ends in layers.items() if depth > 0),
        backward.truncated is not None or forward.truncated is not None,
    )  # fmt: skip


def _places(layers: dict[int, list[str]], edges: Iterable[Edge]) -> dict[str, tuple[float, float]]:
    """Where each box lies. From the lot outwards a layer is sorted by where its neighbours lie (the barycentre)."""
    beside: dict[str, list[str]] = {}
    for edge in edges:
        beside.setdefault(edge.parent, []).append(edge.child)
        beside.setdefault(edge.child, []).append(edge.parent)
    tallest, leftmost = max(map(len, layers.values())), min(layers)
    places: dict[str, tuple[float, float]] = {}
    for depth in sorted(layers, key=lambda depth: (abs(depth), depth)):
        near = {end: [places[one][1] for one in beside.get(end, ()) if one in places] for end in layers[depth]}
        ends = [end for _, end in sorted((_middle(near[end]), end) for end in layers[depth])]
        x = _MARGIN + (depth - leftmost) * (WIDTH + ACROSS)
        top = _MARGIN + (tallest - len(ends)) * (HEIGHT + DOWN) / 2
        places |= {end: (x, top + row * (HEIGHT + DOWN)) for row, end in enumerate(ends)}
    return places


def _middle(heights: list[float]) -> float:
    return sum(heights) / len(heights) if heights else 0.0


def _box(node: Node, x: float, y: float, me: bool) -> Box:
    shown = node.id if len(node.id) <= _FITTING else node.id[: _FITTING - 1] + "…"
    if node.kind == "order":
        return Box(node.id, x, y, shown, "production order", "order", "")
    if not node.known:
        return Box(node.id, x, y, shown, "not received here", "stranger", "")
    state = node.closed or node.state or ""
    words = f"{label(state)} · {node.item}"
    words = words if len(words) <= _FITTING + 4 else words[: _FITTING + 3] + "…"
    styles = [node.state or "", "ended" if node.closed else "", "me" if me else ""]
    return Box(node.id, x, y, shown, words, " ".join(filter(None, styles)), "" if me else lot_path(node.id))


def _wire(edge: Edge, places: dict[str, tuple[float, float]]) -> Wire:
    (x1, y1), (x2, y2) = places[edge.parent], places[edge.child]
    # From the near side of the one to the near side of the other, whichever lies to the left.
    right = x2 >= x1
    start, end = (x1 + WIDTH, x2) if right else (x1, x2 + WIDTH)
    bend = (start + end) / 2
    y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
    path = f"M{start:g} {y1:g}C{bend:g} {y1:g} {bend:g} {y2:g} {end:g} {y2:g}"
    return Wire(path, _words(edge))


def _words(edge: Edge) -> str:
    quantity: Any = amount(edge.quantity, edge.unit)
    return f"{quantity} of {edge.parent.partition(':')[2]} into {edge.child.partition(':')[2]}"
