"""The life of a rule set: staged, approved, activated, withdrawn; append-only. Stored sets never change."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rule_set_steps",
        sa.Column("position", IDENTITY, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.Text, sa.ForeignKey("rule_sets.digest"), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("by_whom", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("effective_at", sa.Text),
        sa.Column("comment", sa.Text, nullable=False),
    )
    for table in ("rule_sets", "rule_set_steps"):
        _append_only(table)


def _append_only(table: str) -> None:
    """The database itself refuses to change or delete a row of ``table``; the function is revision 0001's."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
