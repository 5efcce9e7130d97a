"""What is counted and kept about quality beside the lots."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from engine.store.schema.base import Identity, metadata

#: Recalls (engine/recalls.py).
recalls = Table(
    "recalls",
    metadata,
    Column("id", Text, primary_key=True),
    #: JSON.
    Column("selection", Text, nullable=False),
    Column("reason", Text, nullable=False),
    #: opening, open, closing, closed
    Column("state", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("opened_by", Text, nullable=False),
    #: The last lot of the selection that was held; NULL: all were.
    Column("cursor", Text, server_default=""),
    Column("selected", Integer, nullable=False, server_default="0"),
    Column("held_at", Text),
    Column("closed_at", Text),
    Column("closed_by", Text),
    Column("note", Text),
)

#: Holds on many lots: on a scope, or on what a filter finds; and lifts of many (engine/wide_holds.py).
wide_holds = Table(
    "wide_holds",
    metadata,
    Column("id", Text, primary_key=True),
    #: hold, lift
    Column("kind", Text, nullable=False),
    #: item, supplier, order: it stands on all lots of it, later ones too; filter
    Column("scope", Text, nullable=False),
    #: JSON.
    Column("selection", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("owner", Text),
    Column("lift_role", Text),
    #: lift: the name of the hold that ends, and the role in which it is lifted.
    Column("lifts", Text),
    Column("role", Text),
    #: placing, placed, lifting, lifted
    Column("state", Text, nullable=False),
    #: 1: lots that come in now are held.
    Column("stands", Integer, nullable=False, server_default="0"),
    #: The last lot that was looked at.
    Column("cursor", Text, nullable=False, server_default=""),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("opened_at", Text, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("ended_at", Text),
    #: JSON of a Reason: why it is lifted.
    Column("lift_reason", Text),
    Column("lifted_by", Text),
)
_STANDS = text("stands = 1")
Index("wide_holds_standing", wide_holds.c.stands, sqlite_where=_STANDS, postgresql_where=_STANDS)
Index("wide_holds_by_state", wide_holds.c.state)

#: How often what stands on scopes was changed; one row. Who commits lots that come in locks it (engine/flight.py).
scope_changes = Table(
    "scope_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

#: Append-only: what was done, or tried, to such a hold.
wide_hold_steps = Table(
    "wide_hold_steps",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("hold", Text, nullable=False),
    #: opened, placed, lift-refused, lift-asked, lifted
    Column("step", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("wide_hold_steps_by_hold", "hold", "id"),
)

#: What lots' inspections add up to, by item, supplier and characteristic (engine/quality/series.py).
series = Table(
    "series",
    metadata,
    #: Item and supplier as one key (engine/track_record.py).
    Column("pair", Text, nullable=False),
    Column("characteristic", Text, nullable=False),
    Column("item", Text, nullable=False),
    #: Empty: our own production.
    Column("supplier", Text, nullable=False),
    #: JSON of a Series, but for its limits.
    Column("content", Text, nullable=False),
    #: JSON of Limits that were set; NULL: they come from the newest points.
    Column("limits", Text),
    Column("changed_at", Text, nullable=False),
    PrimaryKeyConstraint("pair", "characteristic"),
    Index("series_by_item", "item", "supplier", "characteristic"),
)

#: How an item from a supplier has done (engine/quality/scorecard.py).
scorecards = Table(
    "scorecards",
    metadata,
    Column("pair", Text, primary_key=True),
    Column("item", Text, nullable=False),
    Column("supplier", Text, nullable=False),
    #: JSON of a Scorecard.
    Column("content", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    Index("scorecards_by_item", "item", "supplier"),
)

#: The journal entry up to which series and scorecards count; one row.
track_position = Table(
    "track_position",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("commit_order", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
)

#: Nonconformances, deviations and corrective actions of lots, as they stand (engine/records.py).
quality_records = Table(
    "quality_records",
    metadata,
    Column("lot", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: JSON of the record.
    Column("content", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("owner", Text),
    Column("due_on", Text),
    Column("closed_at", Text),
    PrimaryKeyConstraint("lot", "record"),
)
Index("quality_records_by_status", quality_records.c.status, quality_records.c.kind, quality_records.c.opened_at)

#: How hard lots of an item from a supplier are inspected, as somebody said (engine/track_record.py).
sampling_orders = Table(
    "sampling_orders",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("item", Text, nullable=False),
    Column("supplier", Text, nullable=False),
    #: normal, tightened, reduced
    Column("severity", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ordered_at", Text, nullable=False),
    Column("ordered_by", Text, nullable=False),
    #: NULL: the clock process has still to do it.
    Column("done_at", Text),
)

#: What chance is made of where lots are skipped (engine/quality/skip_lot.py); one row, made when the database is.
sampling_secret = Table(
    "sampling_secret",
    metadata,
    Column("id", Integer, primary_key=True),
    #: 32 random bytes, hexadecimal.
    Column("secret", Text, nullable=False),
)

#: What is used under concessions, by the unit in which lots count (engine/concessions.py). Who commits a use locks it.
concessions = Table(
    "concessions",
    metadata,
    Column("number", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("used", Text, nullable=False),
    #: How much of it is permitted; NULL: nobody said, or in another unit.
    Column("permitted", Text),
    #: How often it was changed; 0: by nobody yet.
    Column("changes", BigInteger, nullable=False),
    Column("first_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    PrimaryKeyConstraint("number", "unit"),
)

#: How much of which lot counts under a concession.
concession_uses = Table(
    "concession_uses",
    metadata,
    Column("number", Text, nullable=False),
    Column("lot", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("first_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    #: Where the lot is; a lot never changes it.
    Column("plant", Text),
    PrimaryKeyConstraint("number", "lot", "unit"),
)
