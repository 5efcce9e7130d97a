"""What somebody has to look at: tasks, acknowledged and closed. What may not enter: SQL, how people are told."""

import asyncio
from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.console import handbook
from api.console.forms import read_form
from api.console.render import AnyRequest, Pages, links, to
from api.pages import page_of
from api.queries import number_of, number_position_of, one_of, read_query
from api.roles import SENDING
from api.tasks import who_said
from engine.runtime import Front
from engine.tasks import TaskState

_STATES = tuple(state.value for state in TaskState)
_ROWS = 100
_HOME = "/console/tasks"
_MAX_NOTE = 1_000


def task_pages(engine: Front, pages: Pages, patience: Patience) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""
    tasks = engine.ledger.tasks

    @get(_HOME)
    async def list_tasks(request: AnyRequest) -> Response[bytes]:
        """Tasks; without a state those that are not closed."""
        asked = read_query(request.scope, ("state", "kind", "subject", "cursor"), blank=True)
        state = one_of(asked, "state", _STATES)

        def look() -> dict[str, Any]:
            rows = tasks.lines(
                state=None if state is None else TaskState(state), kind=asked.get("kind"),
                subject=asked.get("subject"), after=number_position_of(asked) or 0, limit=_ROWS + 1,
            )  # fmt: skip
            page = page_of(rows, _ROWS, lambda row: row.id)
            more = {"state": state, "kind": asked.get("kind"), "subject": asked.get("subject")}
            counts = tasks.counts()
            kinds = sorted({kind for kind, _ in counts})
            return {
                "page": page, "onward": page.next and links(_HOME, {**more, "cursor": page.next}), "asked": more,
                "kinds": [(kind, *(counts.get((kind, one), 0) for one in ("open", "acknowledged"))) for kind in kinds],
                "targets": engine.committer.targets, "known": _known(kinds, asked.get("kind")),
            }  # fmt: skip

        return pages.page(request, "tasks.html", may_act=_may(request), **await asyncio.to_thread(look))

    @post(_HOME + "/{task:str}/{act:str}", status_code=200)
    async def act(request: AnyRequest, task: str, act: str) -> Response[None]:
        """Acknowledge or close; the first one counts."""
        visit = visit_of(request.scope)
        one_of({"act": act}, "act", ("acknowledge", "close"))
        require(visit, *SENDING)
        form = await read_form(request, patience)
        who = who_said(visit.principal.name, form.get("who"))[:200]
        note = form.get("note", "")[:_MAX_NOTE] or None
        do = tasks.acknowledge if act == "acknowledge" else tasks.close
        await asyncio.to_thread(do, number_of(task, "task"), who, note)
        return to(links(_HOME, {name: form.get(name) for name in ("state", "kind", "subject")}))

    return [list_tasks, act]


def _known(open_ones: list[str], asked: str | None) -> list[str]:
    """Kinds that can be asked for: those that the runbook has, and those that a rule set made up."""
    titles = [section.title for section in handbook.document("runbook").sections]
    kinds = {title.removeprefix("Task ") for title in titles if title.startswith("Task ")}
    return sorted(kinds.union(open_ones, [asked] if asked else []))


def _may(request: AnyRequest) -> bool:
    return visit_of(request.scope).principal.may(*SENDING)
