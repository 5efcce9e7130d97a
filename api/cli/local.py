"""Commands that run here: the processes of the Procfile, migration, verification, rule files, settings."""

import argparse
import sys
from typing import TYPE_CHECKING

from api.cli.main import DONE, FOUND, Failure, counted, print_json
from engine.logs import log_to_stderr
from engine.settings import Settings, shown

if TYPE_CHECKING:
    from engine.store.opening import Store


def web(_: argparse.Namespace, settings: Settings) -> int:
    """The web process."""
    from api.web import run
    from rules.findings import RulePackError

    try:
        run(settings)
    except RulePackError as error:
        raise Failure(f"the rule files in {settings.rules} cannot be used:\n{error}") from None
    return DONE


def worker(_: argparse.Namespace, settings: Settings) -> int:
    """A worker process."""
    log_to_stderr("worker", settings.log_format)
    if settings.redis_url == "none":
        raise Failure("LOTGATE_REDIS_URL is none: the web process delivers by itself, there is no worker to run")
    from actors.worker import main

    return main(settings)


def clock(_: argparse.Namespace, settings: Settings) -> int:
    """The clock process."""
    log_to_stderr("clock", settings.log_format)
    from actors.schedule import main

    return main(settings)


def migrate(_: argparse.Namespace, settings: Settings) -> int:
    """Bring the database to this release."""
    from engine.store.migrate import HEAD, migrate
    from engine.store.opening import open_store

    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    migrate(store)
    store.close()
    print(f"The database is at revision {HEAD}.")
    return DONE


def verify(options: argparse.Namespace, settings: Settings) -> int:
    """The journal of every lot, or of one, and the rule sets that judged."""
    from engine.clock import system_clock
    from engine.journal import verify as verify_journals
    from engine.readiness_record import ReadinessRecords
    from engine.rulesets import RuleSets
    from engine.store.reading import Reading

    store = existing_store(settings)
    report = verify_journals(Reading(store).journals(options.lot), _progress if sys.stderr.isatty() else None)
    wrong = RuleSets(store, system_clock).verify() if options.lot is None else []
    wrong += [] if options.lot is not None else ReadinessRecords(store, system_clock).breaks()
    store.close()
    if options.lot is not None and report.lots == 0:
        raise Failure(f"there is no lot {options.lot}", FOUND)
    if options.json:
        print_json({"lots": report.lots, "entries": report.entries, "breaks": report.breaks, "rule_sets": wrong})
    else:
        for broken in report.breaks:
            print(f"lot {broken.lot}, version {broken.version}: {broken.problem}")
        for words in wrong:
            print(words)
        words = "every chain holds and every fold equals its lot" if report.intact else "see above"
        print(f"{counted(report.lots, 'lot', 'lots')}, {counted(report.entries, 'entry', 'entries')}: {words}.")
    return DONE if report.intact and not wrong else FOUND


def config(options: argparse.Namespace, settings: Settings) -> int:
    """The settings in force."""
    values = shown(settings)
    if options.json:
        print_json(values)
    else:
        for name, value in values.items():
            print(f"LOTGATE_{name.upper()}={value}")
    return DONE


def existing_store(settings: Settings) -> "Store":
    """The database of this installation; raises Failure where there is none, StoreNotMigrated for another release's."""
    from engine.store.migrate import check
    from engine.store.opening import open_store

    if not settings.database_url and not (settings.home / "lotgate.db").exists():
        raise Failure(
            f"there is no database in {settings.home}; start Lotgate once, or see LOTGATE_HOME and LOTGATE_DATABASE_URL"
        )
    store = open_store(settings.database_url, settings.home, settings.archive_folder)
    check(store)
    return store


def _progress(lots: int) -> None:
    if lots % 1000 == 0:
        sys.stderr.write(f"\r{lots} lots\r")
