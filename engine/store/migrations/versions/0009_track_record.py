"""What lots' inspections add up to: series for control charts, scorecards of suppliers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "series",
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("characteristic", sa.Text, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("supplier", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("limits", sa.Text),
        sa.Column("changed_at", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("pair", "characteristic"),
    )
    op.create_table(
        "scorecards",
        sa.Column("pair", sa.Text, primary_key=True),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("supplier", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
    )
    op.create_table(
        "track_position",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("commit_order", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO track_position (id, commit_order, position) VALUES (1, 0, 0)")
