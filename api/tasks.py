"""Tasks: what somebody has to look at; people acknowledge and close them.

What may not enter: SQL, and how people are told (actors/notify.py).
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from api.answers import require, visit_of
from api.body import MAX_EVENT_BYTES, Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import limit_of, number_of, number_position_of, one_of, read_query
from api.roles import SENDING
from engine.errors import EventInvalid
from engine.runtime import Front
from engine.tasks import TaskLine, TaskState

AnyRequest = Request[Any, Any, Any]
_STATES = tuple(state.value for state in TaskState)


class Remark(Struct, frozen=True, forbid_unknown_fields=True):
    """Who does it, where the key is not theirs alone, and what they say."""

    who: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    note: Annotated[str, Meta(max_length=1000)] | None = None


_remark = msgspec.json.Decoder(Remark)


def task_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    tasks = engine.ledger.tasks

    async def done(request: AnyRequest, number: int, do: Callable[[int, str, str | None], TaskLine]) -> Response[bytes]:
        visit = visit_of(request.scope)
        require(visit, *SENDING)
        body = await patience.wait(whole(request.receive, MAX_EVENT_BYTES, visit.headers.get(b"content-length")))
        if body and mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        said = _said(body)
        who = who_said(visit.principal.name, said.who)
        return json_answer(await asyncio.to_thread(do, number, who, said.note))

    @get("/v1/tasks")
    async def list_tasks(request: AnyRequest) -> Response[bytes]:
        """What somebody has to look at; without a state everything that is not closed."""
        query = read_query(request.scope, ("state", "kind", "subject", "cursor", "limit"))
        limit, state = limit_of(query), one_of(query, "state", _STATES)
        rows = await asyncio.to_thread(
            tasks.lines,
            state=None if state is None else TaskState(state),
            kind=query.get("kind"),
            subject=query.get("subject"),
            after=number_position_of(query) or 0,
            limit=limit + 1,
        )
        return json_answer(page_of(rows, limit, lambda row: row.id))

    @get("/v1/tasks/{task:str}")
    async def show_task(request: AnyRequest, task: str) -> Response[bytes]:
        """One task."""
        return json_answer(await asyncio.to_thread(tasks.get, number_of(task, "task")))

    @post("/v1/tasks/{task:str}/acknowledge", status_code=200)
    async def acknowledge_task(request: AnyRequest, task: str) -> Response[bytes]:
        """Say that somebody has seen it: nobody is told again; the first one counts."""
        return await done(request, number_of(task, "task"), tasks.acknowledge)

    @post("/v1/tasks/{task:str}/close", status_code=200)
    async def close_task(request: AnyRequest, task: str) -> Response[bytes]:
        """Say that it is done; the first one counts."""
        return await done(request, number_of(task, "task"), tasks.close)

    return [list_tasks, show_task, acknowledge_task, close_task]


def who_said(key: str, who: str | None) -> str:
    """Who acknowledges or closes: the holder of the key, or somebody behind a key that several use."""
    return key if who is None else f"{who} ({key})"


def _said(body: bytes) -> Remark:
    if not body:
        return Remark()
    try:
        return _remark.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None
