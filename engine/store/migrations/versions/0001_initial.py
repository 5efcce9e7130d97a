"""The first schema: lots, events, journal, holds, results, deliveries, parked, escalations, keys, rule sets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "lots",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("supplier", sa.Text),
        sa.Column("plant", sa.Text),
        sa.Column("order_number", sa.Text),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("expires_on", sa.Text),
        sa.Column("closed", sa.Text),
        sa.Column("received_at", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
    )
    op.create_index("lots_by_state", "lots", ["state", "id"])
    op.create_index("lots_by_item", "lots", ["item", "id"])
    op.create_index("lots_by_supplier", "lots", ["supplier", "id"])
    op.create_table(
        "events",
        sa.Column("position", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("business_key", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sequence", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("lot_version", sa.Integer),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
    )
    _partial("events_business_key", "events", ["business_key"], "business_key IS NOT NULL", unique=True)
    op.create_table(
        "journal",
        sa.Column("position", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("time", sa.Text),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("causation_id", sa.Text),
        sa.Column("traceparent", sa.Text),
        sa.Column("state_before", sa.Text, nullable=False),
        sa.Column("state_after", sa.Text, nullable=False),
        sa.Column("rule_set", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.UniqueConstraint("lot", "version", name="journal_lot_version"),
    )
    op.create_table(
        "holds",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("hold", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("applied_at", sa.Text, nullable=False),
        sa.Column("applied_version", sa.Integer, nullable=False),
        sa.Column("lifted_at", sa.Text),
        sa.Column("lifted_version", sa.Integer),
        sa.PrimaryKeyConstraint("lot", "hold", "applied_version"),
    )
    op.create_table(
        "results",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("inspection", sa.Text, nullable=False),
        sa.Column("measurements", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("lot", "version"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", sa.Float),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("delivered_at", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("exchange", sa.Text),
        sa.UniqueConstraint("lot", "target", "version", name="deliveries_lot_target_version"),
    )
    _partial("deliveries_open", "deliveries", ["target", "due_at"], "state IN ('pending', 'sending')")
    _partial("deliveries_dead", "deliveries", ["target"], "state = 'dead'")
    op.create_table(
        "parked",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("waits_for", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("parked_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("parked_by_need", "parked", ["waits_for"])
    op.create_index("parked_by_expiry", "parked", ["expires_at"])
    op.create_table(
        "escalations",
        sa.Column("id", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Text, nullable=False),
        sa.Column("acknowledged_at", sa.Text),
        sa.Column("acknowledged_by", sa.Text),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text),
        sa.Column("revoked_at", sa.Text),
    )
    op.create_table(
        "rule_sets",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("stored_at", sa.Text, nullable=False),
    )
    _append_only("journal")


def _partial(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _append_only(table: str) -> None:
    """The database itself refuses to change or delete a row of ``table``."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION lotgate_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
