"""What deciding leaves: lots, their journal, and what stands beside it."""

from sqlalchemy import Column, Float, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from engine.store.schema.base import Identity, metadata

#: The present state of each lot: the fold of its journal.
lots = Table(
    "lots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("supplier", Text),
    Column("plant", Text),
    Column("order_number", Text),
    Column("quantity", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("expires_on", Text),
    Column("retest_on", Text),
    #: Last day of the concession by which it is used.
    Column("concession_until", Text),
    Column("closed", Text),
    Column("received_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    #: Hash of the newest journal entry.
    Column("head", Text, nullable=False),
    #: The whole Lot as JSON.
    Column("snapshot", Text, nullable=False),
    #: Instant of the commit that brought it into its state.
    Column("state_since", Text, nullable=False, server_default=""),
    Index("lots_by_state", "state", "id"),
    #: The few lots that have such a day, in order of it.
    Index("lots_by_retest", "retest_on", sqlite_where=text("retest_on IS NOT NULL"),
          postgresql_where=text("retest_on IS NOT NULL")),
    Index("lots_by_concession", "concession_until", sqlite_where=text("concession_until IS NOT NULL"),
          postgresql_where=text("concession_until IS NOT NULL")),
    Index("lots_by_item", "item", "id"),
    Index("lots_by_supplier", "supplier", "id"),
)
Index("lots_waiting", lots.c.state, lots.c.state_since, lots.c.id,
      sqlite_where=text("closed IS NULL"), postgresql_where=text("closed IS NULL"))  # fmt: skip
Index("lots_by_plant", lots.c.plant, lots.c.id,
      sqlite_where=text("plant IS NOT NULL"), postgresql_where=text("plant IS NOT NULL"))  # fmt: skip
Index("lots_by_order", lots.c.order_number, lots.c.id,
      sqlite_where=text("order_number IS NOT NULL"), postgresql_where=text("order_number IS NOT NULL"))  # fmt: skip

#: Every event that was answered with a decision, and that answer: what makes submission idempotent.
events = Table(
    "events",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("business_key", Text),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sequence", Text),
    Column("digest", Text, nullable=False),
    #: applied, refused, parked, stale, duplicate, expired
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("lot_version", Integer),
    Column("answer", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
)
Index("events_business_key", events.c.business_key, unique=True,
      sqlite_where=text("business_key IS NOT NULL"), postgresql_where=text("business_key IS NOT NULL"))  # fmt: skip

#: Append-only: what happened to each lot, and why. ``hash`` covers the whole row (engine/journal.py).
journal = Table(
    "journal",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("lot", Text, nullable=False),
    Column("version", Integer, nullable=False),
    #: event, consequence, refusal
    Column("kind", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("time", Text),
    Column("recorded_at", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("traceparent", Text),
    Column("state_before", Text, nullable=False),
    Column("state_after", Text, nullable=False),
    Column("rule_set", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("lot", "version", name="journal_lot_version"),
)

#: What business numbers look at, by time (engine/store/kpi.py).
_MILESTONES = text("\"trigger\" IN ('inspect', 'dock_to_stock', 'release', 'use_as_is', 'ship')")
Index("journal_milestones", journal.c.recorded_at, journal.c.trigger, journal.c.kind, journal.c.lot,
      sqlite_where=_MILESTONES, postgresql_where=_MILESTONES)  # fmt: skip

#: Every hold that was ever placed.
holds = Table(
    "holds",
    metadata,
    Column("lot", Text, nullable=False),
    Column("hold", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("owner", Text),
    Column("applied_at", Text, nullable=False),
    Column("applied_version", Integer, nullable=False),
    Column("lifted_at", Text),
    Column("lifted_version", Integer),
    #: The role in which it must be lifted; NULL: hold.
    Column("lift_role", Text),
    PrimaryKeyConstraint("lot", "hold", "applied_version"),
    Index("holds_by_hold", "hold"),
)

#: Recorded results, one row per accepted inspection record, never changed.
results = Table(
    "results",
    metadata,
    Column("lot", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("inspection", Text, nullable=False),
    #: JSON array of measurements, as recorded.
    Column("measurements", Text, nullable=False),
    PrimaryKeyConstraint("lot", "version"),
)

#: Results of inspections in process, by operation (engine/operation_inspection.py).
operation_results = Table(
    "operation_results",
    metadata,
    Column("lot", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("operation", Text, nullable=False),
    Column("inspection", Text, nullable=False),
    #: JSON array of measurements, as recorded.
    Column("measurements", Text, nullable=False),
    PrimaryKeyConstraint("lot", "version"),
)

#: Genealogy: what went into what. Ends are ``lot:<id>`` or ``order:<number>`` (engine/genealogy.py).
links = Table(
    "links",
    metadata,
    #: The journal entry that made it.
    Column("lot", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    #: produce, input, consume, split
    Column("kind", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("child", Text, nullable=False),
    #: Decimal text.
    Column("quantity", Text, nullable=False),
    Column("unit", Text, nullable=False),
    PrimaryKeyConstraint("lot", "version", "number"),
)
Index("links_parent", links.c.parent)
Index("links_child", links.c.child)

#: What has to be passed on in families: lots on which a hold began or ended, and newborn lots (engine/family.py).
spreading = Table(
    "spreading",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("lot", Text, nullable=False),
    #: The hold; NULL: the lot was born of others.
    Column("hold", Text),
    #: Id of the event that did it.
    Column("cause", Text, nullable=False),
)

#: Events that arrived before what they depend on.
parked = Table(
    "parked",
    metadata,
    Column("key", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    #: ``lot:<id>``, ``hold:<lot>|<hold>``, ``operation:<lot>|<operation>`` or ``operation:<lot>#<sequence>``
    Column("waits_for", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("parked_at", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
    #: When somebody is told that it still waits; NULL: nobody is, or somebody was.
    Column("tell_at", Float),
    Index("parked_by_need", "waits_for"),
    Index("parked_by_expiry", "expires_at"),
    Index("parked_by_telling", "tell_at", sqlite_where=text("tell_at IS NOT NULL"),
          postgresql_where=text("tell_at IS NOT NULL")),
)
