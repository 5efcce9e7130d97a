"""The archive's index, and what moves between it and the journal, in SQL. What it means is in engine/archive.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, text

from engine.journal import Entry
from engine.segments import Placed, Stretch, Told, Written
from engine.store.genealogy import read_among
from engine.store.recalls import beginning_of, begins
from engine.store.schema.archive import archive_segments, archived_lots
from engine.store.schema.delivery import deliveries
from engine.store.schema.lots import journal

#: Positions are drawn before they are committed: so many may stand after others that were recorded later.
_MARGIN = 1_000
#: Key of PostgreSQL's advisory lock: lots are moved one after the other. Any number nobody else uses.
_LOCK = 0x107_6A80
_TOLD = ", ".join(Told.__struct_fields__)
_ENTRY = ", ".join(f'"{name}"' for name in Entry.__struct_fields__)

#: Lots by the first of their entries in the journal, in the order of these.
_BEGINNINGS = (
    "SELECT j.position, j.lot FROM journal j WHERE j.position > :after AND j.position <= :upto"
    " AND NOT EXISTS (SELECT 1 FROM journal p WHERE p.lot = j.lot AND p.version = j.version - 1)"
    " ORDER BY j.position LIMIT :limit"
)
_UNCOUNTED = {
    "sqlite": "j.position > t.position",
    "postgresql": "(j.commit_order, j.position) > (t.commit_order, t.position)",
}
#: What keeps a lot out of the archive, each as a column that is true where it does (engine/archive.py has the words).
_AGAINST = {
    "open": "l.closed IS NULL",
    "recent": "l.changed_at > :until",
    "held": "EXISTS (SELECT 1 FROM holds h WHERE h.lot = l.id AND h.lifted_at IS NULL)",
    "recall": "l.snapshot LIKE '%\"recall_open\"\\:true%'",
    "record": "EXISTS (SELECT 1 FROM quality_records q WHERE q.lot = l.id AND q.status NOT IN ('closed', 'cancelled'))",
    "task": "EXISTS (SELECT 1 FROM escalations e WHERE e.subject = l.id AND e.closed_at IS NULL)",
    "delivery": "EXISTS (SELECT 1 FROM deliveries d WHERE d.lot = l.id"
    " AND d.state NOT IN ('delivered', 'superseded', 'compensated'))",
    "dispute": "EXISTS (SELECT 1 FROM compensations c WHERE c.lot = l.id AND c.state <> 'ended')"
    " OR EXISTS (SELECT 1 FROM drift f WHERE f.lot = l.id)",
    "parked": "EXISTS (SELECT 1 FROM parked p WHERE p.subject = l.id)"
    " OR EXISTS (SELECT 1 FROM parked p WHERE p.waits_for = 'lot:' || l.id)",
    "spreading": "EXISTS (SELECT 1 FROM spreading s WHERE s.lot = l.id)",
    "webhook": "EXISTS (SELECT 1 FROM subscriptions w WHERE w.removed_at IS NULL AND w.disabled_at <= l.changed_at)",
    "uncounted": "EXISTS (SELECT 1 FROM journal j, track_position t WHERE j.lot = l.id AND {uncounted})",
    # Their numbers would be given again, by SQLite.
    "newest": "EXISTS (SELECT 1 FROM journal j WHERE j.lot = l.id AND j.position = (SELECT max(position) FROM journal))"
    " OR EXISTS (SELECT 1 FROM deliveries d WHERE d.lot = l.id AND d.id = (SELECT max(id) FROM deliveries))",
}
_ENTRIES = f"SELECT {{order}}, j.position, {_ENTRY} FROM journal j WHERE {{among}} ORDER BY j.lot, j.version"
_DELIVERIES = f"SELECT {_TOLD} FROM deliveries WHERE {{among}} ORDER BY lot, id"
_WHERE = (
    "SELECT a.lot, a.first_version, a.last_version, s.name, a.part, a.line FROM archived_lots a"
    " JOIN archive_segments s ON s.number = a.segment WHERE {among} ORDER BY a.lot, a.first_version"
)

REASONS: tuple[str, ...] = tuple(_AGAINST)
Row = Any
"""A row of SQLAlchemy."""


class Where(Struct, frozen=True):
    """Where entries of a lot are."""

    lot: str
    first: int
    last: int
    #: Of the segment.
    name: str
    part: int
    line: int


class SegmentLine(Struct, frozen=True):
    """A segment, as the index has it."""

    name: str
    bytes: int
    #: In the file, and of these the lots of which the index says so.
    lots: int
    indexed: int
    entries: int
    first_at: str
    last_at: str
    made_at: str
    made_by: str


def upto(connection: Connection, before: str) -> int:
    """A position behind every entry that was recorded before an instant, found by halving; rather too late."""
    newest = connection.execute(select(func.max(journal.c.position))).scalar()
    low, high = 0, int(newest or 0)
    while low < high:
        middle = (low + high) // 2
        query = select(journal.c.recorded_at).where(journal.c.position > middle).order_by(journal.c.position).limit(1)
        row = connection.execute(query).first()
        if row is None or row[0] > before:
            high = middle
        else:
            low = middle + 1
    return low + _MARGIN


def beginnings(connection: Connection, after: int, last: int, limit: int) -> list[tuple[int, str]]:
    """(position, lot) of the first entry that the journal has of each lot, after ``after`` and up to ``last``."""
    rows = connection.execute(text(_BEGINNINGS), {"after": after, "upto": last, "limit": limit})
    return [(int(position), str(lot)) for position, lot in rows]


def against(connection: Connection, lots: Sequence[str], until: str) -> dict[str, Row]:
    """Of each lot that there is: snapshot, version, and whether each of REASONS keeps it out of the archive."""
    columns = ", ".join(
        f"CASE WHEN {condition} THEN 1 ELSE 0 END AS against_{name}" for name, condition in _AGAINST.items()
    ).format(uncounted=_UNCOUNTED[connection.dialect.name])
    query = f"SELECT l.id, l.version, l.snapshot, {columns} FROM lots l WHERE {{among}} ORDER BY l.id"
    return {str(row.id): row for row in read_among(connection, query, "l.id", lots, until=until)}


def lock(connection: Connection, lots: Sequence[str]) -> None:
    """Until the transaction ends nobody else moves lots, and nobody decides about these. SQLite's one writer is."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(
            text("SELECT 1 FROM lots WHERE id = ANY(:lots) ORDER BY id FOR UPDATE"), {"lots": sorted(lots)}
        )


def entries_of(connection: Connection, lots: Sequence[str]) -> dict[str, list[Placed]]:
    """Every entry that the journal has of ``lots``, in order."""
    order = "j.commit_order" if connection.dialect.name == "postgresql" else "0"
    found: dict[str, list[Placed]] = {lot: [] for lot in lots}
    for row in read_among(connection, _ENTRIES.format(order=order, among="{among}"), "j.lot", lots):
        entry = Entry(*row[2:])
        found[entry.lot].append(Placed(int(row[0]), int(row[1]), entry))
    return found


def deliveries_of(connection: Connection, lots: Sequence[str]) -> dict[str, list[Told]]:
    """Every delivery of ``lots``, in order."""
    found: dict[str, list[Told]] = {lot: [] for lot in lots}
    for row in read_among(connection, _DELIVERIES, "lot", lots):
        found[str(row.lot)].append(Told(*row))
    return found


def keep_segment(connection: Connection, segment: Written) -> int:
    """Know of a segment; gives its number."""
    known = select(archive_segments.c.number).where(archive_segments.c.name == segment.name)
    there = connection.execute(known).scalar()
    if there is not None:
        return int(there)
    about, spots = segment.manifest, segment.spots
    orders, positions = [spot[0] for spot in spots], [spot[1] for spot in spots]
    connection.execute(
        insert(archive_segments).values(
            name=segment.name, bytes=segment.bytes, lots=about.lots, entries=about.entries, first_order=min(orders),
            last_order=max(orders), first_position=min(positions), last_position=max(positions),
            first_at=about.first_at, last_at=about.last_at, rule_sets=msgspec.json.encode(about.rule_sets).decode(),
            made_at=about.made_at, made_by=about.made_by,
        )
    )  # fmt: skip
    return int(connection.execute(known).scalar_one())


def move(connection: Connection, segment: int, stretches: Mapping[tuple[int, int], Stretch]) -> int:
    """Say where stretches are, by (part, line), and delete their entries and deliveries.

    Gives how many entries left the journal.
    """
    rows = [
        {"lot": s.lot, "first_version": s.first, "last_version": s.last, "segment": segment, "part": part, "line": line,
         "beginning": _beginning(s)}
        for (part, line), s in stretches.items()
    ]  # fmt: skip
    connection.execute(insert(archived_lots), rows)
    positions = [p.position for s in stretches.values() for p in s.entries]
    gone = _delete(connection, "journal", "position", positions)
    _delete(connection, "deliveries", "id", [told.id for s in stretches.values() for told in s.deliveries])
    return gone


def _beginning(stretch: Stretch) -> str | None:
    found = [beginning_of(p.entry.type, p.entry.data) for p in stretch.entries if begins(p.entry)]
    return msgspec.json.encode(found[-1]).decode() if found else None


def _delete(connection: Connection, table: str, column: str, keys: list[int]) -> int:
    postgres = connection.dialect.name == "postgresql"
    among = "= ANY(:keys)" if postgres else "IN (SELECT value FROM json_each(:keys))"
    values = {"keys": keys if postgres else msgspec.json.encode(keys).decode()}
    return connection.execute(text(f"DELETE FROM {table} WHERE {column} {among}"), values).rowcount


def where(connection: Connection, lots: Sequence[str]) -> dict[str, list[Where]]:
    """Where the archived entries of ``lots`` are, in order of their versions; lots without any are left out."""
    found: dict[str, list[Where]] = {}
    for row in read_among(connection, _WHERE, "a.lot", lots):
        found.setdefault(str(row.lot), []).append(Where(*row))
    return found


def where_in(connection: Connection, name: str) -> list[Where]:
    """What the index says is in a segment, by lot."""
    query = text(_WHERE.format(among="s.name = :name"))
    return [Where(*row) for row in connection.execute(query, {"name": name})]


def restore(connection: Connection, one: Where, entries: Sequence[Placed], told: Sequence[Told]) -> None:
    """Entries and deliveries of a lot are back where they were, and the index forgets them.

    And the segment, with the last of its lots.
    """
    postgres = connection.dialect.name == "postgresql"
    names = ["position", *Entry.__struct_fields__, *(["commit_order"] if postgres else [])]
    values = ", ".join(f":{name}" for name in names)
    back = text(f"INSERT INTO journal ({', '.join(chr(34) + n + chr(34) for n in names)}) VALUES ({values})")
    rows = [
        msgspec.structs.asdict(p.entry) | {"position": p.position} | ({"commit_order": p.order} if postgres else {})
        for p in entries
    ]
    connection.execute(back, rows)
    if told:
        connection.execute(insert(deliveries), [msgspec.structs.asdict(t) for t in told])
    mine = (archived_lots.c.lot == one.lot, archived_lots.c.first_version == one.first)
    connection.execute(delete(archived_lots).where(*mine))
    used = select(archived_lots.c.lot).where(archived_lots.c.segment == archive_segments.c.number).exists()
    connection.execute(delete(archive_segments).where(archive_segments.c.name == one.name, ~used))


def segments(connection: Connection, after: str = "", limit: int = 1_000_000) -> list[SegmentLine]:
    """Every segment, by name."""
    s = archive_segments.c
    indexed = (
        select(func.count()).where(archived_lots.c.segment == s.number).correlate(archive_segments).scalar_subquery()
    )
    query = select(s.name, s.bytes, s.lots, indexed, s.entries, s.first_at, s.last_at, s.made_at, s.made_by)
    query = query.where(s.name > after).order_by(s.name).limit(limit)
    return [SegmentLine(*row) for row in connection.execute(query)]


def horizon(connection: Connection) -> str | None:
    """When the newest entry that is archived was recorded; None: none is."""
    found = connection.execute(select(func.max(archive_segments.c.last_at))).scalar()
    return None if found is None else str(found)


def totals(connection: Connection) -> tuple[int, int, int, str | None, str | None]:
    """Segments, their bytes and lots, when the oldest archived entry was recorded, when the newest segment was made."""
    s = archive_segments.c
    sums = (func.coalesce(func.sum(s.bytes), 0), func.coalesce(func.sum(s.lots), 0))
    found = connection.execute(select(func.count(), *sums, func.min(s.first_at), func.max(s.made_at))).one()
    number, size, lots, oldest, newest = found
    return int(number), int(size), int(lots), oldest, newest


def names(connection: Connection) -> list[str]:
    """The names of all segments."""
    return [str(name) for name in connection.execute(select(archive_segments.c.name)).scalars()]
