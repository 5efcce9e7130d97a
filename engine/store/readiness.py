"""Answers about orders, in SQL. What they mean is in engine/readiness_record.py."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, insert, select

from engine.store.opening import Store
from engine.store.schema.reference import readiness_answers

#: Rows that are read at once.
_PAGE = 1_000


def newest(connection: Connection, order: str) -> Any:
    """The newest answer about an order, or None."""
    mine = select(readiness_answers).where(readiness_answers.c.order_number == order)
    return connection.execute(mine.order_by(readiness_answers.c.number.desc()).limit(1)).first()


def add(connection: Connection, row: dict[str, Any]) -> None:
    """Keep one more answer."""
    connection.execute(insert(readiness_answers).values(**row))


def page(store: Store, order: str, after: int, limit: int) -> list[Any]:
    """Answers about an order above the number ``after``, oldest first."""
    wanted = (readiness_answers.c.order_number == order, readiness_answers.c.number > after)
    with store.reads.connect() as connection:
        query = select(readiness_answers).where(*wanted).order_by(readiness_answers.c.number).limit(limit)
        return list(connection.execute(query))


def every(store: Store) -> Iterator[Any]:
    """Every answer, order by order, oldest first."""
    order, number = "", 0
    column = readiness_answers.c
    while True:
        above = (column.order_number > order) | ((column.order_number == order) & (column.number > number))
        query = select(readiness_answers).where(above).order_by(column.order_number, column.number).limit(_PAGE)
        with store.reads.connect() as connection:
            rows = list(connection.execute(query))
        yield from rows
        if len(rows) < _PAGE:
            return
        order, number = rows[-1].order_number, rows[-1].number
