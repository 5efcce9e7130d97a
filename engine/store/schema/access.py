"""Who may do what, and by which rules it is judged."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, text

from engine.store.schema.base import Identity, metadata

#: Keys of systems and people: only their SHA-256 is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("roles", Text, nullable=False),
    #: JSON arrays: sources it may send from, plants it may see and change; empty: all.
    Column("sources", Text, nullable=False, server_default="[]"),
    Column("plants", Text, nullable=False, server_default="[]"),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text),
    Column("revoked_at", Text),
)

#: Browsers that are signed in (engine/sessions.py): hashes only.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    #: The key that it was opened with, and ends with.
    Column("key_hash", Text, nullable=False),
    Column("began_at", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
    Column("ends_at", Text, nullable=False),
)

#: Processes of the installation, while they say that they are alive (engine/processes.py).
processes = Table(
    "processes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("release", Text, nullable=False),
    Column("began_at", Text, nullable=False),
    Column("seen_at", Text, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
)

#: Rule sets that were staged or have judged, whole, by digest: so that an old decision can be judged again.
rule_sets = Table(
    "rule_sets",
    metadata,
    Column("digest", Text, primary_key=True),
    #: JSON object: file name -> text
    Column("files", Text, nullable=False),
    Column("stored_at", Text, nullable=False),
)

#: Append-only: who staged, approved, activated or withdrew which rule set, and when (engine/rulesets.py).
rule_set_steps = Table(
    "rule_set_steps",
    metadata,
    Column("position", Identity, primary_key=True, autoincrement=True),
    Column("digest", Text, ForeignKey("rule_sets.digest"), nullable=False),
    #: staged, approved, activated, rolled_back, withdrawn
    Column("step", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("at", Text, nullable=False),
    #: Instant from which the set is in force; only of activated and rolled_back.
    Column("effective_at", Text),
    Column("comment", Text, nullable=False),
)

#: Work that takes minutes, asked for in the console (engine/jobs.py).
jobs = Table(
    "jobs",
    metadata,
    Column("id", Identity, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    #: What it is about: a digest, or empty.
    Column("about", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    #: The process that does it: its id in ``processes``.
    Column("process", Text, nullable=False),
    Column("begun_at", Text, nullable=False),
    #: How much there is to do and how much is done, in the kind's own unit.
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("ended_at", Text),
    #: JSON of what it found; NULL: nothing, or nothing yet.
    Column("result", Text),
    #: Why it did not get to its end; empty: it did.
    Column("problem", Text, nullable=False),
    Index("jobs_by_kind", "kind", "about", "id"),
)
#: Of each kind one at a time, whichever process does it.
Index("jobs_running", jobs.c.kind, unique=True,
      sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL"))  # fmt: skip
