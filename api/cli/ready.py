"""``lotgate ready``: may these lots leave for a customer now?"""

import argparse
from typing import Any

from api.cli.client import Client
from api.cli.main import DONE, FOUND, print_json
from engine.settings import Settings


def ready(options: argparse.Namespace, settings: Settings) -> int:
    """Ask; 1 unless everything is ready."""
    client = Client(options, settings)
    question: dict[str, Any] = {
        "shipment": options.shipment, "customer": options.customer, "lines": [{"lot": lot} for lot in options.lot],
        "deliver_on": options.deliver_on, "remaining_days": options.remaining_days, "plants": options.plant,
    }  # fmt: skip
    body = {name: value for name, value in question.items() if value is not None}
    answer = client.json(client.call("POST", "/v1/shipments/readiness", json=body))
    if options.json:
        print_json(answer)
    else:
        print(f"{answer['shipment']}: {answer['readiness'].replace('_', ' ')}")
        for line in answer["lines"]:
            print(f"  {line['lot']}: {line['readiness'].replace('_', ' ')}")
            for one in line["against"]:
                print(f"    {one['readiness'].replace('_', ' '):<10} {one['rule']}: {one['message']}")
    return DONE if answer["readiness"] == "ready" else FOUND
