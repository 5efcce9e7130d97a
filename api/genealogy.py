"""Traces: what a lot was made of, and what was made of it, as JSON and as CSV.

What may not enter: walking (engine/tracing.py).
"""

from collections.abc import Iterable
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.door import path_part
from api.pages import json_answer
from api.problems import Refused
from api.queries import one_of, read_query
from api.sheets import MEDIA_TYPE, csv_table
from api.slowly import slowly
from engine.runtime import Front
from engine.tracing import DEFAULT_NODES, MAX_DEPTH, MAX_NODES, Genealogy, Node, lots_of

_DIRECTIONS = ("forward", "backward")
_FORMATS = ("json", "csv")
#: Head of a table of lots; all but ``lot`` are fields of a node.
COLUMNS = (
    "depth", "lot", "known", "item", "revision", "state", "closed", "quantity", "unit", "supplier", "plant", "customer",
    "shipment",
)  # fmt: skip


def genealogy_routes(engine: Front) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    genealogy = Genealogy(engine.store)

    @get("/v1/lots/{lot:str}/genealogy")
    async def trace_lot(request: Request[Any, Any, Any], lot: str) -> Response[bytes]:
        """What became of a lot, or what it came from."""
        query = read_query(request.scope, ("direction", "depth", "nodes", "format"))
        found = await slowly(
            genealogy.trace,
            [path_part(lot)],
            one_of(query, "direction", _DIRECTIONS) or "forward",  # type: ignore[arg-type]  # one of the two
            depth=_number(query, "depth", MAX_DEPTH, MAX_DEPTH),
            nodes=_number(query, "nodes", DEFAULT_NODES, MAX_NODES),
        )
        if one_of(query, "format", _FORMATS) == "csv":
            return Response(csv_of(found.nodes), media_type=MEDIA_TYPE)
        return json_answer(found)

    return [trace_lot]


def _number(query: dict[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise Refused("parameter-invalid", f"{name} must be 1 to {most}.", name)
    return int(text)


def cells_of(node: Node) -> list[Any]:
    """A line of :data:`COLUMNS`."""
    return [node.depth, node.id, *(getattr(node, name) for name in COLUMNS[2:])]


def csv_of(nodes: Iterable[Node]) -> bytes:
    """One line a lot, for the people who have to find them. Nothing in a cell is taken for a formula."""
    return csv_table(COLUMNS, map(cells_of, lots_of(nodes)))
