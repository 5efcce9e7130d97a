"""``lotgate tasks``: what somebody has to look at, and the words that say that somebody has, or is done."""

import argparse
import getpass

from api.cli.client import Client
from api.cli.main import DONE, WRONG, Failure, counted, print_json
from engine.settings import Settings


def tasks(options: argparse.Namespace, settings: Settings) -> int:
    """List tasks; acknowledge or close one."""
    client = Client(options, settings)
    if options.action != "list":
        return _remark(options, client)
    found = client.pages("/v1/tasks", state=options.state, kind=options.kind)
    if options.json:
        print_json(found)
        return DONE
    for task in found:
        about = task["subject"] if task["target"] is None else f"{task['subject']} ({task['target']})"
        print(f"{task['id']:>5}  {task['state']:<12}  {task['kind']:<18}  {about}, since {task['opened_at'][:19]}Z")
        print(f"       {task['detail']}")
        for done, by, note in (("acknowledged", "acknowledged_by", "note"), ("closed", "closed_by", "closing_note")):
            if task[by] is not None:
                print(f"       {done} by {task[by]}" + (f": {task[note]}" if task[note] else ""))
    print(counted(len(found), "task", "tasks"))
    return DONE


def _remark(options: argparse.Namespace, client: Client) -> int:
    if not options.task or not options.task.isdigit():
        raise Failure(f"say which task to {options.action}: its number, from `lotgate tasks list`", WRONG)
    said = {"who": options.who or _user(), "note": options.note}
    body = {name: value for name, value in said.items() if value is not None}
    task = client.json(client.call("POST", f"/v1/tasks/{options.task}/{options.action}", json=body))
    if options.json:
        print_json(task)
    else:
        by = task["closed_by"] if options.action == "close" else task["acknowledged_by"]
        print(f"task {task['id']} ({task['kind']}, {task['subject']}) is {task['state']}, by {by}")
    return DONE


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None  # a container without a name for its user: the key's name is enough
