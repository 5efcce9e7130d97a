"""The tables, as SQLAlchemy Core sees them on both databases: what all of them share.

Instants are text (ISO 8601, UTC, microseconds, ``Z``); due times that are compared with a clock are seconds since
1970 as floats; quantities are decimal text; JSON is kept as text, byte for byte as it was hashed. The journal is
append-only: triggers in the migrations refuse UPDATE and DELETE.
"""

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData()

#: 64-bit identity on PostgreSQL, rowid on SQLite.
Identity = BigInteger().with_variant(Integer(), "sqlite")
