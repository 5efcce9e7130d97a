"""``lotgate hold``: holds on many lots looked at, placed, watched and lifted; and one lot held or lifted."""

import argparse
import secrets
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, WRONG, Failure, counted, print_json
from engine.settings import Settings

_WORDS = ("supplier", "item", "revision", "order", "plant", "received_from", "received_until")
_SCOPES = ("item", "supplier", "order", "filter")
_ROLES = ("submit", "inspect", "hold", "release", "sign", "edit-reference", "edit-rules", "approve-rules", "replay",
          "admin")  # fmt: skip


def add_words(hold: argparse.ArgumentParser) -> None:
    """What can be said after ``lotgate hold``."""
    hold.add_argument("action", choices=("list", "preview", "place", "show", "lift"))
    hold.add_argument("hold", nargs="?", help="place: an id of your own; show, lift: which")
    hold.add_argument("--on", choices=_SCOPES, default="filter",
                      help="place: all lots of it, later ones too; or those that are found now (filter)")  # fmt: skip
    for name, help_ in (
        ("supplier", "lots of this supplier"), ("item", "lots of this item"), ("revision", "lots of this revision"),
        ("order", "lots of this purchase or production order"), ("plant", "lots of this plant"),
        ("received-from", "lots received or made since then, such as 2026-11-23T08:00:00Z"),
        ("received-until", "lots received or made until then"),
    ):  # fmt: skip
        hold.add_argument(f"--{name}", help=f"preview, place, lift: {help_}")
    hold.add_argument("--lot", action="append", help="preview, place, lift: this lot; may be given several times")
    hold.add_argument("--state", action="append", help="preview, place, lift: lots in this state; several times")
    hold.add_argument("--lifts", metavar="NAME", help="preview, lift: this hold, from the lots that are found")
    hold.add_argument("--reason", help="place, lift: a code of your list")
    hold.add_argument("--text", help="place, lift: in words")
    hold.add_argument("--owner", help="place: who has to look at it")
    hold.add_argument("--lift-role", choices=_ROLES, help="place: the role in which it must be lifted (hold)")
    hold.add_argument("--role", choices=_ROLES, help="lift: in which of your roles (hold)")
    hold.add_argument("--digest", help="place, lift: of the preview; nothing is done when the lots are others now")
    hold.add_argument("--csv", action="store_true", help="show: one line a lot, for spreadsheets")


def hold(options: argparse.Namespace, settings: Settings) -> int:
    """Preview, place, list, show or lift holds on many lots."""
    client = Client(options, settings)
    if options.action == "list":
        return _list(options, client)
    if options.action == "preview":
        wanted = {"selection": _selection(options)} | ({"lifts": options.lifts} if options.lifts else {})
        look = client.json(client.call("POST", "/v1/holds/preview", json=wanted))
        print_json(look) if options.json else _print_look(look)
        return DONE
    if options.action == "show":
        return _show(options, client)
    if not options.reason:
        raise Failure("say why: --reason with a code, and --text", WRONG)
    return _place(options, client) if options.action == "place" else _lift(options, client)


def _selection(options: argparse.Namespace) -> dict[str, Any]:
    said = {name: getattr(options, name) for name in _WORDS} | {"lots": options.lot, "states": options.state}
    return {name: value for name, value in said.items() if value}


def _said(options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    said = {"reason": {"code": options.reason, "text": options.text or ""}, "digest": options.digest, **more}
    return {name: value for name, value in said.items() if value is not None}


def _place(options: argparse.Namespace, client: Client) -> int:
    more = {"owner": options.owner, "lift_role": options.lift_role, "id": options.hold or f"W-{secrets.token_hex(4)}"}
    wanted = _said(options, scope=options.on, selection=_selection(options), **more)
    return _done(options, client.json(client.call("POST", "/v1/holds", json=wanted)))


def _lift(options: argparse.Namespace, client: Client) -> int:
    if options.lifts:
        more = {"lifts": options.lifts, "role": options.role, "id": options.hold or f"W-{secrets.token_hex(4)}"}
        wanted = _said(options, selection=_selection(options), **more)
        return _done(options, client.json(client.call("POST", "/v1/holds/lift", json=wanted)))
    path = f"/v1/holds/{_which(options)}/lift"
    wanted = {name: value for name, value in _said(options, role=options.role).items() if name != "digest"}
    return _done(options, client.json(client.call("POST", path, json=wanted)))


def _which(options: argparse.Namespace) -> str:
    if not options.hold:
        raise Failure(f"say which hold to {options.action}: its id, from `lotgate hold list`", WRONG)
    return quote(options.hold, safe="")


def _done(options: argparse.Namespace, wide: dict[str, Any]) -> int:
    if options.json:
        print_json(wide)
    else:
        print(f"hold {wide['id']} is {wide['state']}; `lotgate hold show {wide['id']}` says how far it is")
    return DONE


def _list(options: argparse.Namespace, client: Client) -> int:
    if options.json:
        print_json(client.pages("/v1/holds"))
        return DONE
    number = 0
    for line in client.each("/v1/holds"):
        number += 1
        what = f"lift of {line['lifts']}" if line["kind"] == "lift" else f"on {line['scope']}"
        since = f"since {line['opened_at'][:19]}Z"
        print(f"{line['id']:<20}  {line['state']:<8}  {what}, {line['reason']['code']}, {since}")
    print(counted(number, "hold", "holds"))
    return DONE


def _show(options: argparse.Namespace, client: Client) -> int:
    path = f"/v1/holds/{_which(options)}"
    if options.csv:
        client.print_sheet(f"{path}/lots")
        return DONE
    view = client.json(client.call("GET", path))
    if options.json:
        print_json(view)
        return DONE
    wide = view["hold"]
    refused = f", {wide['refused']} refused" if wide["refused"] else ""
    stands = "; lots that come in are held" if wide["stands"] else ""
    print(f"{wide['id']}: {wide['state']}, {counted(wide['done'], 'lot', 'lots')}{refused}{stands}")
    for step in view["steps"]:
        print(f"  {step['at'][:19]}Z  {step['step']:<12}  {step['by']}: {step['detail']}")
    return DONE


def _print_look(look: dict[str, Any]) -> None:
    states = ", ".join(f"{number} {state}" for state, number in look["states"].items())
    print(counted(look["lots"], "lot", "lots") + (f": {states}" if states else ""))
    for lot in look["first"]:
        print(f"  {lot}")
    if look["lots"] > len(look["first"]):
        print(f"  and {look['lots'] - len(look['first'])} more")
    print(f"digest {look['digest']}")
