"""The order in which transactions end, for the change feed on PostgreSQL; SQLite's one writer has it in the positions.

Sequence numbers are drawn before a transaction commits, so a reader who remembers the highest position that it saw
would miss what was drawn before and committed after. Transaction numbers tell what is finished (engine/store/feed.py).
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    # Raised when a database is restored into a younger cluster, whose transaction numbers begin again.
    op.execute("CREATE TABLE commit_offset (raised bigint NOT NULL)")
    op.execute("INSERT INTO commit_offset VALUES (0)")
    op.execute(
        "CREATE FUNCTION lotgate_commit_order() RETURNS bigint LANGUAGE sql VOLATILE AS"
        " 'SELECT pg_current_xact_id()::text::bigint + raised FROM commit_offset'"
    )
    # Two steps: what is there gets a constant without being rewritten, what comes gets its transaction's number.
    op.execute("ALTER TABLE journal ADD COLUMN commit_order bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE journal ALTER COLUMN commit_order SET DEFAULT lotgate_commit_order()")
    op.execute("CREATE INDEX journal_commit_order ON journal (commit_order, position)")
