"""Deny by default: every route, every role."""

import re
import sqlite3
import time
from typing import Any

import pytest

from api.operations import OPERATIONS
from engine.people import hash_of

#: A stream that begins would not end.
NO_STREAM = {"/v1/feed": "?after=nowhere"}
CALLS = [
    (o.method.upper(), re.sub(r"\{[a-z]+\}", "1", o.path) + NO_STREAM.get(o.path, ""), o.role) for o in OPERATIONS
]


def grant(service: Any, name: str, roles: str, **more: str) -> str:
    key = f"lotgate_test_{name}"
    row = {
        "id": name,
        "secret_hash": hash_of(key),
        "name": name,
        "roles": roles,
        "created_at": "2026-01-01",
        **more,
    }
    with sqlite3.connect(service.home / "lotgate.db", timeout=10) as database:
        database.execute(
            f"INSERT OR REPLACE INTO api_keys ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
    return key


@pytest.fixture(scope="module")
def keys(service: Any) -> dict[str, str]:
    """One key a role, and some that open nothing."""
    made = {role: grant(service, f"only-{role}", f'["{role}"]') for role in ("read", "submit", "admin")}
    made["nothing"] = grant(service, "only-nothing", "[]")
    made["expired"] = grant(service, "expired", '["admin"]', expires_at="2026-01-02T00:00:00.000000Z")
    made["revoked"] = grant(service, "revoked", '["admin"]', revoked_at="2026-01-02T00:00:00.000000Z")
    time.sleep(1.5)
    return made


@pytest.mark.parametrize(("method", "path", "role"), CALLS)
def test_without_a_key_only_public_addresses_answer(
    service: Any, method: str, path: str, role: str | None
) -> None:
    with service.client("wrong") as stranger:
        answer = stranger.request(method, path)
    if role is None:
        assert answer.status_code not in (401, 403)
    else:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["type"] == "/problems/unauthenticated"


def test_addresses_that_do_not_exist_are_no_secret_passage(service: Any) -> None:
    with service.client("wrong") as stranger:
        for path in (
            "/",
            "/v1/nothing",
            "/v1/events/",
            "/V1/EVENTS",
            "//v1/events",
            "/healthz/..",
            "/schema",
        ):
            assert stranger.get(path).status_code in (401, 404), path


@pytest.mark.parametrize("holder", ["nothing", "read", "submit", "admin"])
@pytest.mark.parametrize(("method", "path", "role"), [c for c in CALLS if c[2] is not None])
def test_every_role_at_every_address(
    service: Any, keys: dict[str, str], holder: str, method: str, path: str, role: str
) -> None:
    opens = {"read": {"read", "submit", "admin"}, "submit": {"submit", "admin"}, "admin": {"admin"}}[role]
    with service.client(keys[holder]) as caller:
        answer = caller.request(method, path)
    assert (answer.status_code != 403) == (holder in opens), answer.text
    assert answer.status_code != 401
    assert answer.status_code < 500


@pytest.mark.parametrize("holder", ["expired", "revoked"])
def test_expired_and_revoked_keys_open_nothing(service: Any, keys: dict[str, str], holder: str) -> None:
    with service.client(keys[holder]) as caller:
        assert caller.get("/v1/lots").status_code == 401


def test_a_revoked_key_stops_working_within_seconds(service: Any) -> None:
    key = grant(service, "brief", '["read"]')
    with service.client(key) as caller:
        deadline = time.monotonic() + 5
        while caller.get("/v1/lots").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        grant(service, "brief", '["read"]', revoked_at="2026-01-02T00:00:00.000000Z")
        time.sleep(2.2)
        assert caller.get("/v1/lots").status_code == 401


def test_the_key_may_come_in_either_header_and_nowhere_else(service: Any) -> None:
    with service.client("wrong") as stranger:
        del stranger.headers["authorization"]
        assert stranger.get("/v1/lots", headers={"X-API-Key": service.key}).status_code == 200
        assert stranger.get("/v1/lots", headers={"Authorization": f"bearer {service.key}"}).status_code == 200
        assert stranger.get("/v1/lots", headers={"Authorization": service.key}).status_code == 401
        assert stranger.get("/v1/lots", headers={"Cookie": f"X-API-Key={service.key}"}).status_code == 401
        assert stranger.get(f"/v1/lots?key={service.key}").status_code == 401
        assert stranger.get(
            "/v1/lots", headers=[("X-API-Key", service.key), ("X-API-Key", "x")]
        ).status_code in (400, 401)


def test_the_database_holds_no_usable_key(service: Any) -> None:
    for file in service.home.glob("lotgate.db*"):
        assert service.key.encode() not in file.read_bytes()


def test_the_principal_is_in_the_journal(service: Any, keys: dict[str, str]) -> None:
    event = {
        "specversion": "1.0",
        "id": "by-name",
        "source": "s",
        "type": "lot.received.v1",
        "subject": "by-name",
        "data": {
            "item": "RING-74",
            "revision": "A",
            "quantity": {"value": 1, "unit": "ea"},
            "supplier": "A",
            "receipt": "by-name/1",
        },
    }
    with service.client(keys["submit"]) as caller:
        assert caller.post("/v1/events", json=event).status_code == 201
    assert service.http.get("/v1/lots/by-name/journal").json()["data"][0]["principal"] == "only-submit"
