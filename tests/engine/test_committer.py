"""The committer process and the web process's side of it: order, death, room, and an end without leftovers."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine import wire
from engine.committer import Committer, CommitterFailed
from engine.decoding import decode_event
from engine.errors import Overloaded, StoreUnavailable
from engine.events import Event
from engine.settings import Settings, as_json, load_settings, settings_from
from engine.store.opening import open_store

TARGETS = ("erp", "wms")


def receipt(number: int) -> Event:
    data = {
        "item": "RING-74", "revision": "A", "quantity": {"value": "5", "unit": "ea"}, "supplier": "ACME",
        "receipt": f"GR-{number}",
    }  # fmt: skip
    head = {"specversion": "1.0", "id": f"r{number}", "source": "dock", "type": "lot.received.v1"}
    return decode_event(json.dumps({**head, "subject": f"L{number}", "data": data}).encode())


def hold(number: int, name: str) -> Event:
    head = {"specversion": "1.0", "id": f"h{number}-{name}", "source": "qa", "type": "hold.applied.v1"}
    data = {"hold": name, "reason": {"code": "suspect"}}
    return decode_event(json.dumps({**head, "subject": f"L{number}", "data": data}).encode())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_CHANNEL": "reference"})


def with_committer(settings: Settings, do: Callable[[Committer], Awaitable[Any]], **options: Any) -> Any:
    """Run ``do`` with a committer that is open; what it gives."""

    async def run() -> Any:
        committer = Committer(settings, TARGETS, **options)
        committer.wait_until_open()
        await committer.start()
        try:
            return await do(committer)
        finally:
            await committer.stop()

    return asyncio.run(run())


def committed(settings: Settings) -> int:
    store = open_store(settings.database_url, settings.home)
    with store.reads.connect() as connection:
        count = int(connection.execute(text("SELECT count(*) FROM events")).scalar_one())
    store.close()
    return count


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_answers_come_back_to_whoever_asked(settings: Settings) -> None:
    async def do(committer: Committer) -> Any:
        return await asyncio.gather(*(committer.submit(receipt(n), "me") for n in range(50)))

    answers = with_committer(settings, do)
    assert [a.lot for a in answers] == [f"L{n}" for n in range(50)]
    assert {a.status for a in answers} == {201}
    assert committed(settings) == 50


def test_events_of_one_lot_are_decided_in_the_order_they_were_submitted(settings: Settings) -> None:
    async def do(committer: Committer) -> Any:
        sent = [committer.submit(receipt(1), "me")] + [committer.submit(hold(1, f"H{n}"), "me") for n in range(20)]
        return await asyncio.gather(*sent)

    answers = with_committer(settings, do)
    versions = [a.version for a in answers]
    assert versions == sorted(versions)
    assert answers[0].status == 201


def test_the_doorbell_is_rung_for_what_was_committed(settings: Settings) -> None:
    rung: list[Any] = []

    async def do(committer: Committer) -> None:
        await committer.submit(receipt(1), "me")

    with_committer(settings, do, ring=rung.append)
    assert rung == [TARGETS]


def test_figures_of_the_process_are_known_here(settings: Settings) -> None:
    async def do(committer: Committer) -> Committer:
        await committer.submit(receipt(1), "me")
        await committer.submit(receipt(1), "me")
        return committer

    committer = with_committer(settings, do)
    assert committer.counts.events == {("lot.received.v1", "applied"): 1, ("lot.received.v1", "replayed"): 1}
    assert committer.counts.batches == 2
    assert committer.judge.engines == ("reference",)
    assert committer.rule_set.startswith("sha256:")


def test_a_killed_process_is_replaced_and_nothing_acknowledged_is_lost(settings: Settings) -> None:
    async def do(committer: Committer) -> tuple[int, int]:
        acknowledged = refused = 0
        for round_ in range(3):
            sent = [committer.submit(receipt(round_ * 100 + n), "me") for n in range(100)]
            await asyncio.sleep(0.005)
            pid = committer.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            for done in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(done, BaseException):
                    assert isinstance(done, StoreUnavailable)
                    refused += 1
                else:
                    acknowledged += 1
            deadline = time.monotonic() + 20
            while (not committer.rule_set or committer.pid == pid) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        again = await asyncio.gather(*(committer.submit(receipt(n), "me") for n in range(300)))
        assert {a.status for a in again} <= {200, 201}
        assert sum(a.replayed for a in again) >= acknowledged
        return acknowledged, refused

    acknowledged, refused = with_committer(settings, do)
    assert acknowledged + refused == 300
    assert refused > 0
    assert committed(settings) == 300


def test_while_no_process_runs_events_wait_for_the_next_one(settings: Settings) -> None:
    async def do(committer: Committer) -> Any:
        assert committer.pid is not None
        os.kill(committer.pid, signal.SIGKILL)
        while committer.rule_set:
            await asyncio.sleep(0.01)
        return await asyncio.wait_for(committer.submit(receipt(1), "me"), 20)

    assert with_committer(settings, do).status == 201


def test_too_many_waiting_events_or_bytes_are_refused_at_once(settings: Settings) -> None:
    async def many(committer: Committer) -> None:
        sent = [committer.submit(receipt(n), "me") for n in range(3)]
        with pytest.raises(Overloaded):
            committer.submit(receipt(3), "me")
        await asyncio.gather(*sent)
        assert (await committer.submit(receipt(3), "me")).status in (200, 201)

    with_committer(settings, many, max_waiting=3)
    size = len(wire.encode((1, "me", None, None, receipt(1))))
    with_committer(settings, many, max_waiting_bytes=2 * size + 1)


def test_stopping_answers_what_waits_and_leaves_no_process(settings: Settings) -> None:
    async def run() -> tuple[Any, int]:
        committer = Committer(settings, TARGETS)
        committer.wait_until_open()
        await committer.start()
        pid = committer.pid
        assert pid is not None
        sent = [committer.submit(receipt(n), "me") for n in range(100)]
        await committer.stop()
        with pytest.raises(Overloaded):
            committer.submit(receipt(1), "me")
        return await asyncio.gather(*sent), pid

    answers, pid = asyncio.run(run())
    assert {a.status for a in answers} == {201}
    assert is_gone(pid)


def test_rules_that_cannot_be_used_stop_it_with_the_reason(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "broken.yaml").write_text("rulefile: 1\nrules:\n  - id: X\n    gat: [release]\n")
    settings = load_settings({"LOTGATE_HOME": str(tmp_path), "LOTGATE_RULES": str(rules)})
    committer = Committer(settings, TARGETS)
    with pytest.raises(CommitterFailed, match=r"broken\.yaml"):
        committer.wait_until_open()
    assert committer.pid is None


def test_the_process_ends_with_its_web_process(settings: Settings, tmp_path: Path) -> None:
    """A web process that is killed closes its socket; nothing is left running."""
    program = (
        "import sys, time\nfrom engine.committer import Committer\nfrom engine.settings import load_settings\n"
        "c = Committer(load_settings({'LOTGATE_HOME': sys.argv[1]}), ('erp', 'wms'))\nc.wait_until_open()\n"
        "print(c.pid, flush=True)\ntime.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    web = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=root)
    assert web.stdout is not None
    pid = int(web.stdout.readline())
    web.kill()
    web.wait()
    web.stdout.close()
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_gone(pid)


def test_settings_reach_the_process_unchanged(tmp_path: Path) -> None:
    settings = load_settings(
        {"LOTGATE_HOME": str(tmp_path), "LOTGATE_DATABASE_URL": "postgresql://u:p@h/d", "LOTGATE_TIMEZONE": "Europe/Berlin"}
    )
    assert settings_from(as_json(settings)) == settings


def test_frames_come_whole_however_the_bytes_arrive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = wire.frame(["a" * 1000]) + wire.frame([]) + wire.frame(["b"])
        ours.sendall(sent)
        frames, found = wire.Frames(), []
        while len(found) < 3:
            found += frames.feed(theirs.recv(7))
    assert found == [wire.encode(["a" * 1000]), wire.encode([]), wire.encode(["b"])]
