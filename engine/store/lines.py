"""The journal as lines in commit order: (place, lot, version, hash) of every entry. What checkpoints are signed over.

The order is that of the feed (engine/store/feed.py). Reads are short and in pages: nobody waits for them. Whatever
moves entries elsewhere keeps their lines, and this room gives them from there too: nobody else asks for lines.
"""

from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import Connection, text

from engine.store.opening import Store

#: Lines that one read gives.
PAGE = 2_000

#: (order of the commit, position), as in engine/feed.py; None: before everything, whatever its numbers.
Place = tuple[int, int]


class Line(Struct, frozen=True, array_like=True):
    """One entry, as far as a checkpoint is over it."""

    #: Order of the commit: 0 on SQLite.
    order: int
    position: int
    lot: str
    version: int
    hash: str

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.order, self.position


_LINES = {
    "sqlite": "SELECT 0, position, lot, version, hash FROM journal WHERE {after} position <= :position"
    " ORDER BY position LIMIT :limit",
    "postgresql": "SELECT commit_order, position, lot, version, hash FROM journal"
    " WHERE {after} (commit_order, position) <= (:order, :position) ORDER BY commit_order, position LIMIT :limit",
}
_AFTER = {
    "sqlite": "position > :after_position AND",
    "postgresql": "(commit_order, position) > (:after_order, :after_position) AND",
}


def read_lines(connection: Connection, dialect: str, after: Place | None, upto: Place, limit: int) -> list[Line]:
    """Up to ``limit`` lines after one place and not after another, in commit order."""
    values = {"position": upto[1], "limit": limit}
    if dialect == "postgresql":
        values["order"] = upto[0]
    if after is not None:
        values |= {"after_position": after[1]} | ({"after_order": after[0]} if dialect == "postgresql" else {})
    query = _LINES[dialect].format(after=_AFTER[dialect] if after is not None else "")
    return [Line(*row) for row in connection.execute(text(query), values)]


_LAST = {
    "sqlite": "SELECT 0, position, lot, version, hash FROM journal WHERE lot = :lot AND version <= :version"
    " AND position <= :position ORDER BY version DESC LIMIT 1",
    "postgresql": "SELECT commit_order, position, lot, version, hash FROM journal WHERE lot = :lot"
    " AND version <= :version AND (commit_order, position) <= (:order, :position) ORDER BY version DESC LIMIT 1",
}


def read_last_line(connection: Connection, dialect: str, lot: str, version: int, upto: Place) -> Line | None:
    """The newest line of a lot up to a version and a place."""
    values: dict[str, str | int] = {"lot": lot, "version": version, "position": upto[1]}
    if dialect == "postgresql":
        values["order"] = upto[0]
    row = connection.execute(text(_LAST[dialect]), values).first()
    return None if row is None else Line(*row)


def lines_between(store: Store, after: Place | None, upto: Place) -> Iterator[list[Line]]:
    """All of them, in pages; each is a read of its own."""
    while True:
        with store.reads.connect() as connection:
            page = read_lines(connection, store.dialect, after, upto, PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].place
