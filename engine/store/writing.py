"""The hot path's statements: what one batch reads and writes, in as few calls as it can be said in.

All rows of a table go in one statement, or a few. On SQLite these are rows of VALUES, in powers of two so that each
shape is prepared once: one call does the work of a batch outside Python's lock, and the web server goes on
answering meanwhile (a call a row would hand the lock back and forth for every row). On PostgreSQL the rows travel
as one JSON text, unpacked there. Table and column names come from ``schema``; nothing from outside is ever part of
a statement.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Integer, Table
from sqlalchemy.types import BigInteger, Float

from engine.lot import Lot
from engine.operation_inspection import OperationResult
from engine.store.schema.whole import metadata

_encode = msgspec.json.Encoder().encode
_decode_types = msgspec.json.Decoder(list[str]).decode
_decode_lots = msgspec.json.Decoder(list[Lot]).decode


class Cursor(Protocol):
    """The part of a DB-API cursor that is used here; both drivers have it."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...
    def fetchone(self) -> Any: ...


class Known(Struct, frozen=True):
    """An event that was answered before, found by its identity or by its business document."""

    key: str
    business_key: str | None
    digest: str
    outcome: str
    status: int
    lot_version: int | None
    answer: str


class Parked(Struct, frozen=True):
    """An event that waits for what it depends on."""

    key: str
    waits_for: str
    event: str
    principal: str


#: (lot, version, inspection, measurements JSON) of one result record.
Result = tuple[str, int, str, str]


class Rows(Struct):
    """What one batch writes, row by row in the columns of ``_COLUMNS``."""

    events: list[tuple[Any, ...]] = []
    journal: list[tuple[Any, ...]] = []
    lots: list[tuple[Any, ...]] = []
    results: list[tuple[Any, ...]] = []
    operation_results: list[OperationResult] = []
    deliveries: list[tuple[Any, ...]] = []
    holds: list[tuple[Any, ...]] = []
    lifted: list[tuple[Any, ...]] = []
    parked: list[tuple[Any, ...]] = []
    unparked: list[str] = []
    #: (key, outcome, status, lot_version, answer, business_key) of parked events that were decided after all.
    answered: list[tuple[Any, ...]] = []
    escalations: list[tuple[Any, ...]] = []
    links: list[tuple[Any, ...]] = []
    spreading: list[tuple[Any, ...]] = []
    quality_records: list[tuple[Any, ...]] = []


_COLUMNS: dict[str, tuple[str, ...]] = {
    "events": (
        "key", "business_key", "source", "event_id", "type", "subject", "sequence", "digest", "outcome", "status",
        "lot_version", "answer", "principal", "recorded_at",
    ),
    "journal": (
        "lot", "version", "kind", "trigger", "type", "source", "event_id", "time", "recorded_at", "principal",
        "correlation_id", "causation_id", "traceparent", "state_before", "state_after", "rule_set", "data",
        "evidence", "prev_hash", "hash",
    ),
    "lots": (
        "id", "version", "state", "item", "revision", "supplier", "plant", "order_number", "quantity", "unit",
        "expires_on", "retest_on", "concession_until", "closed", "received_at", "changed_at", "head", "snapshot",
        "state_since",
    ),
    "results": ("lot", "version", "inspection", "measurements"),
    "operation_results": ("lot", "version", "operation", "inspection", "measurements"),
    "deliveries": ("lot", "version", "target", "payload", "due_at", "created_at"),
    "holds": (
        "lot", "hold", "reason", "text", "scope", "source", "owner", "applied_at", "applied_version", "lifted_at",
        "lifted_version", "lift_role",
    ),
    "parked": ("key", "subject", "waits_for", "event", "principal", "parked_at", "expires_at", "tell_at"),
    "escalations": ("kind", "subject", "detail", "opened_at"),
    "links": ("lot", "version", "number", "kind", "parent", "child", "quantity", "unit"),
    "spreading": ("lot", "hold", "cause"),
    "quality_records": (
        "lot", "record", "kind", "severity", "status", "content", "opened_at", "owner", "due_on", "closed_at",
    ),
}  # fmt: skip


#: The order of the commits on PostgreSQL (engine/store/feed.py): the number of the transaction, or of the newest that
#: has ended. A transaction has its number from the first lot that it locks, and may decide about others that one with
#: a later number has changed meanwhile: the entries of a lot are in the order of their versions all the same.
_COMMIT_ORDER = (
    "(SELECT greatest(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)"
    " + raised FROM commit_offset)"
)

#: What a lot is born with and keeps; setting it again would touch its indexes for nothing.
_FIXED = frozenset({"id", "item", "revision", "supplier", "plant", "order_number", "unit", "received_at"})


class Statements:
    """Every statement of the hot path in one database's words."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        postgres = dialect == "postgresql"
        self._mark = "%s" if postgres else "?"
        among = self._among
        self.known = (
            "SELECT key, business_key, digest, outcome, status, lot_version, answer FROM events"
            f" WHERE {among('key')} UNION ALL"
            " SELECT key, business_key, digest, outcome, status, lot_version, answer FROM events"
            f" WHERE {among('business_key')}"
        )
        #: Lots, locked where rows can be locked; by whether that may wait for whoever has one of them.
        self.lots = {
            waits: (
                "SELECT '[' || string_agg(snapshot, ',') || ']' FROM"
                f" (SELECT snapshot FROM lots WHERE {among('id')} ORDER BY id FOR UPDATE{how}) AS locked"
                if postgres
                else f"SELECT '[' || group_concat(snapshot, ',') || ']' FROM lots WHERE {among('id')}"
            )
            for waits, how in ((True, ""), (False, " NOWAIT"))
        }
        self.results = (
            f"SELECT lot, version, inspection, measurements FROM results WHERE {among('lot')} ORDER BY lot, version"
        )
        self.operation_results = (
            "SELECT lot, version, operation, inspection, measurements FROM operation_results"
            f" WHERE {among('lot')} ORDER BY lot, version"
        )
        self.undelivered = (
            f"SELECT DISTINCT lot, target FROM deliveries WHERE {among('lot')}"
            # Who only listens (engine/subscriptions.py) need not agree.
            " AND state NOT IN ('delivered', 'superseded', 'compensated') AND substr(target, 1, 5) <> 'hook-'"
        )
        self.parked = (
            f"SELECT key, waits_for, event, principal FROM parked WHERE {among('waits_for')}"
            " ORDER BY parked_at, key"
        )
        #: Who is told every journal entry.
        self.subscriptions = "SELECT id, types FROM subscriptions WHERE disabled_at IS NULL AND removed_at IS NULL"
        #: Links by the end that is looked up.
        self.links = {end: f"SELECT parent, child FROM links WHERE {among(end)}" for end in ("parent", "child")}
        self.scorecards = f"SELECT pair, content FROM scorecards WHERE {among('pair')}"
        self.series = f"SELECT pair, characteristic, content, limits FROM series WHERE {among('pair')}"
        self.chance = "SELECT secret FROM sampling_secret"
        self.reference = (
            "SELECT position, kind, key, revision, effective_from, effective_until, digest FROM reference"
            f" WHERE {among('item')} UNION ALL"
            " SELECT position, kind, key, revision, effective_from, effective_until, digest FROM reference"
            f" WHERE item IS NULL AND {among('supplier')}"
        )
        self.reference_content = (
            "SELECT position, content FROM reference WHERE position "
            + ("= ANY(%s)" if postgres else "IN (SELECT value FROM json_each(?))")
        )
        #: How often what stands on scopes was changed, with each hold that stands, or once without.
        self.standing = (
            "SELECT c.number, w.id, w.scope, w.selection, w.reason, w.owner, w.lift_role FROM scope_changes c"
            " LEFT JOIN wide_holds w ON w.stands = 1"
        )
        # Until the commit nobody places a hold on a scope: what is committed after it knows it.
        self.scope_changes = "SELECT number FROM scope_changes" + (" FOR SHARE" if postgres else "")
        self.unpark = f"DELETE FROM parked WHERE {among('key')}"
        self._tails = {
            "lots": " ON CONFLICT (id) DO UPDATE SET "
            + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS["lots"] if c not in _FIXED | {"state_since"})
            # A lot that stays in its state has been in it since then.
            + ", state_since = CASE WHEN lots.state = excluded.state THEN lots.state_since"
            " ELSE excluded.state_since END",
            "quality_records": " ON CONFLICT (lot, record) DO UPDATE SET "
            + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS["quality_records"][3:]),
            "parked": " ON CONFLICT (key) DO UPDATE SET waits_for = excluded.waits_for, tell_at = excluded.tell_at",
        }
        self._shapes: dict[tuple[str, int], str] = {}
        self._unpacking = {name: self._from_json(name) for name in _COLUMNS}
        self.lift = self._update(
            "holds", {"lifted_at": 2, "lifted_version": 3}, {"lot": 0, "hold": 1}
        ) + " AND holds.lifted_at IS NULL"
        self.answer = self._update(
            "events", {"outcome": 1, "status": 2, "lot_version": 3, "answer": 4, "business_key": 5}, {"key": 0}
        )

    def _among(self, column: str) -> str:
        """``column`` is one of the keys of one parameter, see :meth:`keys`."""
        if self.dialect == "postgresql":
            # An array: for keys out of JSON the planner expects so many that it reads the whole table.
            return f"{column} = ANY(%s)"
        return f"{column} IN (SELECT value FROM json_each(?))"

    def keys(self, keys: Iterable[str]) -> Any:
        """Keys as one parameter."""
        return list(keys) if self.dialect == "postgresql" else _encode(list(keys)).decode()

    def _rows(self) -> str:
        if self.dialect == "postgresql":
            return f"jsonb_array_elements({self._mark}::jsonb) AS r(value)"
        return f"json_each({self._mark}) AS r"

    def _member(self, table: str, column: str, index: int) -> str:
        cell = f"r.value->>{index}"
        if self.dialect != "postgresql":
            return cell
        kind = _table(table).c[column].type
        if isinstance(kind, Float):
            return f"({cell})::double precision"
        if isinstance(kind, Integer | BigInteger):
            return f"({cell})::bigint"
        return cell

    def insert(self, cursor: Cursor, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Insert ``rows`` into ``table``, in order."""
        if self.dialect == "postgresql":
            cursor.execute(self._unpacking[table], (_encode(rows).decode(),))
            return
        start = 0
        while start < len(rows):
            count = 1 << ((len(rows) - start).bit_length() - 1)
            cursor.execute(self._values(table, count), [cell for row in rows[start : start + count] for cell in row])
            start += count

    def _values(self, table: str, count: int) -> str:
        shape = self._shapes.get((table, count))
        if shape is None:
            row = f"({', '.join('?' * len(_COLUMNS[table]))})"
            shape = f"{self._into(table)} VALUES {', '.join([row] * count)}{self._tails.get(table, '')}"
            self._shapes[table, count] = shape
        return shape

    def _from_json(self, table: str) -> str:
        cells = [self._member(table, c, i) for i, c in enumerate(_COLUMNS[table])]
        more = {"commit_order": _COMMIT_ORDER} if table == "journal" and self.dialect == "postgresql" else {}
        values = ", ".join([*cells, *more.values()])
        return f"{self._into(table, *more)} SELECT {values} FROM {self._rows()}{self._tails.get(table, '')}"

    def _into(self, table: str, *more: str) -> str:
        return f"INSERT INTO {table} ({', '.join(_quoted(c) for c in (*_COLUMNS[table], *more))})"

    def _update(self, table: str, values: dict[str, int], keys: dict[str, int]) -> str:
        changes = ", ".join(f"{c} = {self._member(table, c, i)}" for c, i in values.items())
        match = " AND ".join(f"{table}.{c} = {self._member(table, c, i)}" for c, i in keys.items())
        return f"UPDATE {table} SET {changes} FROM {self._rows()} WHERE {match}"


def _table(name: str) -> Table:
    return metadata.tables[name]


def _quoted(column: str) -> str:
    return f'"{column}"'


def read_known(cursor: Cursor, statements: Statements, keys: list[str], business: list[str]) -> list[Known]:
    """Events among ``keys`` and ``business`` keys that were answered before."""
    cursor.execute(statements.known, (statements.keys(keys), statements.keys(business)))
    return [Known(*row) for row in cursor.fetchall()]


def read_lots(cursor: Cursor, statements: Statements, ids: Iterable[str], *, waits: bool) -> dict[str, Lot]:
    """The lots among ``ids`` that exist; on PostgreSQL their rows are locked, in the order of their ids.

    ``waits``: for whoever has locked one; else psycopg's LockNotAvailable is raised.
    """
    cursor.execute(statements.lots[waits], (statements.keys(ids),))
    text = cursor.fetchone()[0]
    return {} if text is None else {lot.id: lot for lot in _decode_lots(text)}


def read_results(cursor: Cursor, statements: Statements, ids: Iterable[str]) -> list[Result]:
    """Every result record of ``ids``, in order."""
    cursor.execute(statements.results, (statements.keys(ids),))
    return [tuple(row) for row in cursor.fetchall()]


def read_operation_results(cursor: Cursor, statements: Statements, ids: Iterable[str]) -> list[OperationResult]:
    """Every record of results in process of ``ids``, in order."""
    cursor.execute(statements.operation_results, (statements.keys(ids),))
    return [tuple(row) for row in cursor.fetchall()]


def read_undelivered(cursor: Cursor, statements: Statements, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Targets that have not acknowledged, by lot."""
    cursor.execute(statements.undelivered, (statements.keys(ids),))
    found: dict[str, tuple[str, ...]] = {}
    for lot, target in sorted(cursor.fetchall()):
        found[lot] = (*found.get(lot, ()), target)
    return found


def read_subscriptions(cursor: Cursor, statements: Statements) -> list[tuple[str, frozenset[str]]]:
    """Who is told every journal entry, with the types that they want; none: every type."""
    cursor.execute(statements.subscriptions)
    return [(identity, frozenset(_decode_types(types))) for identity, types in cursor.fetchall()]


def read_parked(cursor: Cursor, statements: Statements, needs: Iterable[str]) -> list[Parked]:
    """Parked events that wait for any of ``needs``, oldest first."""
    cursor.execute(statements.parked, (statements.keys(needs),))
    return [Parked(*row) for row in cursor.fetchall()]


def read_standing(cursor: Cursor, statements: Statements) -> list[Any]:
    """Holds that stand on scopes, each behind the number of changes; one line without a hold where none stands."""
    cursor.execute(statements.standing)
    return list(cursor.fetchall())


def read_scope_changes(cursor: Cursor, statements: Statements) -> int:
    """How often what stands on scopes was changed; it does not change until this transaction ends."""
    cursor.execute(statements.scope_changes)
    return int(cursor.fetchone()[0])


def read_links(cursor: Cursor, statements: Statements, end: str, nodes: Iterable[str]) -> list[tuple[str, str]]:
    """(parent, child) of the links whose ``end`` (parent or child) is one of ``nodes``."""
    cursor.execute(statements.links[end], (statements.keys(nodes),))
    return [(str(parent), str(child)) for parent, child in cursor.fetchall()]


def read_tracks(cursor: Cursor, statements: Statements, pairs: Iterable[str]) -> tuple[list[Any], list[Any]]:
    """Scorecards (pair, content) and series (pair, characteristic, content, limits) of ``pairs``."""
    keys = statements.keys(pairs)
    cursor.execute(statements.scorecards, (keys,))
    cards = list(cursor.fetchall())
    cursor.execute(statements.series, (keys,))
    return cards, list(cursor.fetchall())


def read_sampling_secret(cursor: Cursor, statements: Statements) -> bytes:
    """What chance is made of where lots are skipped."""
    cursor.execute(statements.chance)
    return bytes.fromhex(cursor.fetchall()[0][0])


def read_reference(cursor: Cursor, statements: Statements, items: Iterable[str], suppliers: Iterable[str]) -> list[Any]:
    """Records about ``items`` or, of no item, about ``suppliers``: position to digest, without their content."""
    cursor.execute(statements.reference, (statements.keys(items), statements.keys(suppliers)))
    return list(cursor.fetchall())


def read_reference_content(cursor: Cursor, statements: Statements, positions: list[int]) -> dict[int, str]:
    """Contents of records by position."""
    keys = positions if statements.dialect == "postgresql" else _encode(positions).decode()
    cursor.execute(statements.reference_content, (keys,))
    return {int(position): str(content) for position, content in cursor.fetchall()}


def write(cursor: Cursor, statements: Statements, rows: Rows) -> None:
    """Write one batch inside the caller's transaction."""
    if rows.unparked:
        cursor.execute(statements.unpark, (statements.keys(rows.unparked),))
    if rows.lifted:
        # Before others begin: one of the same name may.
        cursor.execute(statements.lift, (_encode(rows.lifted).decode(),))
    for name in ("events", "journal", "lots", "results", "operation_results", "deliveries", "holds", "parked",
                 "escalations", "links", "spreading", "quality_records"):  # fmt: skip
        lines = getattr(rows, name)
        if lines:
            statements.insert(cursor, name, lines)
    if rows.answered:
        cursor.execute(statements.answer, (_encode(rows.answered).decode(),))
