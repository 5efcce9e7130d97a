"""What was answered about orders: append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "readiness_answers",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("order_number", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("readiness", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.UniqueConstraint("order_number", "number", name="readiness_answers_number"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER readiness_answers_append_only BEFORE UPDATE OR DELETE ON readiness_answers"
            " FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
        )
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER readiness_answers_no_{what.lower()} BEFORE {what} ON readiness_answers"
            " BEGIN SELECT RAISE(ABORT, 'the table readiness_answers is append-only'); END"
        )
