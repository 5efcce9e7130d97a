"""How many rows there are, counted no further than anybody reads. What may not enter: what the rows are."""

from typing import Any

from sqlalchemy import Select, func, select

from engine.store.opening import Store

#: Rows that are counted: of more it is enough to know that there are more.
MOST = 50_000


def up_to(store: Store, query: Select[Any]) -> int:
    """How many rows ``query`` finds; MOST + 1 where there are more."""
    rows = query.order_by(None).limit(MOST + 1).subquery()
    with store.reads.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(rows)).scalar_one())
