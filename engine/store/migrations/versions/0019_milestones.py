"""Journal entries that business numbers look at, by time."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    kept = sa.text("\"trigger\" IN ('inspect', 'dock_to_stock', 'release', 'use_as_is', 'ship')")
    op.create_index(
        "journal_milestones", "journal", ["recorded_at", "trigger", "kind", "lot"],
        sqlite_where=kept, postgresql_where=kept,
    )  # fmt: skip
