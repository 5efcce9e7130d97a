"""``lotgate quality``: scorecards of suppliers, control charts of what was measured, and limits that are set."""

import argparse
from typing import Any

from api.cli.client import Client
from api.cli.main import DONE, FOUND, WRONG, Failure, counted, print_json
from engine.settings import Settings


def quality(options: argparse.Namespace, settings: Settings) -> int:
    """Ask, or set limits; a chart answers 1 when its last lot is out of control."""
    client = Client(options, settings)
    if options.action == "scorecards":
        return _scorecards(options, client)
    if options.item is None:
        raise Failure("say of which item: --item", WRONG)
    if options.action == "charts":
        return _charts(options, client)
    if options.action == "sampling":
        return _order(options, client)
    if options.characteristic is None:
        raise Failure("say of which characteristic: --characteristic", WRONG)
    names = ("item", "supplier", "characteristic", "centre", "sigma", "size")
    wanted: dict[str, Any] = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.clear:
        wanted["clear"] = True
    line = client.json(client.call("POST", "/v1/quality/limits", json=wanted))
    print_json(line) if options.json else _print_chart(line)
    return DONE


def _order(options: argparse.Namespace, client: Client) -> int:
    if options.severity is None or options.reason is None:
        raise Failure("say how hard it is inspected, and why: --severity and --reason", WRONG)
    wanted = {"item": options.item, "supplier": options.supplier or "", "severity": options.severity,
              "reason": options.reason}  # fmt: skip
    ordered = client.json(client.call("POST", "/v1/quality/sampling", json=wanted))
    if options.json:
        print_json(ordered)
    else:
        of = ordered["supplier"] or "own production"
        print(f"{ordered['item']} from {of}: {ordered['severity']} inspection from now on")
    return DONE


def _scorecards(options: argparse.Namespace, client: Client) -> int:
    lines = client.each("/v1/quality/scorecards", **_asked(options, "item", "supplier"))
    if options.json:
        print_json(list(lines))
        return DONE
    number = 0
    for line in lines:
        number += 1
        card, percent, ppm = line["scorecard"], line["rejection_percent"], line["ppm"]
        rates = [] if percent is None else [f"{percent:.1f} % rejected"]
        rates += [] if ppm is None else [f"{ppm:.0f} ppm"]
        skip = card["skip"]
        level = card["sampling"]["severity"]
        if skip["state"] != "lot_by_lot":
            level += f", {skip['state'].replace('_', '-')} 1 in {skip['frequency']}"
        print(
            f"{line['item']:<16} {line['supplier'] or 'own production':<16} {counted(card['lots'], 'lot', 'lots')},"
            f" {', '.join(rates)}, {card['accepted_in_row']} good in a row, inspection {level}"
        )
    print(counted(number, "scorecard", "scorecards"))
    return DONE


def _charts(options: argparse.Namespace, client: Client) -> int:
    lines = client.each("/v1/quality/charts", **_asked(options, "item", "supplier", "characteristic"))
    if options.json:
        shown = list(lines)
        print_json(shown)
        return FOUND if any(map(_out_of_control, shown)) else DONE
    number, found = 0, DONE
    for line in lines:
        number += 1
        _print_chart(line)
        found = FOUND if _out_of_control(line) else found
    print(counted(number, "chart", "charts"))
    return found


def _out_of_control(line: dict[str, Any]) -> bool:
    """Does the last lot of a chart break a rule?"""
    return bool(line["points"] and line["points"][-1]["signals"])


def _asked(options: argparse.Namespace, *names: str) -> dict[str, str]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _print_chart(line: dict[str, Any]) -> None:
    of = f"{line['item']} from {line['supplier'] or 'own production'}, {line['characteristic']}"
    spread = "" if line["deviation"] is None else f", standard deviation {line['deviation']:.6g}"
    print(f"{of}: {counted(line['lots'], 'lot', 'lots')}, mean {line['mean']:.6g}{spread}")
    if line["kind"] is None:
        print("  too few lots for a chart")
        return
    last = line["points"][-1]["point"]
    whence = "set limits" if line["phase"] == 2 else "limits from these lots"
    print(f"  {line['kind']}: {last['lower']:.6g} to {last['upper']:.6g} around {last['centre']:.6g} ({whence})")
    for point in line["points"]:
        if point["signals"]:
            print(f"  {point['lot']}: {point['point']['value']:.6g} breaks {', '.join(point['signals'])}")
