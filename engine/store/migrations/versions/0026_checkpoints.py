"""Checkpoints of the whole journal, and work of the console that any web process can show."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_GUARDED = ("checkpoints", "checkpoint_ranges", "checkpoint_blocks")


def upgrade() -> None:
    op.create_table(
        "checkpoint_ranges",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("upto_order", "upto_position")),
        sa.Column("begun_at", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoint_blocks",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("block", sa.Integer, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("upto_order", "upto_position")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("root", "leaves")),
        sa.PrimaryKeyConstraint("number", "block"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("upto_order", "upto_position")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("entries", "lots")),
        *(sa.Column(n, sa.Text, nullable=False) for n in ("root", "previous", "signed_at", "key_id", "signature")),
    )
    for table in _GUARDED:
        _append_only(table)
    identity = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "jobs",
        sa.Column("id", identity, primary_key=True, autoincrement=True),
        *(sa.Column(n, sa.Text, nullable=False) for n in ("kind", "about", "by_whom", "process", "begun_at")),
        *(sa.Column(n, sa.BigInteger, nullable=False) for n in ("total", "done")),
        sa.Column("ended_at", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("problem", sa.Text, nullable=False),
    )
    op.create_index("jobs_by_kind", "jobs", ["kind", "about", "id"])
    running = sa.text("ended_at IS NULL")
    op.create_index("jobs_running", "jobs", ["kind"], unique=True, sqlite_where=running, postgresql_where=running)


def _append_only(table: str) -> None:
    """The database itself refuses to change or delete a row of ``table``."""
    if op.get_bind().dialect.name == "postgresql":
        for name, event, each in (
            ("append_only", "UPDATE OR DELETE", "ROW"), ("no_truncate", "TRUNCATE", "STATEMENT"),
        ):  # fmt: skip
            op.execute(
                f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table}"
                f" FOR EACH {each} EXECUTE FUNCTION lotgate_append_only()"
            )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
