"""``lotgate keys``: who may talk to this installation. Works on the database; the service need not run.

What may not enter: a way to read a key again. It is shown once, and kept as its SHA-256.
"""

import argparse
from datetime import timedelta

from api.cli.local import existing_store
from api.cli.main import DONE, FOUND, Failure, counted, print_json
from engine.clock import instant, system_clock
from engine.people import KeyLine, all_keys, create_key, revoke_key
from engine.settings import Settings
from engine.store.opening import Store


def keys(options: argparse.Namespace, settings: Settings) -> int:
    """List, add or revoke API keys."""
    if options.action != "list" and not options.name:
        missing = "the name of whoever will hold it" if options.action == "add" else "the id of a key"
        raise Failure(f"`lotgate keys {options.action}` needs {missing}")
    if options.action != "add" and (options.role or options.days):
        raise Failure("--role and --days go with `lotgate keys add`")
    store = existing_store(settings)
    try:
        return {"list": _list, "add": _add, "revoke": _revoke}[options.action](options, store)
    finally:
        store.close()


def _list(options: argparse.Namespace, store: Store) -> int:
    with store.reads.connect() as connection:
        found = all_keys(connection)
    if options.json:
        print_json(found)
        return DONE
    now = instant(system_clock())
    for key in found:
        print(f"{key.id}  {key.name:<24} {', '.join(key.roles):<8} {_standing(key, now)}")
    print(counted(len(found), "key", "keys"))
    return DONE


def _standing(key: KeyLine, now: str) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at[:19]}Z"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now else 'valid until'} {key.expires_at[:19]}Z"
    return f"made {key.created_at[:19]}Z"


def _add(options: argparse.Namespace, store: Store) -> int:
    now, role = system_clock(), options.role or "submit"
    end = None if options.days is None else instant(now + timedelta(days=options.days))
    with store.engine.begin() as connection:
        key = create_key(connection, options.name, (role,), instant(now), end)
    if options.json:
        print_json({"name": options.name, "role": role, "expires_at": end, "key": key})
    else:
        print(f"{key}\nThe key of {options.name} (role {role}). It is shown this once; Lotgate keeps only its hash.")
    return DONE


def _revoke(options: argparse.Namespace, store: Store) -> int:
    with store.engine.begin() as connection:
        done = revoke_key(connection, options.name, instant(system_clock()))
    if not done:
        raise Failure(f"there is no key {options.name} that is still valid; `lotgate keys list` shows all", FOUND)
    if options.json:
        print_json({"revoked": options.name})
    else:
        print(f"The key {options.name} is revoked; running services notice within a second.")
    return DONE
