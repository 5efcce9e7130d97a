"""What is used under concessions, in SQL. What counts, and how, is in engine/concessions.py.

A batch reads without a lock, decides, and locks the rows of its concessions in the order of their numbers when it
commits: where another batch changed one of them meanwhile, or is about to, it is decided again, alone. So two lots that
are decided at once never use the same quantity, and nobody waits for a concession while others wait for his lots.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from engine.concessions import MOST_NAMED, Accounts, Total, Use
from engine.store.opening import Overtaken, Store
from engine.store.schema.quality import concession_uses, concessions
from engine.store.writing import Cursor, Statements

_TOTALS = "SELECT number, unit, used, permitted, changes FROM concessions WHERE {number} ORDER BY number, unit"
#: What counts of lots at hand, and the lots of each plant that came first.
_USES = (
    "SELECT number, lot, unit, quantity, plant, {mine} AS mine FROM ("
    "SELECT number, lot, unit, quantity, plant,"
    " row_number() OVER (PARTITION BY number, unit, plant ORDER BY first_at, lot) AS place"
    " FROM concession_uses WHERE {number}) AS counted WHERE place <= {most} OR {lot}"
)
_NEW = "INSERT INTO concessions (number, unit, used, changes, first_at, changed_at) VALUES {row} ON CONFLICT DO NOTHING"
_COUNT = (
    "UPDATE concessions SET used = {x}, permitted = {x}, changes = changes + 1, changed_at = {x}"
    " WHERE number = {x} AND unit = {x}"
)
_USE = (
    "INSERT INTO concession_uses (number, lot, unit, quantity, first_at, changed_at, plant) VALUES {use}"
    " ON CONFLICT (number, lot, unit) DO UPDATE SET quantity = excluded.quantity, changed_at = excluded.changed_at"
)


class _Words:
    """The statements in one database's words."""

    def __init__(self, statements: Statements) -> None:
        postgres = statements.dialect == "postgresql"
        x = "%s" if postgres else "?"
        among = "{0} = ANY(%s)" if postgres else "{0} IN (SELECT value FROM json_each(?))"
        self.totals = _TOTALS.format(number=among.format("number"))
        #: By whether that may wait for whoever has locked one of them.
        self.locked = {
            waits: self.totals + (f" FOR UPDATE{how}" if postgres else "")
            for waits, how in ((True, ""), (False, " NOWAIT"))
        }
        lot = among.format("lot")
        self.uses = _USES.format(
            number=among.format("number"), most=MOST_NAMED, lot=lot, mine=f"CASE WHEN {lot} THEN 1 ELSE 0 END"
        )
        row, use = (f"({', '.join([x] * number)})" for number in (6, 7))
        self.new, self.count, self.use = _NEW.format(row=row), _COUNT.format(x=x), _USE.format(use=use)


def read_accounts(
    cursor: Cursor, statements: Statements, numbers: Iterable[str], lots: Iterable[str], *, lock: bool = False
) -> Accounts:
    """The concessions ``numbers`` as they stand, with what counts of ``lots``.

    ``lock``: nobody else changes them until the transaction ends.
    """
    words, keys = _Words(statements), statements.keys(sorted(numbers))
    cursor.execute(words.locked[True] if lock else words.totals, (keys,))
    totals = [_total(row) for row in cursor.fetchall()]
    mine = statements.keys(lots)
    cursor.execute(words.uses, (mine, keys, mine))
    uses: dict[tuple[str, str, str], Decimal] = {}
    first: dict[tuple[str, str], tuple[Use, ...]] = {}
    plants: dict[str, str | None] = {}
    for number, lot, unit, quantity, plant, at_hand in cursor.fetchall():
        plants[lot] = plant
        if at_hand:
            uses[number, lot, unit] = Decimal(quantity)
        first[number, unit] = (*first.get((number, unit), ()), Use(lot, Decimal(quantity), unit))
    return Accounts(totals, uses, first, plants)


def settle(
    cursor: Cursor, statements: Statements, accounts: Accounts, looked: Iterable[str], now: str, *, waits: bool
) -> None:
    """Write what a batch changed, inside the transaction that commits it.

    ``looked``: numbers that it looked at. Raises Overtaken when one of them was changed since it was read.
    ``waits``: for whoever has locked one; else psycopg's LockNotAvailable is raised: who has it may use it up, or be
    waiting for a lot that another batch of this thread has locked.
    """
    wanted = sorted({*looked, *(number for number, _ in accounts.changed)})
    if not wanted:
        return
    words = _Words(statements)
    for number, unit in sorted(accounts.changed):
        if (number, unit) not in accounts.read:
            cursor.execute(words.new, (number, unit, "0", 0, now, now))
    cursor.execute(words.locked[waits], (statements.keys(wanted),))
    stored = {(one.number, one.unit): one for one in map(_total, cursor.fetchall())}
    for key, one in stored.items():
        before = accounts.read.get(key)
        if one.changes != (0 if before is None else before.changes):
            raise Overtaken(f"concession {one.number} was used while the batch was decided")
    for key in sorted(accounts.changed):
        total = accounts.totals[key]
        permitted = None if total.permitted is None else format(total.permitted, "f")
        cursor.execute(words.count, (format(total.used, "f"), permitted, now, *key))
    for name in sorted(accounts.changed_uses):
        cursor.execute(words.use, (*name, format(accounts.uses[name], "f"), now, now, accounts.plants.get(name[1])))


def _total(row: Any) -> Total:
    number, unit, used, permitted, changes = row
    return Total(number, unit, Decimal(used), None if permitted is None else Decimal(permitted), int(changes))


def read_totals(
    store: Store, *, after: tuple[str, str] = ("", ""), limit: int, number: str | None = None
) -> list[Total]:
    """Concessions that were used, by number and unit."""
    c = concessions.c
    query = select(c.number, c.unit, c.used, c.permitted, c.changes).where(c.changes > 0)
    if number is not None:
        query = query.where(c.number == number)
    later = (c.number > after[0]) | ((c.number == after[0]) & (c.unit > after[1]))
    with store.reads.connect() as connection:
        rows = connection.execute(query.where(later).order_by(c.number, c.unit).limit(limit)).all()
    return [_total(tuple(row)) for row in rows]


def read_latest(store: Store, unit: str, limit: int) -> list[Total]:
    """Concessions by which lots in ``unit`` are used, those that were used last first."""
    c = concessions.c
    query = select(c.number, c.unit, c.used, c.permitted, c.changes).where(c.changes > 0, c.unit == unit)
    with store.reads.connect() as connection:
        rows = connection.execute(query.order_by(c.changed_at.desc(), c.number).limit(limit)).all()
    return [_total(tuple(row)) for row in rows]


def read_uses(store: Store, number: str, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Use]:
    """How much of which lot counts under a concession, by lot."""
    c = concession_uses.c
    later = (c.lot > after[0]) | ((c.lot == after[0]) & (c.unit > after[1]))
    query = select(c.lot, c.quantity, c.unit).where(c.number == number, c.quantity != "0", later)
    with store.reads.connect() as connection:
        rows = connection.execute(query.order_by(c.lot, c.unit).limit(limit)).all()
    return [Use(str(row.lot), Decimal(row.quantity), str(row.unit)) for row in rows]


def read_used_in(store: Store, number: str, plants: Collection[str]) -> dict[str, Decimal]:
    """What the lots of ``plants`` use of a concession, by unit."""
    c = concession_uses.c
    query = select(c.unit, c.quantity).where(c.number == number, c.plant.in_(sorted(plants)))
    found: dict[str, Decimal] = {}
    with store.reads.connect() as connection:
        for unit, quantity in connection.execute(query):
            found[unit] = found.get(unit, Decimal(0)) + Decimal(quantity)
    return found
