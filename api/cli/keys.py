"""``lotgate keys``: who may talk to this installation. Works on the database; the service need not run.

What may not enter: a way to read a key again. It is shown once, and kept as its SHA-256.
"""

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING

from api.cli.main import DONE, FOUND, Failure, count, counted, print_json
from api.roles import ROLES

if TYPE_CHECKING:
    from engine.people import KeyLine
    from engine.settings import Settings
    from engine.store.opening import Store

#: How long the old key works beside the new one, unless somebody says otherwise: a day, to bring the new one out.
OVERLAP_SECONDS = 86_400


def add_words(keys: argparse.ArgumentParser) -> None:
    """What can be said after ``lotgate keys``."""
    keys.add_argument("action", choices=("list", "add", "rotate", "revoke"))
    keys.add_argument("name", nargs="?", help="add: who will hold it; rotate, revoke: the key's id")
    keys.add_argument("--role", action="append", choices=tuple(ROLES), metavar="ROLE",
                      help=f"add: what it may do ({', '.join(ROLES)}), once or several times (submit)")  # fmt: skip
    keys.add_argument("--source", action="append", help="add: only events from this source; `wms/*`: all that begin so")
    keys.add_argument("--plant", action="append", help="add: only lots of this plant")
    keys.add_argument("--days", type=count, help="add: how long it is valid (until it is revoked)")
    keys.add_argument("--overlap", type=count, help="rotate: seconds for which the old key works, too (a day)")


def keys(options: argparse.Namespace, settings: "Settings") -> int:
    """List, add, rotate or revoke API keys."""
    from api.cli.local import existing_store

    if options.action != "list" and not options.name:
        missing = "the name of whoever will hold it" if options.action == "add" else "the id of a key"
        raise Failure(f"`lotgate keys {options.action}` needs {missing}")
    if options.action != "add" and (options.role or options.days or options.source or options.plant):
        raise Failure("--role, --source, --plant and --days go with `lotgate keys add`")
    if options.action != "rotate" and options.overlap:
        raise Failure("--overlap goes with `lotgate keys rotate`")
    store = existing_store(settings)
    try:
        return {"list": _list, "add": _add, "rotate": _rotate, "revoke": _revoke}[options.action](options, store)
    finally:
        store.close()


def _list(options: argparse.Namespace, store: "Store") -> int:
    from engine.clock import instant, system_clock
    from engine.people import all_keys

    with store.reads.connect() as connection:
        found = all_keys(connection)
    if options.json:
        print_json(found)
        return DONE
    now = instant(system_clock())
    for key in found:
        limits = "".join(f" from {s}" for s in key.sources) + "".join(f" in {p}" for p in key.plants)
        print(f"{key.id}  {key.name:<24} {', '.join(key.roles) + limits:<8} {_standing(key, now)}")
    print(counted(len(found), "key", "keys"))
    return DONE


def _standing(key: "KeyLine", now: str) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at[:19]}Z"
    if key.expires_at is not None:
        return f"{'expired' if key.expires_at <= now else 'valid until'} {key.expires_at[:19]}Z"
    return f"made {key.created_at[:19]}Z"


def _add(options: argparse.Namespace, store: "Store") -> int:
    from engine.clock import instant, system_clock
    from engine.people import create_key

    now, roles = system_clock(), tuple(dict.fromkeys(options.role or ["submit"]))
    end = None if options.days is None else instant(now + timedelta(days=options.days))
    sources, plants = tuple(options.source or ()), tuple(options.plant or ())
    with store.engine.begin() as connection:
        key = create_key(connection, options.name, roles, instant(now), end, sources=sources, plants=plants)
    if options.json:
        limits = {"sources": sources, "plants": plants}
        print_json({"name": options.name, "role": roles[0], "roles": roles, **limits, "expires_at": end, "key": key})
    else:
        print(f"{key}\nThe key of {options.name} (role {', '.join(roles)}). It is shown this once; Lotgate keeps only "
              "its hash.")  # fmt: skip
    return DONE


def _rotate(options: argparse.Namespace, store: "Store") -> int:
    from engine.clock import instant, system_clock
    from engine.people import rotate_key

    now = system_clock()
    until = instant(now + timedelta(seconds=options.overlap or OVERLAP_SECONDS))
    with store.engine.begin() as connection:
        key = rotate_key(connection, options.name, instant(now), until)
    if key is None:
        raise Failure(f"there is no key {options.name} that is still valid; `lotgate keys list` shows all", FOUND)
    if options.json:
        print_json({"rotated": options.name, "old_valid_until": until, "key": key})
    else:
        print(f"{key}\nIt may what {options.name} may, which works until {until[:19]}Z. It is shown this once; Lotgate "
              "keeps only its hash.")  # fmt: skip
    return DONE


def _revoke(options: argparse.Namespace, store: "Store") -> int:
    from engine.clock import instant, system_clock
    from engine.people import revoke_key

    with store.engine.begin() as connection:
        done = revoke_key(connection, options.name, instant(system_clock()))
    if not done:
        raise Failure(f"there is no key {options.name} that is still valid; `lotgate keys list` shows all", FOUND)
    if options.json:
        print_json({"revoked": options.name})
    else:
        print(f"The key {options.name} is revoked; running services notice within a second.")
    return DONE
