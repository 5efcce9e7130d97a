"""Reference data over HTTP: kept revision by revision, one record or many lines at a time.

What may not enter: SQL, and what a record means (engine/reference.py).
"""

import asyncio
from datetime import date
from typing import Any

from litestar import Request, Response, get, post, put, route
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.door import path_part
from api.pages import json_answer
from api.problems import Refused
from api.queries import cursor_after, limit_of, one_of, position_of, read_query
from api.reference_import import Import
from api.said import said
from api.views import Page
from engine.errors import EventInvalid
from engine.reference import References, Wanted, record_owners
from engine.runtime import Front
from rules.compiled import readers_of


def references_of(engine: Front) -> References:
    """The reference data of this installation, with the rules in force that look at it."""
    return References(
        engine.store, engine.clock, lambda: engine.rulebook.vocabulary, record_owners(engine.settings),
        lambda kinds: readers_of(engine.rulebook.rules, kinds),
    )  # fmt: skip


def reference_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    references = references_of(engine)

    @get("/v1/reference/{kind:str}")
    async def list_records(request: Request[Any, Any, Any], kind: str) -> Response[bytes]:
        """Records in force on a day."""
        query = read_query(request.scope, ("on", "item", "cursor", "limit"))
        day = day_of(query.get("on"), engine.today())
        after, limit = position_of(query) or "", limit_of(query)
        rows, following = await asyncio.to_thread(
            references.page, path_part(kind), day, query.get("item"), after, limit
        )
        return json_answer(Page(rows, None if following is None else cursor_after(following)))

    @get("/v1/reference/{kind:str}/{key:str}")
    async def show_record(kind: str, key: str) -> Response[bytes]:
        """Every revision of a record."""
        return json_answer(Page(await asyncio.to_thread(references.revisions, path_part(kind), path_part(key)), None))

    @put("/v1/reference/{kind:str}/{key:str}", status_code=200)
    async def put_record(request: Request[Any, Any, Any], kind: str, key: str) -> Response[bytes]:
        """Keep a revision of a record."""
        trial = _dry_run(request)
        visit, wanted = await said(request, patience, Wanted, "edit-reference")
        name = path_part(key)
        if not 1 <= len(name) <= 64:
            raise EventInvalid("A key has 1 to 64 characters.", "/key")
        by = visit.principal.name
        kept = await asyncio.to_thread(references.put, path_part(kind), name, wanted, by, dry_run=trial)
        answer = json_answer(kept)
        answer.status_code = 201 if kept.outcome == "created" else 200
        return answer

    @route("/v1/reference/{kind:str}/{key:str}", http_method="OPTIONS", status_code=204)
    async def record_methods(kind: str, key: str) -> Response[None]:
        """What a record understands."""
        return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, PUT"})

    @post("/v1/reference/{kind:str}/import", status_code=200)
    async def import_records(request: Request[Any, Any, Any], kind: str) -> Response[Any]:
        """Keep many revisions, a line each."""
        query, visit = read_query(request.scope, ("dry_run", "after_line")), visit_of(request.scope)
        require(visit, "edit-reference")
        name = path_part(kind)
        await asyncio.to_thread(references.check_kind, name)
        trial = one_of(query, "dry_run", ("yes", "no")) == "yes"
        one = Import(references, name, visit.principal.name, trial=trial, after=_after(query))
        return await one.answer(request, visit, patience)

    return [record_methods, list_records, show_record, put_record, import_records]


def _after(query: dict[str, str]) -> int:
    text = query.get("after_line", "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise Refused("parameter-invalid", "after_line is the number of a line, from 0.", "after_line")
    return int(text)


def _dry_run(request: Request[Any, Any, Any]) -> bool:
    return one_of(read_query(request.scope, ("dry_run",)), "dry_run", ("yes", "no")) == "yes"


def day_of(text: str | None, today: date) -> str:
    """A day that was asked for, as text; ``today`` when none was. Raises Refused."""
    try:
        day = today if text is None else date.fromisoformat(text)
    except ValueError:
        raise Refused("parameter-invalid", "on is a day, such as 2026-11-24.", "on") from None
    return day.isoformat()
