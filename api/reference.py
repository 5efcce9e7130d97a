"""Reference data over HTTP: kept revision by revision, one record or many lines at a time.

What may not enter: SQL, and what a record means (engine/reference.py).
"""

import asyncio
from collections import Counter
from datetime import date
from typing import Any

import msgspec
from litestar import Request, Response, get, post, put, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import require, visit_of
from api.body import MAX_BATCH_BYTES, Patience, whole
from api.door import path_part
from api.pages import json_answer
from api.problems import Refused
from api.queries import cursor_after, limit_of, one_of, position_of, read_query
from api.said import said
from api.views import Page
from engine.errors import EventInvalid, LotgateError
from engine.reference import Affected, Kept, Key, Record, References, Wanted, record_owners
from engine.runtime import Front
from rules.compiled import readers_of

#: Lines of one import.
MAX_LINES = 5_000


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an import: a revision, and the key of its record."""

    key: Key
    effective_from: date
    content: msgspec.Raw
    effective_until: date | None = None


class LineOutcome(Struct, frozen=True, omit_defaults=True):
    """What became of one line."""

    #: From 1.
    line: int
    #: created, unchanged, checked, refused
    outcome: str
    key: str | None = None
    revision: int | None = None
    detail: str = ""
    pointer: str = ""
    #: Of a dry run: what the change would touch.
    affects: Affected | None = None


class Imported(Struct, frozen=True):
    """What became of every line, in order. A bad line spoils only itself."""

    created: int
    unchanged: int
    #: Of a dry run.
    checked: int
    refused: int
    lines: list[LineOutcome]


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
    async def import_records(request: Request[Any, Any, Any], kind: str) -> Response[bytes]:
        """Keep many revisions, a line each."""
        trial, visit = _dry_run(request), visit_of(request.scope)
        require(visit, "edit-reference")
        name, by = path_part(kind), visit.principal.name
        said_type = visit.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if said_type != b"application/x-ndjson":
            raise Refused("unsupported-media-type", "The body is application/x-ndjson: a JSON object a line.")
        body = await patience.wait(whole(request.receive, MAX_BATCH_BYTES, visit.headers.get(b"content-length")))
        lines = [(n, line) for n, line in enumerate(body.splitlines(), 1) if line.strip()]
        if len(lines) > MAX_LINES:
            raise EventInvalid(f"An import has at most {MAX_LINES} lines; this one has {len(lines)}.")
        await asyncio.to_thread(references.check_kind, name)
        return json_answer(await asyncio.to_thread(_import, references, name, lines, by, trial))

    return [record_methods, list_records, show_record, put_record, import_records]


def _import(references: References, kind: str, lines: list[tuple[int, bytes]], by: str, trial: bool) -> Imported:
    found = [_one(references, kind, number, line, by, trial) for number, line in lines]
    counts = Counter(one.outcome for one in found)
    return Imported(counts["created"], counts["unchanged"], counts["checked"], counts["refused"], found)


def _one(references: References, kind: str, number: int, text: bytes, by: str, trial: bool) -> LineOutcome:
    try:
        line = msgspec.json.decode(text, type=Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return LineOutcome(number, "refused", detail=str(error))
    wanted = Wanted(line.effective_from, line.content, line.effective_until)
    try:
        kept: Kept = references.put(kind, line.key, wanted, by, dry_run=trial)
    except LotgateError as error:
        return LineOutcome(number, "refused", line.key, None, error.detail, getattr(error, "pointer", ""))
    record: Record = kept.record
    return LineOutcome(number, kept.outcome, line.key, record.revision, affects=kept.affects)


def _dry_run(request: Request[Any, Any, Any]) -> bool:
    return one_of(read_query(request.scope, ("dry_run",)), "dry_run", ("yes", "no")) == "yes"


def day_of(text: str | None, today: date) -> str:
    """A day that was asked for, as text; ``today`` when none was. Raises Refused."""
    try:
        day = today if text is None else date.fromisoformat(text)
    except ValueError:
        raise Refused("parameter-invalid", "on is a day, such as 2026-11-24.", "on") from None
    return day.isoformat()
