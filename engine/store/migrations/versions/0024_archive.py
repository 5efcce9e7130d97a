"""The archive: where entries of lots are that are closed for long, and that only these leave the journal."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

#: The index has the entry that is to be deleted.
_ARCHIVED = (
    "EXISTS (SELECT 1 FROM archived_lots a WHERE a.lot = OLD.lot"
    " AND OLD.version BETWEEN a.first_version AND a.last_version)"
)
#: Every entry of the stretch that the index is to forget is back in the journal.
_BACK = (
    "(SELECT count(*) FROM journal j WHERE j.lot = OLD.lot"
    " AND j.version BETWEEN OLD.first_version AND OLD.last_version) = OLD.last_version - OLD.first_version + 1"
)


def upgrade() -> None:
    identity = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "archive_segments",
        sa.Column("number", identity, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("lots", "entries")),
        *(
            sa.Column(f"{end}_{what}", sa.BigInteger, nullable=False)
            for what in ("order", "position") for end in ("first", "last")
        ),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("first_at", "last_at", "rule_sets", "made_at", "made_by")
        ),
    )  # fmt: skip
    op.create_index("archive_segments_by_position", "archive_segments", ["last_position"])
    op.create_index("archive_segments_by_order", "archive_segments", ["last_order", "last_position"])
    op.create_table(
        "archived_lots",
        sa.Column("lot", sa.Text, nullable=False),
        sa.Column("first_version", sa.Integer, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("segment", identity, sa.ForeignKey("archive_segments.number"), nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("beginning", sa.Text),
        sa.PrimaryKeyConstraint("lot", "first_version"),
    )
    op.create_index("archived_lots_by_segment", "archived_lots", ["segment"])
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION lotgate_only_archived() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF {_ARCHIVED} THEN RETURN OLD; END IF;"
        " RAISE EXCEPTION 'journal is append-only: version % of lot % is not archived', OLD.version, OLD.lot; END $$"
    )
    op.execute(
        "CREATE FUNCTION lotgate_only_back() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF {_BACK} THEN RETURN OLD; END IF;"
        " RAISE EXCEPTION 'archived_lots is kept: entries of lot % are not back in the journal', OLD.lot; END $$"
    )
    op.execute("DROP TRIGGER IF EXISTS journal_append_only ON journal")
    op.execute(
        "CREATE TRIGGER journal_append_only BEFORE UPDATE ON journal"
        " FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
    )
    op.execute(
        "CREATE TRIGGER journal_only_archived BEFORE DELETE ON journal"
        " FOR EACH ROW EXECUTE FUNCTION lotgate_only_archived()"
    )
    op.execute(
        "CREATE TRIGGER archived_lots_append_only BEFORE UPDATE ON archived_lots"
        " FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
    )
    op.execute(
        "CREATE TRIGGER archived_lots_only_back BEFORE DELETE ON archived_lots"
        " FOR EACH ROW EXECUTE FUNCTION lotgate_only_back()"
    )
    op.execute(
        "CREATE TRIGGER archived_lots_no_truncate BEFORE TRUNCATE ON archived_lots"
        " FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
    )
    op.execute(
        "CREATE TRIGGER archive_segments_append_only BEFORE UPDATE ON archive_segments"
        " FOR EACH ROW EXECUTE FUNCTION lotgate_append_only()"
    )


def _on_sqlite() -> None:
    op.execute("DROP TRIGGER IF EXISTS journal_no_delete")
    op.execute(
        f"CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal WHEN NOT {_ARCHIVED}"
        " BEGIN SELECT RAISE(ABORT, 'journal is append-only: what is not archived is not deleted'); END"
    )
    op.execute(
        f"CREATE TRIGGER archived_lots_no_delete BEFORE DELETE ON archived_lots WHEN NOT ({_BACK})"
        " BEGIN SELECT RAISE(ABORT, 'archived_lots is kept: its entries are not back in the journal'); END"
    )
    for table in ("archived_lots", "archive_segments"):
        op.execute(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
