"""The clock as a process: it tells people through whatever answers, and stops in time whatever hangs."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

from engine.clock import system_clock
from engine.tasks import Tasks
from tests.actors.conftest import clock_process, seconds_to_stop


def test_a_mail_server_that_hangs_holds_up_neither_the_webhook_nor_the_end(
    store: Any, tmp_path: Path, talker: Any
) -> None:
    Tasks(store, system_clock).open_once("parked-expired", "LOT-1", "a hold waited for it in vain")
    for _ in range(50):
        talker.say(204)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        called = threading.Event()

        def answer() -> None:
            connection, _ = silent.accept()
            called.set()
            with connection:
                connection.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        ways = {
            "LOTGATE_NOTIFY_EMAIL": "quality@plant.example", "LOTGATE_NOTIFY_WEBHOOK": talker.url,
            "LOTGATE_SMTP_URL": f"smtp://127.0.0.1:{silent.getsockname()[1]}",
        }  # fmt: skip
        with clock_process(tmp_path, **ways) as clock:
            assert called.wait(60), "the mail server was not called"
            deadline = time.monotonic() + 30
            while not talker.heard:
                assert time.monotonic() < deadline, "the webhook waited for the mail server"
                time.sleep(0.02)
            assert seconds_to_stop(clock) < 9, "it waited for the mail server"
    assert talker.heard[0][2]["data"]["tasks"][0]["subject"] == "LOT-1"
