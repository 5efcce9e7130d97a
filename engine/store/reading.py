"""The questions that the state API, the command line and verification ask of the store. Reads only."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, func, select, union

from engine.errors import NotFound
from engine.holds import HoldLine
from engine.journal import Entry
from engine.lot import Lot, decode_lot
from engine.store.opening import Store
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
_ENTRY_COLUMNS = tuple(journal.c[name] for name in Entry.__struct_fields__)


class Reading:
    """Questions to one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lots(
        self,
        *,
        state: str | None = None,
        item: str | None = None,
        supplier: str | None = None,
        order: str | None = None,
        plant: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[LotLine]:
        """Lots in order of their id, from ``after`` on."""
        query = select(*_LOT_COLUMNS).where(lots.c.id > after)
        wanted = (
            (lots.c.state, state), (lots.c.item, item), (lots.c.supplier, supplier), (lots.c.order_number, order),
            (lots.c.plant, plant),
        )  # fmt: skip
        for column, value in wanted:
            if value is not None:
                query = query.where(column == value)
        return [LotLine(*row) for row in self._rows(query.order_by(lots.c.id).limit(limit))]

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
        """Journal entries of a lot in order, from version ``after`` on."""
        query = select(*_ENTRY_COLUMNS).where(journal.c.lot == lot_id, journal.c.version > after)
        return [Entry(*row) for row in self._rows(query.order_by(journal.c.version).limit(limit))]

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

    def escalations(self, *, open_only: bool = True, after: int = 0, limit: int = 100) -> list[EscalationLine]:
        """Escalations in order of their id."""
        columns = [escalations.c[name] for name in EscalationLine.__struct_fields__]
        query = select(*columns).where(escalations.c.id > after).order_by(escalations.c.id).limit(limit)
        if open_only:
            query = query.where(escalations.c.acknowledged_at.is_(None))
        return [EscalationLine(*row) for row in self._rows(query)]

    def journals(self, lot_id: str | None = None) -> Iterator[tuple[str, list[Entry], Lot | None]]:
        """Every lot's whole journal with the stored lot, for verification; bounded memory."""
        after = ""
        while True:
            query = select(journal.c.lot).distinct().where(journal.c.lot > after).order_by(journal.c.lot).limit(500)
            if lot_id is not None:
                query = select(journal.c.lot).distinct().where(journal.c.lot == lot_id, journal.c.lot > after)
            found = [str(row[0]) for row in self._rows(query)]
            orphans = self._without_journal(after, found[-1] if found else None, lot_id)
            if not found and not orphans:
                return
            yield from self._journals_of(found)
            for orphan in orphans:
                yield orphan.id, [], orphan
            after = found[-1] if found else orphans[-1].id

    def _journals_of(self, ids: list[str]) -> Iterator[tuple[str, list[Entry], Lot | None]]:
        query = select(*_ENTRY_COLUMNS).where(journal.c.lot.in_(ids)).order_by(journal.c.lot, journal.c.version)
        lines: dict[str, list[Entry]] = {i: [] for i in ids}
        for row in self._rows(query):
            lines[row[0]].append(Entry(*row))
        snapshots = select(lots.c.id, lots.c.snapshot).where(lots.c.id.in_(ids))
        stored = {str(i): decode_lot(text) for i, text in self._rows(snapshots)}
        for identity in ids:
            yield identity, lines[identity], stored.get(identity)

    def _without_journal(self, after: str, upto: str | None, lot_id: str | None) -> list[Lot]:
        has_entries = select(journal.c.lot).where(journal.c.lot == lots.c.id).exists()
        query = select(lots.c.snapshot).where(lots.c.id > after, ~has_entries).order_by(lots.c.id).limit(500)
        if upto is not None:
            query = query.where(lots.c.id <= upto)
        if lot_id is not None:
            query = query.where(lots.c.id == lot_id)
        return [decode_lot(row[0]) for row in self._rows(query)]

    def _rows(self, query: Select) -> list:  # type: ignore[type-arg]  # rows of many shapes, typed by their Struct
        with self._store.reads.connect() as connection:
            return list(connection.execute(query).all())
