"""Rule sets in the browser: read, compared, written with what is wrong beside it, staged, approved, put in force.

What may not enter: what a step means (engine/rulesets.py), what is wrong with a file (rules/lint).
"""

import asyncio
from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.answers import require, visit_of
from api.body import Patience
from api.console.backtests import KIND, SPANS, backtest_pages
from api.console.forms import read_form, wanted
from api.console.jobs import Jobs
from api.console.render import AnyRequest, Pages, part, to
from api.door import path_part
from api.pages import json_answer
from api.problems import Refused
from api.queries import read_query
from api.rulesets import instant_of
from engine.rulesets import RuleSets, RuleSetView
from engine.runtime import Front
from rules.backtest import Report
from rules.lint.drafts import Draft, look_at
from rules.lint.remark import Level
from rules.versions import Change

_HOME = "/console/rules"
#: A form with one file of rules: as large as a file may be, percent-encoded.
_MAX_BYTES = 6 * 1024 * 1024
_STEPS = ("approve", "activate", "withdraw")


class Spot(Struct, frozen=True):
    """Something wrong in a file; line and column count from 1."""

    #: error, warning, test
    level: str
    file: str
    line: int
    column: int
    words: str
    hint: str = ""


class Looked(Struct, frozen=True):
    """What is wrong with files while they are written."""

    good: bool
    summary: str
    spots: list[Spot]


def rule_pages(engine: Front, pages: Pages, patience: Patience, jobs: Jobs) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    return [
        *_reading(engine, pages, jobs), *_writing(engine, pages, patience), *_steps(engine, patience),
        *backtest_pages(engine, patience, jobs),
    ]  # fmt: skip


def _reading(engine: Front, pages: Pages, jobs: Jobs) -> list[HTTPRouteHandler]:
    sets = engine.rules.sets

    @get(_HOME)
    async def overview(request: AnyRequest) -> Response[bytes]:
        """Every set, the newest first, and the files on disk."""
        asked = read_query(request.scope, ("done",), blank=True)

        def look() -> dict[str, Any]:
            book = engine.rules.book()
            return {"sets": sets.overview(), "active": book.digest, "disk": engine.disk.look(book.digest),
                    "gates": sorted(book.gates()), "rules": len(book.rules.rules)}  # fmt: skip

        return pages.page(request, "rules.html", done=asked.get("done"), **await asyncio.to_thread(look))

    @get(_HOME + "/{digest:str}")
    async def one(request: AnyRequest, digest: str) -> Response[bytes]:
        """One set: where it stands, what is different in it, what is wrong with it, its files."""
        asked = read_query(request.scope, ("done", "file"), blank=True)

        def look() -> dict[str, Any]:
            view = sets.show(path_part(digest))
            file = asked.get("file") or next(iter(sorted(view.files)), "")
            if file and file not in view.files:
                raise Refused("not-found", f"There is no file {file} in this set.")
            return {"view": view, "changes": _changes(sets, view), "file": file, "text": view.files.get(file, ""),
                    "job": jobs.of(KIND, view.line.digest, found=Report), "spans": SPANS}  # fmt: skip

        return pages.page(request, "rule_set.html", done=asked.get("done"), **await asyncio.to_thread(look))

    return [overview, one]


def _changes(sets: RuleSets, view: RuleSetView) -> tuple[Change, ...]:
    """What is different from the set in force; nothing for that set itself, or for one that cannot be read."""
    if view.line.state == "active" or view.examination is None:
        return ()
    return sets.diff(view.line.digest)


def _writing(engine: Front, pages: Pages, patience: Patience) -> list[HTTPRouteHandler]:
    sets = engine.rules.sets
    # One look at a time: it takes a while and memory.
    looking = asyncio.Lock()

    @get(_HOME + "/{digest:str}/edit")
    async def edit(request: AnyRequest, digest: str) -> Response[bytes]:
        """One file of a set, to be changed."""
        asked = read_query(request.scope, ("file",), blank=True)
        view = await asyncio.to_thread(sets.show, path_part(digest))
        file = asked.get("file", "")
        return pages.page(
            request, "rule_edit.html", view=view, file=file, text=view.files.get(file, _NEW), refused=None, comment=""
        )

    @post(_HOME + "/lint", status_code=200)
    async def lint(request: AnyRequest) -> Response[bytes]:
        """What is wrong with a file as it is being written, in its set."""
        require(visit_of(request.scope), "read")
        form = await read_form(request, patience, _MAX_BYTES)
        async with looking:
            return json_answer(await asyncio.to_thread(_looked, sets, form))

    @post(_HOME + "/{digest:str}/stage", status_code=200)
    async def stage(request: AnyRequest, digest: str) -> Response[Any]:
        """Store the set with the changed file in it."""
        visit = visit_of(request.scope)
        require(visit, "edit-rules")
        form = await read_form(request, patience, _MAX_BYTES)
        base = await asyncio.to_thread(sets.show, path_part(digest))
        files, comment = _with(base.files, form), form.get("comment", "")
        try:
            staged = await asyncio.to_thread(sets.stage, files, visit.principal.name, comment)
        except Exception as error:
            looked = await asyncio.to_thread(_looked, sets, form | {"base": base.line.digest})
            if looked.good:
                raise  # not the files are at fault
            return pages.page(
                request, "rule_edit.html", status=getattr(error, "status", 422), view=base, file=form.get("file", ""),
                text=form.get("content", ""), refused=looked, comment=comment,
            )  # fmt: skip
        return to(f"{_HOME}/{part(staged.line.digest)}?done=stage")

    return [edit, lint, stage]


#: What a new file begins with.
_NEW = """\
rulefile: 1
owner:
reference:
effective: {from: 2027-01-01}

rules:
  - id:
    title:
    gate: [release]
    severity: block
    rationale:
    require: []
    message: ""

tests:
"""


def _with(files: dict[str, str], form: dict[str, str]) -> dict[str, str]:
    name = wanted(form, "file", "The name of the file")
    left = {n: text for n, text in files.items() if n != name}
    return left | ({name: form["content"]} if "content" in form else {})


def _looked(sets: RuleSets, form: dict[str, str]) -> Looked:
    base = sets.files(sets.find(wanted(form, "base", "The set")))
    return _shown(look_at(_with(base, form)))


def _shown(draft: Draft) -> Looked:
    spots = [
        Spot(r.level.value, r.location.file, r.location.line, r.location.column, r.message, r.hint)
        for r in draft.remarks
    ]
    spots += [Spot("test", t.file, t.line, 1, t.words) for t in draft.failed]
    spots += [Spot("test", "", 1, 1, f"rule {name} has no test that passes and one that does not")
              for name in draft.untested]  # fmt: skip
    errors = sum(r.level is Level.ERROR for r in draft.remarks)
    if not draft.loads:
        return Looked(False, f"It cannot be loaded: {errors} to mend.", spots)
    failed = len(draft.failed)
    summary = f"{draft.met} expectations met, {failed} not; {errors} errors, {len(draft.remarks) - errors} warnings."
    return Looked(draft.good, summary, spots)


def _steps(engine: Front, patience: Patience) -> list[HTTPRouteHandler]:
    sets = engine.rules.sets

    @post(_HOME + "/rollback", status_code=200)
    async def roll_back(request: AnyRequest) -> Response[None]:
        """Put the set before the present one in force again."""
        visit = visit_of(request.scope)
        require(visit, "approve-rules")
        form = await read_form(request, patience)
        seen = wanted(form, "expected", "The set that was seen in force")
        await asyncio.to_thread(sets.roll_back, visit.principal.name, form.get("comment", ""), seen)
        return to(f"{_HOME}?done=rollback")

    @post(_HOME + "/{digest:str}/{step:str}", status_code=200)
    async def step(request: AnyRequest, digest: str, step: str) -> Response[None]:
        """Approve, activate or withdraw a set."""
        visit = visit_of(request.scope)
        require(visit, "approve-rules")
        if step not in _STEPS:
            raise Refused("not-found", f"There is no step {step}.")
        form = await read_form(request, patience)
        name, by, comment = path_part(digest), visit.principal.name, form.get("comment", "")
        if step == "activate":
            at = instant_of(form["at"], engine) if "at" in form else None
            await asyncio.to_thread(sets.activate, name, by, comment, at)
        else:
            await asyncio.to_thread(sets.approve if step == "approve" else sets.withdraw, name, by, comment)
        return to(f"{_HOME}/{part(name)}?done={step}")

    return [roll_back, step]
