"""How inbound files stand: files that are dropped, lists that are fetched."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "inbound",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False, server_default="0"),
        sa.Column("began_at", sa.Text),
        sa.Column("ended_at", sa.Text),
        sa.Column("lines", sa.Integer, nullable=False, server_default="0"),
        sa.Column("rejected", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("problem", sa.Text),
        sa.Column("watermark", sa.Text),
    )
