"""Runs a sandbox system as a process: arguments, socket, signals. `--port 0` takes a free one."""

import argparse
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from demo.sandbox.book import StockBook
from demo.sandbox.wire import HangUpProtocol, SandboxApp, System

_GRACE_SECONDS = (
    1  # what is running may finish; with uvicorn's own bookkeeping the process is gone within 2 s
)
_OPEN_CONNECTIONS = 4096


def main(
    name: str, port: int, open_book: Callable[[Path], StockBook], system: Callable[[StockBook], System]
) -> None:
    """Parse the command line and serve until SIGTERM or SIGINT; exit code 0 then."""
    parser = argparse.ArgumentParser(
        prog=f"demo.sandbox.{name}", description=f"Sandbox {name.upper()} over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port, help="0: any free port")
    parser.add_argument("--storage", type=Path, default=Path(f"var/sandbox-{name}.sqlite"))
    options = parser.parse_args()
    # uvicorn hands a caught signal on to the handler it found here, once it has drained.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    book = open_book(options.storage)
    try:
        _serve(name, options.host, options.port, SandboxApp(system(book)))
    finally:
        book.close()


def _serve(name: str, host: str, port: int, app: SandboxApp) -> None:
    try:
        listener = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        print(
            f"The sandbox {name.upper()} cannot listen on {host}:{port}: {error.strerror}.", file=sys.stderr
        )
        raise SystemExit(1) from None
    print(f"sandbox {name.upper()} on http://{host}:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        http=HangUpProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=_OPEN_CONNECTIONS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
