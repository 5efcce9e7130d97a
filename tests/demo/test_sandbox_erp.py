"""The sandbox ERP is strict: it takes each status once, only forwards, only for lots it knows."""

from urllib.parse import quote

import httpx
import pytest

STATUS = {
    "version": 1, "stock": "quality", "state": "received", "quantity": "10", "unit": "ea", "reasons": []
}  # fmt: skip


def lot(name: str, **other: str) -> dict[str, str]:
    return {"lot": name, "item": "RING-74", "revision": "A", "quantity": "10", "unit": "ea", **other}


def register(erp: httpx.Client, name: str) -> str:
    """Register a lot; returns the path of its status."""
    assert erp.post("/api/lots", json=lot(name)).status_code == 201
    return f"/api/lots/{quote(name, safe='')}/status"


def send(erp: httpx.Client, path: str, key: str, **other: object) -> httpx.Response:
    return erp.post(path, json={**STATUS, **other}, headers={"Idempotency-Key": key})


def item(name: str, version: int, **other: object) -> dict[str, object]:
    return {**STATUS, "lot": name, "key": f"{name}:{version}", "item": "RING-74", "revision": "A"} | {
        "version": version,
        **other,
    }


def test_registering_the_same_lot_again_is_no_error_and_another_item_is_refused(erp: httpx.Client) -> None:
    assert erp.post("/api/lots", json=lot("REG")).status_code == 201
    assert erp.post("/api/lots", json=lot("REG")).status_code == 200
    differs = erp.post("/api/lots", json=lot("REG", item="BOLT"))
    assert (differs.status_code, differs.json()["error"]) == (409, "lot-differs")
    assert erp.get("/api/lots/REG").json()["item"] == "RING-74"


def test_a_status_is_applied_and_shown(erp: httpx.Client) -> None:
    path = register(erp, "SHOW")
    answer = send(erp, path, "s1", stock="blocked", state="blocked", quantity="9.5", reasons=["recall"])
    assert answer.json() == {"applied": True, "lot": "SHOW", "current": 1}
    shown = erp.get("/api/lots/SHOW").json()
    assert (shown["version"], shown["stock"], shown["quantity"]) == (1, "blocked", "9.5")
    assert shown["reasons"] == ["recall"]
    assert shown["applied_at"] > shown["registered_at"]


def test_the_same_key_and_body_again_is_a_duplicate_and_changes_nothing(erp: httpx.Client) -> None:
    path = register(erp, "DUP")
    send(erp, path, "d1")
    send(erp, path, "d2", version=2, stock="unrestricted", state="released")
    again = send(erp, path, "d1")
    assert (again.status_code, again.json()) == (200, {"duplicate": True, "lot": "DUP", "current": 2})
    assert erp.get("/api/lots/DUP").json()["stock"] == "unrestricted"


def test_a_key_used_for_another_body_or_lot_is_refused(erp: httpx.Client) -> None:
    path, other = register(erp, "KEY-1"), register(erp, "KEY-2")
    send(erp, path, "same-key")
    for answer in (send(erp, path, "same-key", version=2), send(erp, other, "same-key")):
        assert (answer.status_code, answer.json()["error"]) == (422, "key-reused")


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_that_is_not_newer_is_refused_with_the_current_one(erp: httpx.Client, version: int) -> None:
    path = register(erp, f"STALE-{version}")
    send(erp, path, f"first-{version}", version=2)
    answer = send(erp, path, f"second-{version}", version=version, stock="blocked")
    assert answer.status_code == 409
    assert (answer.json()["error"], answer.json()["current"]) == ("stale-version", 2)


def test_an_unknown_lot_is_not_found(erp: httpx.Client) -> None:
    answer = send(erp, "/api/lots/NEVER/status", "n1")
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown-lot")
    assert erp.get("/api/lots/NEVER").status_code == 404


def test_a_status_without_a_key_is_refused(erp: httpx.Client) -> None:
    answer = erp.post(register(erp, "NOKEY"), json=STATUS)
    assert (answer.status_code, answer.json()["error"]) == (400, "no-key")


@pytest.mark.parametrize(
    "wrong",
    [
        {"stock": "available"}, {"state": "lost"}, {"version": 0}, {"version": "1"}, {"version": 1.5},
        {"quantity": 10}, {"quantity": "-1"}, {"quantity": "NaN"}, {"quantity": "1e3"}, {"unit": ""},
        {"reasons": "x"}, {"colour": "red"}, {"unit": "kg"},
    ],
)  # fmt: skip
def test_a_status_that_does_not_fit_is_refused(erp: httpx.Client, wrong: dict[str, object]) -> None:
    erp.post("/api/lots", json=lot("STRICT"))
    answer = send(erp, "/api/lots/STRICT/status", f"w-{wrong}".replace(" ", ""), **wrong)
    assert answer.status_code == 422, answer.text
    assert erp.get("/api/lots/STRICT").json()["version"] == 0


def test_what_is_not_json_or_not_there_is_refused(erp: httpx.Client) -> None:
    assert erp.post("/api/lots", content=b"{lot").status_code == 400
    assert erp.post("/api/lots", content=b'{"lot": "\xff"}').status_code == 400
    assert erp.post("/api/lots", content=b'{"lot": "\\ud800"}').status_code in (400, 422)
    assert erp.post("/api/lots", content=b"[" * 100_000).status_code in (400, 422)
    assert erp.post("/api/lots", content=b" " * 5_000_000).status_code == 413
    assert erp.post("/_faults", content=b'{"mode": "\xff"}').status_code == 422
    assert erp.delete("/api/lots/X").status_code == 404
    assert erp.get("/api/lots/%zz").status_code == 400
    assert erp.get("/api/lots?limit=-1").status_code == 400


@pytest.mark.parametrize("name", ["A/B", "A B", "100%", "5 €/kg", "a?b#c"])
def test_a_lot_id_may_hold_any_printable_character(erp: httpx.Client, name: str) -> None:
    assert send(erp, register(erp, name), f"any-{quote(name, safe='')}").status_code == 200
    assert erp.get(f"/api/lots/{quote(name, safe='')}").json()["lot"] == name


def test_a_batch_answers_each_item_by_itself(erp: httpx.Client) -> None:
    for name in ("B-1", "B-2"):
        register(erp, name)
    first = erp.post("/api/lots/status-batch", json={"items": [item("B-1", 2)]})
    assert first.json() == {"results": [{"lot": "B-1", "outcome": "applied", "current": 2}]}
    items = [
        item("B-1", 2), item("B-1", 1), item("B-2", 1), item("B-0", 1),
        item("B-2", 2, stock="gold"), item("B-2", 3, item="BOLT"), {"x": 1},
    ]  # fmt: skip
    results = erp.post("/api/lots/status-batch", json={"items": items}).json()["results"]
    assert [(r["lot"], r["outcome"], r["current"]) for r in results] == [
        ("B-1", "duplicate", 2), ("B-1", "stale-version", 2), ("B-2", "applied", 1),
        ("B-0", "unknown-lot", None), ("B-2", "invalid", None),
        ("B-2", "invalid", 1), (None, "invalid", None),
    ]  # fmt: skip


def test_lots_are_registered_in_batches(erp: httpx.Client) -> None:
    items = [lot("RB-1"), lot("RB-1"), lot("RB-1", revision="B"), {"lot": "RB-2"}]
    results = erp.post("/api/lots/register-batch", json={"items": items}).json()["results"]
    assert [r["outcome"] for r in results] == ["created", "same", "differs", "invalid"]


def test_a_batch_of_none_or_too_many_is_refused(erp: httpx.Client) -> None:
    assert erp.post("/api/lots/status-batch", json={"items": []}).status_code == 422
    assert erp.post("/api/lots/status-batch", json={"items": [{}] * 1001}).status_code == 422


def test_pages_show_every_lot_once(erp: httpx.Client) -> None:
    names = [f"~page {n}" for n in range(5)]  # sorts after every other lot
    for name in names:
        register(erp, name)
    seen: list[str] = []
    after: str | None = "~"
    while after is not None:
        page = erp.get("/api/lots", params={"after": after, "limit": 2}).json()
        seen += [shown["lot"] for shown in page["lots"]]
        after = page["next"]
    assert seen == names
