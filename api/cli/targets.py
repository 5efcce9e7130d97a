"""``lotgate targets``: how the targets do, and the switch that stops telling one of them."""

import argparse
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, WRONG, Failure, print_json
from engine.settings import Settings


def targets(options: argparse.Namespace, settings: Settings) -> int:
    """How the targets do; or pause and resume one of them."""
    client = Client(options, settings)
    if options.action:
        if not options.target:
            raise Failure(f"say which target to {options.action}: its name, such as erp", WRONG)
        path = f"/v1/targets/{quote(options.target, safe='')}/{options.action}"
        body = {"json": {"reason": options.reason}} if options.action == "pause" else {}
        state = client.json(client.call("POST", path, **body))
        done = "is paused" if state["paused_at"] else "is told everything again"
        if options.json:
            print_json(state)
        else:
            print(f"{state['name']} {done}")
        return DONE
    found = client.get("/v1/targets")["data"]
    if options.json:
        print_json(found)
        return DONE
    for line in found:
        state = line["state"]
        paused = state["paused_at"]
        switch = f"paused by {state['paused_by']} since {paused[:19]}Z: {state['reason']}" if paused else ""
        does = {"closed": "answers", "open": "does not answer", "half-open": "is tried"}[state["breaker"]]
        oldest = f", the oldest since {line['oldest_open'][:19]}" if line["oldest_open"] else ""
        print(f"{state['name']:<5} {switch or does:<16} "
              f"{line['pending']} waiting, {line['sending']} under way, {line['dead']} dead{oldest}")  # fmt: skip
        if state["breaker"] != "closed" and state["breaker_detail"]:
            print(f"      {state['breaker_detail']}")
    return DONE
