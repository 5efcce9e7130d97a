"""Stored rule sets and the steps of their lives, in SQL. What a step means is in engine/rulesets.py."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, text

from engine.store.opening import Store
from engine.store.schema.access import rule_set_steps, rule_sets
from engine.store.schema.archive import archive_segments
from engine.store.schema.lots import journal

#: Key of PostgreSQL's advisory lock: steps are taken one after the other. Any number nobody else uses.
_LOCK = 0x107_6A7F
_decode_digests = msgspec.json.Decoder(list[str]).decode
_decode_files = msgspec.json.Decoder(dict[str, str]).decode


class Step(Struct, frozen=True):
    """Somebody did something with a rule set."""

    #: 1, 2, 3 … in the order in which it was done.
    position: int
    digest: str
    #: staged, approved, activated, rolled_back, withdrawn
    step: str
    by: str
    at: str
    #: Instant from which the set is in force; only of ``activated`` and ``rolled_back``.
    effective_at: str | None
    comment: str


_STEP_COLUMNS = (
    rule_set_steps.c.position, rule_set_steps.c.digest, rule_set_steps.c.step, rule_set_steps.c.by_whom,
    rule_set_steps.c.at, rule_set_steps.c.effective_at, rule_set_steps.c.comment,
)  # fmt: skip


def one_at_a_time(store: Store, connection: Connection) -> None:
    """Whoever else wants to take a step waits until this transaction ends. SQLite's write lock does that by itself."""
    if store.dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def read_steps(connection: Connection) -> list[Step]:
    """Every step, in order."""
    return [Step(*row) for row in connection.execute(select(*_STEP_COLUMNS).order_by(rule_set_steps.c.position))]


def add_step(
    connection: Connection, digest: str, step: str, by: str, at: str, comment: str, effective_at: str | None = None
) -> None:
    """Write one step."""
    connection.execute(
        insert(rule_set_steps).values(
            digest=digest, step=step, by_whom=by, at=at, effective_at=effective_at, comment=comment
        )
    )


def read_files(connection: Connection, digest: str) -> dict[str, str] | None:
    """The files of a stored set, name -> text; None when there is no such set."""
    row = connection.execute(select(rule_sets.c.files).where(rule_sets.c.digest == digest)).first()
    return None if row is None else _decode_files(row[0])


def keep_files(connection: Connection, digest: str, files: Mapping[str, str], at: str) -> None:
    """Store a set whole; nothing happens when it is there."""
    if connection.execute(select(rule_sets.c.digest).where(rule_sets.c.digest == digest)).first() is None:
        connection.execute(
            insert(rule_sets).values(digest=digest, files=msgspec.json.encode(files).decode(), stored_at=at)
        )


def read_sets(connection: Connection) -> Iterator[tuple[str, dict[str, str]]]:
    """Every stored set: its digest and its files."""
    for digest, files in connection.execute(select(rule_sets.c.digest, rule_sets.c.files).order_by(rule_sets.c.digest)):
        yield digest, _decode_files(files)


def read_missing(connection: Connection) -> list[str]:
    """Digests that the journal, or the archive, names and that are not stored."""
    stored = select(rule_sets.c.digest).where(rule_sets.c.digest == journal.c.rule_set).exists()
    missing = {str(d) for d in connection.execute(select(journal.c.rule_set).distinct().where(~stored)).scalars()}
    archived = connection.execute(select(archive_segments.c.rule_sets).distinct()).scalars()
    named = {digest for texts in archived for digest in _decode_digests(texts)}
    there = set(connection.execute(select(rule_sets.c.digest)).scalars())
    return sorted(missing | (named - there))
