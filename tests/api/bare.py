"""uvicorn as Lotgate runs it, in a thread, before an application that a test writes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api.web import PatientProtocol, Server, configuration


@contextmanager
def serving(answer: Callable[[Any, Any, Any], Any], full: Callable[[], bool] = PatientProtocol.full) -> Iterator[int]:
    """Gives the port; ``answer`` is an ASGI application that is asked for requests only."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(scope, receive, send)
            return
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = Server(configuration(application, "127.0.0.1", port, full), lambda: None)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield port
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()
