"""``lotgate reference``: reference data listed, shown, and loaded from files."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings

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
    if options.what.endswith(".csv"):
        return _load_csv(options, client, path)
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
            _say(options.what, one, part[one["line"] - 1][0])
    return _ended(totals)


def _load_csv(options: argparse.Namespace, client: Client, path: str) -> int:
    """A file of any length: what becomes of its rows is said while they are kept."""
    params = {"dry_run": "yes"} if options.dry_run else {}
    headers = {"Content-Type": "text/csv", "Accept": "application/x-ndjson"}
    kept, totals = 0, dict[str, int]()
    try:
        with open(options.what, "rb") as file, client.stream(
            "POST", f"{path}/import", params=params, headers=headers, content=file
        ) as answer:  # fmt: skip
            if answer.status_code >= 400:
                answer.read()
                client.json(answer)
            for text in answer.iter_lines():
                one = json.loads(text)
                if "outcome" not in one:
                    totals = {name: number for name, number in one.items() if name != "lines"}
                    continue
                kept = one["line"] if one["outcome"] == "kept" else kept
                _say(options.what, one, one["line"])
    except OSError as error:
        raise Failure(f"{options.what} cannot be read: {error}", WRONG) from None
    if not totals:
        words = f"it broke off behind line {kept}, and everything up to there is kept; load the file again"
        raise Failure(f"{words}: what is there already changes nothing", FOUND)
    return _ended(totals)


def _say(file: str, one: dict[str, Any], line: int) -> None:
    """What became of a line, where somebody has to know."""
    if one.get("affects"):
        print(f"{one['key']}: {_affected(one['affects'])}")
    if one["outcome"] in ("refused", "stopped"):
        where = f" ({one['pointer']})" if one.get("pointer") else ""
        print(f"{file}:{line}: {one['detail']}{where}", file=sys.stderr)


def _ended(totals: dict[str, int]) -> int:
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
