"""Lists of nonconformances, deviations and corrective actions, and telling people of overdue ones."""

from datetime import date

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, select

from engine.clock import Clock
from engine.records import QualityRecord
from engine.store.counting import up_to
from engine.store.opening import Store
from engine.store.schema.lots import lots
from engine.store.schema.quality import quality_records
from engine.tasks import Tasks

#: Kind of the task that says that a record is overdue.
OVERDUE = "record-overdue"
ROUND = 200
_ENDED = ("closed", "cancelled")
_decode = msgspec.json.Decoder(QualityRecord).decode


class RecordLine(Struct, frozen=True):
    """A quality record in a list."""

    lot: str
    item: str
    supplier: str | None
    record: QualityRecord
    overdue: bool


def records(
    store: Store, today: date, *, kind: str | None = None, status: str | None = None, lot: str | None = None,
    after: tuple[str, str, str] | None = None, limit: int = 100,
) -> list[RecordLine]:  # fmt: skip
    """Records, oldest first, from ``after`` (opened at, lot, record) on; without a ``status`` those under way."""
    table = quality_records.c
    query = select(table.lot, lots.c.item, lots.c.supplier, table.content).join(lots, lots.c.id == table.lot)
    query = query.where(*_wanted(kind, status, lot))
    if after is not None:
        at, of, record = after
        later = (table.opened_at > at) | ((table.opened_at == at) & (table.lot > of))
        query = query.where(later | ((table.opened_at == at) & (table.lot == of) & (table.record > record)))
    query = query.order_by(table.opened_at, table.lot, table.record).limit(limit)
    with store.reads.connect() as connection:
        rows = [(lot_id, item, supplier, _decode(text)) for lot_id, item, supplier, text in connection.execute(query)]
    return [RecordLine(*row, overdue=_is_overdue(row[3], today)) for row in rows]


def records_number(
    store: Store, *, kind: str | None = None, status: str | None = None, lot: str | None = None
) -> int:
    """How many records :func:`records` has; above MOST only that there are more."""
    return up_to(store, select(quality_records.c.record).where(*_wanted(kind, status, lot)))


def _wanted(kind: str | None, status: str | None, lot: str | None) -> list[ColumnElement[bool]]:
    table = quality_records.c
    said = [column == value for column, value in ((table.kind, kind), (table.lot, lot)) if value is not None]
    return [table.status == status if status else table.status.not_in(_ENDED), *said]


def _is_overdue(record: QualityRecord, today: date) -> bool:
    return record.status not in _ENDED and record.due_on is not None and record.due_on < today.isoformat()


def tell_of_overdue(store: Store, clock: Clock, today: date) -> int:
    """Open a task for each overdue record that has none; gives how many."""
    table = quality_records.c
    query = select(table.lot, table.record, table.kind, table.due_on).where(
        table.status.not_in(_ENDED), table.due_on < today.isoformat()
    ).order_by(table.due_on).limit(ROUND)  # fmt: skip
    with store.reads.connect() as connection:
        found = connection.execute(query).all()
    tasks = Tasks(store, clock)
    words = "{} {} of lot {} was due on {}"
    return sum(
        tasks.open_once(OVERDUE, f"{lot}/{record}"[:200], words.format(kind.replace("_", " "), record, lot, due))
        for lot, record, kind, due in found
    )
