"""Principals and their keys: made, kept as hashes, read for the door. No password, no default key.

A key looks like ``lotgate_<id>_<43 url-safe characters>`` (256 bits of chance); only its SHA-256 is stored, which is
enough for a secret that nobody chose.
"""

import hashlib
import os
import secrets
from pathlib import Path

from msgspec import Struct, json
from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from engine.clock import Clock, instant
from engine.settings import ADMIN_KEY_FILE
from engine.store.opening import Store
from engine.store.schema.access import api_keys


class Key(Struct, frozen=True):
    """A key that opens the door now."""

    secret_hash: str
    name: str
    roles: tuple[str, ...]
    sources: tuple[str, ...] = ()
    plants: tuple[str, ...] = ()


class KeyLine(Struct, frozen=True):
    """A key as administrators see it: who may do what, never the key itself. Instants are ISO 8601, UTC."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    #: Sources it may send from, plants it may see and change; none: all.
    sources: tuple[str, ...]
    plants: tuple[str, ...]


_LISTS = ("roles", "sources", "plants")


def hash_of(key: str) -> str:
    """SHA-256 of a key, hex: what the database keeps."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_key(
    connection: Connection,
    name: str,
    roles: tuple[str, ...],
    now: str,
    expires_at: str | None = None,
    *,
    sources: tuple[str, ...] = (),
    plants: tuple[str, ...] = (),
) -> str:
    """Make a key for ``name`` and give it back, the only time it can be read."""
    identity = secrets.token_hex(4)
    key = f"lotgate_{identity}_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(api_keys).values(
            id=identity, secret_hash=hash_of(key), name=name, roles=json.encode(roles).decode(), created_at=now,
            expires_at=expires_at, sources=json.encode(sources).decode(), plants=json.encode(plants).decode(),
        )
    )
    return key


def rotate_key(connection: Connection, identity: str, now: str, until: str) -> str | None:
    """A new key with the name, roles, limits and end of another, which works until ``until`` at the longest.

    None when there is no such key that still works. An end that the old key had before ``until`` stays.
    """
    columns = [api_keys.c[name] for name in ("name", *_LISTS, "expires_at")]
    mine = (api_keys.c.id == identity) & _live(now)
    found = connection.execute(select(*columns).where(mine).with_for_update()).first()
    if found is None:
        return None
    name, roles, sources, plants, end = found
    made = create_key(
        connection, name, tuple(json.decode(roles)), now, end,
        sources=tuple(json.decode(sources)), plants=tuple(json.decode(plants)),
    )  # fmt: skip
    last = until if end is None else min(until, end)
    connection.execute(update(api_keys).where(api_keys.c.id == identity).values(expires_at=last))
    return made


def _live(now: str) -> ColumnElement[bool]:
    """Keys that are neither revoked nor expired."""
    return and_(
        api_keys.c.revoked_at.is_(None), or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    )


def all_keys(connection: Connection) -> list[KeyLine]:
    """Every key there ever was, oldest first."""
    columns = [api_keys.c[name] for name in KeyLine.__struct_fields__]
    rows = connection.execute(select(*columns).order_by(api_keys.c.created_at, api_keys.c.id))
    return [KeyLine(**{**row, **{name: tuple(json.decode(row[name])) for name in _LISTS}}) for row in rows.mappings()]


def identity_of(key: str) -> str:
    """The public part of a key, by which it is listed and revoked."""
    return key.split("_")[1]


def revoke_key(connection: Connection, identity: str, now: str) -> bool:
    """From now on the key opens nothing; False when there is no such key that still did."""
    mine = (api_keys.c.id == identity) & api_keys.c.revoked_at.is_(None)
    return connection.execute(update(api_keys).where(mine).values(revoked_at=now)).rowcount == 1


def read_keys(store: Store, clock: Clock) -> list[Key]:
    """Every key that is neither revoked nor expired."""
    columns = [api_keys.c[name] for name in ("secret_hash", "name", *_LISTS)]
    with store.reads.connect() as connection:
        rows = connection.execute(select(*columns).where(_live(instant(clock()))))
        return [Key(digest, name, *(tuple(json.decode(text)) for text in lists)) for digest, name, *lists in rows]


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
