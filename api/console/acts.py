"""What people do to lots in the console: forms that become the same events as commands of the API.

What may not enter: deciding. Each form says by which fields the data block of its event is made; the event takes the
way of every command (api/commands.py), under the key of the page.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from api.access import KeyRing
from api.answers import require, visit_of
from api.body import Patience
from api.commands import COMMANDS, stated_event
from api.console.forms import key_of, read_form, wanted
from api.console.lot import LotPages
from api.console.render import AnyRequest, lot_path, to
from api.door import path_part
from api.permits import Permits
from api.problems import Refused
from api.roles import SENDERS, SENDING
from api.signing import Sign, signature_of
from engine.answer import Answer, Problem
from engine.committer import Committer
from engine.errors import EventInvalid

Form = dict[str, str]
_decode = msgspec.json.Decoder(Problem).decode


def act_routes(
    committer: Committer, patience: Patience, permits: Permits, keys: KeyRing, lots: LotPages,
    check_hold: Callable[[str], None],
) -> list[HTTPRouteHandler]:  # fmt: skip
    """The routes, for Litestar."""

    @post("/console/lots/{lot:str}/sign", status_code=200)
    async def sign(request: AnyRequest, lot: str) -> Response[Any]:
        """Sign the lot as it was shown, with one's own key once more."""
        visit, name = visit_of(request.scope), path_part(lot)
        require(visit, "sign")
        form = await read_form(request, patience)
        await permits.check_lot(visit.principal, name)
        kept = {field: value for field, value in form.items() if field != "key"} | {"command": "sign"}
        try:
            wanted_ = msgspec.convert(_signing(form), Sign, strict=False)
            event = signature_of(wanted_, visit.principal, keys, name, key_of(form, "sign"))
        except (msgspec.ValidationError, Refused) as error:
            words = error.detail if isinstance(error, Refused) else str(error)
            return await lots.show(request, name, status=422, refused=Unfit(words), typed=kept)
        answer = await committer.submit(event, visit.principal.name, None)
        if answer.status < 400:
            return to(f"{lot_path(name)}?done=sign")
        return await lots.show(request, name, status=answer.status, refused=_problem(answer), typed=kept)

    @post("/console/lots/{lot:str}/{command:str}", status_code=200)
    async def act(request: AnyRequest, lot: str, command: str) -> Response[Any]:
        """Give a command; its refusal is shown on the lot's page, with what was typed."""
        visit, name = visit_of(request.scope), path_part(lot)
        form = await read_form(request, patience)
        make = FORMS.get(command)
        if make is None:
            raise Refused("not-found", f"There is no form for {command}.")
        kind = COMMANDS[command]
        require(visit, *(SENDING if command == "lift-hold" else SENDERS[kind]))
        try:
            data = make(form)
            if command == "hold":
                await asyncio.to_thread(check_hold, data["reason"]["code"])
            event = stated_event(visit.principal.name, key_of(form, command), kind, name, data)
        except (EventInvalid, Refused) as error:
            refused = Unfit(_words(error))
            return await lots.show(request, name, status=422, refused=refused, typed=form | {"command": command})
        await permits.check(visit.principal, event)
        answer = await committer.submit(event, visit.principal.name, _seen(form, command))
        if answer.status < 400:
            return to(f"{lot_path(name)}?done={command}")
        return await lots.show(
            request, name, status=answer.status, refused=_problem(answer), typed=form | {"command": command}
        )

    return [sign, act]


class Unfit(msgspec.Struct, frozen=True):
    """A form that cannot become an event; shown like a refusal."""

    detail: str
    title: str = "This cannot be done as it was filled in"
    code: str = "event-invalid"
    rules: tuple[()] = ()


#: Where a data block does not fit -> the field of the form, where the fault alone does not say it.
_FIELDS = {
    "/quantity/value": "The part of the lot", "/concession/number": "The number of the concession",
    "/concession/valid_until": "The last day of the concession",
    "/concession/quantity/value": "The quantity that the concession permits",
    "/concession/quantity/unit": "The unit of the quantity that the concession permits",
    "/concession/amends": "Why the concession permits another quantity",
}  # fmt: skip


def _words(error: EventInvalid | Refused) -> str:
    """What does not fit, and in which field."""
    field = _FIELDS.get(error.pointer) if isinstance(error, EventInvalid) else None
    return error.detail if field is None else f"{field}: {error.detail}"


def _problem(answer: Answer) -> Problem:
    return _decode(answer.body)


def _seen(form: Form, command: str) -> int | None:
    """The version that the person had in sight; a hold lands whatever happened meanwhile."""
    version = form.get("version", "")
    return None if command in ("hold", "open-record") or not version.isdecimal() else int(version)


def _reason(form: Form) -> dict[str, str]:
    return {"code": wanted(form, "reason", "The reason"), "text": form.get("text", "")}


def _hold(form: Form) -> dict[str, Any]:
    token = wanted(form, "token", "The token of the page")
    name = form.get("hold") or f"H-{token[:8]}"
    more: dict[str, Any] = {key: form[key] for key in ("owner", "lift_role") if form.get(key)}
    if form.get("part"):
        more["quantity"] = {"value": form["part"], "unit": wanted(form, "unit", "The unit")}
    return {"hold": name, "reason": _reason(form), **more}


def _lift(form: Form) -> dict[str, Any]:
    role = {"role": form["role"]} if form.get("role") else {}
    return {"hold": wanted(form, "hold", "The hold"), "reason": _reason(form), **role}


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
    if any(form.get(name) for name in ("concession", "valid_until", "permitted", "amends")):
        data["concession"] = _concession(form)
    return data


def _concession(form: Form) -> dict[str, Any]:
    found: dict[str, Any] = {
        "number": wanted(form, "concession", "The number of the concession"),
        "valid_until": wanted(form, "valid_until", "The last day of the concession"),
    }  # fmt: skip
    if form.get("permitted"):
        unit = wanted(form, "permitted_unit", "The unit of the quantity that the concession permits")
        found["quantity"] = {"value": form["permitted"], "unit": unit}
    return found | ({"amends": form["amends"]} if form.get("amends") else {})


_NUMBERS = {"nonconformance": "NC", "deviation": "DEV", "corrective_action": "CA"}


def _open_record(form: Form) -> dict[str, Any]:
    token, kind = wanted(form, "token", "The token of the page"), wanted(form, "kind", "What it is")
    data: dict[str, Any] = {
        "record": form.get("record") or f"{_NUMBERS.get(kind, 'R')}-{token[:8]}", "kind": kind,
        "severity": wanted(form, "severity", "How grave it is"), "text": wanted(form, "text", "What was found"),
    }  # fmt: skip
    return data | {name: form[name] for name in ("owner", "due_on") if name in form}


def _change_record(form: Form) -> dict[str, Any]:
    data: dict[str, Any] = {
        "record": wanted(form, "record", "The record"), "step": wanted(form, "step", "The step"),
        "text": wanted(form, "text", "A word on it"),
    }  # fmt: skip
    return data | {name: form[name] for name in ("severity", "owner", "due_on") if name in form}


def _signing(form: Form) -> dict[str, Any]:
    return {name: form[name] for name in ("meaning", "version", "digest", "key", "text") if name in form}


#: Command -> makes the data block out of a form.
FORMS: dict[str, Callable[[Form], dict[str, Any]]] = {
    "hold": _hold,
    "lift-hold": _lift,
    "release": _release,
    "reinspect": _again,
    "dispose": _dispose,
    "open-record": _open_record,
    "change-record": _change_record,
}
