"""JSON answers of ordinary routes, pages of lists, and the places at which pages begin."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Response

from api.problems import Refused
from api.queries import cursor_after
from api.views import Page

_encode = msgspec.json.Encoder().encode
_names = msgspec.json.Decoder(list[str]).decode
Row = TypeVar("Row")


def json_answer(body: object, **headers: str) -> Response[bytes]:
    """200 with ``body`` as JSON."""
    return Response(_encode(body), media_type="application/json", headers=headers)


def selected(body: Any, fields: frozenset[str] | None) -> Any:
    """``body``, a record or a page of records, with only these fields of each record; None: with all."""
    if fields is None:
        return body
    if isinstance(body, Page):
        return Page([selected(row, fields) for row in body.data], body.next)
    return {name: getattr(body, name) for name in body.__struct_fields__ if name in fields}


def moment_place(position: str | None) -> tuple[str, str] | None:
    """(instant, id) of a cursor made from ``instant id``; raises Refused for another."""
    if position is None:
        return None
    at, gap, identity = position.partition(" ")
    if not gap:
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", "cursor")
    return at, identity


def moment_position(at: str, identity: str) -> str:
    """The place of a row in a list by instant and id, for :func:`moment_place`."""
    return f"{at} {identity}"


def names_position(*names: str) -> str:
    """The place of a row in a list by several names, for :func:`names_place`.

    JSON, not escaped, for a cursor has a largest size.
    """
    return _encode(names).decode()


def names_place(position: str | None, number: int, name: str = "cursor") -> Any:
    """The ``number`` names of a place, or None for the beginning; raises Refused for a cursor not made here.

    ``name``: of the parameter that gave it.
    """
    if position is None:
        return None
    try:
        names = tuple(_names(position))
    except (msgspec.DecodeError, UnicodeDecodeError):
        names = ()
    if len(names) != number or "\0" in "".join(names):  # no database takes it
        raise Refused("parameter-invalid", "The cursor is not one that an earlier page gave.", name)
    return names


def page_of(rows: Sequence[Row], limit: int, position: Callable[[Row], str | int]) -> Page[Row]:
    """A page from up to ``limit`` + 1 rows: one more than asked for says that there is a next page."""
    shown = list(rows[:limit])
    return Page(shown, cursor_after(position(shown[-1])) if len(rows) > limit else None)
