"""The measured lots of the story: real subgroups from demo/data, with what a receipt adds to them."""

import csv
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

_DATA = Path(__file__).parent / "data"


class Measurement(Struct, frozen=True):
    """One measured value, as published (decimal text, so that nothing is rounded on the way)."""

    characteristic: str
    value: str
    unit: str
    sample: int


class MeasuredLot(Struct, frozen=True):
    """One subgroup as the lot it came from. `name` is unique among the measured lots."""

    name: str
    item: str
    supplier: str
    quantity: int
    quantity_unit: str
    measurements: tuple[Measurement, ...]


class _Source(Struct, frozen=True):
    """A table and the deliveries it stands for. With no `characteristic`, each column is one."""

    table: str
    item: str
    name: str
    supplier: str
    quantity: int
    characteristic: str | None


_SOURCES = (
    _Source("ring-74.csv", "RING-74", "RING-{:02}", "ACME", 500, "diameter"),
    _Source("wafer-flow.csv", "WAFER-FLOW", "WAFER-{:02}", "NORDRING", 25, "flow_width"),
    # Lot ids as some bottlers write them: a slash and a blank must survive every URL on the way.
    _Source("bottle-vol.csv", "BOTTLE-VOL", "BOTTLE {}/4", "FABCO", 1200, "volume"),
    _Source("boiler-8.csv", "BOILER-8", "BOILER-{:02}", "FABCO", 1, None),
)


def measured_lots() -> list[MeasuredLot]:
    """All measured lots, in the order of the tables, taking turns between items as deliveries do."""
    queues = [_read(source) for source in _SOURCES]
    longest = max(len(queue) for queue in queues)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _read(source: _Source) -> list[MeasuredLot]:
    with (_DATA / source.table).open(newline="", encoding="ascii") as table:
        return [_lot(source, row) for row in csv.DictReader(table)]


def _lot(source: _Source, row: dict[str, str]) -> MeasuredLot:
    columns = {name: str(Decimal(text)) for name, text in row.items() if name not in ("subgroup", "unit")}
    if source.characteristic is None:
        found = [Measurement(name, value, row["unit"], 1) for name, value in columns.items()]
    else:
        found = [
            Measurement(source.characteristic, value, row["unit"], sample)
            for sample, value in enumerate(columns.values(), start=1)
        ]
    name = source.name.format(int(row["subgroup"]))
    return MeasuredLot(name, source.item, source.supplier, source.quantity, "ea", tuple(found))
