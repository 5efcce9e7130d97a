"""Principals and their keys: made, kept as hashes, read for the door. No password, no default key.

A key looks like ``lotgate_<id>_<43 url-safe characters>`` (256 bits of chance); only its SHA-256 is stored, which is
enough for a secret that nobody chose.
"""

import hashlib
import os
import secrets
from pathlib import Path

from msgspec import Struct, json
from sqlalchemy import Connection, insert, or_, select

from engine.clock import Clock, instant
from engine.store.opening import Store
from engine.store.schema import api_keys

#: Name of the file in LOTGATE_HOME that holds the first administrator's key.
ADMIN_KEY_FILE = "admin.key"


class Key(Struct, frozen=True):
    """A key that opens the door now."""

    secret_hash: str
    name: str
    roles: tuple[str, ...]


def hash_of(key: str) -> str:
    """SHA-256 of a key, hex: what the database keeps."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_key(connection: Connection, name: str, roles: tuple[str, ...], now: str) -> str:
    """Make a key for ``name`` and give it back, the only time it can be read."""
    identity = secrets.token_hex(4)
    key = f"lotgate_{identity}_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(api_keys).values(
            id=identity, secret_hash=hash_of(key), name=name, roles=json.encode(roles).decode(), created_at=now
        )
    )
    return key


def read_keys(store: Store, clock: Clock) -> list[Key]:
    """Every key that is neither revoked nor expired."""
    columns = (api_keys.c.secret_hash, api_keys.c.name, api_keys.c.roles)
    live = select(*columns).where(
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > instant(clock())),
    )
    with store.reads.connect() as connection:
        return [Key(h, name, tuple(json.decode(roles))) for h, name, roles in connection.execute(live)]


def ensure_admin_key(store: Store, home: Path, clock: Clock) -> Path | None:
    """On a database without any key, make an administrator's and write it to ``home/admin.key`` (mode 0600).

    Returns the path of the file when a key was made, else None.
    """
    path = home / ADMIN_KEY_FILE
    with store.engine.begin() as connection:
        if connection.execute(select(api_keys.c.id).limit(1)).first() is not None:
            return None
        key = create_key(connection, "admin", ("admin",), instant(clock()))
        home.mkdir(parents=True, exist_ok=True)
        # Opened with the final mode, so that the key is at no moment readable by others.
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + "\n")
    return path
