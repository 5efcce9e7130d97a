"""Lots by the day of their next retest."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("lots", sa.Column("retest_on", sa.Text))
    postgres = op.get_bind().dialect.name == "postgresql"
    day = "snapshot::json->>'retest_on'" if postgres else "json_extract(snapshot, '$.retest_on')"
    op.execute(f"UPDATE lots SET retest_on = {day} WHERE snapshot LIKE '%\"retest_on\":\"%'")
    some = sa.text("retest_on IS NOT NULL")
    op.create_index("lots_by_retest", "lots", ["retest_on"], sqlite_where=some, postgresql_where=some)
