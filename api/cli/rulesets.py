"""``lotgate rules`` as far as the running service is asked: list, show, diff, stage, approve, activate, roll back."""

import argparse
from pathlib import Path
from typing import Any

from api.cli.client import Client
from api.cli.main import DONE, FOUND, Failure, print_json
from api.cli.rules import directory_of, load
from engine.settings import Settings


def overview(options: argparse.Namespace, settings: Settings) -> int:
    """Every set, the newest first."""
    found = Client(options, settings).get("/v1/rules")["data"]
    if options.json:
        print_json(found)
        return DONE
    for line in found:
        _print_line(line)
    return DONE


def show(options: argparse.Namespace, settings: Settings) -> int:
    """One set; with ``--to`` its files are written there."""
    found = Client(options, settings).get(f"/v1/rules/{options.digest}")
    if options.to:
        _write(found["files"], Path(options.to))
    if options.json:
        print_json(found)
        return DONE
    _print_line(found["line"])
    for step in found["steps"]:
        effective = f" as of {step['effective_at'][:19]}Z" if step["effective_at"] else ""
        print(f"  {step['at'][:19]}Z {step['step']} by {step['by']}{effective}. {step['comment']}".rstrip(" ."))
    print(f"  {len(found['files'])} files: {', '.join(sorted(found['files']))}")
    return _print_examination(found["examination"])


def diff(options: argparse.Namespace, settings: Settings) -> int:
    """A stored set, or files here, compared in words with a stored set."""
    client = Client(options, settings)
    if options.set is None or Path(options.set).is_dir():
        from rules.rulebook import RuleBook
        from rules.versions import differences

        mine = load(directory_of(options.set, settings))
        theirs = RuleBook.from_sources(client.get(f"/v1/rules/{options.against}")["files"])
        changes: list[Any] = [{"kind": c.kind, "what": c.what, "words": c.words} for c in differences(theirs, mine)]
    else:
        changes = client.get(f"/v1/rules/{options.set}/diff", against=options.against)["changes"]
    if options.json:
        print_json(changes)
    else:
        _print_changes(changes)
    return FOUND if changes else DONE


def stage(options: argparse.Namespace, settings: Settings) -> int:
    """The files here, stored as a set."""
    book = load(directory_of(options.directory, settings))
    body = {"files": book.sources, "comment": options.comment}
    client = Client(options, settings)
    found = client.json(client.call("POST", "/v1/rules/stage", json=body, timeout=120.0))
    if options.json:
        print_json(found)
        return FOUND if found["examination"]["obstacles"] else DONE
    _print_line(found["line"])
    if found["changes"]:
        print("Against the set in force:")
    _print_changes(found["changes"])
    return _print_examination(found["examination"])


def approve(options: argparse.Namespace, settings: Settings) -> int:
    """Yes."""
    return _step(options, settings, f"/v1/rules/{options.digest}/approve", {})


def activate(options: argparse.Namespace, settings: Settings) -> int:
    """In force, now or later."""
    return _step(options, settings, f"/v1/rules/{options.digest}/activate", {"at": options.at})


def withdraw(options: argparse.Namespace, settings: Settings) -> int:
    """Taken back."""
    return _step(options, settings, f"/v1/rules/{options.digest}/withdraw", {})


def roll_back(options: argparse.Namespace, settings: Settings) -> int:
    """The set before."""
    seen = [line["digest"] for line in Client(options, settings).get("/v1/rules")["data"] if line["state"] == "active"]
    return _step(options, settings, "/v1/rules/rollback", {"expected": seen[0] if seen else None})


def _step(options: argparse.Namespace, settings: Settings, path: str, body: dict[str, Any]) -> int:
    client = Client(options, settings)
    # Before an approval both rule engines judge the tests, which takes a while for thousands of rules.
    found = client.json(client.call("POST", path, json=body | {"comment": options.comment}, timeout=180.0))
    print_json(found) if options.json else _print_line(found)
    return DONE


def _write(files: dict[str, str], directory: Path) -> None:
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{directory} cannot be written: {error.strerror}") from None


def _print_line(line: dict[str, Any]) -> None:
    digest = line["digest"].removeprefix("sha256:")[:12]
    approved = f", approved by {line['approved_by']}" if line["approved_by"] else ""
    effective = f", in force from {line['effective_at'][:19]}Z" if line["effective_at"] else ""
    comment = f": {line['comment']}" if line["comment"] else ""
    staged = f"staged {line['staged_at'][:10]} by {line['author']}"
    print(f"{digest}  {line['state']:<9} {staged}{approved}{effective}{comment}")


def _print_changes(changes: list[dict[str, Any]]) -> None:
    signs = {"added": "+", "removed": "-", "changed": "~"}
    for change in changes:
        print(f"  {signs[change['kind']]} {change['what']}: {change['words']}")
    if not changes:
        print("  no difference")


def _print_examination(found: dict[str, Any] | None) -> int:
    """What an examination found; the exit code that goes with it."""
    if found is None:
        print("  this release cannot read the set")
        return FOUND
    print(f"  {found['rules']} rules, {found['tests']} expectations of tests")
    for remark in found["remarks"]:
        at = remark["location"]
        print(f"  {at['file']}:{at['line']}:{at['column']}: {remark['level']}: {remark['message']}")
    if not found["obstacles"]:
        print("  nothing stands between it and an approval")
        return DONE
    print("  it cannot be approved:")
    for obstacle in found["obstacles"]:
        print(f"    {obstacle}")
    return FOUND
