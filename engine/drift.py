"""Drift: what targets were read back to say, where that is not what they agreed to; and when each was read last.

What may not enter: reading targets (actors/reconcile.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update

from engine.clock import Clock, instant
from engine.effects import StockStatus
from engine.store.opening import Store
from engine.store.schema.delivery import deliveries, drift, reconciliations

_decode_words = msgspec.json.Decoder(dict[str, str]).decode
_decode = msgspec.json.Decoder(StockStatus).decode
#: Kinds of drift: it fell behind, somebody changed it, the lot left though it must not, it does not know the lot.
KINDS = ("differs", "changed-by-hand", "left-while-blocked", "unknown-lot")


class Agreed(Struct, frozen=True):
    """The newest that a target has agreed to of one lot, while nothing is owed to it."""

    lot: str
    version: int
    status: StockStatus


class DriftLine(Struct, frozen=True):
    """A lot of which a target says something else than it agreed to. Instants are ISO 8601, UTC."""

    target: str
    lot: str
    #: differs, changed-by-hand, left-while-blocked, unknown-lot
    kind: str
    #: Version that it had agreed to.
    version: int
    #: Both in the target's own words.
    expected: dict[str, str]
    observed: dict[str, str]
    #: First seen, and last.
    since: str
    seen_at: str
    #: Times it was told again.
    repairs: int


class Reading(Struct, frozen=True):
    """The newest reading back of a target. Instants are ISO 8601, UTC; null: never, or not yet."""

    target: str
    started_at: str | None = None
    ended_at: str | None = None
    #: Lots that were compared, that drift, and that were told again.
    lots: int = 0
    drifting: int = 0
    repaired: int = 0
    #: Why it ended early.
    problem: str | None = None


_LINE = tuple(drift.c[name] for name in DriftLine.__struct_fields__)
_READING = tuple(reconciliations.c[name] for name in Reading.__struct_fields__)


class Drift:
    """The drift of one store's targets."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # -- what is expected --------------------------------------------------------------------------------------

    def agreed(self, target: str, *, after: str = "", limit: int = 500) -> list[Agreed]:
        """What ``target`` has agreed to, in order of lots; lots that it is owed something are left out."""
        return self._agreed(target, deliveries.c.lot > after, limit)

    def agreed_to(self, target: str, lots: Sequence[str]) -> dict[str, Agreed]:
        """The same for ``lots``."""
        return {found.lot: found for found in self._agreed(target, deliveries.c.lot.in_(lots), len(lots))}

    def _agreed(self, target: str, wanted: ColumnElement[bool], limit: int) -> list[Agreed]:
        other = deliveries.alias("other")
        # Newer, or owed: what is on its way may be read back or not. A dead one is owed, too.
        unsettled = and_(
            other.c.lot == deliveries.c.lot,
            other.c.target == target,
            (other.c.version > deliveries.c.version) | other.c.state.in_(("pending", "sending", "dead")),
        )
        query = (
            select(deliveries.c.lot, deliveries.c.version, deliveries.c.payload)
            .where(deliveries.c.target == target, deliveries.c.state == "delivered", wanted)
            .where(~select(other.c.id).where(unsettled).correlate(deliveries).exists())
            .order_by(deliveries.c.lot)
            .limit(limit)
        )
        with self._store.reads.connect() as connection:
            return [Agreed(lot, version, _decode(text)) for lot, version, text in connection.execute(query)]

    # -- what was found ----------------------------------------------------------------------------------------

    def found(self, line: DriftLine) -> DriftLine:
        """Keep ``line``; one about the same that stands already keeps its beginning, and gives its repairs."""
        mine = and_(drift.c.target == line.target, drift.c.lot == line.lot)
        values = {
            "kind": line.kind, "version": line.version, "expected": _text(line.expected),
            "observed": _text(line.observed), "seen_at": line.seen_at,
        }  # fmt: skip
        with self._store.engine.begin() as connection:
            there = connection.execute(select(drift.c.since, drift.c.repairs).where(mine)).first()
            if there is None:
                row = {"target": line.target, "lot": line.lot, "since": line.since, "repairs": 0}
                connection.execute(insert(drift).values(**values, **row))
                return line
            connection.execute(update(drift).where(mine).values(**values))
        return msgspec.structs.replace(line, since=there.since, repairs=there.repairs)

    def told_again(self, target: str, lots: Iterable[str]) -> None:
        """These were told again."""
        mine = and_(drift.c.target == target, drift.c.lot.in_(list(lots)))
        with self._store.engine.begin() as connection:
            connection.execute(update(drift).where(mine).values(repairs=drift.c.repairs + 1))

    def over(self, target: str, lots: Sequence[str]) -> list[str]:
        """``lots`` agree: forget what was found of them; gives those of which something was."""
        mine = and_(drift.c.target == target, drift.c.lot.in_(lots))
        with self._store.reads.connect() as connection:
            gone = [str(lot) for (lot,) in connection.execute(select(drift.c.lot).where(mine))]
        if gone:
            with self._store.engine.begin() as connection:
                connection.execute(delete(drift).where(mine))
        return gone

    def lines(
        self, target: str, *, lot: str | None = None, kind: str | None = None, after: str = "", limit: int = 100
    ) -> list[DriftLine]:
        """What was found, in order of lots."""
        wanted = [drift.c.target == target, drift.c.lot > after]
        if lot is not None:
            wanted.append(drift.c.lot == lot)
        if kind is not None:
            wanted.append(drift.c.kind == kind)
        with self._store.reads.connect() as connection:
            rows = connection.execute(select(*_LINE).where(*wanted).order_by(drift.c.lot).limit(limit)).all()
        return [_line(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """Drifting lots by target and kind."""
        query = select(drift.c.target, drift.c.kind, func.count()).group_by(drift.c.target, drift.c.kind)
        with self._store.reads.connect() as connection:
            return {(str(target), str(kind)): int(number) for target, kind, number in connection.execute(query)}

    # -- readings ----------------------------------------------------------------------------------------------

    def reading(self, target: str) -> Reading:
        """The newest reading back of ``target``."""
        with self._store.reads.connect() as connection:
            row = connection.execute(select(*_READING).where(reconciliations.c.target == target)).first()
        return Reading(target) if row is None else Reading(*row)

    def begin(self, target: str, every_seconds: float, *, if_due: bool) -> bool:
        """Begin a reading; False when ``if_due`` and it is not due, or another process has begun it."""
        now = self._clock()
        seconds = now.timestamp()
        values = {
            "started_at": instant(now), "ended_at": None, "lots": 0, "drifting": 0, "repaired": 0, "problem": None,
            "next_at": seconds + every_seconds,
        }  # fmt: skip
        mine = reconciliations.c.target == target
        # Further away than a whole period: the clock was set back.
        due = (reconciliations.c.next_at <= seconds) | (reconciliations.c.next_at > seconds + every_seconds)
        with self._store.engine.begin() as connection:
            if connection.execute(select(reconciliations.c.target).where(mine)).first() is None:
                connection.execute(insert(reconciliations).values(target=target, **values))
                return True
            wanted = mine & due if if_due else mine
            return connection.execute(update(reconciliations).where(wanted).values(**values)).rowcount == 1

    def is_due(self, target: str, every_seconds: float) -> bool:
        """Is it time to read ``target`` again? Looked up without the write lock."""
        seconds = self._clock().timestamp()
        query = select(reconciliations.c.next_at).where(reconciliations.c.target == target)
        with self._store.reads.connect() as connection:
            at = connection.execute(query).scalar()
        return at is None or float(at) <= seconds or float(at) > seconds + every_seconds

    def ask(self, target: str) -> Reading:
        """Have the clock read ``target`` back as soon as it can."""
        mine = reconciliations.c.target == target
        with self._store.engine.begin() as connection:
            connection.execute(update(reconciliations).where(mine).values(next_at=0.0))
        return self.reading(target)

    def end(self, reading: Reading) -> Reading:
        """The reading is over."""
        ended = msgspec.structs.replace(reading, ended_at=instant(self._clock()))
        values = {name: getattr(ended, name) for name in ("ended_at", "lots", "drifting", "repaired", "problem")}
        with self._store.engine.begin() as connection:
            mine = reconciliations.c.target == reading.target
            connection.execute(update(reconciliations).where(mine).values(**values))
        return self.reading(reading.target)


def _text(members: dict[str, str]) -> str:
    return msgspec.json.encode(members).decode()


def _line(row: Any) -> DriftLine:
    target, lot, kind, version, expected, observed, since, seen_at, repairs = row
    return DriftLine(
        target, lot, kind, version, _decode_words(expected), _decode_words(observed), since, seen_at, repairs
    )
