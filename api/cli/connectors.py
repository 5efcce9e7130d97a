"""``lotgate connectors``: check connector files, read what targets say of a lot, and show what they would be told.

Nothing that changes a target is ever sent from here.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from actors.connectors.format import Connector, ConnectorInvalid, load, values
from actors.connectors.protocols import reader_of, requests_of
from actors.connectors.readback import NotRead, differing
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.effects import StockStatus, stock_status
from engine.ledger import key_of
from engine.settings import Settings
from engine.store.opening import open_store
from engine.store.reading import Reading


def connectors(options: argparse.Namespace, settings: Settings) -> int:
    """Check every connector file; with a lot read what its targets say of it; or show the requests for one lot."""
    if options.action == "check":
        return _read(options, settings) if options.lot else _check(options, settings)
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
    told = "steps" if found.deliver is None else f"{found.deliver.method} {found.deliver.path}"
    return {"file": path.name, "problem": None, "base_url": found.base_url, "deliver": told}


def _lot(options: argparse.Namespace, settings: Settings) -> tuple[list[Connector], StockStatus]:
    """The connectors of the targets of lots, and what they have to agree to."""
    files = [load(settings.connectors / f"{target}.yaml", settings) for target in settings.target_names]
    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    try:
        return files, stock_status(Reading(store).lot(options.lot))
    finally:
        store.close()


def _read(options: argparse.Namespace, settings: Settings) -> int:
    """Send the reads alone, and say what would be done."""
    files, status = _lot(options, settings)
    lines = [_said(connector, status) for connector in files]
    if options.json:
        print_json(lines)
    else:
        for line in lines:
            print(line["problem"] or f"{line['target']}: {line['then']}")
            for name, value in line["observed"].items():
                print(f"    {name}: {value}")
    return FOUND if any(line["problem"] for line in lines) else DONE


def _said(connector: Connector, status: StockStatus) -> dict[str, Any]:
    found: dict[str, Any] = {"target": connector.name, "problem": None, "then": None, "observed": {}}
    part = connector.read_back
    if part is None:
        return found | {"problem": f"{connector.name}: its file has no read_back part, so that it cannot be read"}
    reader = reader_of(connector, part)
    known = values(connector, status, key_of(connector.name, status.lot, status.version))
    try:
        seen = reader.one(known)
    except NotRead as error:
        return found | {"problem": error.detail}
    finally:
        reader.close()
    if seen is None:
        then = "does not know the lot; it would be told " + known["target_stock"]
    else:
        expected, _ = differing(part, known, seen)
        then = "agrees; nothing would be sent" if not expected else f"would be told {known['target_stock']}"
    return found | {"then": then, "observed": dict(seen or {})}


def _try(options: argparse.Namespace, settings: Settings) -> int:
    shown = list(_requests(*_lot(options, settings)))
    if options.json:
        print_json(shown)
        return DONE
    for line in shown:
        print(f"{line['target']} {line['request']}: {line['method']} {line['url']}")
        for header, value in line["headers"].items():
            print(f"    {header}: {value}")
        body = line["json"]
        for name, value in body.items() if isinstance(body, dict) else [] if body is None else [("body", body)]:
            print(f"    {name}: {value}")
    return DONE


def _requests(files: list[Connector], status: StockStatus) -> Iterator[dict[str, Any]]:
    for one in files:
        for name, call in requests_of(one, status, key_of(one.name, status.lot, status.version)):
            yield {
                "target": one.name, "request": name, "method": call.method, "url": call.path, "headers": call.headers,
                "json": call.json,
            }  # fmt: skip
