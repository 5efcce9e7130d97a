"""Holds on scopes and on what a filter finds, and the role that must lift a hold."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("holds", sa.Column("lift_role", sa.Text))
    op.create_table(
        "wide_holds",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "scope", "selection", "reason")),
        *(sa.Column(name, sa.Text) for name in ("owner", "lift_role", "lifts", "role")),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stands", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cursor", sa.Text, nullable=False, server_default=""),
        sa.Column("done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("refused", sa.Integer, nullable=False, server_default="0"),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("opened_at", "opened_by")),
        *(sa.Column(name, sa.Text) for name in ("ended_at", "lift_reason", "lifted_by")),
    )
    some = sa.text("stands = 1")
    op.create_index("wide_holds_standing", "wide_holds", ["stands"], sqlite_where=some, postgresql_where=some)
    op.create_index("wide_holds_by_state", "wide_holds", ["state"])
    changes = op.create_table(
        "scope_changes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("number", sa.BigInteger, nullable=False)
    )
    op.bulk_insert(changes, [{"id": 1, "number": 0}])
    identity = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "wide_hold_steps",
        sa.Column("id", identity, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("hold", "step", "at", "by", "detail")),
    )
    op.create_index("wide_hold_steps_by_hold", "wide_hold_steps", ["hold", "id"])
