"""Nonconformances, deviations and corrective actions, for lists."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "quality_records",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("due_on", sa.Text),
        sa.Column("closed_at", sa.Text),
        sa.PrimaryKeyConstraint("lot", "record"),
    )
    op.create_index("quality_records_by_status", "quality_records", ["status", "kind", "opened_at"])
