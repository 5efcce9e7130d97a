"""A secret of the installation, so that nobody foresees which lots are skipped; charts and scorecards by item."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "sampling_secret",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
    )
    op.execute(
        sa.text("INSERT INTO sampling_secret (id, secret) VALUES (1, :secret)").bindparams(secret=secrets.token_hex(32))
    )
    op.create_index("series_by_item", "series", ["item", "supplier", "characteristic"])
    op.create_index("scorecards_by_item", "scorecards", ["item", "supplier"])
