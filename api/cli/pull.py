"""``lotgate pull``: how inbound files stand; they are checked, tried, asked for. On the database here, no service.

What may not enter: how rows are fetched (actors/inbound/pull.py).
"""

import argparse
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from actors.connectors.format import ConnectorInvalid
from actors.inbound.format import Inbound, files_of, load
from actors.inbound.pull import Fetching, PullFailed, is_watermark, since
from actors.inbound.rows import RowWrong, become
from api.cli.local import existing_store
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.clock import system_clock
from engine.settings import Settings
from engine.standing import Stand, Standing

#: Rows that `try` shows.
SHOWN_ROWS = 10


def pull(options: argparse.Namespace, settings: Settings) -> int:
    """Say how inbound files stand, check them, try one, or have the clock do it now."""
    if not settings.inbound:
        raise Failure("there are no inbound files: set LOTGATE_INBOUND to their directory", WRONG)
    if options.action == "check":
        return _check(options, settings)
    if options.action == "status":
        return _status(options, settings)
    if options.name is None:
        raise Failure(f"say which inbound file: lotgate pull {options.action} NAME", WRONG)
    path = Path(settings.inbound) / f"{options.name}.yaml"
    if path.parent != Path(settings.inbound):
        raise Failure(f"no inbound file is called {options.name!r}", WRONG)
    inbound = load(path, settings)
    if inbound.kind != "pull":
        raise Failure(f"{path.name} is a drop; files are taken by `lotgate inbox`", WRONG)
    return _try(options, settings, inbound) if options.action == "try" else _now(options, settings, inbound)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    lines = []
    for path in files_of(settings):
        try:
            found = load(path, settings)
            lines.append({"file": path.name, "kind": found.kind, "problem": None})
        except ConnectorInvalid as error:
            lines.append({"file": path.name, "kind": None, "problem": error.detail})
    if options.json:
        print_json(lines)
    else:
        for line in lines:
            print(line["problem"] or f"{line['file']}: good; a {line['kind']}")
        if not lines:
            print(f"no inbound files (*.yaml) in {settings.inbound}")
    return FOUND if any(line["problem"] for line in lines) else DONE


def _status(options: argparse.Namespace, settings: Settings) -> int:
    store = existing_store(settings)
    try:
        known = {stand.name: stand for stand in Standing(store, system_clock).all()}
    finally:
        store.close()
    # Files that are gone are of the past.
    stands = [known.get(path.stem) or Stand(path.stem, "never looked at") for path in files_of(settings)]
    if options.json:
        print_json(stands)
    else:
        for stand in stands:
            print(_line(stand))
        if not stands:
            print(f"no inbound files (*.yaml) in {settings.inbound}")
    return FOUND if any(stand.failures for stand in stands) else DONE


def _line(stand: Stand) -> str:
    well = f"well at {stand.ended_at[:19]}Z" if stand.ended_at else "never yet well"
    rows = f", {stand.lines} rows, {stand.rejected} rejected" if stand.ended_at else ""
    mark = f", read up to {stand.watermark}" if stand.watermark else ""
    bad = f"; failed {stand.failures} times since: {stand.problem}" if stand.failures else ""
    return f"{stand.name} ({stand.kind}): {well}{rows}{mark}{bad}"


def _try(options: argparse.Namespace, settings: Settings, inbound: Inbound) -> int:
    """The first page, and what its first rows would become."""
    timezone = ZoneInfo(settings.timezone)
    fetching = Fetching(inbound, timezone, system_clock)
    mark = inbound.pull.watermark if inbound.pull is not None else None
    try:
        rows, _ = next(fetching.pages(since(mark, options.since)))
    except PullFailed as error:
        raise Failure(f"{inbound.name}: {error}", FOUND) from None
    finally:
        fetching.close()
    shown: list[dict[str, Any]] = []
    for row in islice(rows, SHOWN_ROWS):
        try:
            shown.append({"row": row.number, "becomes": msgspec.to_builtins(become(inbound, row, timezone=timezone))})
        except RowWrong as error:
            shown.append({"row": row.number, "column": error.column, "problem": error.detail})
    if options.json:
        print_json(shown)
    else:
        for line in shown:
            print(line["problem"] if "problem" in line else msgspec.json.encode(line["becomes"]).decode())
        print(f"the first page has {len(rows)} rows; nothing was changed")
    return FOUND if any("problem" in line for line in shown) else DONE


def _now(options: argparse.Namespace, settings: Settings, inbound: Inbound) -> int:
    if options.since is not None and (inbound.pull is None or inbound.pull.watermark is None):
        raise Failure(f"{inbound.name} has no watermark: it is fetched whole every time", WRONG)
    if options.since is not None and inbound.pull is not None and inbound.pull.watermark is not None:
        mark = inbound.pull.watermark
        if not is_watermark(mark, options.since):
            such = {"time": "time with its zone, such as 2026-11-23T08:00:00Z", "integer": "whole number"}[mark.type]
            raise Failure(f"--since {options.since} is no {such}", WRONG)
    store = existing_store(settings)
    try:
        Standing(store, system_clock).ask(inbound.name, "pull", options.since)
    finally:
        store.close()
    print(f"the clock process fetches {inbound.name} within a second; see `lotgate pull status`")
    return DONE
