"""Recalls, in SQL. What they mean is in engine/recalls.py."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, json
from sqlalchemy import ColumnElement, Table, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from engine.store.genealogy import read_among
from engine.store.opening import Store
from engine.store.schema.lots import holds, lots, spreading
from engine.store.schema.quality import recalls
from engine.upcasts import current

_MATCHES = {
    "supplier": lots.c.supplier, "item": lots.c.item, "revision": lots.c.revision, "order": lots.c.order_number,
    "plant": lots.c.plant,
}  # fmt: skip
#: What was started in production begins with what that made, once it did.
_BORN = (
    "SELECT lot, version, type, data FROM journal"
    " WHERE (version = 1 OR \"trigger\" = 'produce') AND kind <> 'refusal' AND {among}"
)
#: The same of lots whose beginning is in the archive: a recall needs none of its files.
_ARCHIVED = "SELECT lot, first_version, beginning FROM archived_lots WHERE beginning IS NOT NULL AND {among}"
_USED = "SELECT parent, quantity FROM links WHERE kind = 'consume' AND {among}"
_KNOWN = "SELECT id FROM lots WHERE {among}"


def lines(
    store: Store, states: Sequence[str] = (), after: tuple[str, str] | None = None, limit: int | None = None
) -> list[Any]:
    """Recalls in ``states``, or all; the newest first, from ``after`` (opened at, id) on."""
    return listed(store, recalls, states, after, limit)


def counts(store: Store) -> dict[str, int]:
    """How many recalls there are in each state."""
    return counted(store, recalls)


def listed(
    store: Store, table: Table, states: Sequence[str], after: tuple[str, str] | None, limit: int | None
) -> list[Any]:
    """Rows of ``table`` in ``states``, or all; the newest first, from ``after`` (opened at, id) on."""
    query = select(table).order_by(table.c.opened_at.desc(), table.c.id).limit(limit)
    if after is not None:
        at, identity = after
        query = query.where((table.c.opened_at < at) | ((table.c.opened_at == at) & (table.c.id > identity)))
    if states:
        query = query.where(table.c.state.in_(states))
    with store.reads.connect() as connection:
        return list(connection.execute(query))


def counted(store: Store, table: Table) -> dict[str, int]:
    """Rows of ``table`` by state."""
    with store.reads.connect() as connection:
        found = connection.execute(select(table.c.state, func.count()).group_by(table.c.state))
        return {str(state): int(number) for state, number in found}


def line(store: Store, identity: str) -> Any:
    """One recall, or None."""
    with store.reads.connect() as connection:
        return connection.execute(select(recalls).where(recalls.c.id == identity)).first()


def add(store: Store, row: dict[str, Any]) -> bool:
    """Keep a new recall; False when there is one of its id."""
    try:
        with store.engine.begin() as connection:
            connection.execute(insert(recalls).values(**row))
    except IntegrityError:
        return False
    return True


def move(store: Store, identity: str, state: str, values: dict[str, Any]) -> None:
    """Change a recall that is in ``state``."""
    with store.engine.begin() as connection:
        connection.execute(update(recalls).where(recalls.c.id == identity, recalls.c.state == state).values(**values))


def select_lots(
    store: Store, wanted: dict[str, Any], after: str, limit: int, more: Sequence[ColumnElement[bool]] = ()
) -> list[str]:
    """Ids of lots that fit, in their order, above ``after``; ``more``: conditions besides."""
    query = select(lots.c.id).where(lots.c.id > after).order_by(lots.c.id).limit(limit)
    for name, column in _MATCHES.items():
        if name in wanted:
            query = query.where(column == wanted[name])
    if "received_from" in wanted:
        query = query.where(lots.c.received_at >= wanted["received_from"])
    if "received_until" in wanted:
        query = query.where(lots.c.received_at <= wanted["received_until"])
    if "states" in wanted:
        query = query.where(lots.c.state.in_(wanted["states"]))
    if "measured" in wanted:
        query = query.where(_measured(store.dialect, wanted["measured"]))
    for condition in more:
        query = query.where(condition)
    named = wanted.get("lots")
    with store.reads.connect() as connection:
        if named is None:
            return [str(i) for (i,) in connection.execute(query)]
        found: list[str] = []
        rest = sorted(set(named))
        for start in range(0, len(rest), 500):
            some = query.where(lots.c.id.in_(rest[start : start + 500]))
            found += [str(i) for (i,) in connection.execute(some)]
            if len(found) >= limit:
                break
        return found[:limit]


#: One line of a lot's results, in the words of each database.
_LINES = {
    "sqlite": ("json_each(results.measurements) line", "json_extract(line.value, '$.{}')", "REAL"),
    "postgresql": ("json_array_elements(results.measurements::json) line", "line ->> '{}'", "NUMERIC"),
}


def _measured(dialect: str, wanted: Any) -> ColumnElement[bool]:
    """Does any result of the lot lie beyond a bound? ``wanted``: engine.recalls.Measured."""
    lines, member, number = _LINES[dialect]
    value = f"CAST({member.format('value')} AS {number})"
    bounds = {"above": (">", wanted.above), "below": ("<", wanted.below)}
    beyond = " OR ".join(f"{value} {sign} :{name}" for name, (sign, bound) in bounds.items() if bound is not None)
    given: dict[str, Any] = {"characteristic": wanted.characteristic}
    # SQLite has no decimals: both sides become the nearest float, so a result that is the bound stays outside.
    given |= {n: float(b) if dialect == "sqlite" else b for n, (_, b) in bounds.items() if b is not None}
    unit = "" if wanted.unit is None else f" AND {member.format('unit')} = :unit"
    if wanted.unit is not None:
        given["unit"] = wanted.unit
    return text(
        f"EXISTS (SELECT 1 FROM results, {lines} WHERE results.lot = lots.id"
        f" AND {member.format('characteristic')} = :characteristic{unit} AND ({beyond}))"
    ).bindparams(**given)  # type: ignore[return-value]  # a condition, whatever its type says


def known(store: Store, ids: Sequence[str]) -> list[str]:
    """Those of ``ids`` that exist."""
    with store.reads.connect() as connection:
        return [str(row.id) for row in read_among(connection, _KNOWN, "id", ids)]


def held(store: Store, hold: str, after: str = "", limit: int | None = None) -> list[str]:
    """Lots that have, or had, a hold of this name, in order, from ``after`` on."""
    wanted = (holds.c.hold == hold, holds.c.lot > after)
    with store.reads.connect() as connection:
        query = select(holds.c.lot).distinct().where(*wanted).order_by(holds.c.lot).limit(limit)
        return [str(lot) for (lot,) in connection.execute(query)]


def held_mark(store: Store, hold: str) -> tuple[int, int]:
    """How many lots have, or had, it, and the sum of their versions: both the same, nothing of them has changed."""
    mine = select(holds.c.lot).distinct().where(holds.c.hold == hold)
    query = select(func.count(), func.coalesce(func.sum(lots.c.version), 0)).where(lots.c.id.in_(mine))
    with store.reads.connect() as connection:
        number, versions = connection.execute(query).one()
    return int(number), int(versions)


def still_held(store: Store, hold: str, source: str, limit: int, after: str = "") -> list[str]:
    """Lots behind ``after`` on which ``source`` placed it and on which it stands."""
    wanted = (holds.c.hold == hold, holds.c.source == source, holds.c.lifted_at.is_(None), holds.c.lot > after)
    with store.reads.connect() as connection:
        query = select(holds.c.lot).where(*wanted).order_by(holds.c.lot).limit(limit)
        return [str(lot) for (lot,) in connection.execute(query)]


def is_spreading(store: Store, hold: str) -> bool:
    """Has it still to be passed on?"""
    with store.reads.connect() as connection:
        query = select(spreading.c.id).where(spreading.c.hold == hold).limit(1)
        return connection.execute(query).first() is not None


class Beginning(Struct, frozen=True):
    """What a lot began with, and what that was of."""

    born: Decimal
    #: The lot that it was split off from, and how much of it that is where it is counted in another unit.
    parent: str | None = None
    used: Decimal | None = None
    #: What each lot gave that it was put together from.
    parts: dict[str, Decimal] = {}


def quantities(store: Store, ids: Sequence[str]) -> tuple[dict[str, Beginning], dict[str, Decimal]]:
    """Of each lot: how it began, and what was consumed of it."""
    begun: dict[str, Beginning] = {}
    used: dict[str, Decimal] = {}
    with store.moments.connect() as connection:
        for row in sorted(read_among(connection, _ARCHIVED, "lot", ids), key=lambda row: row.first_version):
            begun[row.lot] = json.decode(row.beginning, type=Beginning)
        for row in sorted(read_among(connection, _BORN, "lot", ids), key=lambda row: row.version):
            begun[row.lot] = beginning_of(row.type, row.data)
        for row in read_among(connection, _USED, "parent", [f"lot:{lot}" for lot in ids]):
            lot = row.parent[4:]
            used[lot] = used.get(lot, Decimal(0)) + Decimal(row.quantity)
    return begun, used


def begins(entry: Any) -> bool:
    """Does a journal entry say what a lot began with? What was started in production begins with what that made."""
    return bool((entry.version == 1 or entry.trigger == "produce") and entry.kind != "refusal")


def beginning_of(type_: str, block: str) -> Beginning:
    """What a lot began with, out of such an entry's type and data block."""
    type_, text_ = current(type_, block.encode())
    if type_ == "lot.split_off.v1":
        off = json.decode(text_, type=_SplitOff)
        return Beginning(off.lot.quantity, off.parent, None if off.used is None else off.used.value)
    if type_ == "lot.merged.v1":
        merged = json.decode(text_, type=_Merged)
        return Beginning(merged.lot.quantity, parts={part.lot: part.quantity.value for part in merged.parts})
    return Beginning(json.decode(text_, type=_Came).quantity.value)


# Of thousands of lots at once: what is not asked for is not read.


class _Amount(Struct):
    value: Decimal


class _Came(Struct):
    quantity: _Amount


class _Whole(Struct):
    quantity: Decimal


class _SplitOff(Struct):
    lot: _Whole
    parent: str
    used: _Amount | None = None


class _Part(Struct):
    lot: str
    quantity: _Amount


class _Merged(Struct):
    lot: _Whole
    parts: list[_Part]

