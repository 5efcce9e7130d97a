"""Traces: what a lot was made of, and what was made of it, as JSON and as CSV.

What may not enter: walking (engine/tracing.py).
"""

import csv
import io
from collections.abc import Iterable
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.door import path_part
from api.pages import json_answer
from api.problems import Refused
from api.queries import one_of, read_query
from api.slowly import slowly
from engine.runtime import Front
from engine.tracing import DEFAULT_NODES, MAX_DEPTH, MAX_NODES, Genealogy, Node, lots_of

_DIRECTIONS = ("forward", "backward")
_FORMATS = ("json", "csv")
_COLUMNS = (
    "depth", "id", "known", "item", "revision", "state", "closed", "quantity", "unit", "supplier", "plant", "customer",
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
            return Response(csv_of(found.nodes), media_type="text/csv; charset=utf-8")
        return json_answer(found)

    return [trace_lot]


def _number(query: dict[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise Refused("parameter-invalid", f"{name} must be 1 to {most}.", name)
    return int(text)


def csv_of(nodes: Iterable[Node]) -> bytes:
    """One line a lot, for the people who have to find them. Nothing in a cell is taken for a formula."""
    return csv_table(("depth", "lot", *_COLUMNS[2:]), ([getattr(node, n) for n in _COLUMNS] for node in lots_of(nodes)))


def csv_table(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """A table as CSV. Nothing in a cell is taken for a formula."""
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(names)
    lines.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
