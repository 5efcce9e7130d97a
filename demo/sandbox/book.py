"""The stock book: which lots a sandbox system knows, which status each has, and every status ever applied.

It decides what is new, the same again or too old, and keeps it in SQLite. It knows no HTTP and no vocabulary
of an ERP or a WMS: a status is a word to count and a canonical JSON body to show.
"""

import contextlib
import enum
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_SCHEMA = """
create table if not exists lots (
    lot text primary key, item text not null, revision text not null,
    quantity text not null, unit text not null, registered_at text not null,
    version integer not null, status text not null, body text not null, applied_at text) without rowid;
create table if not exists applications (
    seq integer primary key, lot text not null, version integer not null, key text not null,
    digest blob not null, applied_at text not null);
create table if not exists orders ("order" text primary key, number integer not null, body text not null) without rowid;
create index if not exists applications_by_key on applications (key);
"""

# One row per application in the order it was made: neither the key nor (lot, version) is unique in the table,
# so that a fault in this very file would show up here instead of being hidden by a constraint.
_INVARIANTS = """
select
  (select count(*) from lots),
  (select count(*) from applications),
  (select coalesce(sum(n - 1), 0) from (select count(*) n from applications group by key having n > 1))
  + (select coalesce(sum(n - 1), 0) from (
       select count(*) n from (select distinct lot, version, key from applications)
       group by lot, version having n > 1)),
  (select count(*) from (
     select version, lag(version) over (partition by lot order by seq) before from applications)
   where version < before),
  (select count(*) from lots
     left join (select lot, max(version) newest from applications group by lot) using (lot)
   where version <> coalesce(newest, 0))
"""


class Registration(msgspec.Struct, frozen=True):
    """Master data of a lot. `quantity` is a decimal string in `unit`."""

    lot: str
    item: str
    revision: str
    quantity: str
    unit: str


class Change(msgspec.Struct, frozen=True):
    """A status to apply: `body` is canonical JSON, `version` counts up per lot, `key` identifies the request.

    `item` and `unit`, where the caller gave them, must be those of the registered lot.
    """

    lot: str
    key: str
    version: int
    status: str
    body: bytes
    item: str | None = None
    unit: str | None = None


class Registered(enum.Enum):
    CREATED = "created"
    SAME = "same"
    DIFFERS = "differs"


class Applied(enum.Enum):
    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNKNOWN_LOT = "unknown-lot"
    KEY_REUSED = "key-reused"
    ITEM_DIFFERS = "item-differs"
    UNIT_DIFFERS = "unit-differs"


class Invariants(msgspec.Struct, frozen=True):
    """What must hold, counted from the table of applications; the three middle figures must always be 0."""

    lots: int
    applications: int
    #: One request (key), or one version of a lot, that took effect more than once.
    duplicate_applications: int
    #: Applications whose version is older than the one applied before it to the same lot.
    version_regressions: int
    #: Lots whose shown version is not the newest one applied.
    lots_out_of_step: int
    lots_by_status: dict[str, int]
    #: Since this process started: requests recognised as already applied, and refused as too old.
    duplicates_answered: int
    stale_refused: int


class StockBook:
    """Lots and their statuses in one SQLite file; one process, one connection.

    WAL with `synchronous=NORMAL`: what was answered survives the death of the process (not of the machine),
    without an fsync per request. `status_at_start` is what a registered lot shows before its first status.
    """

    def __init__(self, path: Path, *, status_at_start: str, body_at_start: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.executescript(_SCHEMA)
        self._start = (status_at_start, body_at_start.decode())
        self._duplicates_answered = 0
        self._stale_refused = 0

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is one commit. Reading inside it too keeps check and write together."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def register(self, new: Registration) -> Registered:
        """Enter a lot. Item, revision and unit identify it; a quantity may differ (stock moves)."""
        row = self._db.execute("select item, revision, unit from lots where lot = ?", (new.lot,)).fetchone()
        if row is not None:
            same = row == (new.item, new.revision, new.unit)
            return Registered.SAME if same else Registered.DIFFERS
        self._db.execute(
            "insert into lots values (?, ?, ?, ?, ?, ?, 0, ?, ?, null)",
            (new.lot, new.item, new.revision, new.quantity, new.unit, _now(), *self._start),
        )
        return Registered.CREATED

    def apply(self, change: Change) -> tuple[Applied, int | None]:
        """Apply a status once, and only forwards. Returns what happened and the version (None: unknown)."""
        row = self._db.execute("select version, item, unit from lots where lot = ?", (change.lot,)).fetchone()
        if row is None:
            return Applied.UNKNOWN_LOT, None
        current, item, unit = row
        digest = hashlib.blake2b(change.body, digest_size=16).digest()
        known = self._db.execute(
            "select lot, digest from applications where key = ?", (change.key,)
        ).fetchone()
        if known is not None:
            if known != (change.lot, digest):
                return Applied.KEY_REUSED, current
            self._duplicates_answered += 1
            return Applied.DUPLICATE, current
        if change.item not in (None, item):
            return Applied.ITEM_DIFFERS, current
        if change.unit not in (None, unit):
            return Applied.UNIT_DIFFERS, current
        if change.version <= current:
            self._stale_refused += 1
            return Applied.STALE, current
        self._write(change, digest)
        return Applied.APPLIED, change.version

    def _write(self, change: Change, digest: bytes) -> None:
        now = _now()
        self._db.execute(
            "insert into applications (lot, version, key, digest, applied_at) values (?, ?, ?, ?, ?)",
            (change.lot, change.version, change.key, digest, now),
        )
        self._db.execute(
            "update lots set version = ?, status = ?, body = ?, applied_at = ? where lot = ?",
            (change.version, change.status, change.body.decode(), now, change.lot),
        )

    def find(self, lot: str) -> dict[str, object] | None:
        """One lot as JSON-ready fields, its status body merged in; None when it was never registered."""
        row = self._db.execute(f"select {_SHOWN} from lots where lot = ?", (lot,)).fetchone()
        return None if row is None else _shown(row)

    def page(self, after: str, limit: int) -> list[dict[str, object]]:
        """Up to `limit` lots whose id sorts after `after`."""
        rows = self._db.execute(
            f"select {_SHOWN} from lots where lot > ? order by lot limit ?", (after, limit)
        )
        return [_shown(row) for row in rows]

    def signal(self, order: str, number: int, body: bytes) -> tuple[Applied, int]:
        """Keep a signal about an order, only forwards. Returns what happened and the number that stands."""
        row = self._db.execute('select number, body from orders where "order" = ?', (order,)).fetchone()
        if row is not None and row[0] >= number:
            same = row == (number, body.decode())
            return Applied.DUPLICATE if same else Applied.STALE, row[0]
        self._db.execute("insert or replace into orders values (?, ?, ?)", (order, number, body.decode()))
        return Applied.APPLIED, number

    def find_order(self, order: str) -> dict[str, object] | None:
        """The newest signal about an order; None: there was none."""
        row = self._db.execute('select body from orders where "order" = ?', (order,)).fetchone()
        return None if row is None else {"order": order, **json.loads(row[0])}

    def invariants(self) -> Invariants:
        row: tuple[int, int, int, int, int] = self._db.execute(_INVARIANTS).fetchone()
        by_status = dict(
            self._db.execute("select status, count(*) from lots group by status order by status")
        )
        return Invariants(
            *row,
            lots_by_status=by_status,
            duplicates_answered=self._duplicates_answered,
            stale_refused=self._stale_refused,
        )


_SHOWN = "lot, item, revision, quantity, unit, registered_at, applied_at, body"


def _shown(row: tuple[str, ...]) -> dict[str, object]:
    fields: dict[str, object] = dict(zip(_SHOWN.split(", "), row, strict=True))
    body = fields.pop("body")
    return {**fields, **json.loads(str(body))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
