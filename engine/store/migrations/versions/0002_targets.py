"""Target systems as operators and workers see them: paused or not, answering or not."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("paused_at", sa.Text),
        sa.Column("paused_by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("breaker", sa.Text, nullable=False, server_default="closed"),
        sa.Column("breaker_since", sa.Text),
        sa.Column("breaker_detail", sa.Text),
    )
