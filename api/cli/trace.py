"""``lotgate trace``: the genealogy of a lot as a tree."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, counted, print_json
from engine.settings import Settings


def trace(options: argparse.Namespace, settings: Settings) -> int:
    """What was made of a lot, or what it was made of."""
    client = Client(options, settings)
    direction = "backward" if options.backward else "forward"
    wanted = {"direction": direction, "depth": str(options.depth), "format": "csv" if options.csv else "json"}
    answer = client.call("GET", f"/v1/lots/{quote(options.lot, safe='')}/genealogy", params=wanted)
    if options.csv:
        print(answer.text, end="")
        return DONE
    found = client.json(answer)
    if options.json:
        print_json(found)
        return DONE
    _print_tree(found, f"lot:{options.lot}", backward=options.backward)
    lots = sum(node["kind"] == "lot" for node in found["nodes"]) - 1
    more = "" if found["truncated"] is None else f"; there may be more ({found['truncated']} reached its limit)"
    print(f"{counted(lots, 'other lot', 'other lots')}{more}")
    return DONE


def _print_tree(found: dict[str, Any], start: str, *, backward: bool) -> None:
    nodes = {f"{node['kind']}:{node['id']}": node for node in found["nodes"]}
    near, far = ("to", "from") if backward else ("from", "to")
    below: dict[str, list[dict[str, Any]]] = {}
    for link in found["links"]:
        below.setdefault(link[near], []).append(link)
    shown: set[str] = set()
    # A stack, not recursion: families can be deep.
    stack: list[tuple[str, str, str]] = [("", "", start)]
    while stack:
        indent, amount, name = stack.pop()
        again = name in shown
        print(f"{indent}{amount}{_words(nodes[name])}{' (see above)' if again and below.get(name) else ''}")
        if again:
            continue
        shown.add(name)
        for link in reversed(below.get(name, [])):
            if link[far] in nodes:
                stack.append((indent + "    ", f"{link['quantity']} {link['unit']}  {link['kind']}  ", link[far]))


def _words(node: dict[str, Any]) -> str:
    if node["kind"] == "order":
        return f"order {node['id']}"
    if not node.get("known", True):
        return f"{node['id']}  not known yet"
    ended = f", {node['closed']}" if node.get("closed") and node["closed"] != node["state"] else ""
    to = f" to {node['customer']} ({node['shipment']})" if node.get("customer") else ""
    return f"{node['id']}  {node['item']}  {node['state']}{ended}{to}  {node['quantity']} {node['unit']}"
