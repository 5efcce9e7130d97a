"""A collector of traces and an ERP, as one process on a real socket: what it is sent it writes down, one JSON a line.

``python tests/otlp.py PORT FILE`` answers ``POST /v1/traces`` as OTLP over HTTP asks, and everything else as the ERP of
``actors/connectors/erp.yaml`` would that takes whatever it is told.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def spans_in(body: bytes) -> Iterator[dict[str, Any]]:
    """Every span of an export, with what matters here."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_spans:
        about = {a.key: a.value.string_value or a.value.int_value for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "name": span.name, "kind": span.kind, "trace": span.trace_id.hex(), "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(), "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano, "status": span.status.code, "resource": about,
                    "links": [link.trace_id.hex() for link in span.links],
                    "attributes": {a.key: a.value.string_value or a.value.int_value for a in span.attributes},
                }  # fmt: skip


def serve(port: int, path: Path) -> None:
    """Until it is killed."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.path == "/v1/traces":
                lines = [{"what": "span", **span} for span in spans_in(body)]
                self.reply(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")
            else:
                asked = json.loads(body)
                lines = [{"what": "call", "path": self.path, "headers": dict(self.headers), "asked": asked}]
                items = asked.get("lots", asked.get("items"))
                one = {"applied": True, "outcome": "applied"}
                self.reply(json.dumps({"results": [one] * len(items)} if items else one).encode(), "application/json")
            with path.open("a") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)

        def reply(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.reply(b"{}", "application/json")

        def log_message(self, *args: Any) -> None:
            """Nothing to say."""

    ThreadingHTTPServer(("127.0.0.1", port), Answering).serve_forever()


class Collector:
    """The process, and what it was sent."""

    def __init__(self, port: int, path: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._path = path
        self.process = subprocess.Popen([sys.executable, __file__, str(port), str(path)])
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(self.url, trust_env=False, verify=False)
                return
            assert time.monotonic() < deadline, "the collector did not start"
            time.sleep(0.05)

    def heard(self, what: str) -> list[dict[str, Any]]:
        """Spans, or calls, in the order in which they came."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [line for line in map(json.loads, lines) if line["what"] == what]

    def until(self, what: str, enough: Any, seconds: float = 30) -> list[dict[str, Any]]:
        """Wait until ``enough`` is true of what was heard."""
        deadline = time.monotonic() + seconds
        while not enough(found := self.heard(what)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
