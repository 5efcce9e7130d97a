"""``lotgate sampling``: which sample a lot needs, how a plan tells good lots from bad, and plans as a table."""

import argparse
import csv
import itertools
import sys
from typing import Any

from api.cli.main import DONE, WRONG, Failure, print_json
from api.cli.variables import variables
from engine.quality.curves import acceptance_binomial, acceptance_hypergeometric, fraction_accepted_with
from engine.quality.double import accepted_of_lot, accepted_of_process, double_plan, units_on_average
from engine.quality.sampling import Plan, SamplingInvalid, Severity, code_letter, plan, zero_accept_plan
from engine.settings import Settings

#: First lot sizes of the rows of table I, and an end.
_STARTS = (2, 9, 16, 26, 51, 91, 151, 281, 501, 1201, 3201, 10001, 35001, 150001, 500001, 2_000_000)
_FRACTIONS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.10, 0.15, 0.20, 0.30)


def sampling(options: argparse.Namespace, settings: Settings) -> int:
    """Answer from the tables; needs no service."""
    try:
        if options.variables is not None:
            return variables(options)
        if options.action == "judge":
            raise SamplingInvalid("judge is for plans by variables: say --variables")
        if options.double:
            return _double(options)
        return {"plan": _plan, "curve": _curve, "table": _table}[options.action](options)
    except (SamplingInvalid, ValueError) as error:
        raise Failure(str(error), WRONG) from None


def _wanted(options: argparse.Namespace, lot_size: int) -> Plan:
    if options.limiting_quality is not None:
        return zero_accept_plan(lot_size, options.limiting_quality, options.risk)
    if options.aql is None:
        raise SamplingInvalid("say --aql, or --limiting-quality for a c = 0 plan")
    return plan(lot_size, options.aql, options.level, Severity(options.severity))


def _lot_size(options: argparse.Namespace) -> int:
    if options.lot_size is None:
        raise SamplingInvalid("say --lot-size")
    return int(options.lot_size)


def _plan(options: argparse.Namespace) -> int:
    size = _lot_size(options)
    found = _wanted(options, size)
    if options.json:
        print_json(found)
        return DONE
    letter = "" if found.letter is None else f"code letter {code_letter(size, options.level)}, plan {found.letter}: "
    whole = " (the whole lot)" if found.whole_lot else ""
    print(f"{letter}inspect {found.sample_size} of {size}{whole}")
    print(f"  accept with up to {found.accept} nonconforming, do not accept from {found.reject} on")
    return DONE


def _double(options: argparse.Namespace) -> int:
    others = (options.limiting_quality, options.sample_size, options.accept)
    if options.action == "table" or options.aql is None or any(value is not None for value in others):
        raise SamplingInvalid("--double is for plan and curve, with --lot-size and --aql")
    size = _lot_size(options)
    found = double_plan(size, options.aql, options.level, Severity(options.severity))
    if isinstance(found, Plan):
        # The tables refer to the single plan here.
        return _plan(options) if options.action == "plan" else _curve(options)
    if options.action == "plan":
        if options.json:
            print_json(found)
            return DONE
        letters = f"code letter {code_letter(size, options.level)}, plan {found.letter}"
        print(f"{letters}: inspect {found.sample_size} of {size}")
        print(f"  accept with up to {found.first_accept} nonconforming, do not accept from {found.first_reject} on")
        back = f", but from {found.second_accept + 1} on go back to normal" if found.most > found.second_accept else ""
        print(f"  between: inspect {found.sample_size} more; accept with up to {found.most} in both samples{back}")
        return DONE
    lines = [
        {
            "nonconforming": p, "accepted": accepted_of_lot(size, round(p * size), found),
            "accepted_of_process": accepted_of_process(p, found), "units": units_on_average(p, found),
        }
        for p in _FRACTIONS
    ]  # fmt: skip
    if options.json:
        print_json({"plan": found, "curve": lines})
        return DONE
    print(f"n {found.sample_size} and {found.sample_size}, Ac {found.first_accept} and {found.second_accept}")
    for line in lines:
        print(
            f"  {line['nonconforming']:>7.2%} nonconforming: accepted {line['accepted']:>7.2%} of the time,"
            f" {line['units']:.0f} units on average"
        )
    return DONE


def _curve(options: argparse.Namespace) -> int:
    if options.sample_size is not None and options.accept is not None:
        found = Plan(options.sample_size, options.accept, options.accept + 1)
    else:
        found = _wanted(options, _lot_size(options))
    lines = [{"nonconforming": p, "accepted": _accepted(options, found, p)} for p in _FRACTIONS]
    points = {
        name: fraction_accepted_with(share, found.sample_size, found.accept)
        for name, share in (("accepted_95_percent", 0.95), ("accepted_50_percent", 0.50), ("accepted_10_percent", 0.10))
    }
    if options.json:
        print_json({"plan": found, "curve": lines, "points": points})
        return DONE
    print(f"n {found.sample_size}, Ac {found.accept}")
    for line in lines:
        print(f"  {line['nonconforming']:>7.2%} nonconforming: accepted {line['accepted']:>7.2%} of the time")
    for name, value in points.items():
        print(f"  {name.split('_')[1]:>3} % of lots with {value:.2%} nonconforming are accepted")
    return DONE


def _accepted(options: argparse.Namespace, found: Plan, fraction: float) -> float:
    size = options.lot_size
    if size is None or found.sample_size > size:
        return acceptance_binomial(fraction, found.sample_size, found.accept)
    return acceptance_hypergeometric(size, round(fraction * size), found.sample_size, found.accept)


def _table(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    for first, following in itertools.pairwise(_STARTS):
        size = first
        # Lots that are smaller than their sample are inspected whole: a row each.
        while size < following and (found := _wanted(options, size)).whole_lot:
            rows.append(_row(str(size), found))
            size += 1
        if size < following:
            rows.append(_row(f"{size}..{following - 1}", _wanted(options, following - 1)))
    if options.json:
        print_json(rows)
        return DONE
    out = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
    out.writeheader()
    out.writerows(rows)
    return DONE


def _row(sizes: str, found: Plan) -> dict[str, Any]:
    return {
        "lot_size": sizes, "sample_size": found.sample_size, "accept_number": found.accept,
        "reject_number": found.reject,
    }  # fmt: skip
