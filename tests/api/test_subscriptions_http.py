"""Subscriptions over HTTP and on the command line: who may, where to, and what is shown only once."""

from collections.abc import Callable
from typing import Any

import pytest

from api.cli.main import main

Make = Callable[..., dict[str, Any]]
#: A public address nobody answers at (TEST-NET is not public, so a real one that is never called here).
URL = "https://192.0.2.1.example.com/in"


def subscribe(service: Any, **changes: Any) -> dict[str, Any]:
    made = service.http.post("/v1/subscriptions", json={"url": URL, "name": "MES"} | changes)
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_subscription_shows_its_secret_once_and_is_owed_entries(service: Any, receipt: Make) -> None:
    made = subscribe(service)
    line = made["subscription"]
    assert made["secret"].startswith("whsec_")
    assert made["secret"] not in service.http.get("/v1/subscriptions").text
    assert service.http.get(f"/v1/subscriptions/{line['id']}").json() == line
    event = receipt()
    service.submit(event)
    owed = service.http.get("/v1/deliveries", params={"target": line["id"]}).json()["data"]
    assert [row["lot"] for row in owed] == [event["subject"]] * 2
    lot = service.http.get(f"/v1/lots/{event['subject']}").json()
    assert [target["target"] for target in lot["targets"]] == ["erp", "wms"]
    rotated = service.http.post(f"/v1/subscriptions/{line['id']}/rotate").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["subscription"]["generation"] == 2
    dry = {"since": "2026-01-01T00:00:00Z", "dry_run": True}
    assert service.http.post(f"/v1/subscriptions/{line['id']}/recover", json=dry).json()["messages"] >= 0
    gone = service.http.delete(f"/v1/subscriptions/{line['id']}")
    assert gone.status_code == 200
    assert service.http.get(f"/v1/subscriptions/{line['id']}").status_code == 404
    assert all(row["state"] == "superseded" for row in service.http.get(
        "/v1/deliveries", params={"target": line["id"]}).json()["data"])  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x", "http://169.254.169.254/latest", "http://0x7f000001/",
     "http://10.0.0.5/x", "ftp://example.com/x", "http://user:pw@example.com/x", "not an address"],
)  # fmt: skip
def test_an_address_inside_is_refused(service: Any, url: str) -> None:
    refused = service.http.post("/v1/subscriptions", json={"url": url, "name": "x"})
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/outbound-refused")
    assert service.http.get("/v1/subscriptions").json()["data"] == []


def test_what_cannot_be_read_changes_nothing(service: Any) -> None:
    made = subscribe(service)["subscription"]
    path = f"/v1/subscriptions/{made['id']}"
    strange = service.http.post("/v1/subscriptions", json={"url": URL, "name": "x", "types": ["lot.renamed.v1"]})
    assert (strange.status_code, strange.json()["errors"][0]["pointer"]) == (422, "/types")
    assert service.http.post(f"{path}/recover", json={"since": "yesterday"}).status_code == 422
    assert service.http.post(f"{path}/recover").status_code in (415, 422)
    assert service.http.post(f"{path}/disable", json={}).status_code == 422
    assert service.http.post(f"{path}/rotate", json={"overlap_s": -1}).status_code == 422
    assert service.http.post("/v1/subscriptions/hook-nobody/enable").status_code == 404
    assert service.http.get(path).json() == made
    service.http.delete(path)


def test_the_command_line_does_all_of_it(
    service: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTGATE_HOME", str(service.home))
    monkeypatch.setenv("LOTGATE_PORT", str(service.port))

    def said(*words: str) -> str:
        assert main(["webhooks", *words]) == 0, words
        return capsys.readouterr().out

    added = said("add", URL, "--name", "MES", "--type", "lot.released.v1")
    identity = added.split()[0]
    assert f"{identity} tells {URL}\nsecret, shown only now: whsec_" in added
    assert "until 2" in said("rotate", identity, "--overlap", "60")
    assert said("disable", identity, "--reason", "upgrade") == f"{identity} is told nothing\n"
    assert "disabled since" in said()
    assert "admin: upgrade" in said("list")
    assert said("enable", identity) == f"{identity} is told again\n"
    assert "lot.released.v1" in said("list")
    assert said("recover", identity, "--since", "2026-01-01T00:00:00Z", "--dry-run").endswith("would be sent again\n")
    assert said("remove", identity) == f"{identity} is over\n"
    assert main(["webhooks", "rotate"]) == 2
    assert main(["webhooks", "recover", identity]) == 2
    assert main(["webhooks", "enable", identity]) == 1
