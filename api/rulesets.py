"""Rule sets over HTTP: staged, compared, approved, activated, rolled back by whoever the key names.

What may not enter: what a step means and when it is refused (engine/rulesets.py), and rule files of this machine:
the files of a set come in the body.
"""

import asyncio
from datetime import datetime, time
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import require, visit_of
from api.body import Patience, whole
from api.cloudevents import Mode, mode_of, require_json
from api.door import path_part
from api.pages import json_answer, page_of
from api.problems import Refused
from api.queries import read_query
from engine.clock import instant, parse_instant
from engine.errors import EventInvalid
from engine.rulesets import RuleSetLine
from engine.runtime import Front
from rules.versions import Change

#: Body of a set that is staged: its files as JSON.
MAX_SET_BYTES = 20 * 1024 * 1024
#: Sets of one list; there are as many as changes to the rules.
_ALL = 10_000
AnyRequest = Request[Any, Any, Any]
Body = TypeVar("Body")


class Stage(Struct, frozen=True, forbid_unknown_fields=True):
    """Rule files to be stored as a set: name -> text. Without ``vocabulary.yaml`` the shipped one is added."""

    files: dict[str, str]
    comment: str = ""


class Approve(Struct, frozen=True, forbid_unknown_fields=True):
    """A word on why, kept for ever."""

    comment: str = ""


class Activate(Struct, frozen=True, forbid_unknown_fields=True):
    """``at``: an instant with a zone, or a day, which begins in the plant's time zone; nothing: now."""

    at: str | None = None
    comment: str = ""


class RollBack(Struct, frozen=True, forbid_unknown_fields=True):
    """``expected``: the set seen in force; a roll-back that is sent twice then goes back once."""

    expected: str | None = None
    comment: str = ""


class Difference(Struct):
    """Two sets compared in words."""

    rule_set: str
    against: str
    changes: tuple[Change, ...]


def rule_set_routes(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    return [*_reading(engine), *_steps(engine, patience)]


def _reading(engine: Front) -> list[HTTPRouteHandler]:
    sets = engine.rules.sets

    @get("/v1/rules")
    async def list_rule_sets(request: AnyRequest) -> Response[bytes]:
        """Every set, the newest first."""
        read_query(request.scope, ())
        return json_answer(page_of(await asyncio.to_thread(sets.overview), _ALL, lambda line: line.digest))

    @get("/v1/rules/{digest:str}")
    async def show_rule_set(request: AnyRequest, digest: str) -> Response[bytes]:
        """A set: files, steps, and what an examination finds."""
        read_query(request.scope, ())
        return json_answer(await asyncio.to_thread(sets.show, path_part(digest)))

    @get("/v1/rules/{digest:str}/diff")
    async def diff_rule_set(request: AnyRequest, digest: str) -> Response[bytes]:
        """What is different in the set, in words."""
        against = read_query(request.scope, ("against",)).get("against", "active")

        def compare() -> Difference:
            one, other = sets.find(path_part(digest)), sets.find(against)
            return Difference(one, other, sets.diff(one, other))

        return json_answer(await asyncio.to_thread(compare))

    return [list_rule_sets, show_rule_set, diff_rule_set]


def _steps(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    sets = engine.rules.sets

    async def read(request: AnyRequest, role: str, kind: type[Body]) -> tuple[str, Body]:
        visit = visit_of(request.scope)
        require(visit, role)
        body = await patience.wait(whole(request.receive, MAX_SET_BYTES, visit.headers.get(b"content-length")))
        if body and mode_of(visit.headers) is not Mode.STRUCTURED:
            raise Refused("unsupported-media-type", "The body is application/json.")
        return visit.principal.name, await asyncio.to_thread(_decoded, body, kind)

    @post("/v1/rules/stage", status_code=201)
    async def stage_rule_set(request: AnyRequest) -> Response[bytes]:
        """Store files as a set; answers what an examination finds and what is different from the set in force."""
        by, wanted = await read(request, "edit-rules", Stage)
        staged = await asyncio.to_thread(sets.stage, wanted.files, by, wanted.comment)
        return Response(msgspec.json.encode(staged), status_code=201, media_type="application/json")

    @post("/v1/rules/{digest:str}/approve", status_code=200)
    async def approve_rule_set(request: AnyRequest, digest: str) -> Response[bytes]:
        """Say yes to a set that somebody else staged."""
        by, wanted = await read(request, "approve-rules", Approve)
        return json_answer(await asyncio.to_thread(sets.approve, path_part(digest), by, wanted.comment))

    @post("/v1/rules/{digest:str}/activate", status_code=200)
    async def activate_rule_set(request: AnyRequest, digest: str) -> Response[bytes]:
        """Put an approved set in force, now or later."""
        by, wanted = await read(request, "approve-rules", Activate)
        at = None if wanted.at is None else instant_of(wanted.at, engine)

        def activate() -> RuleSetLine:
            return sets.activate(path_part(digest), by, wanted.comment, at)

        return json_answer(await asyncio.to_thread(activate))

    @post("/v1/rules/{digest:str}/withdraw", status_code=200)
    async def withdraw_rule_set(request: AnyRequest, digest: str) -> Response[bytes]:
        """Take back an approval, and an activation that has not come."""
        by, wanted = await read(request, "approve-rules", Approve)
        return json_answer(await asyncio.to_thread(sets.withdraw, path_part(digest), by, wanted.comment))

    @post("/v1/rules/rollback", status_code=200)
    async def roll_back_rule_set(request: AnyRequest) -> Response[bytes]:
        """Put the set before the present one in force again, now."""
        by, wanted = await read(request, "approve-rules", RollBack)
        return json_answer(await asyncio.to_thread(sets.roll_back, by, wanted.comment, wanted.expected))

    return [stage_rule_set, approve_rule_set, activate_rule_set, withdraw_rule_set, roll_back_rule_set]


def _decoded(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_json(body)
        raise EventInvalid(str(error)) from None


def instant_of(text: str, engine: Front) -> str:
    """An instant as Lotgate writes it, of an instant or of a day in the plant's time zone."""
    try:
        if len(text) == 10:
            return instant(datetime.combine(datetime.fromisoformat(text).date(), time(), engine.timezone))
        return instant(parse_instant(text))
    except (ValueError, OverflowError):
        raise EventInvalid(
            f"{text!r} is neither a day (2026-12-01) nor an instant with a zone (2026-12-01T06:00:00+01:00).", "/at"
        ) from None
