"""Reference data with effective dates, and orders to change sampling."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "reference",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("effective_from", sa.Text, nullable=False),
        sa.Column("effective_until", sa.Text),
        sa.Column("item", sa.Text),
        sa.Column("supplier", sa.Text),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "key", "revision", name="reference_revision"),
    )
    op.create_index("reference_by_item", "reference", ["item"])
    op.create_index("reference_by_supplier", "reference", ["supplier"])
    op.create_table(
        "sampling_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("supplier", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ordered_at", sa.Text, nullable=False),
        sa.Column("ordered_by", sa.Text, nullable=False),
        sa.Column("done_at", sa.Text),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER reference_append_only BEFORE UPDATE OR DELETE ON reference"
            " FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
        )
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER reference_no_{what.lower()} BEFORE {what} ON reference"
            " BEGIN SELECT RAISE(ABORT, 'the table reference is append-only'); END"
        )
