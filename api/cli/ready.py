"""``lotgate ready``: may these orders leave now, or these lots for a customer?"""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.settings import Settings

_OF_LOTS = ("deliver_on", "remaining_days", "plant")


def ready(options: argparse.Namespace, settings: Settings) -> int:
    """Ask; 1 unless everything is ready."""
    return _orders(options, settings) if options.customer is None else _lots(options, settings)


def _orders(options: argparse.Namespace, settings: Settings) -> int:
    said = [name for name in _OF_LOTS if getattr(options, name) is not None]
    if said:
        option = said[0].replace("_", "-")
        raise Failure(f"--{option} goes with lots and a --customer; of an order its customer's terms say it", WRONG)
    client = Client(options, settings)
    if options.signal:
        paths = [f"/v1/shipments/{quote(order, safe='')}/signal" for order in options.what]
        found = [client.json(client.call("POST", path))["answered"] for path in paths]
    else:
        body = {"orders": options.what}
        found = client.json(client.call("POST", "/v1/shipments/readiness/batch", json=body))["orders"]
    if options.json:
        print_json(found)
    else:
        for one in found:
            _show(one["answer"])
    return DONE if all(one["answer"]["readiness"] == "ready" for one in found) else FOUND


def _show(answer: dict[str, Any]) -> None:
    print(f"{answer['order']}: {_words(answer['readiness'])}")
    _reasons(answer["against"], "  ")
    for line in answer["lines"]:
        amounts = f"{line['allocated']} of {line['ordered']} {line['unit']}"
        lots = f" in {', '.join(line['lots'])}" if line["lots"] else ""
        print(f"  line {line['line']}, {line['item']}, {amounts}{lots}: {_words(line['readiness'])}")
        _reasons(line["against"], "    ")
    for lot in answer["lots"]:
        print(f"  {lot['lot']}: {_words(lot['readiness'])}")
        _reasons(lot["against"], "    ")
    for fact in answer["facts"]:
        old = ", too old" if fact["stale"] else ""
        print(f"  {fact['kind']} {fact['key']} as {fact['said_by']} said {fact['age_seconds']:.0f} s ago{old}")


def _lots(options: argparse.Namespace, settings: Settings) -> int:
    if options.signal:
        raise Failure("--signal goes with orders: what is signalled is watched until it has left", WRONG)
    client = Client(options, settings)
    question: dict[str, Any] = {
        "shipment": options.shipment, "customer": options.customer, "lines": [{"lot": lot} for lot in options.what],
        "deliver_on": options.deliver_on, "remaining_days": options.remaining_days, "plants": options.plant,
    }  # fmt: skip
    body = {name: value for name, value in question.items() if value is not None}
    answer = client.json(client.call("POST", "/v1/shipments/readiness", json=body))
    if options.json:
        print_json(answer)
    else:
        print(f"{answer['shipment']}: {_words(answer['readiness'])}")
        for line in answer["lines"]:
            print(f"  {line['lot']}: {_words(line['readiness'])}")
            _reasons(line["against"], "    ")
    return DONE if answer["readiness"] == "ready" else FOUND


def _reasons(against: list[dict[str, str]], indent: str) -> None:
    for one in against:
        print(f"{indent}{_words(one['readiness']):<10} {one['rule']}: {one['message']}")


def _words(readiness: str) -> str:
    return readiness.replace("_", " ")
