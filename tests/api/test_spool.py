"""The spool: what was put there arrives, once and in order, whatever was away, killed or refused meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.main import main
from api.client.caller import Answered, Away, Caller, Shut
from api.client.spool import Forwarded, Spool, SpoolBusy, SpoolFull, reason

Make = Callable[..., dict[str, Any]]
TAKEN = Answered(201, "applied", b"{}")


class Line:
    """A network that fails when it is told to, before or after an event has arrived."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.fails: list[str] = []

    def send(self, event: bytes) -> Answered:
        fault = self.fails.pop() if self.fails else "no"
        if fault == "before":
            raise Away("cut")
        self.arrived.append(event)
        if fault == "after":
            raise Away("the answer was lost")
        return TAKEN


@given(
    st.lists(st.one_of(st.integers(1, 4), st.just("forward"), st.just("restart")), max_size=25),
    st.lists(st.sampled_from(["no", "before", "after"]), max_size=15),
)
@settings(max_examples=40, deadline=None)
def test_whatever_fails_everything_arrives_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], fails: list[str]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    spool, line, put = Spool(path), Line(), list[bytes]()
    line.fails = fails
    for step in steps:
        if step == "restart":
            spool = Spool(path)
        elif step == "forward":
            try:
                spool.forward(line.send)
            except Away:
                assert len(spool) > 0
        else:
            events = [b"%d" % (len(put) + n) for n in range(step)]
            assert spool.put(events) == step
            put += events
    line.fails = []
    spool.forward(line.send)
    assert len(spool) == 0
    # An answer that was lost makes its event arrive again at once, and never after a later one.
    assert [e for n, e in enumerate(line.arrived) if n == 0 or e != line.arrived[n - 1]] == put


def test_a_full_spool_keeps_none_of_what_is_too_much_and_has_room_again_later(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "deep" / "spool", max_bytes=10)
    spool.put([b"1234", b"5678"])
    with pytest.raises(SpoolFull, match="8 bytes of events; 3 more are above 10"):
        spool.put([b"9", b"ab"])
    assert len(spool) == 2
    spool.put([b"90"])
    assert spool.forward(Line().send).outcomes == {"applied": 3}
    assert spool.put([b"0123456789"]) == 1


def test_what_is_refused_is_set_aside_with_the_reason_and_holds_up_nobody(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=30)
    spool.put([b"bad", b"good"])

    def send(event: bytes) -> Answered:
        return TAKEN if event == b"good" else Answered(422, "event-invalid", b'{"detail": "no such field"}')

    assert spool.forward(send) == Forwarded({"event-invalid": 1, "applied": 1}, 1)
    (refusal,) = Spool(tmp_path / "spool").refused()
    assert (refusal.event, refusal.status, reason(refusal)) == (b"bad", 422, "no such field")
    with pytest.raises(SpoolFull):
        spool.put([b"x" * 28])
    assert spool.clear_refused() == 1
    assert spool.put([b"x" * 28]) == 1


def test_two_never_forward_the_same_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put([b"1", b"2"])

    def meanwhile(event: bytes) -> Answered:
        with pytest.raises(SpoolBusy):
            Spool(tmp_path / "spool").forward(Line().send)
        Spool(tmp_path / "spool").put([b"3"]) if event == b"1" else None
        return TAKEN

    assert spool.forward(meanwhile).outcomes == {"applied": 3}


def test_a_caller_says_who_is_away_and_who_is_shut_out(service: Any, receipt: Make) -> None:
    event, waits = json.dumps(receipt()).encode(), list[float]()
    with Caller(service.url, service.key) as caller:
        assert caller.send(event).outcome == "applied"
        assert caller.send(event).outcome == "replayed"
        assert caller.send(b"{}").refused
    with Caller(service.url, "wrong") as stranger, pytest.raises(Shut, match="Send a valid key"):
        stranger.send(event)
    nobody = Caller("http://127.0.0.1:9", "k", tries=4, sleep=waits.append, chance=lambda: 1.0)
    with nobody, pytest.raises(Away, match="does not answer"):
        nobody.send(event)
    assert waits == [0.2, 0.4, 0.8]


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway(own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine beside a service of its own; the path of its spool."""
    for name in [n for n in os.environ if n.startswith("LOTGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOTGATE_HOME", str(own.home))
    monkeypatch.setenv("LOTGATE_PORT", str(own.port))
    return tmp_path / "gateway" / "spool"


def write(path: Path, events: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, events)))
    return str(path)


def test_events_wait_while_the_service_is_dead_and_arrive_in_order_when_it_is_back(
    own: Any, gateway: Path, tmp_path: Path, receipt: Make, hold: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    event = receipt()
    lot = event["subject"]
    spool = ["--spool", str(gateway)]
    assert main(["submit", write(tmp_path / "1", [event]), *spool]) == 0
    assert capsys.readouterr().out == "1 event: 1 applied\n"
    own.stop(signal.SIGKILL)
    for number in range(3):
        assert main(["submit", write(tmp_path / "2", [hold(lot, f"H-{number}")]), *spool]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"0 events sent\n{number + 1} event")
        assert f"{own.url} does not answer" in said
    own.start()
    broken = {**event, "id": "broken", "data": {}}
    assert main(["submit", write(tmp_path / "3", [broken, hold(lot, "H-3")]), *spool, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["outcomes"], told["waiting"]) == ({"applied": 4, "event-invalid": 1}, 0)
    assert json.loads(told["refused"][0]["event"])["id"] == "broken"
    journal = own.http.get(f"/v1/lots/{lot}/journal").json()["data"]
    assert [e["event_id"] for e in journal if e["type"] == "hold.applied.v1"] == [f"h-{lot}-H-{n}" for n in range(4)]
    assert main(["submit", *spool]) == 0
    assert capsys.readouterr().out == "0 events sent\n"
    assert main(["submit"]) == 2


def test_a_gateway_that_is_killed_while_it_sends_loses_and_doubles_nothing(
    own: Any, gateway: Path, tmp_path: Path, receipt: Make, hold: Make
) -> None:
    event = receipt()
    lot = event["subject"]
    events = [event, *(hold(lot, f"H-{number:03}") for number in range(150))]
    Spool(gateway).put(json.dumps(e).encode() for e in events)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    for _ in range(3):
        sender = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "submit", "--spool", str(gateway)], env=environment, stdout=subprocess.DEVNULL
        )
        before, deadline = len(Spool(gateway)), time.monotonic() + 60
        while len(Spool(gateway)) > max(0, before - 20) and time.monotonic() < deadline:
            time.sleep(0.01)
        sender.kill()
        sender.wait(10)
    assert main(["submit", "--spool", str(gateway)]) == 0
    assert len(Spool(gateway)) == 0
    journal = own.http.get(f"/v1/lots/{lot}/journal", params={"limit": 500}).json()["data"]
    assert [e["event_id"] for e in journal if e["kind"] == "event"] == [e["id"] for e in events]
