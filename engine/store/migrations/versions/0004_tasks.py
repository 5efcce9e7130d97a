"""Tasks until they are closed, notices of them, compensations, drift of targets, and subscriptions of webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("target", "note", "closed_at", "closed_by", "closing_note"):
        op.add_column("escalations", sa.Column(name, sa.Text))
    op.add_column("escalations", sa.Column("notices", sa.Integer, nullable=False, server_default="0"))
    op.add_column("escalations", sa.Column("next_notice_at", sa.Float, nullable=False, server_default="0"))
    _partial("escalations_open", "escalations", ["kind", "subject"], "closed_at IS NULL")
    op.create_table(
        "notices",
        sa.Column("id", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("tasks", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_until", sa.Float, nullable=False, server_default="0"),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("sent_at", sa.Text),
        sa.Column("last_error", sa.Text),
    )
    _partial("notices_waiting", "notices", ["due_at"], "state = 'waiting'")
    op.create_table(
        "compensations",
        sa.Column("id", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("undo", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="wanted"),
        sa.Column("opened_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.UniqueConstraint("lot", "target", "version", name="compensations_lot_target_version"),
    )
    _partial("compensations_open", "compensations", ["id"], "state <> 'ended'")
    op.create_table(
        "drift",
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("expected", sa.Text, nullable=False),
        sa.Column("observed", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Text, nullable=False),
        sa.Column("repairs", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("target", "lot"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.Column("lots", sa.Integer, nullable=False, server_default="0"),
        sa.Column("drifting", sa.Integer, nullable=False, server_default="0"),
        sa.Column("repaired", sa.Integer, nullable=False, server_default="0"),
        sa.Column("problem", sa.Text),
        sa.Column("next_at", sa.Float, nullable=False, server_default="0"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("types", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False, server_default="1"),
        sa.Column("previous_until", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("failing_since", sa.Text),
        sa.Column("disabled_at", sa.Text),
        sa.Column("disabled_why", sa.Text),
        sa.Column("removed_at", sa.Text),
    )


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
