"""Parked events by the moment at which somebody is told of them."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("parked", sa.Column("tell_at", sa.Float))
    some = sa.text("tell_at IS NOT NULL")
    op.create_index("parked_by_telling", "parked", ["tell_at"], sqlite_where=some, postgresql_where=some)
