"""Parked events by the moment at which somebody is told of them, lots by the last day of their concession."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("parked", sa.Column("tell_at", sa.Float))
    some = sa.text("tell_at IS NOT NULL")
    op.create_index("parked_by_telling", "parked", ["tell_at"], sqlite_where=some, postgresql_where=some)
    op.add_column("lots", sa.Column("concession_until", sa.Text))
    limited = sa.text("concession_until IS NOT NULL")
    op.create_index(
        "lots_by_concession", "lots", ["concession_until"], sqlite_where=limited, postgresql_where=limited
    )  # fmt: skip
