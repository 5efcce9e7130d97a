"""``lotgate reference``: reference data listed, shown, and loaded from files."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings

#: Columns of a table of facts that are not fields.
_COLUMNS = ("key", "effective_from", "effective_until", "kind", "item", "supplier")
#: Lots that a dry run names in a line.
_NAMED = 10
#: Lines that go in one call.
_TOGETHER = 500


def reference(options: argparse.Namespace, settings: Settings) -> int:
    """List, show or load; 1 when a line of a file was refused."""
    client = Client(options, settings)
    path = f"/v1/reference/{quote(options.kind, safe='')}"
    if options.action == "load":
        return _load(options, client, path)
    if options.action == "show":
        if options.what is None:
            raise Failure("say which record: its key", WRONG)
        rows = client.json(client.call("GET", f"{path}/{quote(options.what, safe='')}"))["data"]
    else:
        asked = {name: getattr(options, name) for name in ("item", "on") if getattr(options, name) is not None}
        rows = list(_pages(client, path, asked))
    if options.json:
        print_json(rows)
        return DONE
    for row in rows:
        until = f" to {row['effective_until']}" if row["effective_until"] else ""
        what = "withdrawn" if row["content"] is None else json.dumps(row["content"], ensure_ascii=False)
        print(f"{row['key']}@{row['revision']} from {row['effective_from']}{until}, by {row['recorded_by']}: {what}")
    print(counted(len(rows), "record", "records"))
    return DONE


def _pages(client: Client, path: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
    following: str | None = ""
    while following is not None:
        params = asked | ({"cursor": following} if following else {})
        page = client.json(client.call("GET", path, params=params))
        yield from page["data"]
        following = page["next"]


def _load(options: argparse.Namespace, client: Client, path: str) -> int:
    if options.what is None:
        raise Failure("say which file: NDJSON, JSON or CSV, or - for standard input", WRONG)
    lines = _read(options.what)
    totals = dict.fromkeys(("created", "unchanged", "checked", "refused"), 0)
    for start in range(0, len(lines), _TOGETHER):
        part = lines[start : start + _TOGETHER]
        body = "".join(json.dumps(line) + "\n" for _, line in part)
        answer = client.call(
            "POST", f"{path}/import", params={"dry_run": "yes"} if options.dry_run else {}, content=body.encode(),
            headers={"Content-Type": "application/x-ndjson"},
        )  # fmt: skip
        found = client.json(answer)
        for name in totals:
            totals[name] += found[name]
        for one in found["lines"]:
            if one.get("affects"):
                print(f"{one['key']}: {_affected(one['affects'])}")
            if one["outcome"] == "refused":
                where = f" ({one['pointer']})" if one.get("pointer") else ""
                print(f"{options.what}:{part[one['line'] - 1][0]}: {one['detail']}{where}", file=sys.stderr)
    print(", ".join(f"{number} {name}" for name, number in totals.items() if number) or "nothing to load")
    return FOUND if totals["refused"] else DONE


def _affected(affects: dict[str, Any]) -> str:
    """What a change would touch, in a line."""
    words = []
    if number := affects.get("lots_number", 0):
        named = ", ".join(affects["lots"][:_NAMED]) + (" …" if number > _NAMED else "")
        words.append(f"{counted(number, 'lot', 'lots')} ({named})")
    for name in ("plans", "rules", "orders"):
        if affects.get(name):
            words.append(f"{name} {', '.join(affects[name])}")
    return "touches " + "; ".join(words)


def _read(file: str) -> list[tuple[int, Any]]:
    """Line number in the file, and what it says."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", WRONG) from None
    if file.endswith(".csv"):
        return _facts(file, text)
    try:
        whole = json.loads(text)
    except ValueError:
        return [(number, _line(file, number, line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [(1, one) for one in (whole if isinstance(whole, list) else [whole])]


def _line(file: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise Failure(f"{file}, line {number}: {error}", WRONG) from None


def _facts(file: str, text: str) -> list[tuple[int, Any]]:
    """A table of facts: the columns beside those of the record are fields; an empty cell says nothing."""
    rows = csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.split("\n", 1)[0] else ",")
    missing = {"key", "effective_from", "kind"} - set(rows.fieldnames or ())
    if missing:
        raise Failure(f"{file} has no column {', '.join(sorted(missing))}", WRONG)
    found = []
    for row in rows:
        said = {name: cell.strip() for name, cell in row.items() if name and cell and cell.strip()}
        content = {"kind": said.get("kind", ""), "fields": {n: v for n, v in said.items() if n not in _COLUMNS}}
        content |= {name: said[name] for name in ("item", "supplier") if name in said}
        line = {name: said[name] for name in ("key", "effective_from", "effective_until") if name in said}
        found.append((rows.line_num, line | {"content": content}))
    return found
