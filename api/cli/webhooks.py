"""``lotgate webhooks``: who is told every journal entry; secrets, switches, and telling it all again."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, WRONG, Failure, counted, print_json
from engine.settings import Settings


def webhooks(options: argparse.Namespace, settings: Settings) -> int:
    """List subscriptions, or do something with one."""
    client = Client(options, settings)
    if options.action == "list":
        return _list(client, options.json)
    if not options.subject:
        what = "where to: its URL" if options.action == "add" else "which subscription: its id"
        raise Failure(f"say {what}", WRONG)
    method, path, body = _call(options)
    answer = client.json(client.call(method, path, **({} if body is None else {"json": body})))
    print_json(answer) if options.json else print(_words(options, answer))
    return DONE


def _call(options: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    action, path = options.action, f"/v1/subscriptions/{quote(options.subject, safe='')}"
    if action == "add":
        name = options.name or options.subject.partition("?")[0][:100]
        return "POST", "/v1/subscriptions", {"url": options.subject, "name": name, "types": options.type or []}
    if action == "remove":
        return "DELETE", path, None
    if action == "enable":
        return "POST", f"{path}/enable", None
    if action == "disable":
        return "POST", f"{path}/disable", {"reason": options.reason}
    if action == "rotate":
        return "POST", f"{path}/rotate", None if options.overlap is None else {"overlap_s": options.overlap}
    if not options.since:
        raise Failure("say since when: --since 2026-11-23T08:00:00Z", WRONG)
    return "POST", f"{path}/recover", {"since": options.since, "dry_run": options.dry_run}


def _words(options: argparse.Namespace, answer: dict[str, Any]) -> str:
    if options.action in ("add", "rotate"):
        line = answer["subscription"]
        signs = f"; until {line['previous_until'][:19]}Z the old one signs, too" if options.action == "rotate" else ""
        return f"{line['id']} tells {line['url']}{signs}\nsecret, shown only now: {answer['secret']}"
    if options.action == "recover":
        would = "would be" if answer["dry_run"] else "are"
        return f"{counted(answer['messages'], 'message', 'messages')} {would} sent again"
    did = {"remove": "is over", "enable": "is told again", "disable": "is told nothing"}[options.action]
    return f"{answer['id']} {did}"


def _list(client: Client, as_json: bool) -> int:
    found = client.get("/v1/subscriptions")["data"]
    if as_json:
        print_json(found)
        return DONE
    for line in found:
        state = "told"
        if line["disabled_at"]:
            state = f"disabled since {line['disabled_at'][:19]}Z: {line['disabled_why']}"
        elif line["failing_since"]:
            state = f"takes nothing since {line['failing_since'][:19]}Z"
        print(f"{line['id']}  {line['name']}: {state}")
        print(f"    {line['url']}, {', '.join(line['types']) or 'every type'}")
    print(counted(len(found), "subscription", "subscriptions"))
    return DONE
