"""The tables, as SQLAlchemy Core sees them on both databases.

Instants are text (ISO 8601, UTC, microseconds, ``Z``); due times that are compared with a clock are seconds since
1970 as floats; quantities are decimal text; JSON is kept as text, byte for byte as it was hashed. The journal is
append-only: triggers in the migrations refuse UPDATE and DELETE.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

#: 64-bit identity on PostgreSQL, rowid on SQLite.
Identity = BigInteger().with_variant(Integer(), "sqlite")

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

#: Recalls (engine/recalls.py).
recalls = Table(
    "recalls",
    metadata,
    Column("id", Text, primary_key=True),
    #: JSON.
    Column("selection", Text, nullable=False),
    Column("reason", Text, nullable=False),
    #: opening, open, closing, closed
    Column("state", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("opened_by", Text, nullable=False),
    #: The last lot of the selection that was held; NULL: all were.
    Column("cursor", Text, server_default=""),
    Column("selected", Integer, nullable=False, server_default="0"),
    Column("held_at", Text),
    Column("closed_at", Text),
    Column("closed_by", Text),
    Column("note", Text),
)

#: What lots' inspections add up to, by item, supplier and characteristic (engine/quality/series.py).
series = Table(
    "series",
    metadata,
    #: Item and supplier as one key (engine/track_record.py).
    Column("pair", Text, nullable=False),
    Column("characteristic", Text, nullable=False),
    Column("item", Text, nullable=False),
    #: Empty: our own production.
    Column("supplier", Text, nullable=False),
    #: JSON of a Series, but for its limits.
    Column("content", Text, nullable=False),
    #: JSON of Limits that were set; NULL: they come from the newest points.
    Column("limits", Text),
    Column("changed_at", Text, nullable=False),
    PrimaryKeyConstraint("pair", "characteristic"),
)

#: How an item from a supplier has done (engine/quality/scorecard.py).
scorecards = Table(
    "scorecards",
    metadata,
    Column("pair", Text, primary_key=True),
    Column("item", Text, nullable=False),
    Column("supplier", Text, nullable=False),
    #: JSON of a Scorecard.
    Column("content", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
)

#: The journal entry up to which series and scorecards count; one row.
track_position = Table(
    "track_position",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("commit_order", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
)

#: Nonconformances, deviations and corrective actions of lots, as they stand (engine/records.py).
quality_records = Table(
    "quality_records",
    metadata,
    Column("lot", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: JSON of the record.
    Column("content", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("owner", Text),
    Column("due_on", Text),
    Column("closed_at", Text),
    PrimaryKeyConstraint("lot", "record"),
)
Index("quality_records_by_status", quality_records.c.status, quality_records.c.kind, quality_records.c.opened_at)

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

#: How hard lots of an item from a supplier are inspected, as somebody said (engine/track_record.py).
sampling_orders = Table(
    "sampling_orders",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("item", Text, nullable=False),
    Column("supplier", Text, nullable=False),
    #: normal, tightened, reduced
    Column("severity", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ordered_at", Text, nullable=False),
    Column("ordered_by", Text, nullable=False),
    #: NULL: the clock process has still to do it.
    Column("done_at", Text),
)

#: The delivery ledger: what each target has still to be told (engine/ledger.py).
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("lot", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("target", Text, nullable=False),
    #: pending, sending, delivered, superseded, dead, compensated
    Column("state", Text, nullable=False, server_default="pending"),
    #: The canonical stock status as JSON.
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("lease_until", Float),
    Column("due_at", Float, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("delivered_at", Text),
    Column("last_error", Text),
    Column("exchange", Text),
    UniqueConstraint("lot", "target", "version", name="deliveries_lot_target_version"),
)
Index("deliveries_open", deliveries.c.target, deliveries.c.due_at,
      sqlite_where=text("state IN ('pending', 'sending')"),
      postgresql_where=text("state IN ('pending', 'sending')"))  # fmt: skip
Index("deliveries_dead", deliveries.c.target,
      sqlite_where=text("state = 'dead'"), postgresql_where=text("state = 'dead'"))  # fmt: skip

#: Target systems: switched off by an operator, given a rest by a worker (engine/targets.py). No row: neither.
targets = Table(
    "targets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("paused_at", Text),
    Column("paused_by", Text),
    Column("reason", Text),
    #: closed, open or half-open, as the last worker saw it
    Column("breaker", Text, nullable=False, server_default="closed"),
    Column("breaker_since", Text),
    Column("breaker_detail", Text),
)

#: Events that arrived before what they depend on.
parked = Table(
    "parked",
    metadata,
    Column("key", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    #: ``lot:<id>`` or ``hold:<lot>|<hold>``
    Column("waits_for", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("parked_at", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("parked_by_need", "waits_for"),
    Index("parked_by_expiry", "expires_at"),
)

#: What somebody has to look at: a task is open, then acknowledged, then closed (engine/tasks.py).
escalations = Table(
    "escalations",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    #: The kinds are explained in docs/operations.md.
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    #: The target it is about, where there is one.
    Column("target", Text),
    Column("detail", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("acknowledged_at", Text),
    Column("acknowledged_by", Text),
    Column("note", Text),
    Column("closed_at", Text),
    Column("closed_by", Text),
    Column("closing_note", Text),
    #: How often somebody was told of it, and when next (seconds since 1970).
    Column("notices", Integer, nullable=False, server_default="0"),
    Column("next_notice_at", Float, nullable=False, server_default="0"),
)
Index("escalations_open", escalations.c.kind, escalations.c.subject,
      sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL"))  # fmt: skip

#: Messages that tell people of open tasks (engine/notices.py).
notices = Table(
    "notices",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    #: email, webhook
    Column("channel", Text, nullable=False),
    #: JSON array of task ids.
    Column("tasks", Text, nullable=False),
    #: waiting, sent, dropped (acknowledged meanwhile, or a newer one says the same)
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_until", Float, nullable=False, server_default="0"),
    Column("due_at", Float, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("sent_at", Text),
    Column("last_error", Text),
)
Index("notices_waiting", notices.c.due_at,
      sqlite_where=text("state = 'waiting'"), postgresql_where=text("state = 'waiting'"))  # fmt: skip

#: What one target refused for good and others have to be told instead (engine/compensation.py).
compensations = Table(
    "compensations",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("lot", Text, nullable=False),
    #: Who refused which version.
    Column("target", Text, nullable=False),
    Column("version", Integer, nullable=False),
    #: permanent, exhausted, late
    Column("failure", Text, nullable=False),
    Column("detail", Text, nullable=False),
    #: JSON object: target -> canonical stock that it is told instead.
    Column("undo", Text, nullable=False),
    #: wanted, journaled, ended
    Column("state", Text, nullable=False, server_default="wanted"),
    Column("opened_at", Text, nullable=False),
    Column("ended_at", Text),
    UniqueConstraint("lot", "target", "version", name="compensations_lot_target_version"),
)
Index("compensations_open", compensations.c.id,
      sqlite_where=text("state <> 'ended'"), postgresql_where=text("state <> 'ended'"))  # fmt: skip

#: Lots of which a target says something else than it agreed to, as last seen (actors/reconcile.py).
drift = Table(
    "drift",
    metadata,
    Column("target", Text, nullable=False),
    Column("lot", Text, nullable=False),
    #: differs, changed-by-hand, left-while-blocked, unknown-lot
    Column("kind", Text, nullable=False),
    Column("version", Integer, nullable=False),
    #: JSON objects.
    Column("expected", Text, nullable=False),
    Column("observed", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
    #: Times it was told again.
    Column("repairs", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("target", "lot"),
)

#: The newest reading back of each target.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("target", Text, primary_key=True),
    Column("started_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("lots", Integer, nullable=False, server_default="0"),
    Column("drifting", Integer, nullable=False, server_default="0"),
    Column("repaired", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
    #: When the clock does it again (seconds since 1970).
    Column("next_at", Float, nullable=False, server_default="0"),
)

#: Who is told every journal entry by webhook (engine/subscriptions.py). Secrets are derived, never stored.
subscriptions = Table(
    "subscriptions",
    metadata,
    #: Name of the target in the ledger: ``hook-<8 hex digits>``.
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False),
    #: JSON array of event types; empty: every one.
    Column("types", Text, nullable=False),
    #: Number of the signing secret; the one before it signs too until ``previous_until``.
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("previous_until", Text),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("failing_since", Text),
    Column("disabled_at", Text),
    Column("disabled_why", Text),
    Column("removed_at", Text),
)

#: Keys of systems and people: only their SHA-256 is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("roles", Text, nullable=False),
    #: JSON arrays: sources it may send from, plants it may see and change; empty: all.
    Column("sources", Text, nullable=False, server_default="[]"),
    Column("plants", Text, nullable=False, server_default="[]"),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text),
    Column("revoked_at", Text),
)

#: Browsers that are signed in (engine/sessions.py): hashes only.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    #: The key that it was opened with, and ends with.
    Column("key_hash", Text, nullable=False),
    Column("began_at", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
    Column("ends_at", Text, nullable=False),
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

#: Rule sets that were staged or have judged, whole, by digest: so that an old decision can be judged again.
rule_sets = Table(
    "rule_sets",
    metadata,
    Column("digest", Text, primary_key=True),
    #: JSON object: file name -> text
    Column("files", Text, nullable=False),
    Column("stored_at", Text, nullable=False),
)

#: Append-only: who staged, approved, activated or withdrew which rule set, and when (engine/rulesets.py).
rule_set_steps = Table(
    "rule_set_steps",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("digest", Text, ForeignKey("rule_sets.digest"), nullable=False),
    #: staged, approved, activated, rolled_back, withdrawn
    Column("step", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("at", Text, nullable=False),
    #: Instant from which the set is in force; only of activated and rolled_back.
    Column("effective_at", Text),
    Column("comment", Text, nullable=False),
)
