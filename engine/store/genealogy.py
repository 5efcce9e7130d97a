"""Links between lots and orders, in SQL. What they mean is in engine/genealogy.py."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

#: Keys that one statement looks for.
CHUNK = 1_000
_LINKS = "SELECT kind, parent, child, quantity, unit FROM links WHERE {among} ORDER BY lot, version, number"
_LOTS = "SELECT id, item, revision, state, closed, quantity, unit, supplier, plant, snapshot FROM lots WHERE {among}"


def read_links(connection: Connection, side: str, nodes: Sequence[str]) -> list[Any]:
    """Links whose ``side`` (parent or child) is one of ``nodes``: kind, parent, child, quantity, unit."""
    return read_among(connection, _LINKS, side, nodes)


def read_lots(connection: Connection, ids: Sequence[str]) -> list[Any]:
    """The lots among ``ids`` that exist."""
    return read_among(connection, _LOTS, "id", ids)


def read_among(
    connection: Connection, statement: str, column: str, keys: Sequence[str], **values: Any
) -> list[Any]:
    """Rows whose ``column`` is one of ``keys``: ``statement`` with ``{among}`` where that has to stand.

    ``values``: what else it names.
    """
    postgres = connection.dialect.name == "postgresql"
    among = f"{column} = ANY(:keys)" if postgres else f"{column} IN (SELECT value FROM json_each(:keys))"
    query = text(statement.format(among=among))
    rows: list[Any] = []
    for start in range(0, len(keys), CHUNK):
        part = list(keys[start : start + CHUNK])
        rows += connection.execute(query, {"keys": part if postgres else _array(part), **values}).all()
    return rows


def _array(keys: list[str]) -> str:
    return msgspec.json.encode(keys).decode()


def read_spreading(connection: Connection, limit: int) -> list[Any]:
    """What has to be passed on, oldest first: id, lot, hold, cause."""
    query = text("SELECT id, lot, hold, cause FROM spreading ORDER BY id LIMIT :limit")
    return [tuple(row) for row in connection.execute(query, {"limit": limit})]


def forget_spreading(connection: Connection, ids: Sequence[int]) -> None:
    """It was passed on."""
    connection.execute(text("DELETE FROM spreading WHERE id = :id"), [{"id": i} for i in ids])
