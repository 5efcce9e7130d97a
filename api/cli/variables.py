"""``lotgate sampling --variables``: plans by variables, their curves, and what measured values say of their lot."""

import argparse
import math
from typing import Any

from api.cli.main import DONE, FOUND, print_json
from engine.quality.sampling import SamplingInvalid, Severity
from engine.quality.variables import (
    Estimate,
    Method,
    VariablesPlan,
    accepted_with,
    estimate,
    fraction_accepted,
    plan_of_two_points,
    variables_plan,
)

_FRACTIONS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.10, 0.15, 0.20, 0.30)


def variables(options: argparse.Namespace) -> int:
    """Answer one question. Raises SamplingInvalid."""
    if options.double or options.limiting_quality is not None or options.accept is not None:
        raise SamplingInvalid("--variables goes without --double, --limiting-quality and --accept")
    if options.action == "table":
        raise SamplingInvalid("--variables is for plan, curve and judge")
    return {"plan": _plan, "curve": _curve, "judge": _judge}[options.action](options)


def _wanted(options: argparse.Namespace, aql: str | None) -> VariablesPlan:
    method = Method(options.variables)
    if options.good is not None or options.bad is not None:
        return _of_two_points(options, method)
    if aql is None or options.lot_size is None:
        raise SamplingInvalid("say --lot-size and --aql, or --good and --bad for a plan of two points")
    return variables_plan(options.lot_size, aql, options.level, Severity(options.severity), method)


def _of_two_points(options: argparse.Namespace, method: Method) -> VariablesPlan:
    if options.good is None or options.bad is None or options.aql is not None:
        raise SamplingInvalid("a plan of two points has --good and --bad, and no --aql")
    good, bad = options.good / 100, options.bad / 100
    return plan_of_two_points(good, options.producer_risk, bad, float(options.risk), method)


def _plan(options: argparse.Namespace) -> int:
    found = _wanted(options, options.aql)
    if options.json:
        print_json(found)
        return DONE
    letter = "" if found.letter is None else f"code letter {found.letter}: "
    if found.whole_lot:
        print(f"{letter}inspect {found.sample_size} of {options.lot_size} (the whole lot), unit by unit")
        return DONE
    of = "" if options.lot_size is None else f" of {options.lot_size}"
    known = "" if found.method is Method.S else ", standard deviation known"
    print(f"{letter}measure {found.sample_size}{of}{known}")
    print(f"  one limit: accept with k {found.k:.3f} standard deviations between mean and limit, or more")
    print(f"  one limit or two: accept with an estimate of {found.m:.3g} % beyond them (M), or less")
    return DONE


def _curve(options: argparse.Namespace) -> int:
    found = _wanted(options, options.aql)
    if found.whole_lot:
        raise SamplingInvalid("the plan asks for the whole lot: every nonconforming unit is found")
    lines = [{"nonconforming": p, "accepted": accepted_with(p, found)} for p in _FRACTIONS]
    points = {f"accepted_{share}_percent": fraction_accepted(share / 100, found) for share in (95, 50, 10)}
    if options.json:
        print_json({"plan": found, "curve": lines, "points": points})
        return DONE
    print(f"n {found.sample_size}, k {found.k:.3f}, one limit")
    for line in lines:
        print(f"  {line['nonconforming']:>7.2%} nonconforming: accepted {line['accepted']:>7.2%} of the time")
    for name, value in points.items():
        print(f"  {name.split('_')[1]:>3} % of lots with {value:.2%} nonconforming are accepted")
    return DONE


def _judge(options: argparse.Namespace) -> int:
    if not options.values:
        raise SamplingInvalid("say the measured values: --values 74.01 74.02 ...")
    if not all(math.isfinite(value) for value in options.values):
        raise SamplingInvalid("a measured value is a number")
    sides: dict[str, tuple[float, VariablesPlan] | None] = {}
    for side in ("lower", "upper"):
        limit, aql = getattr(options, side), getattr(options, f"aql_{side}") or options.aql
        sides[side] = None if limit is None else (limit, _wanted(options, aql))
    found = estimate(options.values, sides["lower"], sides["upper"], options.sigma)
    plans = {side: one[1] for side, one in sides.items() if one is not None}
    if options.json:
        print_json({"plans": plans, "estimate": found})
    else:
        _print(found, plans)
    return DONE if found.accepted else FOUND


def _print(found: Estimate, plans: dict[str, Any]) -> None:
    print(f"mean {found.mean:.6g}, standard deviation {found.deviation:.6g}")
    for side, limit in (("lower", found.lower), ("upper", found.upper)):
        if limit is not None:
            plan = plans[side]
            print(
                f"  {side} limit: {limit.quality:.3f} standard deviations away (k {plan.k:.3f}),"
                f" {limit.percent:.3g} % beyond it (M {plan.m:.3g})"
            )
    allowed = max(plan.m for plan in plans.values())
    verdict = "accept" if found.accepted else "do not accept"
    print(f"  {found.percent:.3g} % beyond the limits, at most {allowed:.3g}: {verdict}")
