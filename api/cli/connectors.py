"""``lotgate connectors``: check connector files, and show what a lot would be told, without sending anything."""

import argparse
from typing import Any

from actors.connectors.format import Connector, ConnectorInvalid, load
from actors.connectors.http import preview
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.effects import stock_status
from engine.ledger import key_of
from engine.settings import Settings
from engine.store.opening import open_store
from engine.store.reading import Reading


def connectors(options: argparse.Namespace, settings: Settings) -> int:
    """Check every connector file; or show the requests for one lot."""
    if options.action == "check":
        return _check(options, settings)
    if not options.lot:
        raise Failure("say which lot to try: lotgate connectors try LOT", WRONG)
    return _try(options, settings)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    lines = [_checked(target, settings) for target in settings.told_names]
    if options.json:
        print_json(lines)
    else:
        for line in lines:
            print(line["problem"] or f"{line['file']}: good; tells {line['base_url']} by {line['deliver']}")
    return FOUND if any(line["problem"] for line in lines) else DONE


def _checked(target: str, settings: Settings) -> dict[str, Any]:
    path = settings.connectors / f"{target}.yaml"
    try:
        found = load(path, settings)
    except ConnectorInvalid as error:
        return {"file": path.name, "problem": error.detail, "base_url": None, "deliver": None}
    told = f"{found.deliver.method} {found.deliver.path}"
    return {"file": path.name, "problem": None, "base_url": found.base_url, "deliver": told}


def _try(options: argparse.Namespace, settings: Settings) -> int:
    names = settings.target_names
    files: list[Connector] = [load(settings.connectors / f"{target}.yaml", settings) for target in names]
    store = open_store(settings.database_url, settings.home)
    try:
        status = stock_status(Reading(store).lot(options.lot))
    finally:
        store.close()
    shown = [
        {"target": one.name, "request": name, "method": call.method, "url": call.path, "headers": call.headers,
         "json": call.json}
        for one in files
        for name, call in preview(one, status, key_of(one.name, status.lot, status.version))
    ]  # fmt: skip
    if options.json:
        print_json(shown)
        return DONE
    for line in shown:
        print(f"{line['target']} {line['request']}: {line['method']} {line['url']}")
        for header, value in line["headers"].items():
            print(f"    {header}: {value}")
        for name, value in (line["json"] or {}).items():
            print(f"    {name}: {value}")
    return DONE
