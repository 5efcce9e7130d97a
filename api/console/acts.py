"""What people do to lots in the console: forms that become the same events as commands of the API.

What may not enter: deciding. Each form says by which fields the data block of its event is made; the event takes the
way of every command (api/commands.py), under the key of the page.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from api.answers import require, visit_of
from api.body import Patience
from api.commands import COMMANDS, stated_event
from api.console.forms import key_of, read_form, wanted
from api.console.lot import LotPages
from api.console.render import AnyRequest, lot_path, to
from api.door import path_part
from api.permits import Permits
from api.problems import Refused
from api.roles import SENDERS
from engine.answer import Answer, Problem
from engine.committer import Committer
from engine.errors import EventInvalid

Form = dict[str, str]
_decode = msgspec.json.Decoder(Problem).decode


def act_routes(
    committer: Committer, patience: Patience, permits: Permits, lots: LotPages
) -> list[HTTPRouteHandler]:
    """The routes, for Litestar."""

    @post("/console/lots/{lot:str}/{command:str}", status_code=200)
    async def act(request: AnyRequest, lot: str, command: str) -> Response[Any]:
        """Give a command; its refusal is shown on the lot's page, with what was typed."""
        visit, name = visit_of(request.scope), path_part(lot)
        form = await read_form(request, patience)
        make = FORMS.get(command)
        if make is None:
            raise Refused("not-found", f"There is no form for {command}.")
        kind = COMMANDS[command]
        require(visit, *SENDERS[kind])
        try:
            data = make(form)
            event = stated_event(visit.principal.name, key_of(form, command), kind, name, data)
        except (EventInvalid, Refused) as error:
            refused = Unfit(error.detail)
            return await lots.show(request, name, status=422, refused=refused, typed=form | {"command": command})
        await permits.check(visit.principal, event)
        answer = await committer.submit(event, visit.principal.name, _seen(form, command))
        if answer.status < 400:
            return to(f"{lot_path(name)}?done={command}")
        return await lots.show(
            request, name, status=answer.status, refused=_problem(answer), typed=form | {"command": command}
        )

    return [act]


class Unfit(msgspec.Struct, frozen=True):
    """A form that cannot become an event; shown like a refusal."""

    detail: str
    title: str = "This cannot be done as it was filled in"
    code: str = "event-invalid"
    rules: tuple[()] = ()


def _problem(answer: Answer) -> Problem:
    return _decode(answer.body)


def _seen(form: Form, command: str) -> int | None:
    """The version that the person had in sight; a hold lands whatever happened meanwhile."""
    version = form.get("version", "")
    return None if command == "hold" or not version.isdecimal() else int(version)


def _reason(form: Form) -> dict[str, str]:
    return {"code": wanted(form, "reason", "The reason"), "text": form.get("text", "")}


def _hold(form: Form) -> dict[str, Any]:
    token = wanted(form, "token", "The token of the page")
    name = form.get("hold") or f"H-{token[:8]}"
    owner = {"owner": form["owner"]} if "owner" in form else {}
    return {"hold": name, "reason": _reason(form), **owner}


def _lift(form: Form) -> dict[str, Any]:
    return {"hold": wanted(form, "hold", "The hold"), "reason": _reason(form)}


def _release(form: Form) -> dict[str, Any]:
    return {"reason": _reason(form)} if "reason" in form else {}


def _again(form: Form) -> dict[str, Any]:
    return {"reason": _reason(form)}


def _dispose(form: Form) -> dict[str, Any]:
    data: dict[str, Any] = {"decision": wanted(form, "decision", "The decision"), "reason": _reason(form)}
    if "reference" in form:
        data["reference"] = form["reference"]
    if "customers" in form:
        data["restrictions"] = [name.strip() for name in form["customers"].split(",") if name.strip()]
    return data


#: Command -> makes the data block out of a form.
FORMS: dict[str, Callable[[Form], dict[str, Any]]] = {
    "hold": _hold,
    "lift-hold": _lift,
    "release": _release,
    "reinspect": _again,
    "dispose": _dispose,
}
