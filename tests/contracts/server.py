"""What every contract server has: HTTP in a process of its own, and a door for tests beside the system's own calls.

A contract server keeps to what is known of a real system and refuses everything else, so that a connector file that
gets a detail wrong fails here. It is no copy of the system: docs/connect-others.md says what each was made from.
"""

import abc
import argparse
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Asked:
    """One request, read whole."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        parts = urlsplit(target)
        self.method = method
        self.path = unquote(parts.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        #: Names in lower case.
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body. Raises ValueError."""
        return json.loads(self.body)


class Answered:
    """One answer. ``body``: JSON, or text as it is."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None, *more: str) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        #: Cookies that it sets.
        self.cookies = more


class System(abc.ABC):
    """A system: one call after the other. ``door`` is what tests may do to it by hand."""

    name = "system"

    @abc.abstractmethod
    def answer(self, asked: Asked) -> Answered:
        """What the system says to a caller."""

    @abc.abstractmethod
    def door(self, verb: str, given: dict[str, Any]) -> Any:
        """What somebody does there by hand; gives what the system has then."""


def serve(make: Callable[[], System]) -> None:
    """Serve on a free port until ended; prints the address."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    system, lock = make(), RLock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one write: no waiting for the other side to acknowledge the head.
        wbufsize = -1

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(
                self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length)
            )
            with lock:
                if asked.path.startswith("/_/"):
                    answer = Answered(200, system.door(asked.path[3:], asked.json() if asked.body else {}))
                else:
                    answer = system.answer(asked)
            content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            body = b"" if answer.status == 204 or answer.body is None else content.encode()
            self.send_response(answer.status)
            kind = "text/html" if isinstance(answer.body, str) else "application/json"
            for name, value in {"Content-Type": kind, **answer.headers}.items():
                self.send_header(name, value)
            for cookie in answer.cookies:
                self.send_header("Set-Cookie", cookie)
            self.send_header("Content-Length", str(len(body)))
            if self.headers.get("Connection") == "close":
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    server.daemon_threads = True
    print(f"{system.name} on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
