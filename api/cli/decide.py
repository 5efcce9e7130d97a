"""``lotgate decide``: what becomes of the parts of a lot, in one command that balances or changes nothing."""

import argparse
import re
import uuid
from typing import Any
from urllib.parse import quote

from api.cli.client import Client, body_of
from api.cli.main import DONE, FOUND, WRONG, Failure, print_json
from engine.settings import Settings

_PART = re.compile(r"(?P<decision>[a-z_]+)=(?P<quantity>[0-9.]+)(?::(?P<lot>.+))?\Z")


def decide(options: argparse.Namespace, settings: Settings) -> int:
    """Send a usage decision; the unit is the lot's."""
    client = Client(options, settings)
    name = quote(options.lot, safe="")
    unit = client.json(client.call("GET", f"/v1/lots/{name}"))["lot"]["unit"]
    parts = [_part(text, unit) for text in options.parts]
    body: dict[str, Any] = {"parts": parts, "reason": {"code": options.reason, "text": options.text or ""}}
    if options.record is not None:
        body["record"] = options.record
    key = {"Idempotency-Key": options.once or str(uuid.uuid4())}
    sent = client.call("POST", f"/v1/lots/{name}/decide-usage", json=body, headers=key)
    if sent.status_code == 409 and not options.json:
        return _refused(body_of(sent))
    answer = client.json(sent)
    if options.json:
        print_json(answer)
        return DONE
    for number, part in enumerate(parts, 1):
        lot = part.get("lot", f"{options.lot}-{number}")
        print(f"{lot}: {part['quantity']['value']} {unit} {part['decision'].replace('_', ' ')}")
    return DONE


def _refused(problem: dict[str, Any]) -> int:
    print(f"{problem['lot']}: nothing was done. {problem['detail']}")
    for rule in problem.get("rules", []):
        if rule["verdict"] != "pass":
            print(f"  {rule['rule']}: {rule['message']}")
    return FOUND


def _part(text: str, unit: str) -> dict[str, Any]:
    found = _PART.match(text)
    if found is None:
        raise Failure(f"{text!r} is not a part; expected decision=quantity or decision=quantity:lot", WRONG)
    part: dict[str, Any] = {"decision": found["decision"], "quantity": {"value": found["quantity"], "unit": unit}}
    return part if found["lot"] is None else part | {"lot": found["lot"]}
