"""The journal as lines in commit order: (place, lot, version, hash) of every entry. What checkpoints are signed over.

The order is that of the feed (engine/store/feed.py). Reads are short and in pages: nobody waits for them. What was
archived is read out of the archive, and has the line that it had in the journal: nobody else asks for lines. Raises
ArchiveUnavailable where a segment is missing or damaged.
"""

from collections.abc import Iterator

from msgspec import Struct
from sqlalchemy import text

from engine.segments import Placed, PlacedLine
from engine.store.archived import Archived
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


#: Comes before everything, in the archive too.
_BEFORE_ALL = (-(2**62), -(2**62))


def read_lines(store: Store, after: Place | None, upto: Place, limit: int) -> list[Line]:
    """Up to ``limit`` lines after one place and not after another, in commit order."""
    dialect = store.dialect
    values = {"position": upto[1], "limit": limit}
    if dialect == "postgresql":
        values["order"] = upto[0]
    if after is not None:
        values |= {"after_position": after[1]} | ({"after_order": after[0]} if dialect == "postgresql" else {})
    query = _LINES[dialect].format(after=_AFTER[dialect] if after is not None else "")
    with store.moments.connect() as connection:
        found = [Line(*row) for row in connection.execute(text(query), values)]
        old = [_line(one) for one in Archived(store).lines_after(connection, after or _BEFORE_ALL, limit)]
    # What the journal has itself counts, whatever a segment says of it.
    both = {line.place: line for line in old if line.place <= upto} | {line.place: line for line in found}
    return [both[place] for place in sorted(both)][:limit]


def _line(placed: Placed | PlacedLine) -> Line:
    entry = placed.entry
    return Line(placed.order, placed.position, entry.lot, entry.version, entry.hash)


_LAST = {
    "sqlite": "SELECT 0, position, lot, version, hash FROM journal WHERE lot = :lot AND version <= :version"
    " AND position <= :position ORDER BY version DESC LIMIT 1",
    "postgresql": "SELECT commit_order, position, lot, version, hash FROM journal WHERE lot = :lot"
    " AND version <= :version AND (commit_order, position) <= (:order, :position) ORDER BY version DESC LIMIT 1",
}


def read_last_line(store: Store, lot: str, version: int, upto: Place) -> Line | None:
    """The newest line of a lot up to a version and a place."""
    values: dict[str, str | int] = {"lot": lot, "version": version, "position": upto[1]}
    if store.dialect == "postgresql":
        values["order"] = upto[0]
    with store.moments.connect() as connection:
        row = connection.execute(text(_LAST[store.dialect]), values).first()
        if row is not None:
            return Line(*row)
        # The journal has the end of a lot's entries: what is not there is in front of them.
        old = Archived(store).stretches(connection, [lot]).get(lot, ())
    lines = [_line(placed) for stretch in old for placed in stretch.entries]
    known = [line for line in lines if line.version <= version and line.place <= upto]
    return max(known, key=lambda line: line.version, default=None)


_FIRST = {
    "sqlite": "SELECT recorded_at FROM journal {after} ORDER BY position LIMIT 1",
    "postgresql": "SELECT recorded_at FROM journal {after} ORDER BY commit_order, position LIMIT 1",
}
_FIRST_AFTER = {
    "sqlite": "WHERE position > :position",
    "postgresql": "WHERE (commit_order, position) > (:order, :position)",
}


def read_first_after(store: Store, after: Place | None) -> str | None:
    """When the first entry of the journal behind a place was recorded; None: there is none."""
    query = _FIRST[store.dialect].format(after=_FIRST_AFTER[store.dialect] if after is not None else "")
    values = {} if after is None else {"position": after[1]}
    if after is not None and store.dialect == "postgresql":
        values["order"] = after[0]
    with store.reads.connect() as connection:
        row = connection.execute(text(query), values).first()
    return None if row is None else str(row[0])


def lines_between(store: Store, after: Place | None, upto: Place) -> Iterator[list[Line]]:
    """All of them, in pages; each is a read of its own."""
    while True:
        page = read_lines(store, after, upto, PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].place
