"""What is signed: checkpoints of the whole journal, append-only like it (engine/installation_checkpoints.py)."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from engine.store.schema.base import metadata

#: How far each checkpoint goes: written before its entries are read, so that whoever reads them reads the same.
checkpoint_ranges = Table(
    "checkpoint_ranges",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("upto_order", BigInteger, nullable=False),
    Column("upto_position", BigInteger, nullable=False),
    Column("begun_at", Text, nullable=False),
)

#: The leaves of the tree over a checkpoint's lines, 256 a row: for proofs, and to say which entry differs.
checkpoint_blocks = Table(
    "checkpoint_blocks",
    metadata,
    Column("number", Integer, nullable=False),
    #: 0, 1, 2 … within the checkpoint.
    Column("block", Integer, nullable=False),
    #: Place of its last line.
    Column("upto_order", BigInteger, nullable=False),
    Column("upto_position", BigInteger, nullable=False),
    #: 32 bytes: root over the leaves.
    Column("root", LargeBinary, nullable=False),
    #: 32 bytes each.
    Column("leaves", LargeBinary, nullable=False),
    PrimaryKeyConstraint("number", "block"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("upto_order", BigInteger, nullable=False),
    Column("upto_position", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("lots", BigInteger, nullable=False),
    Column("root", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("signed_at", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
