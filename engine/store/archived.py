"""Reading through to the archive: entries that have left the journal, for every reader of it.

A lot's entries are in the journal, in segments of the archive, or in both, one stretch behind the other. Each question
here is asked on a connection of ``store.moments``, so that nothing moves between the two while it is asked. Raises
ArchiveUnavailable where a segment is missing or damaged; a question that needs none never does.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select, tuple_

from engine.errors import ArchiveUnavailable
from engine.journal import Entry
from engine.segments import Placed, PlacedLine, Spot, Stretch, Told, read_order, read_part, read_part_lines
from engine.store.archive import Where, where, where_in
from engine.store.opening import Store
from engine.store.schema.archive import archive_segments

#: (order of the commit, position in the journal)
Place = tuple[int, int]


class Unread(Struct, frozen=True):
    """Entries of a lot that cannot be read, and why."""

    lot: str
    first: int
    last: int
    problem: str


class Archived:
    """The archive of one store."""

    def __init__(self, store: Store) -> None:
        self._folder = store.archive
        self._by_position = store.dialect == "sqlite"

    def stretches(
        self, connection: Connection, lots: Sequence[str], after: int = 0
    ) -> dict[str, list[Stretch]]:
        """What is archived of each of ``lots``, in order, of stretches that end after version ``after``."""
        found: dict[str, list[Stretch]] = {}
        for one in self._in_order_of_files(connection, lots):
            if one.last > after:
                found.setdefault(one.lot, []).append(self._stretch(one))
        return {lot: sorted(mine, key=lambda s: s.first) for lot, mine in found.items()}

    def readable(
        self, connection: Connection, lots: Sequence[str]
    ) -> tuple[dict[str, list[Stretch]], dict[str, Unread]]:
        """As :meth:`stretches`; of lots of which a segment cannot be read, the first that cannot."""
        found: dict[str, list[Stretch]] = {}
        unread: dict[str, Unread] = {}
        for one in self._in_order_of_files(connection, lots):
            try:
                found.setdefault(one.lot, []).append(self._stretch(one))
            except ArchiveUnavailable as error:
                if one.lot not in unread or one.first < unread[one.lot].first:
                    unread[one.lot] = Unread(one.lot, one.first, one.last, error.detail)
        return {lot: sorted(mine, key=lambda s: s.first) for lot, mine in found.items()}, unread

    def of(self, connection: Connection, lots: Sequence[str]) -> Iterator[Entry]:
        """Every archived entry of ``lots``; those of one lot in order."""
        for stretches in self.stretches(connection, lots).values():
            for stretch in stretches:
                yield from (placed.entry for placed in stretch.entries)

    def entries(self, connection: Connection, lot: str, after: int, limit: int) -> list[Entry]:
        """Up to ``limit`` archived entries of a lot behind version ``after``, in order."""
        found = self.stretches(connection, [lot], after).get(lot, ())
        entries = [p.entry for stretch in found for p in stretch.entries if p.entry.version > after]
        return entries[:limit]

    def at(self, connection: Connection, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Entry]:
        """Entries by (lot, version); those that are not archived are left out."""
        keys = set(wanted)
        found = self.of(connection, sorted({lot for lot, _ in keys})) if keys else ()
        return {(e.lot, e.version): e for e in found if (e.lot, e.version) in keys}

    def deliveries(self, connection: Connection, lot: str, after: int = 0) -> list[Told]:
        """Archived deliveries of a lot in order of their ids, those behind ``after``."""
        found = self.stretches(connection, [lot]).get(lot, ())
        told = [t for stretch in found for t in stretch.deliveries if t.id > after]
        return sorted(told, key=lambda t: t.id)

    def after(
        self, connection: Connection, place: Place, limit: int, *, by_position: bool = False
    ) -> list[Placed]:
        """Up to ``limit`` archived entries behind ``place``, in the order of their commits or of their positions.

        A segment may hold entries of lots that went on, or were brought back: those are in the journal.
        """
        found = self._behind(connection, place, limit, by_position)
        entries: dict[tuple[str, Spot], Placed] = {}
        # Part by part: lots that were alive together come by turns, and a part is read once.
        for one in sorted(found, key=lambda one: (one[0], one[1][2:])):
            name, (_, _, part, line, number) = one
            entries[one] = read_part(self._folder, name, part)[line].entries[number]
        return [entries[one] for one in found]

    def lines_after(self, connection: Connection, place: Place, limit: int) -> list[PlacedLine]:
        """As :meth:`after`, in the order of commits, but only what each entry is known by."""
        return [
            read_part_lines(self._folder, name, part)[line][number]
            for name, (_, _, part, line, number) in self._behind(connection, place, limit, False)
        ]

    def _behind(
        self, connection: Connection, place: Place, limit: int, by_position: bool
    ) -> list[tuple[str, Spot]]:
        """Where they are: segment and place in it."""
        by_position = by_position or self._by_position
        found: dict[Place, tuple[str, Spot]] = {}
        for name, first in self._segments(connection, place, by_position):
            if len(found) >= limit and first > max(found):
                break
            # What the index does not have is in the journal, or was taken away from both.
            known = {(one.part, one.line) for one in where_in(connection, name)}
            order = [spot for spot in read_order(self._folder, name) if spot[2:4] in known]
            spots = [(spot[1:2] if by_position else spot[:2], spot) for spot in order]
            if by_position:
                spots.sort()
            key = place[1:] if by_position else place
            begin = bisect.bisect_right(spots, key, key=lambda one: one[0])
            for at, spot in spots[begin : begin + limit]:
                found.setdefault(at, (name, spot))  # type: ignore[arg-type]  # all of one kind
            found = dict(sorted(found.items())[:limit])
        return list(found.values())

    def _segments(self, connection: Connection, place: Place, by_position: bool) -> list[tuple[str, Any]]:
        """Segments with entries behind ``place``, and what none of their entries comes before, in order of it."""
        s = archive_segments.c
        if by_position:
            query = select(s.name, s.first_position).where(s.last_position > place[1]).order_by(s.first_position)
            return [(name, (first,)) for name, first in connection.execute(query)]
        query = select(s.name, s.first_order).where(tuple_(s.last_order, s.last_position) > tuple_(*place))
        return [(name, (first, 0)) for name, first in connection.execute(query.order_by(s.first_order))]

    def newest(self, connection: Connection) -> Place:
        """A place that no archived entry is behind; (0, 0): there is none."""
        s = archive_segments.c
        query = select(s.last_order, s.last_position).order_by(s.last_order.desc(), s.last_position.desc()).limit(1)
        row = connection.execute(query).first()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def _in_order_of_files(self, connection: Connection, lots: Sequence[str]) -> list[Where]:
        """Where they are, so that each part is read once however many lots are asked for."""
        found = [one for mine in where(connection, lots).values() for one in mine]
        return sorted(found, key=lambda one: (one.name, one.part, one.line))

    def _stretch(self, one: Where) -> Stretch:
        lines = read_part(self._folder, one.name, one.part)
        found = lines[one.line] if one.line < len(lines) else None
        if found is None or (found.lot, found.first, found.last) != (one.lot, one.first, one.last):
            words = f"does not hold lot {one.lot} where the index says so: the index was changed"
            raise ArchiveUnavailable(f"Segment {one.name[:16]} of the archive {words}.")
        return found
