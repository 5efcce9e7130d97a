"""Since when each lot is in its state, for whoever asks what waits; and lots by order and by plant."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("lots", sa.Column("state_since", sa.Text, nullable=False, server_default=""))
    op.execute(
        "UPDATE lots SET state_since = COALESCE((SELECT MAX(recorded_at) FROM journal"
        " WHERE journal.lot = lots.id AND state_after = lots.state AND state_before <> state_after), received_at)"
    )
    alive = sa.text("closed IS NULL")
    op.create_index(
        "lots_waiting", "lots", ["state", "state_since", "id"], sqlite_where=alive, postgresql_where=alive
    )
    placed = sa.text("plant IS NOT NULL")
    op.create_index("lots_by_plant", "lots", ["plant", "id"], sqlite_where=placed, postgresql_where=placed)
    ordered = sa.text("order_number IS NOT NULL")
    op.create_index("lots_by_order", "lots", ["order_number", "id"], sqlite_where=ordered, postgresql_where=ordered)
