"""The state API: lots and the records that hang on them.

What may not enter: SQL (engine/store/reading.py has it) and anything that changes a lot (api/commands.py).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.door import path_part
from api.queries import cursor_after, limit_of, number_position_of, one_of, position_of, read_query
from api.views import LotView, Page, StepView
from engine.errors import NotFound
from engine.explaining import explain
from engine.lifecycle import State, next_steps
from engine.runtime import Engine

_FILTERS = ("item", "supplier", "order", "plant")
_STATES = tuple(state.value for state in State)
_encode = msgspec.json.Encoder().encode
Anything = Request[Any, Any, Any]
Row = TypeVar("Row")


def json_answer(body: object, **headers: str) -> Response[bytes]:
    """200 with ``body`` as JSON."""
    return Response(_encode(body), media_type="application/json", headers=headers)


def page_of(rows: Sequence[Row], limit: int, position: Callable[[Row], str | int]) -> Page[Row]:
    """A page from up to ``limit`` + 1 rows: one more than asked for says that there is a next page."""
    shown = list(rows[:limit])
    return Page(shown, cursor_after(position(shown[-1])) if len(rows) > limit else None)
