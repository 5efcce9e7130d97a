"""``lotgate reconcile``: read a target back here and now, compare, and tell it again where its file lets that."""

import argparse
import threading

from actors.reconcile import Reconciler
from api.cli.local import existing_store
from api.cli.main import DONE, FOUND, Failure, counted, print_json
from engine.clock import system_clock
from engine.drift import Drift, DriftLine, Reading
from engine.errors import LotgateError
from engine.ledger import Ledger
from engine.logs import log_to_stderr
from engine.runtime import Engine, open_engine
from engine.settings import Settings
from engine.store.opening import Store

#: Lots that are shown; all of them are at GET /v1/targets/{target}/drift.
SHOWN = 200


def reconcile(options: argparse.Namespace, settings: Settings) -> int:
    """Read one target back; 1 when something drifts or it could not be read."""
    log_to_stderr("reconcile", settings.log_format)
    store = existing_store(settings)
    engine: Engine | None = None
    try:
        if options.repair:
            # A journal entry is decided like any other; it asks no rule, so one engine is enough.
            engine = open_engine(settings)
        drift = Drift(store, system_clock)
        found = _run(_reconciler(store, drift, settings, engine), options)
        lines = drift.lines(options.target, lot=options.lot, limit=SHOWN)
    finally:
        if engine is not None:
            engine.close()
        store.close()
    _print(options, found, lines)
    return FOUND if found.drifting or found.problem else DONE


def _reconciler(store: Store, drift: Drift, settings: Settings, engine: Engine | None) -> Reconciler:
    pipeline = None if engine is None else engine.pipeline
    return Reconciler(settings, drift, Ledger(store, system_clock), system_clock, pipeline, threading.Lock())


def _run(reconciler: Reconciler, options: argparse.Namespace) -> Reading:
    try:
        return reconciler.run(options.target, repair=options.repair, lot=options.lot)
    except LotgateError as error:
        raise Failure(error.detail, FOUND) from None


def _print(options: argparse.Namespace, found: Reading, lines: list[DriftLine]) -> None:
    if options.json:
        print_json({"reading": found, "drift": lines})
        return
    for line in lines:
        pairs = [f"{n} is {line.observed.get(n, 'missing')}, not {value}" for n, value in line.expected.items()]
        print(f"{line.lot}: {line.kind}: {', '.join(pairs)} (since {line.since[:19]}Z)")
    told = f", {counted(found.repaired, 'is', 'are')} told again" if found.repaired else ""
    drifting = counted(found.drifting, "drifts", "drift")
    print(f"{found.target}: {counted(found.lots, 'lot', 'lots')} compared, {drifting}{told}.")
    if found.problem:
        print(found.problem)
