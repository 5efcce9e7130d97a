"""What targets and people are told, and what became of it."""

from sqlalchemy import Column, Float, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from engine.store.schema.base import Identity, metadata

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
#: Few, however much was ever delivered: what people look at, and count.
Index("deliveries_unsettled", deliveries.c.state, deliveries.c.target, deliveries.c.id,
      sqlite_where=text("state <> 'delivered'"), postgresql_where=text("state <> 'delivered'"))  # fmt: skip

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
