"""Commands that run here: the processes of the Procfile, migration, settings."""

import argparse
from typing import TYPE_CHECKING

from api.cli.main import DONE, Failure, print_json
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

