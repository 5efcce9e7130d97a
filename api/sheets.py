"""Tables as CSV: one line a row, for spreadsheets; a page of a list, or all of it while it is read page by page.

What may not enter: which rows there are.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from api.queries import MAX_LIMIT, paged_of, position_of
from api.views import Page

#: Answers that are text say themselves that they are UTF-8.
MEDIA_TYPE = "text/csv"
Row = TypeVar("Row")


class Sheet(Struct, Generic[Row], frozen=True):
    """A list that is asked for as a table."""

    names: tuple[str, ...]
    #: The cells of a row, in the order of ``names``.
    cells: Callable[[Row], Iterable[Any]]
    #: Place and number of rows -> the page behind that place.
    take: Callable[[str, int], Page[Row]]

    async def answer(self, query: dict[str, str], address: str, **headers: str) -> Response[Any]:
        """What ``query`` asks of it.

        With limit or cursor a page, whose Link header (RFC 8288) leads to the next; else all, read and sent a page at
        a time: however long it is, little of it is in memory, and between two pages it holds nothing in the database.
        """
        limit, after = paged_of(query), position_of(query) or ""
        page = await asyncio.to_thread(self.take, after, limit or MAX_LIMIT)
        if limit is None:
            return Stream(self._all(page), media_type=MEDIA_TYPE, headers=headers)
        if page.next is not None:
            onward = urlencode({"format": "csv", "limit": limit, "cursor": page.next})
            headers["Link"] = f'<{address}?{onward}>; rel="next"'
        return Response(csv_table(self.names, map(self.cells, page.data)), media_type=MEDIA_TYPE, headers=headers)

    async def _all(self, page: Page[Row]) -> AsyncIterator[bytes]:
        yield csv_table(self.names, map(self.cells, page.data))
        while page.next is not None:
            page = await asyncio.to_thread(self.take, position_of({"cursor": page.next}) or "", MAX_LIMIT)
            yield csv_lines(map(self.cells, page.data))


def csv_table(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """A table as CSV, with its head. Nothing in a cell is taken for a formula."""
    return csv_lines([names]) + csv_lines(rows)


def csv_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Rows as CSV. Nothing in a cell is taken for a formula."""
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
