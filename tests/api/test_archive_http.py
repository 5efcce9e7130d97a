"""The archive over HTTP, in the terminal, in the console and by the clock: lots of half a year ago, on the service's database."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.schedule import archive_old
from engine.archive import Archiver
from engine.checkpoints import signer_of
from engine.clock import system_clock
from engine.ledger import Ledger
from engine.settings import SHIPPED_RULES, Settings
from engine.store.opening import Store, open_store
from engine.track_record import count
from rules.judge import TwoChannelJudge
from rules.rulebook import RuleBook
from tests.api.conftest import Service
from tests.api.test_access_http import grant
from tests.engine.conftest import Plant

LOTS = [f"ARC-{number}" for number in range(4)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One of its own: what is half a year old has to come before what is new, as it does where no clock is turned."""
    running = Service(tmp_path_factory.mktemp("archive"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def store(service: Any) -> Iterator[Store]:
    """The service's database, with lots that were shipped half a year ago."""
    opened = open_store("", service.home)
    book = RuleBook.load(SHIPPED_RULES)
    judge = TwoChannelJudge(book, channel="reference")
    plant = Plant(opened, judge, book, lambda: system_clock() - timedelta(days=180))  # type: ignore[arg-type]  # a clock
    for lot in LOTS:
        plant.released(lot)
    plant.agree()
    for lot in LOTS:
        assert plant.send("lot.shipped.v1", lot, {"shipment": f"S-{lot}", "customer": "K"}).outcome == "applied"
    plant.agree()
    plant.pipeline.stop()
    judge.close()
    data = {"item": "RING-74", "revision": "A", "quantity": {"value": "5", "unit": "ea"}, "supplier": "ACME", "receipt": "NOW"}
    answer = service.http.post("/v1/lots/ARC-NOW/receive", json=data, headers={"Idempotency-Key": "arc-now"})
    assert answer.status_code == 201
    while count(opened):
        pass
    yield opened
    opened.close()


@pytest.fixture
def lotgate(service: Any) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        environment = os.environ | {"LOTGATE_HOME": str(service.home), "LOTGATE_PORT": str(service.port)}
        done = subprocess.run([sys.executable, "-m", "api.cli.main", *arguments], env=environment, text=True,
                              capture_output=True, timeout=60)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def asked(service: Any, lot: str) -> dict[str, Any]:
    """What the service says of a lot, however it is asked."""
    paths = [f"/v1/lots/{lot}{more}" for more in (
        "", "/journal", "/journal?limit=2", "/results", "/holds", "/deliveries", "/explain?trigger=release&as_decided=last",
        "?as_of=2100-01-01T00:00:00Z", "/genealogy",
    )]  # fmt: skip
    paths += ["/v1/changes?after=start&limit=500", "/v1/epcis/events?limit=500", f"/v1/deliveries?lot={lot}"]
    found = {path: service.http.get(path) for path in paths}
    assert {answer.status_code for answer in found.values()} == {200}, found
    return {path: {k: v for k, v in answer.json().items() if k not in ("createdDate", "creationDate")} for path, answer in found.items()}


def test_a_lot_reads_as_before_wherever_its_entries_are(
    service: Any, store: Store, lotgate: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    before = asked(service, LOTS[0])
    young = service.http.post("/v1/archive/run", json={"older_than_days": 30})
    assert (young.status_code, young.json()["type"]) == (422, "/problems/event-invalid")
    both = service.http.post("/v1/archive/run", json={})
    assert both.json()["errors"][0]["pointer"] == "/closed_before"
    dry = service.http.post("/v1/archive/run", json={"older_than_days": 90, "dry_run": True}).json()
    assert (dry["eligible"], dry["lots"], dry["segments"]) == (4, 0, [])
    done = service.http.post("/v1/archive/run", json={"older_than_days": 90, "limit": 2}).json()
    assert (done["lots"], len(done["segments"])) == (2, 1)
    code, said = lotgate("archive", "run", "--older-than", "90")
    assert (code, said.split(" archived")[0]) == (0, "2 lots, 12 entries")
    assert asked(service, LOTS[0]) == before
    listed = service.http.get("/v1/deliveries?state=delivered").json()
    assert "4 archived lots" in listed["notice"]
    assert "4 archived lots" in lotgate("deliveries", "--state", "delivered")[1]
    assert "archived lots" not in lotgate("deliveries", "--lot", LOTS[0])[1]
    assert service.http.get("/v1/archive").json()["lots"] == 4
    metrics = service.http.get("/metrics").text
    assert "lotgate_archive_lots 4.0" in metrics
    assert "lotgate_archive_missing 0.0" in metrics
    code, said = lotgate("archive", "list")
    assert (code, "2 segments, 4 lots" in said) == (0, True), said
    code, said = lotgate("archive", "verify")
    assert (code, said.strip()) == (0, "2 segments, 4 lots, 24 entries: everything holds")
    key = tmp_path / "key.pub"
    key.write_text(service.http.get("/v1/checkpoints/key").json()["public_key"])
    file = next((service.home / "archive").glob("*.zip"))
    code, said = lotgate("archive", "verify", str(file), "--key", str(key), "--json")
    assert (code, json.loads(said)[str(file)]["problems"]) == (0, [])
    assert lotgate("verify")[0] == 0


def test_only_an_administrator_archives(service: Any, store: Store) -> None:
    with service.client(grant(service, "arc-release", '["release"]')) as other:
        deadline = time.monotonic() + 10
        while other.get("/v1/lots").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert other.get("/v1/archive").status_code == 403
        assert other.post("/v1/archive/run", json={"older_than_days": 90}).status_code == 403


def test_a_missing_segment_is_a_problem_that_says_which_and_a_hold_lands(
    service: Any, store: Store, lotgate: Callable[..., tuple[int, str]]
) -> None:
    lot, folder, away = LOTS[0], service.home / "archive", service.home / "away"
    folder.rename(away)
    try:
        answer = service.http.get(f"/v1/lots/{lot}/journal")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/archive-unavailable")
        assert answer.json()["detail"].startswith("Segment ")
        with service.http.stream("GET", "/v1/feed?after=start") as feed:
            assert feed.status_code == 503
        with httpx.Client(base_url=service.url, timeout=20, follow_redirects=True) as browser:
            assert browser.post("/console/login", data={"key": service.key}).status_code == 200
            page = browser.get(f"/console/lots/{lot}")
            assert page.status_code == 200
            assert "The history of this lot cannot be read now" in page.text
        hold = {"hold": "H-ARC", "reason": {"code": "SUSPECT"}}
        placed = service.http.post(f"/v1/lots/{lot}/hold", json=hold, headers={"Idempotency-Key": "arc-hold"})
        assert (placed.status_code, placed.json()["state"]["after"]) == (201, "shipped")
        assert service.http.get(f"/v1/lots/{lot}").json()["lot"]["holds"][0]["hold"] == "H-ARC"
        assert service.http.get("/v1/lots/ARC-NOW/journal").status_code == 200
        assert "lotgate_archive_missing 2.0" in service.http.get("/metrics").text
        code, said = lotgate("archive", "list")
        assert (code, said.count("cannot be read")) == (1, 2), said
        code, said = lotgate("verify")
        of_lots = [line for line in said.splitlines() if line.startswith("lot ARC-")]
        assert (code, sum("cannot be read" in line for line in of_lots)) == (1, 4), said
    finally:
        away.rename(folder)
    entries = service.http.get(f"/v1/lots/{lot}/journal").json()["data"]
    assert (entries[-1]["trigger"], entries[-1]["version"]) == ("hold", len(entries))
    assert lotgate("verify")[0] == 0


def test_the_clock_archives_and_says_what_keeps_it_from_it(service: Any, store: Store) -> None:
    def now() -> Any:
        return system_clock() + timedelta(days=1)

    ledger, stop = Ledger(store, now), threading.Event()
    archiver = Archiver(store, now, signer_of(Settings(home=service.home)))
    week = Archiver(store, lambda: system_clock() + timedelta(days=8), signer_of(Settings(home=service.home)))
    archive_old(week, ledger, 90, stop)
    assert archiver.restore(lot=LOTS[1])[0] == 1
    archive_old(archiver, ledger, 90, stop)
    assert [line.version for line in hot(store, LOTS[1])], "a segment was made lately: one lot waits for others"
    folder = store.archive
    store.archive = service.home / "admin.key"  # a file: no directory can be made there
    archive_old(week, ledger, 90, stop)
    store.archive = folder
    assert [task.kind for task in ledger.tasks.lines(kind="archive-failing")] == ["archive-failing"]
    archive_old(week, ledger, 90, stop)
    assert hot(store, LOTS[1]) == []
    assert ledger.tasks.lines(kind="archive-failing") == []


def hot(store: Store, lot: str) -> list[Any]:
    from sqlalchemy import select

    from engine.store.schema.lots import journal

    with store.reads.connect() as connection:
        return list(connection.execute(select(journal.c.version).where(journal.c.lot == lot)))
