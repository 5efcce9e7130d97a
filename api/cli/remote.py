"""Commands that ask the running service: demo, lot, deliveries. What may not enter: HTTP itself (client.py)."""

import argparse
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

from api.cli.client import Client
from api.cli.concessions import words_of
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings

#: The newest of a lot's journal that ``lotgate lot`` shows; all of it is in the JSON.
SHOWN_ENTRIES = 30
#: Deliveries that ``lotgate deliveries`` shows at the most.
SHOWN_DELIVERIES = 1000


def demo(options: argparse.Namespace, settings: Settings) -> int:
    """The supplier-receipt story."""
    from demo.story import run_story

    client = Client(options, settings)
    return run_story(
        base_url=client.url, api_key=client.key, erp_url=settings.erp_url, wms_url=settings.wms_url,
        lots=options.lots, as_json=options.json, out=sys.stdout,
    )  # fmt: skip


def lot(options: argparse.Namespace, settings: Settings) -> int:
    """A lot: state, holds, targets, next steps, journal; or every guard of a trigger."""
    client = Client(options, settings)
    name, trigger = _lot_words(options)
    path = f"/v1/lots/{quote(name, safe='')}"
    if trigger is not None:
        found = client.get(f"{path}/explain", trigger=trigger, as_decided=options.as_decided)
        print_json(found) if options.json else _print_explanation(found)
        return DONE if found["open"] else FOUND
    found, entries = client.get(path), client.pages(f"{path}/journal")
    if options.json:
        print_json(found | {"journal": entries})
    else:
        _print_lot(found, entries)
    return DONE


def _lot_words(options: argparse.Namespace) -> tuple[str, str | None]:
    """The lot, and the trigger to explain: ``lot explain L-1`` and ``lot L-1 --explain release`` mean the same."""
    words = options.lot
    asked = len(words) == 2 and words[0] == "explain"
    if len(words) > 1 and not asked:
        raise Failure(f"`lotgate lot` takes one lot, not {len(words)}", WRONG)
    trigger = options.explain or ("release" if asked or options.as_decided else None)
    return words[-1], trigger


def _print_lot(found: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    shown = found["lot"]
    closed = f", closed ({shown['closed']})" if shown.get("closed") else ""
    print(f"{shown['id']}: {shown['state']}{closed}, version {shown['version']}")
    supplier = f", supplier {shown['supplier']}" if shown.get("supplier") else ""
    print(f"  {shown['quantity']} {shown['unit']} of {shown['item']} revision {shown['revision']}{supplier}")
    if shown.get("parts"):
        print(f"  put together from {', '.join(shown['parts'])}")
    if shown.get("packaging") or shown.get("handling_units"):
        print(f"  {_packed(shown)}")
    if found.get("concession"):
        print(f"  concession {words_of(found['concession'])}")
    for hold in shown.get("holds", []):
        print(f"  hold {hold['hold']}: {hold['reason']}. {hold.get('text', '')}".rstrip(" ."))
    for target in found["targets"]:
        agreed, sent = target["acknowledged_state"] or "nothing yet", target["sent_state"]
        words = f"agrees: {agreed}" if target["agrees"] else f"agreed to {agreed}, has still to be told {sent}"
        print(f"  {target['target'].upper()} {words}")
    for dispute in shown.get("disputes", []):
        meanwhile = ", ".join(f"{target.upper()} is told {stock}" for target, stock in dispute["undo"].items())
        print(f"  {dispute['target'].upper()} does not take version {dispute['version']}, so {meanwhile}")
    steps = [step["trigger"] for step in found["next_steps"] if not step["automatic"]]
    print(f"  next: {', '.join(steps) or 'nothing'}\n")
    if len(entries) > SHOWN_ENTRIES:
        print(f"  … {len(entries) - SHOWN_ENTRIES} older entries (--json has all)")
    for entry in entries[-SHOWN_ENTRIES:]:
        before, after = entry["state_before"], entry["state_after"]
        change = after if before == after else f"{before} → {after}"
        when = entry["recorded_at"][:19]
        print(f"  {entry['version']:>3}  {when}Z  {entry['kind']:<11}  {entry['type']:<25}  {change}")


def _packed(shown: dict[str, Any]) -> str:
    packaging, units = shown.get("packaging"), shown.get("handling_units", [])
    said = [f"in {packaging['count']} × {packaging['package']}"] if packaging else []
    return ", ".join(said + ([f"on {', '.join(units[:5])}" + (" …" if units[5:] else "")] if units else []))


def _print_explanation(found: dict[str, Any]) -> None:
    if "recorded_at" in found:
        _print_then(found)
    else:
        answer = "would be carried out" if found["open"] else "would be refused"
        print(f"{found['trigger']} of {found['lot']} ({found['state']}, version {found['version']}) {answer}.")
    if not found.get("possible", True):
        print(f"  The lifecycle has no {found['trigger']} for a lot that is {found['state']}.")
    for guard in found["guards"]:
        print(f"  {guard['verdict']:<14} {guard['rule']}: {guard['message']} (built in)")
    for line in found.get("concessions", ()):
        print(f"  concession {words_of(line)}")
    for rule in found["rules"]:
        said = f": {rule['message']}" if rule["message"] else ""
        print(f"  {rule['verdict']:<14} {rule['rule']}{said} ({rule['file']}:{rule['line']})")
        for line in rule["conditions"] if rule["verdict"] in ("fail", "unknown") else ():
            if line["verdict"] != "pass":
                values = " | ".join(value for value in (line["left"], line["right"]) if value)
                print(f"  {'':<14}   {line['text']}   ({values})")


def _print_then(found: dict[str, Any]) -> None:
    answer = "was carried out" if found["open"] else "was refused"
    print(f"{found['trigger']} of {found['lot']} ({found['state']}, then version {found['version']}) {answer} "
          f"at {found['recorded_at'][:19]}Z by rule set {found['rule_set'][:19]}…")  # fmt: skip
    if found["reproduced"]:
        print("  Judged again by the stored rules and the recorded facts: the same verdicts.")
    for difference in found["differences"]:
        print(f"  NOT REPRODUCED: {difference}")


def deliveries(options: argparse.Namespace, settings: Settings) -> int:
    """The ledger, or a replay."""
    if options.dry_run and not options.replay:
        raise Failure("--dry-run goes with --replay")
    if options.replay and options.state:
        raise Failure("--replay sends dead deliveries again: --state does not go with it")
    client = Client(options, settings)
    if options.replay:
        return _replay(client, options)
    wanted = {"state": options.state, "target": options.target, "lot": options.lot}
    found = client.pages("/v1/deliveries", SHOWN_DELIVERIES, **wanted)
    if options.json:
        print_json(found)
        return DONE
    for line in found:
        error = f"  {line['last_error']}" if line["last_error"] and line["state"] != "delivered" else ""
        attempts = counted(line["attempts"], "attempt", "attempts")
        print(f"{line['id']:>8}  {line['target']:<5} {line['lot']:<28} version {line['version']:<4} "
              f"{line['status']['state']:<12} {line['state']:<11} {attempts}{error}")  # fmt: skip
    counts = [f"{number} {state}" for state, number in Counter(line["state"] for line in found).most_common()]
    more = f" (the first {SHOWN_DELIVERIES})" if len(found) == SHOWN_DELIVERIES else ""
    print(counted(len(found), "delivery", "deliveries") + more + (f": {', '.join(counts)}" if counts else ""))
    if client.notice:
        print(client.notice)
    return DONE


def _replay(client: Client, options: argparse.Namespace) -> int:
    key = {"Idempotency-Key": f"cli-{time.time_ns()}"}
    if options.replay == "all":
        body = {"target": options.target, "lot": options.lot, "dry_run": options.dry_run}
        wanted = {name: value for name, value in body.items() if value is not None}
        answer = client.json(client.call("POST", "/v1/deliveries/replay", json=wanted, headers=key))
    elif not options.replay.isdigit():
        raise Failure(f"--replay takes a delivery's number or `all`, not {options.replay!r}", WRONG)
    elif options.dry_run:
        raise Failure("--dry-run goes with `--replay all`")
    else:
        answer = client.json(client.call("POST", f"/v1/deliveries/{options.replay}/replay", headers=key))
    if options.json:
        print_json(answer)
    else:
        verb = "to send again" if answer["dry_run"] else "sent again"
        print(f"{counted(answer['replayed'], 'dead delivery', 'dead deliveries')} {verb}")
    return DONE
