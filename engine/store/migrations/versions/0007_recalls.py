"""Recalls."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "recalls",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("selection", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Text, nullable=False),
        sa.Column("opened_by", sa.Text, nullable=False),
        sa.Column("cursor", sa.Text, server_default=""),
        sa.Column("selected", sa.Integer, nullable=False, server_default="0"),
        sa.Column("held_at", sa.Text),
        sa.Column("closed_at", sa.Text),
        sa.Column("closed_by", sa.Text),
        sa.Column("note", sa.Text),
    )
    op.create_index("holds_by_hold", "holds", ["hold"])
