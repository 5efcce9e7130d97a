"""Where the entries of lots are that are closed for long: the segments of the archive, and which has what."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, Table, Text

from engine.store.schema.base import Identity, metadata

#: Segment files (engine/segments.py). What is known of one never changes.
archive_segments = Table(
    "archive_segments",
    metadata,
    Column("number", Identity, primary_key=True, autoincrement=True),
    #: SHA-256 of its manifest, hexadecimal: the name of its file.
    Column("name", Text, nullable=False, unique=True),
    Column("bytes", BigInteger, nullable=False),
    #: What the file holds; the index has fewer where lots went on in between, or were restored.
    Column("lots", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    #: Between which commits, positions and instants its entries are, both included.
    Column("first_order", BigInteger, nullable=False),
    Column("last_order", BigInteger, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("first_at", Text, nullable=False),
    Column("last_at", Text, nullable=False),
    #: JSON array of the digests of the rule sets that judged.
    Column("rule_sets", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Index("archive_segments_by_position", "last_position"),
    Index("archive_segments_by_order", "last_order", "last_position"),
)

#: Which entries of a lot are in which segment. The database deletes journal rows that stand here, and no others.
archived_lots = Table(
    "archived_lots",
    metadata,
    Column("lot", Text, nullable=False),
    Column("first_version", Integer, nullable=False),
    Column("last_version", Integer, nullable=False),
    Column("segment", Identity, ForeignKey("archive_segments.number"), nullable=False),
    #: Number of the part in the segment, and of the line in that part, both from 0.
    Column("part", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    #: What the lot began with, JSON (engine/store/recalls.py): recalls add it up without reading the archive.
    Column("beginning", Text),
    PrimaryKeyConstraint("lot", "first_version"),
    Index("archived_lots_by_segment", "segment"),
)
