"""What was answered about orders, for good: an answer is kept when it is another than the one before, in a chain.

Canonical bytes of an answer: the JSON array ``["lotgate.readiness.v1", order, number, readiness, content, recorded_at,
recorded_by, prev_hash]``, UTF-8, no white space; ``content`` is the stored JSON text, taken as a string. ``hash`` is
the lower-case hex SHA-256 of them, ``prev_hash`` the hash of the order's answer before, and 64 zeros for the first.
What may not enter: how an answer comes about (engine/order_readiness.py).
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from engine.clock import Clock, instant
from engine.errors import NotFound
from engine.journal import GENESIS
from engine.order_readiness import OrderReadiness, basis
from engine.store import readiness as stored
from engine.store.opening import Store

FORMAT = "lotgate.readiness.v1"
#: Others may keep an answer about the same order at the same moment; each of them leaves one fewer to come.
_ATTEMPTS = 20


class KeptAnswer(Struct, frozen=True):
    """An answer as it was kept."""

    order: str
    number: int
    readiness: str
    content: msgspec.Raw
    recorded_at: str
    recorded_by: str
    prev_hash: str
    hash: str


class Answered(Struct, frozen=True):
    """An answer, and since when, and under which number, it is kept; null: of an order that nobody knows."""

    number: int | None
    since: str | None
    hash: str | None
    answer: OrderReadiness


class ReadinessRecords:
    """Answers of one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def keep(self, answer: OrderReadiness, by: str) -> Answered:
        """Keep ``answer`` unless it is what the newest of its order says, or about an order that nobody knows."""
        if not answer.facts:
            return Answered(None, None, None, answer)
        content = basis(answer).decode()
        with self._store.reads.connect() as connection:
            # Looked up without the write lock, which the committer needs more.
            last = stored.newest(connection, answer.order)
        if last is not None and last.content == content:
            return Answered(last.number, last.recorded_at, last.hash, answer)
        for _ in range(_ATTEMPTS):
            try:
                with self._store.engine.begin() as connection:
                    last = stored.newest(connection, answer.order)
                    if last is not None and last.content == content:
                        return Answered(last.number, last.recorded_at, last.hash, answer)
                    row = self._row(answer, content, by, last)
                    stored.add(connection, row)
                return Answered(row["number"], row["recorded_at"], row["hash"], answer)
            except IntegrityError:
                continue
        raise AssertionError(f"{_ATTEMPTS} others kept an answer about {answer.order} in the meantime")

    def _row(self, answer: OrderReadiness, content: str, by: str, last: Any) -> dict[str, Any]:
        number, before = (1, GENESIS) if last is None else (last.number + 1, last.hash)
        now, said = instant(self._clock()), answer.readiness.value
        return {
            "order_number": answer.order, "number": number, "readiness": said, "content": content, "recorded_at": now,
            "recorded_by": by, "prev_hash": before,
            "hash": _hash(answer.order, number, said, content, now, by, before),
        }  # fmt: skip

    def page(self, order: str, after: int, limit: int) -> tuple[list[KeptAnswer], int | None]:
        """Answers about an order, oldest first, and the number to go on from. Raises NotFound where there is none."""
        rows = stored.page(self._store, order, after, limit + 1)
        if not rows and not after:
            raise NotFound(f"Nobody has asked about the order {order}.")
        found = [
            KeptAnswer(r.order_number, r.number, r.readiness, msgspec.Raw(r.content.encode()), r.recorded_at,
                       r.recorded_by, r.prev_hash, r.hash)
            for r in rows[:limit]
        ]  # fmt: skip
        return found, found[-1].number if len(rows) > limit else None

    def breaks(self) -> Iterator[str]:
        """What is wrong with the chains, a sentence each; at most one an order."""
        order, number, before, broken = None, 0, GENESIS, False
        for row in stored.every(self._store):
            if row.order_number != order:
                order, number, before, broken = row.order_number, 0, GENESIS, False
            if broken:
                continue
            said = (row.order_number, row.number, row.readiness, row.content, row.recorded_at, row.recorded_by)
            wrong = "is missing or out of order" if row.number != number + 1 else None
            if wrong is None and (row.prev_hash != before or row.hash != _hash(*said, row.prev_hash)):
                wrong = "was changed: its hash does not fit"
            if wrong is not None:
                broken = True
                yield f"answer {number + 1} about the order {order} {wrong}"
            number, before = row.number, row.hash


def _hash(*said: Any) -> str:
    return hashlib.sha256(msgspec.json.encode((FORMAT, *said))).hexdigest()
