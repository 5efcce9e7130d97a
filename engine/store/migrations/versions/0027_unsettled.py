"""Deliveries that are not settled by state, target and number: lists and counts of them pass no other."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    some = sa.text("state <> 'delivered'")
    columns = ["state", "target", "id"]
    op.create_index("deliveries_unsettled", "deliveries", columns, sqlite_where=some, postgresql_where=some)
    op.drop_index("deliveries_dead", "deliveries")
