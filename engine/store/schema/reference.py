"""What others own and Lotgate mirrors, and what was answered by it."""

from sqlalchemy import Column, Float, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from engine.store.schema.base import Identity, metadata

#: Reference data: append-only, each revision of a record with the days on which it is in force (engine/reference.py).
reference = Table(
    "reference",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    #: Calendar days, both included; no last day: until another revision begins.
    Column("effective_from", Text, nullable=False),
    Column("effective_until", Text),
    #: What it is about, where it is about an item or a supplier.
    Column("item", Text),
    Column("supplier", Text),
    #: JSON; ``null``: withdrawn.
    Column("content", Text, nullable=False),
    #: SHA-256 of the content.
    Column("digest", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    UniqueConstraint("kind", "key", "revision", name="reference_revision"),
)
Index("reference_by_item", reference.c.item)
Index("reference_by_supplier", reference.c.supplier)

#: When the newest revision of a record was last said again: what it says is no older than that.
reference_confirmed = Table(
    "reference_confirmed",
    metadata,
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("confirmed_at", Text, nullable=False),
    Column("confirmed_by", Text, nullable=False),
    PrimaryKeyConstraint("kind", "key"),
)

#: Append-only: what was answered about orders, each when it changed, chained (engine/readiness_record.py).
readiness_answers = Table(
    "readiness_answers",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("order_number", Text, nullable=False),
    #: 1, 2, 3 … of the order, without gaps.
    Column("number", Integer, nullable=False),
    Column("readiness", Text, nullable=False),
    #: JSON: what was answered, and on which facts.
    Column("content", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("order_number", "number", name="readiness_answers_number"),
)

#: Orders that systems were told of, until they have left (engine/signals.py).
signalled_orders = Table(
    "signalled_orders",
    metadata,
    Column("order_number", Text, primary_key=True),
    #: The answer that was signalled.
    Column("number", Integer, nullable=False),
    #: JSON objects: the versions of lots, and the revisions of facts, that it rested on.
    Column("lots", Text, nullable=False),
    Column("facts", Text, nullable=False),
    #: When it was asked about last (seconds since 1970).
    Column("asked_at", Float, nullable=False),
)

#: How inbound files stand (engine/standing.py): files that are dropped, lists that are fetched.
inbound = Table(
    "inbound",
    metadata,
    Column("name", Text, primary_key=True),
    #: drop, pull
    Column("kind", Text, nullable=False),
    #: When the clock fetches it again (seconds since 1970).
    Column("due_at", Float, nullable=False, server_default="0"),
    Column("began_at", Text),
    Column("ended_at", Text),
    #: Rows of the last time, and how many of them were not taken.
    Column("lines", Integer, nullable=False, server_default="0"),
    Column("rejected", Integer, nullable=False, server_default="0"),
    #: Times in a row that it failed, and why the last time.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
    #: Everything up to here was handed over.
    Column("watermark", Text),
)
