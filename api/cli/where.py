"""``lotgate where``: what every system says of a lot now."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, print_json
from engine.settings import Settings


def where(options: argparse.Namespace, settings: Settings) -> int:
    """Ask them all; 1 when one differs, does not know the lot or did not answer."""
    client = Client(options, settings)
    found = client.json(client.call("GET", f"/v1/lots/{quote(options.lot, safe='')}/systems"))
    if options.json:
        print_json(found)
    else:
        print(f"{found['lot']} is {found['state']} (version {found['version']})")
        for system in found["systems"]:
            print(*_lines(system), sep="\n")
    return DONE if all(system["outcome"] == "agrees" for system in found["systems"]) else FOUND


def _lines(system: dict[str, Any]) -> list[str]:
    name, outcome = system["target"], system["outcome"].replace("-", " ")
    owed = ", a decision is still on its way to it" if system["owed"] else ""
    if system["problem"] is not None:
        return [f"{name}: {outcome}{owed}: {system['problem']}"]
    lines = [f"{name}: {outcome}{owed} ({system['asked_at']}, {system['took_ms']} ms)"]
    observed = system["observed"]
    lines += [f"    {member} is {observed[member]}, not {value}" for member, value in system["expected"].items()]
    for document in system["documents"]:
        said = document["problem"] or ("there is none" if document["said"] is None else _words(document["said"]))
        lines.append(f"    {document['name'].replace('_', ' ')}: {said}")
    return lines


def _words(said: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in said.items() if isinstance(value, str | int | float))
