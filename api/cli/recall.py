"""``lotgate recall``: what a recall would touch, and recalls opened, watched and closed."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, WRONG, Failure, counted, print_json
from engine.settings import Settings

_WORDS = ("supplier", "item", "revision", "order", "plant", "received_from", "received_until")
_COLUMNS = ("made", "in_house", "shipped", "consumed", "scrapped", "returned", "regraded", "repacked", "unaccounted")


def recall(options: argparse.Namespace, settings: Settings) -> int:
    """Preview, open, list, show or close recalls."""
    client = Client(options, settings)
    if options.action == "list":
        return _list(options, client)
    if options.action == "preview":
        extent = client.json(client.call("POST", "/v1/recalls/preview", json=_selection(options)))
        print_json(extent) if options.json else _print_extent(extent)
        return DONE
    if options.action == "open":
        return _open(options, client)
    if not options.recall:
        raise Failure(f"say which recall to {options.action}: its id, from `lotgate recall list`", WRONG)
    path = f"/v1/recalls/{quote(options.recall, safe='')}"
    if options.action == "close":
        if not options.note:
            raise Failure("say why it is over: --note", WRONG)
        client.call("POST", f"{path}/close", json={"note": options.note})
    elif options.csv:
        client.print_sheet(f"{path}/lots")
        return DONE
    return _show(options, client, path)


def _selection(options: argparse.Namespace) -> dict[str, Any]:
    said = {name: getattr(options, name) for name in _WORDS} | {"lots": options.lot}
    bounds = {name: getattr(options, name) for name in ("above", "below", "unit")}
    if options.measured or any(bounds.values()):
        said["measured"] = {"characteristic": options.measured} | bounds
        said["measured"] = {name: value for name, value in said["measured"].items() if value}
    return {name: value for name, value in said.items() if value}


def _open(options: argparse.Namespace, client: Client) -> int:
    if not options.reason:
        raise Failure("say why: --reason with a code, and --text", WRONG)
    reason = {"code": options.reason, "text": options.text or ""}
    wanted: dict[str, Any] = {"selection": _selection(options), "reason": reason}
    if options.recall:
        wanted["id"] = options.recall
    opened = client.json(client.call("POST", "/v1/recalls", json=wanted))
    if options.json:
        print_json(opened)
    else:
        print(f"recall {opened['id']} is {opened['state']}; `lotgate recall show {opened['id']}` says how far it is")
    return DONE


def _list(options: argparse.Namespace, client: Client) -> int:
    if options.json:
        print_json(client.pages("/v1/recalls"))
        return DONE
    number = 0
    for line in client.each("/v1/recalls"):
        number += 1
        print(f"{line['id']:<20}  {line['state']:<8}  {line['reason']['code']}, since {line['opened_at'][:19]}Z")
    print(counted(number, "recall", "recalls"))
    return DONE


def _show(options: argparse.Namespace, client: Client, path: str) -> int:
    view = client.json(client.call("GET", path))
    if options.json:
        print_json(view)
        return DONE
    line = view["recall"]
    print(f"{line['id']}: {line['state']}, opened by {line['opened_by']} at {line['opened_at'][:19]}Z")
    text = line["reason"].get("text")
    print(f"  {line['reason']['code']}" + (f": {text}" if text else ""))
    if line["held_at"]:
        print(f"  everything held at {line['held_at'][:19]}Z")
    if line["note"]:
        print(f"  closed by {line['closed_by']}: {line['note']}")
    _print_extent(view["extent"])
    return DONE


def _print_extent(extent: dict[str, Any]) -> None:
    states = ", ".join(f"{number} {state}" for state, number in extent["states"].items())
    made = extent["lots"] - extent["selected"]
    selected = counted(extent["selected"], "lot", "lots")
    print(f"{selected} selected, {made} made of them" + (f": {states}" if states else ""))
    for line in extent["shipped"]:
        print(f"  shipped: {line['lot']}, {line['quantity']} {line['unit']} to {line['customer']} ({line['shipment']})")
    for line in extent["balance"]:
        parts = ", ".join(f"{line[name]} {name.replace('_', ' ')}" for name in _COLUMNS[1:] if line[name] != "0")
        print(f"  {line['item']}: {line['made']} {line['unit']} made = {parts or 'nothing'}")
    if extent["truncated"]:
        print(f"  there may be more: {extent['truncated']} reached its limit")
