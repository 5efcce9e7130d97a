"""How every inbound file stands: when it was looked at, what came, what failed, how far it has read. Kept in SQL.

A watermark moves only when everything before it was handed over. What may not enter: files and HTTP.
"""

from contextlib import suppress
from typing import Any

from msgspec import Struct
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema.reference import inbound


class Stand(Struct, frozen=True):
    """One inbound file as people see it. Instants are ISO 8601, UTC; null: never."""

    name: str
    #: drop, pull
    kind: str
    #: Seconds since 1970: not before.
    due_at: float = 0.0
    began_at: str | None = None
    #: It ended well.
    ended_at: str | None = None
    #: Rows of the last time, and how many of them were not taken.
    lines: int = 0
    rejected: int = 0
    #: Times in a row that it failed, and why the last time.
    failures: int = 0
    problem: str | None = None
    #: Everything up to here was handed over.
    watermark: str | None = None


_COLUMNS = tuple(inbound.c[name] for name in Stand.__struct_fields__)


class Standing:
    """The inbound files of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def all(self) -> list[Stand]:
        """Every inbound file that was ever looked at, by name."""
        with self._store.reads.connect() as connection:
            return [Stand(*row) for row in connection.execute(select(*_COLUMNS).order_by(inbound.c.name))]

    def of(self, name: str, kind: str) -> Stand:
        """One of them."""
        with self._store.reads.connect() as connection:
            row = connection.execute(select(*_COLUMNS).where(inbound.c.name == name)).first()
        return Stand(name, kind) if row is None else Stand(*row)

    def begin(self, name: str, kind: str, lease_seconds: float, longest_seconds: float) -> bool:
        """Begin if it is due; False when it is not, or another process has begun. Due again when the lease ends.

        ``longest_seconds``: nothing is ever due later than this from now; else the clock was set back.
        """
        now = self._clock()
        seconds = now.timestamp()
        self.made(name, kind)
        mine = (inbound.c.name == name) & (
            (inbound.c.due_at <= seconds) | (inbound.c.due_at > seconds + longest_seconds)
        )
        values = {"began_at": instant(now), "due_at": seconds + lease_seconds, "kind": kind}
        with self._store.reads.connect() as connection:
            if connection.execute(select(inbound.c.name).where(mine)).first() is None:
                return False
        with self._store.engine.begin() as connection:
            return connection.execute(update(inbound).where(mine).values(**values)).rowcount == 1

    def ended(
        self, name: str, kind: str, rows: int, rejected: int, due_at: float, watermark: str | None = None
    ) -> None:
        """It went well; ``watermark``: everything up to there was handed over."""
        values = {"ended_at": instant(self._clock()), "lines": rows, "rejected": rejected, "due_at": due_at,
                  "failures": 0, "problem": None, "kind": kind}  # fmt: skip
        if watermark is not None:
            values["watermark"] = watermark
        self._write(name, **values)

    def failed(self, name: str, problem: str, due_at: float) -> None:
        """It did not go well."""
        self._write(name, failures=inbound.c.failures + 1, problem=problem[:500], due_at=due_at)

    def ask(self, name: str, kind: str, since: str | None = None) -> Stand:
        """Have the clock do it as soon as it can; ``since``: from there on, whatever was read before."""
        self.made(name, kind)
        self._write(name, due_at=0.0, **({} if since is None else {"watermark": since}))
        return self.of(name, kind)

    def made(self, name: str, kind: str) -> None:
        """It is known from now on."""
        with self._store.reads.connect() as connection:
            if connection.execute(select(inbound.c.name).where(inbound.c.name == name)).first() is not None:
                return
        # Another process may make it meanwhile: it is there, which is all that is wanted.
        with suppress(IntegrityError), self._store.engine.begin() as connection:
            connection.execute(insert(inbound).values(name=name, kind=kind))

    def _write(self, name: str, **values: Any) -> None:
        with self._store.engine.begin() as connection:
            connection.execute(update(inbound).where(inbound.c.name == name).values(**values))
