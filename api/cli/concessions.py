"""``lotgate concessions``: what is used under concessions by all lots together, and what is left."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, counted, print_json
from engine.settings import Settings


def concessions(options: argparse.Namespace, settings: Settings) -> int:
    """List them, or show one with its lots."""
    client = Client(options, settings)
    if options.number is None:
        lines = client.pages("/v1/concessions")
        if options.json:
            print_json(lines)
            return DONE
        for line in lines:
            print(words_of(line))
        print(counted(len(lines), "concession", "concessions"))
        return DONE
    path = f"/v1/concessions/{quote(options.number, safe='')}"
    totals: list[dict[str, Any]] = client.get(path)["totals"]
    lots = list(client.each(path, "lots"))
    if options.json:
        print_json({"number": options.number, "totals": totals, "lots": lots})
        return DONE
    for line in totals:
        print(words_of(line))
    for use in lots:
        print(f"  {use['lot']}: {use['quantity']} {use['unit']}")
    return DONE


def words_of(line: dict[str, Any]) -> str:
    """What is used of a concession, in words."""
    used = f"{line['number']}: {line['used']} {line['unit']} used"
    return used if line["permitted"] is None else f"{used} of {line['permitted']}, {line['left']} left"
