"""The questions that the state API, the command line and verification ask of the store. Reads only."""

from collections.abc import Iterable, Iterator
from typing import TypedDict, Unpack

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, func, select, union

from engine.errors import ArchiveUnavailable, NotFound
from engine.holds import HoldLine
from engine.journal import Entry
from engine.lot import Lot, decode_lot
from engine.store.archived import Archived, Unread
from engine.store.counting import up_to
from engine.store.opening import Store
from engine.store.schema.archive import archived_lots
from engine.store.schema.delivery import escalations
from engine.store.schema.lots import events, holds, journal, lots, operation_results, parked, results


class LotLine(Struct, frozen=True):
    """A lot in a list."""

    id: str
    version: int
    state: str
    item: str
    revision: str
    supplier: str | None
    plant: str | None
    order: str | None
    quantity: str
    unit: str
    expires_on: str | None
    closed: str | None
    received_at: str
    changed_at: str


class ResultLine(Struct, frozen=True):
    """One accepted inspection record."""

    version: int
    inspection: str
    measurements: msgspec.Raw


class EventLine(Struct, frozen=True):
    """An event and its answer."""

    key: str
    source: str
    id: str
    type: str
    subject: str
    outcome: str
    status: int
    lot_version: int | None
    principal: str
    recorded_at: str
    answer: msgspec.Raw


class ParkedLine(Struct, frozen=True):
    """An event that waits."""

    key: str
    subject: str
    waits_for: str
    parked_at: str
    expires_at: float


class EscalationLine(Struct, frozen=True):
    """Something somebody has to look at."""

    id: int
    kind: str
    subject: str
    detail: str
    opened_at: str
    acknowledged_at: str | None
    acknowledged_by: str | None


_LOT_COLUMNS = (
    lots.c.id, lots.c.version, lots.c.state, lots.c.item, lots.c.revision, lots.c.supplier, lots.c.plant,
    lots.c.order_number, lots.c.quantity, lots.c.unit, lots.c.expires_on, lots.c.closed, lots.c.received_at,
    lots.c.changed_at,
)  # fmt: skip
#: Lots whose journals are read at a time.
_LOTS = 500
_ENTRY_COLUMNS = tuple(journal.c[name] for name in Entry.__struct_fields__)


class Wanted(TypedDict, total=False):
    """What lots are asked for; None and what is left out: whatever it is."""

    state: str | None
    item: str | None
    supplier: str | None
    order: str | None
    plant: str | None


class Reading:
    """Questions to one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._archived = Archived(store)

    def lots(self, *, after: str = "", limit: int = 100, **wanted: Unpack[Wanted]) -> list[LotLine]:
        """Lots in order of their id, from ``after`` on."""
        query = select(*_LOT_COLUMNS).where(lots.c.id > after, *_like(wanted)).order_by(lots.c.id).limit(limit)
        return [LotLine(*row) for row in self._rows(query)]

    def number(self, **wanted: Unpack[Wanted]) -> int:
        """How many lots there are like that; more than MOST: only that there are more."""
        return up_to(self._store, select(lots.c.id).where(*_like(wanted)))

    def search(self, text: str, *, after: str = "", limit: int = 100) -> list[LotLine]:
        """Lots whose id begins with ``text``, or whose item, supplier or order it is; in order of their id.

        What somebody typed in small letters is looked for in capitals too. Each look is one look at an index.
        """
        looks = []
        for word in dict.fromkeys((text, text.upper())):
            # The last code point there is: everything that begins with the word comes before, where order is by bytes.
            begins: ColumnElement[bool] = lots.c.id.between(word, word + "\U0010ffff")
            if self._store.dialect == "postgresql":
                begins = lots.c.id.startswith(word, autoescape=True)
            for condition in (begins, lots.c.item == word, lots.c.supplier == word, lots.c.order_number == word):
                look = select(*_LOT_COLUMNS).where(lots.c.id > after, condition).order_by(lots.c.id).limit(limit)
                looks.append(select(look.subquery()))
        # The database orders, so that the next page begins where this one ends, whatever its collation.
        found = union(*looks).subquery()
        return [LotLine(*row) for row in self._rows(select(found).order_by(found.c.id).limit(limit))]

    def lot(self, lot_id: str) -> Lot:
        """The lot as it stands; raises NotFound."""
        rows = self._rows(select(lots.c.snapshot).where(lots.c.id == lot_id))
        if not rows:
            raise NotFound(f"There is no lot {lot_id}.")
        return decode_lot(rows[0][0])

    def plants(self, lot_ids: Iterable[str]) -> dict[str, str | None]:
        """The plant of each of these lots that there is."""
        query = select(lots.c.id, lots.c.plant).where(lots.c.id.in_(list(lot_ids)))
        return {str(lot): plant for lot, plant in self._rows(query)}

    def counts(self) -> dict[str, int]:
        """Lots by state."""
        query = select(lots.c.state, func.count()).group_by(lots.c.state)
        return {str(state): int(number) for state, number in self._rows(query)}

    def journal(self, lot_id: str, *, after: int = 0, limit: int = 100) -> list[Entry]:
        """Journal entries of a lot in order, from version ``after`` on. Raises ArchiveUnavailable."""
        query = select(*_ENTRY_COLUMNS).where(journal.c.lot == lot_id, journal.c.version > after)
        with self._store.moments.connect() as connection:
            found = [Entry(*row) for row in connection.execute(query.order_by(journal.c.version).limit(limit))]
            # The journal has the end of it: what is missing in front is in the archive.
            if found and found[0].version == after + 1:
                return found
            return [*self._archived.entries(connection, lot_id, after, limit), *found][:limit]

    def holds(self, lot_id: str) -> list[HoldLine]:
        """Every hold the lot ever had, oldest first."""
        columns = [holds.c[name] for name in HoldLine.__struct_fields__]
        query = select(*columns).where(holds.c.lot == lot_id).order_by(holds.c.applied_version, holds.c.hold)
        return [HoldLine(*row) for row in self._rows(query)]

    def results(self, lot_id: str, *, after: int = 0, limit: int = 100) -> list[ResultLine]:
        """Inspection records of a lot, from journal version ``after`` on."""
        query = (
            select(results.c.version, results.c.inspection, results.c.measurements)
            .where(results.c.lot == lot_id, results.c.version > after)
            .order_by(results.c.version)
            .limit(limit)
        )
        return [ResultLine(v, i, msgspec.Raw(m.encode())) for v, i, m in self._rows(query)]

    def newest_results(self, lot_id: str, after: int, limit: int) -> tuple[list[ResultLine], int, int]:
        """The newest records from journal version ``after`` on, in order; how many there are, and how many before."""
        mine = (results.c.lot == lot_id, results.c.version > after)
        number = func.count().filter(results.c.version > after)
        count = select(number, func.count() - number).where(results.c.lot == lot_id)
        first = select(results.c.version).where(*mine).order_by(results.c.version.desc()).limit(limit).subquery()
        oldest = self._rows(select(func.min(first.c.version)))[0][0]
        ((here, before),) = self._rows(count)
        return ([] if oldest is None else self.results(lot_id, after=oldest - 1, limit=limit)), int(here), int(before)

    def operation_results(
        self, lot_id: str, operation: str, *, after: int = 0, limit: int = 100
    ) -> list[ResultLine]:
        """Records of results in process of an operation, from journal version ``after`` on."""
        c = operation_results.c
        query = select(c.version, c.inspection, c.measurements)
        query = query.where(c.lot == lot_id, c.operation == operation, c.version > after).order_by(c.version)
        return [ResultLine(v, i, msgspec.Raw(m.encode())) for v, i, m in self._rows(query.limit(limit))]

    def event(self, key: str) -> EventLine:
        """An event by its key, with its answer as it stands now; raises NotFound."""
        query = select(
            events.c.key, events.c.source, events.c.event_id, events.c.type, events.c.subject, events.c.outcome,
            events.c.status, events.c.lot_version, events.c.principal, events.c.recorded_at, events.c.answer,
        ).where(events.c.key == key)  # fmt: skip
        rows = self._rows(query)
        if not rows:
            raise NotFound(f"There is no event {key}.")
        row = rows[0]
        return EventLine(*[*row[:10], msgspec.Raw(row[10].encode())])

    def parked(self, *, after: str = "", limit: int = 100) -> list[ParkedLine]:
        """Parked events in order of their key."""
        columns = [parked.c[name] for name in ParkedLine.__struct_fields__]
        query = select(*columns).where(parked.c.key > after).order_by(parked.c.key).limit(limit)
        return [ParkedLine(*row) for row in self._rows(query)]

    def number_parked(self) -> int:
        """How many events are parked; more than MOST: only that there are more."""
        return up_to(self._store, select(parked.c.key))

    def escalations(self, *, open_only: bool = True, after: int = 0, limit: int = 100) -> list[EscalationLine]:
        """Escalations in order of their id."""
        columns = [escalations.c[name] for name in EscalationLine.__struct_fields__]
        query = select(*columns).where(escalations.c.id > after).order_by(escalations.c.id).limit(limit)
        if open_only:
            query = query.where(escalations.c.acknowledged_at.is_(None))
        return [EscalationLine(*row) for row in self._rows(query)]

    def journals(self, lot_id: str | None = None) -> Iterator[tuple[str, Iterable[Entry], Lot | None]]:
        """Every lot's whole journal with the stored lot, for verification; bounded memory.

        Entries of a lot of which a segment of the archive cannot be read raise ArchiveUnavailable.
        """
        after = ""
        while True:
            begun = select(journal.c.lot.label("id")).distinct().where(journal.c.lot > after).order_by(journal.c.lot)
            born = select(lots.c.id).where(lots.c.id > after).order_by(lots.c.id)
            # Of a lot that is archived whole nothing else is left where somebody took its row away.
            gone = select(archived_lots.c.lot.label("id")).distinct().where(archived_lots.c.lot > after)
            gone = gone.order_by(archived_lots.c.lot)
            if lot_id is not None:
                begun, born = begun.where(journal.c.lot == lot_id), born.where(lots.c.id == lot_id)
                gone = gone.where(archived_lots.c.lot == lot_id)
            every = union(*(select(q.limit(_LOTS).subquery()) for q in (begun, born, gone))).subquery()
            with self._store.moments.connect() as connection:
                ids = list(connection.execute(select(every.c.id).order_by(every.c.id).limit(_LOTS)).scalars())
                found = self._journals_of(connection, ids)
            if not found:
                return
            yield from found
            after = ids[-1]

    def _journals_of(self, connection: Connection, ids: list[str]) -> list[tuple[str, Iterable[Entry], Lot | None]]:
        lines: dict[str, list[Entry]] = {i: [] for i in ids}
        archived, unread = self._archived.readable(connection, ids)
        for lot, stretches in archived.items():
            lines[lot] = [placed.entry for stretch in stretches for placed in stretch.entries]
        query = select(*_ENTRY_COLUMNS).where(journal.c.lot.in_(ids)).order_by(journal.c.lot, journal.c.version)
        for row in connection.execute(query):
            lines[row[0]].append(Entry(*row))
        snapshots = select(lots.c.id, lots.c.snapshot).where(lots.c.id.in_(ids))
        stored = {str(i): decode_lot(text) for i, text in connection.execute(snapshots)}
        return [(i, _missing(unread[i]) if i in unread else lines[i], stored.get(i)) for i in ids]

    def _rows(self, query: Select) -> list:  # type: ignore[type-arg]  # rows of many shapes, typed by their Struct
        with self._store.reads.connect() as connection:
            return list(connection.execute(query).all())


def _missing(unread: Unread) -> Iterator[Entry]:
    """The entries of a lot that cannot be read: whoever begins to learns why."""
    raise ArchiveUnavailable(f"its versions {unread.first} to {unread.last} are archived. {unread.problem}")
    yield


def _like(wanted: Wanted) -> list[ColumnElement[bool]]:
    said = (
        (lots.c.state, wanted.get("state")), (lots.c.item, wanted.get("item")),
        (lots.c.supplier, wanted.get("supplier")), (lots.c.order_number, wanted.get("order")),
        (lots.c.plant, wanted.get("plant")),
    )  # fmt: skip
    return [column == value for column, value in said if value is not None]
