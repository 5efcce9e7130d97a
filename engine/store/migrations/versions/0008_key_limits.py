"""Keys limited to sources and plants."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name in ("sources", "plants"):
        op.add_column("api_keys", sa.Column(name, sa.Text, nullable=False, server_default="[]"))
