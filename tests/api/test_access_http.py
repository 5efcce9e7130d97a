"""Deny by default: every route, every role."""

import json
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from api.commands import COMMANDS
from api.operations import OPERATIONS
from api.roles import ROLES, SENDING
from engine.events import TYPES
from engine.people import hash_of

#: A stream that begins would not end.
NO_STREAM = {"/v1/feed": "?after=nowhere"}
CALLS = [
    (o.method.upper(), re.sub(r"\{[a-z]+\}", "1", o.path) + NO_STREAM.get(o.path, ""), o.roles) for o in OPERATIONS
]
#: Event type -> who may send it, besides an administrator; written down a second time, on purpose.
SENDERS = {
    "lot.received.v1": {"submit"},
    "lot.produced.v1": {"submit"},
    "inspection.recorded.v1": {"inspect"},
    "hold.applied.v1": {"submit", "inspect", "hold", "release"},
    "hold.lifted.v1": {"hold"},
    "lot.released.v1": {"release"},
    "lot.dispositioned.v1": {"release"},
    "reinspection.requested.v1": {"inspect"},
    "lot.consumed.v1": {"submit"},
    "lot.split.v1": {"submit"},
    "lot.merged.v1": {"submit"},
    "lot.repacked.v1": {"submit"},
    "lot.shipped.v1": {"submit"},
    "shipment.voided.v1": {"submit"},
    "lot.returned.v1": {"submit"},
    "lot.opened.v1": {"submit"},
    "lot.expired.v1": set(),
    "lot.retest_due.v1": set(),
    "specification.revised.v1": {"submit"},
    "production.started.v1": {"submit"},
    "operation.reported.v1": {"submit"},
    "usage_decision.made.v1": {"release"},
    "concession.ended.v1": set(),
    "fact.stated.v1": {"inspect"},
    "shelf_life.changed.v1": {"release"},
    "certificate.recorded.v1": {"inspect"},
    "inspection_plan.changed.v1": {"inspect"},
    "quality_record.opened.v1": {"inspect", "hold", "release"},
    "quality_record.changed.v1": {"inspect", "hold", "release"},
}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
_DATA: dict[str, dict[str, Any]] = {
    "lot.received.v1": {"item": "RING-74", "revision": "A", "quantity": {"value": 1, "unit": "ea"}, "supplier": "A",
                        "receipt": "matrix"},
    "lot.produced.v1": {"item": "RING-74", "revision": "A", "quantity": {"value": 1, "unit": "ea"}, "order": "O",
                        "confirmation": "matrix"},
    "inspection.recorded.v1": {"inspection": "I", "measurements": [{"characteristic": "c", "conforming": True}]},
    "hold.applied.v1": {"hold": "H", "reason": {"code": "SUSPECT"}},
    "hold.lifted.v1": {"hold": "H", "reason": {"code": "CLEAR"}},
    "lot.released.v1": {},
    "lot.dispositioned.v1": {"decision": "scrap", "reason": {"code": "R"}},
    "reinspection.requested.v1": {"reason": {"code": "R"}},
    "lot.consumed.v1": {"quantity": {"value": 1, "unit": "ea"}, "order": "O"},
    "lot.split.v1": {"children": [{"lot": "child", "quantity": {"value": 1, "unit": "ea"}}]},
    "lot.merged.v1": {"parts": [{"lot": "part-1"}, {"lot": "part-2"}]},
    "lot.repacked.v1": {"packed": ["PALLET-1"]},
    "lot.shipped.v1": {"shipment": "S", "customer": "C"},
    "shipment.voided.v1": {"shipment": "S", "reason": {"code": "R"}},
    "lot.returned.v1": {"rma": "R", "quantity": {"value": 1, "unit": "ea"}},
    "lot.opened.v1": {"opened_on": "2026-01-01"},
    "lot.expired.v1": {"expired_on": "2026-01-01"},
    "lot.retest_due.v1": {"due_on": "2026-01-01"},
    "specification.revised.v1": {"item": "RING-74", "revision": "B"},
    "production.started.v1": {"item": "RING-74", "revision": "A", "quantity": {"value": 1, "unit": "ea"}, "order": "M"},
    "operation.reported.v1": {"operation": "10", "status": "started"},
    "usage_decision.made.v1": {"parts": [{"decision": "block", "quantity": {"value": 1, "unit": "ea"}}] * 2,
                               "reason": {"code": "R"}},
    "concession.ended.v1": {"concession": "C", "ended_on": "2026-01-01"},
    "fact.stated.v1": {"kind": "certificate", "key": "1", "fields": {}},
    "shelf_life.changed.v1": {"expires_on": "2028-01-01", "reason": {"code": "R"}},
    "certificate.recorded.v1": {"certificate": "C", "kind": "coa", "issuer": "I", "supplier_lot": "S",
                                "issued_on": "2026-01-01"},
    "inspection_plan.changed.v1": {"plan": "P", "reason": {"code": "R"}},
    "quality_record.opened.v1": {"record": "N", "kind": "deviation", "severity": "minor", "text": "t"},
    "quality_record.changed.v1": {"record": "N", "step": "close", "text": "t"},
}  # fmt: skip
EXAMPLES: dict[str, dict[str, Any]] = {
    kind: {"specversion": "1.0", "id": "1", "source": "matrix", "type": kind, "subject": "1", "data": data}
    for kind, data in _DATA.items()
}
HOLDERS = ("nothing", *ROLES)


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
    """One key a role, some that open nothing, and some that are limited."""
    made = {role: grant(service, f"only-{role}", f'["{role}"]') for role in ROLES}
    made["nothing"] = grant(service, "only-nothing", '["superuser"]')
    made["expired"] = grant(service, "expired", '["admin"]', expires_at="2026-01-02T00:00:00.000000Z")
    made["revoked"] = grant(service, "revoked", '["admin"]', revoked_at="2026-01-02T00:00:00.000000Z")
    made["wms"] = grant(service, "wms-north", '["submit"]', sources='["wms/*", "scanner-7"]')
    made["north"] = grant(service, "north", '["admin"]', plants='["NORTH"]')
    with service.client(made["north"]) as last:
        until(lambda: last.get("/v1/lots?plant=NORTH").status_code == 200)
    return made


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("method", "path", "roles"), CALLS)
def test_without_a_key_only_public_addresses_answer(
    service: Any, method: str, path: str, roles: tuple[str, ...]
) -> None:
    with service.client("wrong") as stranger:
        answer = stranger.request(method, path)
    if not roles:
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


@pytest.mark.parametrize("holder", HOLDERS)
def test_every_role_at_every_address(service: Any, keys: dict[str, str], holder: str) -> None:
    wrong = []
    with service.client(keys[holder]) as caller:
        for method, path, roles in CALLS:
            opens = holder != "nothing" and (holder == "admin" or "read" in roles or holder in roles)
            answer = caller.request(method, path)
            if roles and ((answer.status_code != 403) != opens or answer.status_code in (401, 500, 502, 503)):
                wrong.append((method, path, roles, answer.status_code, answer.text[:200]))
    assert not wrong


def test_every_type_of_event_has_its_senders() -> None:
    assert TYPES.keys() == SENDERS.keys()
    assert set(SENDING) == set().union(*SENDERS.values())


@pytest.mark.parametrize("holder", HOLDERS)
def test_every_role_with_every_type_of_event(service: Any, keys: dict[str, str], holder: str) -> None:
    """As an event, in a batch and as a command; 422 or 409 is an answer to somebody who may."""
    command_of = {kind: command for command, kind in COMMANDS.items()}
    with service.client(keys[holder]) as caller:
        for kind, senders in SENDERS.items():
            opens = holder == "admin" or holder in senders
            event = EXAMPLES[kind] | {"id": f"matrix-{holder}-{kind}", "subject": f"matrix-{holder}-{kind}"}
            answer = caller.post("/v1/events", json=event)
            assert (answer.status_code == 403) != opens, (kind, answer.text)
            batch = caller.post("/v1/events/batch", json=[event], headers=BATCH)
            status = batch.status_code if batch.status_code == 403 else batch.json()[0]["status"]
            assert (status == 403) != opens, (kind, batch.text)
            if kind in command_of:
                path = f"/v1/lots/{event['subject']}/{command_of[kind]}"
                key = {"Idempotency-Key": event["id"]}
                assert (caller.post(path, json=event["data"], headers=key).status_code == 403) != opens, kind


def test_a_key_limited_to_sources_sends_from_no_other(service: Any, keys: dict[str, str]) -> None:
    with service.client(keys["wms"]) as caller:
        for number, (source, allowed) in enumerate(
            {
                "wms/dock-1": True,
                "wms/": True,
                "scanner-7": True,
                "wms": False,
                "scanner-77": False,
                "mes": False,
            }.items()
        ):
            event = EXAMPLES["lot.received.v1"] | {"id": f"src-{number}", "source": source, "subject": f"src-{number}"}
            event["data"] = event["data"] | {"receipt": f"src/{number}"}
            answer = caller.post("/v1/events", json=event)
            assert answer.status_code == (201 if allowed else 403), (source, answer.text)
        assert answer.json()["errors"] == [{"pointer": "/source", "detail": answer.json()["detail"]}]
        assert "sends from wms/*, scanner-7 only" in answer.json()["detail"]
        # Its own commands have its own name as their source.
        data = EXAMPLES["lot.received.v1"]["data"] | {"receipt": "src/command"}
        path = "/v1/lots/src-command/receive"
        assert caller.post(path, json=data, headers={"Idempotency-Key": "1"}).status_code == 201


def test_a_key_of_one_plant_puts_together_only_lots_of_it(service: Any, keys: dict[str, str]) -> None:
    for lot, plant in (("merge n1", "NORTH"), ("merge n2", "NORTH"), ("merge s", "SOUTH")):
        received(service, lot, plant)
    parts = [{"lot": "merge n1"}, {"lot": "merge n2"}]
    with service.client(keys["north"]) as caller:

        def merge(key: str, *named: dict[str, str]) -> Any:
            headers = {"Idempotency-Key": key}
            return caller.post("/v1/lots/merge%20north/merge", json={"parts": list(named)}, headers=headers)

        mixed = merge("m-1", parts[0], {"lot": "merge s"})
        assert (mixed.status_code, "SOUTH" in mixed.json()["detail"]) == (403, True), mixed.text
        assert merge("m-2", parts[0], {"lot": "merge nobody"}).status_code == 403
        assert merge("m-3", *parts).status_code == 201


@pytest.mark.parametrize("source", ["api/admin", "api/north", "lotgate/clock"])
def test_nobody_sends_under_the_name_of_somebody_else(service: Any, keys: dict[str, str], source: str) -> None:
    with service.client(keys["submit"]) as caller:
        answer = caller.post("/v1/events", json=EXAMPLES["lot.received.v1"] | {"id": "as-else", "source": source})
    assert answer.status_code == 403
    assert "is not yours" in answer.json()["detail"]


def received(service: Any, lot: str, plant: str | None) -> None:
    data = EXAMPLES["lot.received.v1"]["data"] | {"receipt": lot} | ({} if plant is None else {"plant": plant})
    event = EXAMPLES["lot.received.v1"] | {"id": lot, "subject": lot, "data": data}
    assert service.http.post("/v1/events", json=event).status_code in (200, 201)


@pytest.mark.parametrize("plant", ["SOUTH", None])
def test_a_key_limited_to_a_plant_changes_no_lot_of_another(
    service: Any, keys: dict[str, str], plant: str | None
) -> None:
    mine, other = f"mine-{plant}", f"other/{plant}"
    received(service, mine, "NORTH")
    received(service, other, plant)
    with service.client(keys["north"]) as caller:
        for lot, opens in ((mine, True), (other, False), ("unknown-lot", False)):
            hold = EXAMPLES["hold.applied.v1"] | {"id": f"n-{lot}", "subject": lot}
            answers = [
                caller.post("/v1/events", json=hold).status_code,
                caller.post("/v1/events/batch", json=[hold], headers=BATCH).json()[0]["status"],
                caller.post(
                    f"/v1/lots/{lot.replace('/', '%2F')}/hold", json=hold["data"], headers={"Idempotency-Key": lot}
                ).status_code,
            ]
            assert all((status == 403) != opens for status in answers), (lot, answers)
        for number, (where, opens) in enumerate((("NORTH", True), ("SOUTH", False), (None, False))):
            data = EXAMPLES["lot.received.v1"]["data"] | {"receipt": f"{plant}-{number}"}
            data |= {} if where is None else {"plant": where}
            event = EXAMPLES["lot.received.v1"] | {"id": f"b-{plant}-{number}", "subject": f"born-{plant}-{number}"}
            assert (caller.post("/v1/events", json=event | {"data": data}).status_code == 201) == opens
        # Received and held in one batch: the second sees where the first put the lot.
        data = EXAMPLES["lot.received.v1"]["data"] | {"receipt": f"{plant}-both", "plant": "NORTH"}
        lot = f"both-{plant}"
        both = [
            EXAMPLES["lot.received.v1"] | {"id": lot, "subject": lot, "data": data},
            EXAMPLES["hold.applied.v1"] | {"id": f"h-{lot}", "subject": lot},
        ]
        assert [r["status"] for r in caller.post("/v1/events/batch", json=both, headers=BATCH).json()] == [201, 201]


def test_a_key_limited_to_a_plant_sees_no_lot_of_another(service: Any, keys: dict[str, str]) -> None:
    received(service, "see north", "NORTH")
    received(service, "see/south", "SOUTH")
    with service.client(keys["north"]) as caller:
        for record in ("", "/journal", "/results", "/holds", "/deliveries", "/explain", "/operations", "/operations/1/gate",
                       "/operations/1/results"):  # fmt: skip
            assert caller.get(f"/v1/lots/see%20north{record}").status_code == 200
            assert caller.get(f"/v1/lots/see%2Fsouth{record}").status_code == 403
        assert caller.get("/v1/lots/nobody").status_code == 404
        for lists in ("/v1/lots", "/v1/changes"):
            assert caller.get(lists).status_code == 403
            assert caller.get(f"{lists}?plant=SOUTH").status_code == 403
            assert caller.get(f"{lists}?plant=NORTH&plant=SOUTH").status_code == 403
            assert caller.get(f"{lists}?plant=NORTH").status_code == 200
        assert {row["plant"] for row in caller.get("/v1/lots?plant=NORTH").json()["data"]} == {"NORTH"}


def test_what_is_not_known_to_stay_inside_a_plant_is_closed_to_its_keys(service: Any, keys: dict[str, str]) -> None:
    """A new address is closed until somebody says how it stays inside: administrator of a plant or not."""
    inside = {"/v1/events", "/v1/events/batch", "/v1/lots/1", *(f"/v1/lots/1/{command}" for command in COMMANDS)}
    records = ("journal", "results", "holds", "certificates", "deliveries", "explain", "operations")
    inside |= {f"/v1/lots/1/{record}" for record in records}
    inside |= {"/v1/lots/1/operations/1/gate", "/v1/lots/1/operations/1/results"}
    inside |= {path for _, path, _ in CALLS if path.startswith("/schema/")}
    with service.client(keys["north"]) as caller:
        for method, path, roles in CALLS:
            if roles:
                assert (caller.request(method, path).status_code == 403) == (path not in inside), (method, path)


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(
    service: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    limits = ("--role", "hold", "--role", "read", "--plant", "NORTH", "--source", "qms/*")
    assert main(["keys", "add", "qms", *limits, "--json"]) == 0
    old = json.loads(capsys.readouterr().out)["key"]
    assert main(["keys", "rotate", old.split("_")[1], "--overlap", "4", "--json"]) == 0
    new = json.loads(capsys.readouterr().out)["key"]
    assert new != old
    with service.client(old) as before, service.client(new) as after:
        until(lambda: after.get("/v1/lots?plant=NORTH").status_code == 200)
        assert after.get("/v1/lots?plant=SOUTH").status_code == 403
        until(lambda: before.get("/v1/lots?plant=NORTH").status_code == 401)
        assert after.get("/v1/lots?plant=NORTH").status_code == 200
    assert main(["keys", "rotate", old.split("_")[1]]) == 1
    assert "no key" in capsys.readouterr().err
    assert main(["keys", "list", "--json"]) == 0
    lines = [line for line in json.loads(capsys.readouterr().out) if line["name"] == "qms"]
    assert [(line["roles"], line["plants"], line["sources"]) for line in lines] == [
        (["hold", "read"], ["NORTH"], ["qms/*"])
    ] * 2


@pytest.mark.parametrize("holder", ["expired", "revoked"])
def test_expired_and_revoked_keys_open_nothing(service: Any, keys: dict[str, str], holder: str) -> None:
    with service.client(keys[holder]) as caller:
        assert caller.get("/v1/lots").status_code == 401


def test_a_revoked_key_stops_working_within_seconds(service: Any) -> None:
    key = grant(service, "brief", '["read"]')
    with service.client(key) as caller:
        until(lambda: caller.get("/v1/lots").status_code == 200)
        grant(service, "brief", '["read"]', revoked_at="2026-01-02T00:00:00.000000Z")
        until(lambda: caller.get("/v1/lots").status_code == 401)


def test_a_stream_ends_when_its_key_does(
    service: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    assert main(["keys", "add", "dashboard", "--role", "read", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["key"]
    with service.client(key) as caller:
        until(lambda: caller.get("/v1/lots").status_code == 200)
        with caller.stream("GET", "/v1/feed", params={"heartbeat": 1}, timeout=60) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry:")
            assert main(["keys", "revoke", key.split("_")[1]]) == 0
            # Signs of life go on until the service ends the answer; nobody hangs up here.
            assert sum(1 for line in lines if line) < 600
        assert caller.get("/v1/feed").status_code == 401


def test_the_key_may_come_in_either_header_and_nowhere_else(service: Any) -> None:
    with service.client("wrong") as stranger:
        del stranger.headers["authorization"]
        assert stranger.get("/v1/lots", headers={"X-API-Key": service.key}).status_code == 200
        assert stranger.get("/v1/lots", headers={"Authorization": f"bearer {service.key}"}).status_code == 200
        assert stranger.get("/v1/lots", headers={"Authorization": service.key}).status_code == 401
        assert stranger.get("/v1/lots", headers={"Cookie": f"X-API-Key={service.key}"}).status_code == 401
        assert stranger.get(f"/v1/lots?key={service.key}").status_code == 401
        assert stranger.get("/v1/lots", headers=[("X-API-Key", service.key), ("X-API-Key", "x")]).status_code in (
            400,
            401,
        )


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


def test_the_handbook_names_every_role() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \| ", page, re.M)[: len(ROLES)] == list(ROLES)
