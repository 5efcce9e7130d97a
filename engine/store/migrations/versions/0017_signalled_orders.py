"""Orders that systems were told of, and that are watched until they have left."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "signalled_orders",
        sa.Column("order_number", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("lots", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
    )
