"""``lotgate operation``: may this operation of a lot, or of a production order, start? And what was reported."""

import argparse
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings


def operation(options: argparse.Namespace, settings: Settings) -> int:
    """Ask; 1 when the operation may not start."""
    client = Client(options, settings)
    name = quote(options.what, safe="")
    if options.operation is None:
        if options.order:
            raise Failure("say which operation of the order", WRONG)
        return _list(options, client.json(client.call("GET", f"/v1/lots/{name}/operations"))["data"])
    of = "production-orders" if options.order else "lots"
    path = f"/v1/{of}/{name}/operations/{quote(options.operation, safe='')}/gate"
    answer = client.json(client.call("GET", path))
    if options.json:
        print_json(answer)
    else:
        for one in answer["lots"] if options.order else [answer]:
            _show(one)
    return DONE if answer["open"] else FOUND


def _show(answer: dict[str, Any]) -> None:
    print(f"{answer['lot']}: operation {answer['operation']} {'may start' if answer['open'] else 'may not start'}")
    for one in answer["guards"]:
        print(f"  {one['rule']}: {one['message']}")
    for rule in answer["rules"]:
        if rule["verdict"] not in ("pass", "not_applicable", "not_effective"):
            print(f"  {rule['rule']}: {rule['message'] or rule['verdict']}")


def _inspected(one: dict[str, Any]) -> str:
    looked = ", ".join(f"{c['characteristic']} {c['inspected']} of {c['wanted']}" for c in one["characteristics"])
    return f"inspection by {one['plan']}@{one['revision']} {one['status']}: {looked}"


def _list(options: argparse.Namespace, lines: list[dict[str, Any]]) -> int:
    if options.json:
        print_json(lines)
        return DONE
    for line in lines:
        run = line["reported"]
        again = f", run {run['run']}" if run is not None and run.get("run", 1) > 1 else ""
        status = "not reported" if run is None else run["status"] + again
        measured = ", ".join(f"{p['parameter']} {p['value']} {p['unit']}" for p in (run or {}).get("parameters", []))
        print("  ".join(filter(None, (line["operation"], status, measured))))
        if line["inspection"] is not None:
            print(f"  {_inspected(line['inspection'])}")
        for name in line["deviations"]:
            print(f"  deviation {name} is not decided")
    print(counted(len(lines), "operation", "operations"))
    return DONE
